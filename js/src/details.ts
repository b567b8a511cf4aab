import { batch, computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type {
  ChatMessage,
  Message,
  PictureMessage,
  Request,
  ReviewRequest,
  Turn,
  UndoRequest,
} from "./protocol";

/** A picture that is held, with its own size in pixels, or why there is none. */
export type Picture = { url: string; width: number; height: number } | { error: string };

/** A turn that is being edited: what was typed so far. */
export interface TurnEdit {
  at: number;
  text: string;
}

/** Something that was done to reviews. */
export type Done = ReviewRequest | UndoRequest;

/** The times of the details, in milliseconds. */
export const DETAIL_TIMES = {
  /** A picture that has not come is asked for again when it is wanted after this. */
  again: 10_000,
  /** A picture that has not come after this is given up. */
  lost: 60_000,
  /** After this the kernel's word on a conversation stands, even if it does not hold what was said. */
  say: 15_000,
};

/** Pictures that nobody looks at and that are kept all the same, for going back. */
const PICTURES = 8;

/** Pictures that have not come, of which it is known that somebody once watched for them. */
const EMPTY = 50;

/** Conversations that are kept beside those that are open. */
const CHATS = 100;

interface PictureEntry {
  held: Signal<Picture | null>;
  /** What is asked for and has not come. */
  asked: Asked | null;
  /** How many look at it now. */
  users: number;
}

interface Asked {
  at: number;
  promise: Promise<Picture>;
  resolve(picture: Picture): void;
  timer: ReturnType<typeof setTimeout>;
}

/** Something that was said and of which the kernel has not yet spoken. */
interface Said {
  /** The turn that it makes or replaces. */
  at: number;
  text: string;
  /** The turn that stood there, and how many there were. */
  before: string;
  count: number;
  when: number;
}

interface Chat {
  /** As the kernel has it. */
  told: Signal<ChatMessage | null>;
  said: Signal<readonly Said[]>;
  /** As a person sees it: what they have just said stands there already. */
  shown: ReadonlySignal<ChatMessage | null>;
}

/**
 * What concerns one picture at a time: the picture itself, the conversation about it, and what a
 * person says of its answers. What a person has typed is kept until it has been sent.
 */
export class Details {
  /** Whether the last thing that was to be sent could not be. */
  readonly offline = signal(false);
  /** The last thing that was done to reviews, a new one every time. */
  readonly done = signal<Done | null>(null);

  readonly #post: (request: Request) => boolean;
  // A Map keeps the order of insertion, so the first entry is the one longest unused.
  readonly #pictures = new Map<string, PictureEntry>();
  readonly #chats = new Map<number, Chat>();
  /** The row whose conversation each view follows. */
  readonly #open = new Map<string, number>();
  readonly #drafts = new Map<number, Signal<string>>();
  readonly #edits = new Map<number, Signal<TurnEdit | null>>();
  readonly #codes = new Map<number, Signal<readonly string[]>>();
  /** What measures the pictures, as a line for a cell; empty where nothing does. */
  readonly measured = signal("");
  readonly #corrections = new Map<string, Signal<string | null>>();

  constructor(send: (request: Request) => boolean) {
    this.#post = send;
  }

  // Pictures

  /**
   * A picture with its longest side as large as `pixels`, from what is held or from the kernel. Those
   * who ask for the same one while it is on its way wait for the same answer.
   */
  picture(row: number, pixels: number): Promise<Picture> {
    const key = keyOf(row, pixels);
    const entry = this.#entry(key);
    this.#pictures.delete(key);
    this.#pictures.set(key, entry);
    const held = entry.held.peek();
    if (held && "url" in held) return Promise.resolve(held);
    if (entry.asked) {
      if (Date.now() - entry.asked.at > DETAIL_TIMES.again) {
        entry.asked.at = Date.now();
        this.#send({ type: "picture", row, pixels });
      }
      return entry.asked.promise;
    }
    let resolve: (picture: Picture) => void = () => {};
    const promise = new Promise<Picture>((settle) => {
      resolve = settle;
    });
    const lost = () => this.#setPicture(key, { error: "the picture has not come" });
    entry.asked = { at: Date.now(), promise, resolve, timer: setTimeout(lost, DETAIL_TIMES.lost) };
    if (!this.#send({ type: "picture", row, pixels })) {
      this.#setPicture(key, { error: "there is no kernel to ask for the picture" });
    }
    return promise;
  }

  /** A picture as it is held now, null until it comes. To watch one is not to ask for it. */
  held(row: number, pixels: number): ReadonlySignal<Picture | null> {
    return this.#entry(keyOf(row, pixels)).held;
  }

  /** Keeps a picture from being let go while it is looked at. Returns the way to stop. */
  keep(row: number, pixels: number): () => void {
    const entry = this.#entry(keyOf(row, pixels));
    entry.users++;
    let kept = true;
    return () => {
      if (!kept) return;
      kept = false;
      entry.users--;
      this.#trimPictures();
    };
  }

  #entry(key: string): PictureEntry {
    let entry = this.#pictures.get(key);
    if (!entry) {
      entry = { held: signal<Picture | null>(null), asked: null, users: 0 };
      this.#pictures.set(key, entry);
    }
    return entry;
  }

  #setPicture(key: string, picture: Picture): void {
    const entry = this.#entry(key);
    const old = entry.held.peek();
    const { asked } = entry;
    entry.asked = null;
    if (asked) clearTimeout(asked.timer);
    entry.held.value = picture;
    if (old && "url" in old) URL.revokeObjectURL(old.url);
    asked?.resolve(picture);
    this.#trimPictures();
  }

  #trimPictures(): void {
    const spare = [...this.#pictures].filter(([, { users, asked }]) => users === 0 && !asked);
    const urlOf = ({ held }: PictureEntry) => {
      const picture = held.peek();
      return picture && "url" in picture ? picture.url : null;
    };
    let pictures = spare.filter(([, entry]) => urlOf(entry) !== null).length;
    // Entries without a picture cost nothing, and may just be about to be looked at.
    let others = spare.length - pictures;
    for (const [key, entry] of spare) {
      const url = urlOf(entry);
      if (url === null ? others <= EMPTY : pictures <= PICTURES) continue;
      if (url === null) {
        others--;
      } else {
        pictures--;
        entry.held.value = null;
        URL.revokeObjectURL(url);
      }
      this.#pictures.delete(key);
    }
  }

  // Conversations

  /** The conversation about a picture, null until it comes. */
  chat(row: number): ReadonlySignal<ChatMessage | null> {
    return this.#chat(row).shown;
  }

  /** A view follows the conversation about a picture from now on, or none. */
  openChat(view: string, row: number | null): void {
    if (row === null) this.#open.delete(view);
    else this.#open.set(view, row);
    this.#send({ type: "chat_open", view, row });
    this.#trimChats();
  }

  /** What a person is typing about a picture. */
  draft(row: number): ReadonlySignal<string> {
    return entryOf(this.#drafts, row, "");
  }

  setDraft(row: number, text: string): void {
    entryOf(this.#drafts, row, "").value = text;
  }

  /** The turn of a conversation that a person is editing, null for none. */
  edit(row: number): ReadonlySignal<TurnEdit | null> {
    return entryOf<number, TurnEdit | null>(this.#edits, row, null);
  }

  setEdit(row: number, edit: TurnEdit | null): void {
    entryOf<number, TurnEdit | null>(this.#edits, row, null).value = edit;
  }

  /**
   * Says something about a picture; with `at`, in the place of that turn and of all behind it. It
   * stands in the conversation at once. What cannot be sent stays a draft, or an edit of that turn.
   */
  say(row: number, text: string, at?: number): boolean {
    const words = text.trim();
    if (!words) return false;
    const chat = this.#chat(row);
    const turns = chat.shown.peek()?.turns ?? [];
    const place = at === undefined ? turns.length : Math.max(0, Math.min(at, turns.length));
    const request: Request =
      at === undefined
        ? { type: "chat_say", row, text: words }
        : { type: "chat_say", row, text: words, at };
    if (!this.#send(request)) {
      if (at === undefined) this.setDraft(row, text);
      // The same text again is nothing that a person has typed.
      else if (turns[at]?.question !== words) this.setEdit(row, { at, text });
      return false;
    }
    const told = chat.told.peek()?.turns ?? [];
    batch(() => {
      if (at === undefined) this.setDraft(row, "");
      else this.setEdit(row, null);
      chat.said.value = [
        ...chat.said.peek().filter((said) => said.at < place),
        {
          at: place,
          text: words,
          before: JSON.stringify(told[place] ?? null),
          count: told.length,
          when: Date.now(),
        },
      ];
    });
    return true;
  }

  /** Stops the answer that is on its way. */
  stop(row: number): void {
    this.#send({ type: "chat_stop", row });
  }

  #chat(row: number): Chat {
    let chat = this.#chats.get(row);
    if (!chat) {
      const told = signal<ChatMessage | null>(null);
      const said = signal<readonly Said[]>([]);
      const shown = computed(() => withSaid(row, told.value, said.value));
      chat = { told, said, shown };
      this.#chats.set(row, chat);
    }
    return chat;
  }

  #setChat(message: ChatMessage): void {
    const chat = this.#chat(message.row);
    this.#chats.delete(message.row);
    this.#chats.set(message.row, chat);
    const left = chat.said.peek().filter((said) => !isHeard(said, message.turns));
    chat.told.value = message;
    if (left.length !== chat.said.peek().length) chat.said.value = left;
    // A turn that is not there any more cannot be edited.
    const edit = this.#edits.get(message.row);
    const editing = edit?.peek();
    if (edit && editing && editing.at >= (chat.shown.peek()?.turns.length ?? 0)) {
      batch(() => {
        if (!this.draft(message.row).peek()) this.setDraft(message.row, editing.text);
        edit.value = null;
      });
    }
    this.#trimChats();
  }

  #trimChats(): void {
    const open = new Set(this.#open.values());
    for (const [row, chat] of [...this.#chats]) {
      if (this.#chats.size <= CHATS) return;
      if (!open.has(row) && chat.said.peek().length === 0) this.#chats.delete(row);
    }
  }

  /** The lines that ask a row's prompts in a cell, empty until they come. */
  codes(row: number): ReadonlySignal<readonly string[]> {
    return entryOf<number, readonly string[]>(this.#codes, row, []);
  }

  askCodes(row: number): void {
    this.#send({ type: "codes", row });
  }

  // Reviews

  /** A person's word on one answer. A correction that cannot be sent stays what is being typed. */
  review(row: number, cell: number, action: ReviewRequest["action"], text?: string): boolean {
    const request: ReviewRequest = { type: "review", row, prompt_index: cell, action };
    if (text !== undefined) request.text = text;
    const sent = this.#do(request);
    if (action === "correct") this.setCorrection(row, cell, sent ? null : (text ?? null));
    return sent;
  }

  undo(): boolean {
    return this.#do({ type: "undo" });
  }

  redo(): boolean {
    return this.#do({ type: "redo" });
  }

  /** The correction of an answer that a person is typing, null for none. */
  correction(row: number, cell: number): ReadonlySignal<string | null> {
    return entryOf<string, string | null>(this.#corrections, keyOf(row, cell), null);
  }

  setCorrection(row: number, cell: number, text: string | null): void {
    entryOf<string, string | null>(this.#corrections, keyOf(row, cell), null).value = text;
  }

  // The line

  /** Takes a message of the kernel's; false where it is not of these. */
  receive(message: Message, buffers: readonly DataView[] = []): boolean {
    switch (message.type) {
      case "picture":
        this.offline.value = false;
        this.#setPicture(keyOf(message.row, message.pixels), pictureOf(message, buffers[0]));
        return true;
      case "codes":
        this.offline.value = false;
        entryOf<number, readonly string[]>(this.#codes, message.row, []).value = message.codes;
        this.measured.value = message.measured;
        return true;
      case "chat":
        batch(() => {
          this.offline.value = false;
          this.#setChat(message);
        });
        return true;
      default:
        return false;
    }
  }

  /** Lets go of all that can be asked for again. What a person has typed stays: nobody else has it. */
  close(): void {
    for (const entry of this.#pictures.values()) {
      const held = entry.held.peek();
      const { asked } = entry;
      entry.asked = null;
      entry.held.value = null;
      if (held && "url" in held) URL.revokeObjectURL(held.url);
      if (asked) {
        clearTimeout(asked.timer);
        asked.resolve({ error: "the gallery was closed" });
      }
    }
    this.#pictures.clear();
    this.#open.clear();
    this.#chats.clear();
    this.#codes.clear();
  }

  #do(what: Done): boolean {
    const sent = this.#send(what);
    if (sent) this.done.value = what;
    return sent;
  }

  #send(request: Request): boolean {
    const sent = this.#post(request);
    this.offline.value = !sent;
    return sent;
  }
}

function keyOf(row: number, part: number): string {
  return `${row}:${part}`;
}

function entryOf<K, V>(map: Map<K, Signal<V>>, key: K, initial: V): Signal<V> {
  let entry = map.get(key);
  if (!entry) {
    entry = signal(initial);
    map.set(key, entry);
  }
  return entry;
}

function pictureOf(message: PictureMessage, buffer: DataView | undefined): Picture {
  if (message.error !== null || !buffer || buffer.byteLength === 0) {
    return { error: message.error ?? "there is no picture" };
  }
  const blob = new Blob([buffer as DataView<ArrayBuffer>], { type: message.mime });
  return { url: URL.createObjectURL(blob), width: message.width, height: message.height };
}

/** Whether the kernel's turns show that it has come to what was said. */
function isHeard(said: Said, turns: readonly Turn[]): boolean {
  if (Date.now() - said.when > DETAIL_TIMES.say) return true;
  const turn = turns[said.at];
  if (turn?.question !== said.text) return false;
  // The conversation may have been on its way when the same was said again: then all is as before.
  return turns.length !== said.count || JSON.stringify(turn) !== said.before;
}

function withSaid(
  row: number,
  told: ChatMessage | null,
  said: readonly Said[],
): ChatMessage | null {
  if (said.length === 0) return told;
  let turns = told?.turns ?? [];
  for (const { at, text } of said) {
    turns = [
      ...turns.slice(0, at),
      { question: text, answer: null, state: "waiting", error: null, confidence: null },
    ];
  }
  return { type: "chat", row, turns, code: told?.code ?? "" };
}

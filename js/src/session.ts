import { batch, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { Cache } from "./cache";
import { isActive } from "./format";
import type { Range } from "./layout";
import {
  type Cell,
  DEFAULTS,
  type Message,
  type Progress,
  type Prompt,
  type Request,
  type Row,
  type ThumbsMessage,
  type Traits,
} from "./protocol";

/** A listener of a model; what it is called with depends on the event. */
export type Listener = (...args: never[]) => void;

/** The part of a widget model that the gallery uses. */
export interface Model {
  get(name: string): unknown;
  send(content: unknown): unknown;
  on(name: string, callback: Listener): void;
  off(name: string, callback: Listener): void;
}

/** A thumbnail that is held, or why there is none. */
export type Thumb = { url: string; pixels: number; bytes: number } | { error: string };

/** An ask that the kernel has not yet answered to, and the cell as it was before. */
interface PendingAsk {
  prompt: string;
  before: Cell | undefined;
  at: number;
}

/** What a view shows: all the tiles it has drawn, and those of them a person can see. */
interface Wants {
  drawn: Range;
  seen: Range;
  pixels: number;
}

interface ViewState {
  id: string;
  wants: Wants | null;
  /** The thumbnails asked for and not yet come. */
  wished: Set<number>;
  wishedPixels: number;
}

/** One drawing of a gallery on the page. */
export interface View {
  readonly id: string;
  /** Tells what the view shows now; rows and thumbnails follow. */
  want(wants: Wants): void;
  /** Gives up what the view held. */
  close(): void;
}

/** The times of the session, in milliseconds. */
export const TIMES = {
  /** Scrolling asks for rows at most this often. */
  flush: 100,
  /** Rows that have not come are asked for again after this, then more and more rarely. */
  retry: 4_000,
  retryMost: 30_000,
  /** A kernel that has said nothing for this long is reported. */
  silence: 10_000,
  /** A wish for thumbnails is repeated after this: pictures on the network may be slow. */
  thumbs: 20_000,
  /** After this the kernel's word stands, even if it does not name the prompt that was asked. */
  ask: 15_000,
  tick: 1_000,
};

/** Rows are asked for in blocks, so that a slow scroll does not ask for a line at a time. */
const BLOCK = 32;

const TRAITS = ["row_count", "title", "prompts", "progress"] as const;

/** What the caches may hold. */
export interface Limits {
  rows: number;
  thumbBytes: number;
}

/**
 * All that the page knows of one gallery. Its views share it, and so are in step: rows, thumbnails,
 * and what a person has typed and not yet asked.
 */
export class Session {
  readonly rowCount = signal(DEFAULTS.row_count);
  readonly title = signal(DEFAULTS.title);
  readonly prompts = signal<Prompt[]>(DEFAULTS.prompts);
  readonly progress = signal<Progress>(DEFAULTS.progress);
  /** Whether the kernel has owed an answer for long. */
  readonly silent = signal(false);
  /** Whether a cancel was asked for that the kernel has not yet acted on. */
  readonly cancelling = signal(false);

  readonly #model: Model;
  readonly #rows: Cache<Row>;
  readonly #thumbs: Cache<Thumb>;
  // Replaced on every change, never changed in place: signals compare by identity.
  readonly #drafts: Signal<ReadonlyMap<string, string>> = signal(new Map());
  readonly #asks: Signal<ReadonlyMap<string, PendingAsk>> = signal(new Map());
  readonly #views = new Set<ViewState>();

  /** The blocks of rows asked for: when, and how often. */
  readonly #pending = new Map<number, { at: number; tries: number }>();
  /** Rows that are shown although they are known to be out of date. */
  readonly #stale = new Set<number>();
  /** Since when the kernel owes an answer to anything. */
  #owedSince: number | null = null;
  #thumbsAt = 0;
  #flushedAt = 0;
  #flushTimer: ReturnType<typeof setTimeout> | null = null;
  #tickTimer: ReturnType<typeof setInterval> | null = null;
  #nextView = 1;
  readonly #name = Math.random().toString(36).slice(2, 8);

  constructor(model: Model, limits: Limits = { rows: 3000, thumbBytes: 64 * 2 ** 20 }) {
    this.#model = model;
    this.#rows = new Cache<Row>({ limit: limits.rows, weigh: () => 1 });
    this.#thumbs = new Cache<Thumb>({
      limit: limits.thumbBytes,
      // Entries without a picture weigh a little, so that they do not gather without end.
      weigh: (thumb) => (thumb && "url" in thumb ? thumb.bytes : 0) + 512,
      release: (thumb) => "url" in thumb && URL.revokeObjectURL(thumb.url),
    });
    this.#readTraits();
  }

  /** A row, null until it comes. */
  row(index: number): ReadonlySignal<Row | null> {
    return this.#rows.watch(index);
  }

  /** A row's thumbnail, null until it comes. */
  thumb(index: number): ReadonlySignal<Thumb | null> {
    return this.#thumbs.watch(index);
  }

  /** What a person has typed for a cell and not yet asked. Reading it in a component watches it. */
  draft(row: number, cell: number): string | undefined {
    return this.#drafts.value.get(keyOf(row, cell));
  }

  /** The prompt of a cell that was asked and of which the kernel has not yet spoken. */
  asked(row: number, cell: number): string | undefined {
    return this.#asks.value.get(keyOf(row, cell))?.prompt;
  }

  /** Keeps what a person is typing; null lets go of it. */
  setDraft(row: number, cell: number, text: string | null): void {
    const key = keyOf(row, cell);
    if ((text ?? undefined) === this.#drafts.peek().get(key)) return;
    this.#drafts.value = changed(this.#drafts.peek(), key, text);
  }

  /** Asks a prompt of one row. The cell shows it at once; a prompt that cannot be sent stays a draft. */
  ask(row: number, cell: number, prompt: string): void {
    const key = keyOf(row, cell);
    if (!this.#send({ type: "ask", row, prompt_index: cell, prompt })) {
      this.setDraft(row, cell, prompt);
      return;
    }
    batch(() => {
      this.setDraft(row, cell, null);
      const before = this.#rows.get(row)?.cells[cell];
      this.#asks.value = changed(this.#asks.peek(), key, { prompt, before, at: Date.now() });
    });
  }

  /** Tries the errors of a row again. */
  retry(row: number): void {
    const thumb = this.#thumbs.get(row);
    if (this.#send({ type: "retry", row }) && thumb && "error" in thumb) {
      this.#thumbs.set(row, null);
      this.#schedule();
    }
  }

  cancel(): void {
    if (this.#send({ type: "cancel" })) this.cancelling.value = true;
  }

  /** Starts a view. The first one opens the line to the kernel and the last one to close shuts it. */
  open(): View {
    const state: ViewState = {
      id: `${this.#name}-${this.#nextView++}`,
      wants: null,
      wished: new Set(),
      wishedPixels: 0,
    };
    if (this.#views.size === 0) this.#attach();
    this.#views.add(state);
    return {
      id: state.id,
      want: (wants) => {
        if (!this.#views.has(state)) return;
        state.wants = wants;
        for (let row = wants.drawn.start; row < wants.drawn.stop; row++) {
          this.#rows.touch(row);
          this.#thumbs.touch(row);
        }
        this.#schedule();
      },
      close: () => {
        if (!this.#views.delete(state)) return;
        this.#send({ type: "close", view: state.id }, false);
        if (this.#views.size === 0) this.#detach();
      },
    };
  }

  #attach(): void {
    this.#model.on("msg:custom", this.#onMessage);
    for (const trait of TRAITS) this.#model.on(`change:${trait}`, this.#onTraits);
    this.#tickTimer = setInterval(this.#tick, TIMES.tick);
    this.#readTraits();
  }

  /** Lets go of all that can be asked for again. Drafts stay: nobody else has them. */
  #detach(): void {
    this.#model.off("msg:custom", this.#onMessage);
    for (const trait of TRAITS) this.#model.off(`change:${trait}`, this.#onTraits);
    if (this.#tickTimer !== null) clearInterval(this.#tickTimer);
    if (this.#flushTimer !== null) clearTimeout(this.#flushTimer);
    this.#tickTimer = this.#flushTimer = null;
    this.#pending.clear();
    this.#owedSince = null;
    this.silent.value = false;
    this.#stale.clear();
    this.#rows.retain(() => false);
    this.#thumbs.retain(() => false);
  }

  #readTraits(): void {
    const read = <K extends keyof Traits>(name: K): Traits[K] =>
      (this.#model.get(name) as Traits[K] | null | undefined) ?? DEFAULTS[name];
    const rowCount = read("row_count");
    const prompts = read("prompts");
    // Rows held from before have the answers of other columns, or are not there any more.
    const stale =
      rowCount < this.rowCount.peek() ||
      JSON.stringify(prompts) !== JSON.stringify(this.prompts.peek());
    batch(() => {
      this.rowCount.value = rowCount;
      this.title.value = read("title");
      this.prompts.value = prompts;
      this.progress.value = { ...DEFAULTS.progress, ...read("progress") };
      if (stale) this.#refresh();
    });
  }

  /** Asks for the drawn rows again. What is held of them is shown until they come. */
  #refresh(): void {
    const drawn = (row: number) => row < this.rowCount.peek() && this.#isDrawn(row);
    this.#rows.retain(drawn);
    this.#thumbs.retain((row) => row < this.rowCount.peek());
    this.#pending.clear();
    for (const view of this.#views) {
      const { start, stop } = view.wants?.drawn ?? { start: 0, stop: 0 };
      for (let row = start; row < stop; row++) this.#stale.add(row);
    }
    this.#schedule();
  }

  readonly #onTraits = (): void => {
    this.#heard();
    this.#readTraits();
    if (!isActive(this.progress.peek())) this.cancelling.value = false;
  };

  readonly #onMessage = (message: Message, buffers: readonly DataView[] = []): void => {
    batch(() => {
      switch (message?.type) {
        case "rows":
          message.rows.forEach((row, k) => {
            this.#setRow(message.start + k, row);
          });
          this.#received(message.start, message.start + message.rows.length);
          break;
        case "changed":
          for (const [index, row] of message.rows) this.#changeRow(index, row);
          break;
        case "thumbs":
          this.#setThumbs(message, buffers);
          break;
      }
    });
    this.#heard();
    this.#rows.trim((row) => this.#isDrawn(row));
    this.#thumbs.trim((row) => this.#isDrawn(row));
    this.#schedule();
  };

  #changeRow(index: number, row: Row): void {
    // Of rows that nobody has asked for only those already held are kept up to date: a run over a
    // large column would push out of the cache what is looked at.
    if (this.#rows.get(index) || this.#isDrawn(index)) this.#setRow(index, row);
    else this.#settle(index, row);
  }

  #setRow(index: number, row: Row): void {
    this.#settle(index, row);
    const old = this.#rows.get(index);
    this.#stale.delete(index);
    this.#rows.set(index, row);
    const thumb = this.#thumbs.get(index);
    if (old?.error && !row.error && thumb && "error" in thumb) this.#thumbs.set(index, null);
  }

  /** Lets go of an ask once the kernel's row shows that it has come to it. */
  #settle(index: number, row: Row): void {
    if (this.#asks.peek().size === 0) return;
    row.cells.forEach((cell, k) => {
      const key = keyOf(index, k);
      const ask = this.#asks.peek().get(key);
      if (!ask) return;
      // The row may have been on its way when the prompt was asked: then it still has the old one.
      const spoken = cell.prompt === ask.prompt || cell.prompt !== ask.before?.prompt;
      if (spoken || Date.now() - ask.at > TIMES.ask) {
        this.#asks.value = changed(this.#asks.peek(), key, null);
      }
    });
  }

  #received(start: number, stop: number): void {
    for (const block of this.#pending.keys()) {
      if (block < stop && block + BLOCK > start) this.#pending.delete(block);
    }
  }

  #setThumbs(message: ThumbsMessage, buffers: readonly DataView[]): void {
    this.#thumbsAt = Date.now();
    message.rows.forEach((row, k) => {
      for (const view of this.#views) {
        if (view.wishedPixels <= message.pixels) view.wished.delete(row);
      }
      const held = this.#thumbs.get(row);
      const error = message.errors[k] ?? null;
      const buffer = buffers[k];
      if (held && "url" in held) {
        if (held.pixels >= message.pixels) return;
        if (error !== null) {
          // The smaller picture is better than none, and asking for a larger one again is no use.
          held.pixels = message.pixels;
          return;
        }
      }
      if (error !== null || !buffer || buffer.byteLength === 0) {
        this.#thumbs.set(row, { error: error ?? "there is no thumbnail" });
        return;
      }
      const blob = new Blob([buffer as DataView<ArrayBuffer>], { type: message.mime });
      const url = URL.createObjectURL(blob);
      this.#thumbs.set(row, { url, pixels: message.pixels, bytes: buffer.byteLength });
    });
  }

  /** The kernel is there. */
  #heard(): void {
    this.#owedSince = this.#pending.size > 0 ? Date.now() : null;
    this.silent.value = false;
  }

  #isDrawn(row: number): boolean {
    for (const { wants } of this.#views) {
      if (wants && row >= wants.drawn.start && row < wants.drawn.stop) return true;
    }
    return false;
  }

  /** Soon, and not too often, asks for what the views lack. */
  #schedule(): void {
    if (this.#flushTimer !== null || this.#views.size === 0) return;
    const wait = Math.max(0, this.#flushedAt + TIMES.flush - Date.now());
    this.#flushTimer = setTimeout(() => {
      this.#flushTimer = null;
      this.#flushedAt = Date.now();
      this.#flush();
    }, wait);
  }

  #flush(): void {
    for (const view of this.#views) {
      if (!view.wants) continue;
      this.#askRows(view, view.wants);
      this.#wishThumbs(view, view.wants);
    }
  }

  #askRows(view: ViewState, { drawn }: Wants): void {
    const blocks: number[] = [];
    for (let row = drawn.start; row < drawn.stop; row++) {
      if (this.#rows.get(row) && !this.#stale.has(row)) continue;
      const block = row - (row % BLOCK);
      if (!this.#pending.has(block) && blocks.at(-1) !== block) blocks.push(block);
    }
    this.#requestBlocks(view.id, blocks, 1);
  }

  /** Asks for blocks, neighbours in one message. */
  #requestBlocks(view: string, blocks: number[], tries: number): void {
    for (let k = 0; k < blocks.length; ) {
      const start = blocks[k] as number;
      let stop = start;
      for (; blocks[k] === stop; k++) {
        this.#pending.set(stop, { at: Date.now(), tries });
        stop += BLOCK;
      }
      this.#send({ type: "rows", view, start, stop: Math.min(stop, this.rowCount.peek()) });
    }
  }

  #wishThumbs(view: ViewState, { drawn, seen, pixels }: Wants): void {
    const lacks = (row: number) => {
      if (this.#rows.get(row)?.error) return false;
      const held = this.#thumbs.get(row);
      return !held || ("url" in held && held.pixels < pixels);
    };
    // What is seen comes first, then what scrolling on would bring, then what lies behind.
    const order = [...span(seen.start, drawn.stop), ...span(drawn.start, seen.start)];
    const wish = order.filter(lacks);
    const same =
      view.wishedPixels === pixels &&
      view.wished.size === wish.length &&
      wish.every((row) => view.wished.has(row));
    // With nothing wished before and nothing now there is nothing to replace.
    if (same) return;
    view.wished = new Set(wish);
    view.wishedPixels = pixels;
    this.#thumbsAt = Date.now();
    this.#send({ type: "thumbs", view: view.id, rows: wish, pixels }, false);
  }

  /** Repeats what has had no answer. */
  readonly #tick = (): void => {
    const now = Date.now();
    for (const [block, { at, tries }] of [...this.#pending]) {
      const wait = Math.min(TIMES.retryMost, TIMES.retry * 2 ** (tries - 1));
      if (now - at < wait) continue;
      const view = [...this.#views].find(({ wants }) => {
        return wants && block < wants.drawn.stop && block + BLOCK > wants.drawn.start;
      });
      if (view) this.#requestBlocks(view.id, [block], tries + 1);
      else this.#pending.delete(block);
    }
    if (now - this.#thumbsAt > TIMES.thumbs) {
      for (const view of this.#views) {
        if (view.wished.size > 0) this.#schedule();
        view.wished.clear();
      }
    }
    if (this.#owedSince !== null && now - this.#owedSince >= TIMES.silence) {
      this.silent.value = true;
    }
  };

  /** Sends a request; false where the line is down. `owed`: whether the kernel is to answer. */
  #send(request: Request, owed = true): boolean {
    if (owed) this.#owedSince ??= Date.now();
    try {
      const sent = this.#model.send(request);
      if (sent instanceof Promise) sent.catch(() => {});
      return true;
    } catch {
      return false;
    }
  }
}

function keyOf(row: number, cell: number): string {
  return `${row}:${cell}`;
}

function span(start: number, stop: number): number[] {
  return Array.from({ length: Math.max(0, stop - start) }, (_, k) => start + k);
}

/** A copy of a map with one entry set, or taken out where the value is null. */
function changed<V>(map: ReadonlyMap<string, V>, key: string, value: V | null): Map<string, V> {
  const copy = new Map(map);
  if (value === null) copy.delete(key);
  else copy.set(key, value);
  return copy;
}

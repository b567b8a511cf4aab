import { batch, computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { Cache } from "./cache";
import { Details, type Done } from "./details";
import { isActive } from "./format";
import type { Range } from "./layout";
import { PictureMap } from "./map";
import {
  type Agreement,
  type AskManyRequest,
  type Cell,
  DEFAULTS,
  type FacetsMessage,
  type FrameColumn,
  type Key,
  type MapState,
  type Message,
  NO_QUERY,
  type PlaceMessage,
  type Progress,
  type Prompt,
  type Query,
  type Request,
  type ReviewRequest,
  type Row,
  type RowsMessage,
  type Score,
  type SelectRequest,
  type Shown,
  type ThumbsMessage,
  type Traits,
  type WholeMessage,
} from "./protocol";
import { sameQuery } from "./query";
import type { ViewSettings } from "./view";

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

/** What a person can write of a cell: what is asked, and what should be answered. */
export type Part = "prompt" | "answer";

/** An ask that the kernel has not yet answered to, and the cell as it was before. */
interface PendingAsk {
  prompt: string;
  before: Cell | undefined;
  at: number;
}

/** A query that the kernel has not yet answered to, and when it has last shown something else. */
interface PendingQuery {
  query: Query;
  at: number;
  other: number | null;
}

/**
 * What a view shows, by position: all the tiles it has drawn, and those of them a person can see.
 */
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
  /** After this what the kernel shows stands, even if it is not what was asked for. */
  query: 5_000,
  /** A busy kernel may take long to come to a query, but not for ever. */
  queryMost: 120_000,
  tick: 1_000,
};

/** Rows are asked for in blocks, so that a slow scroll does not ask for a line at a time. */
const BLOCK = 32;

/** How many positions' rows are remembered. */
const PLACES = 20_000;

const TRAITS = [
  "row_count",
  "title",
  "prompts",
  "progress",
  "columns",
  "shown",
  "selected_count",
  "history",
  "few_selected",
  "comparing",
  "agreement",
  "scored",
  "scores",
  "mapped",
  "cut",
] as const;

/** What the caches may hold. */
export interface Limits {
  rows: number;
  thumbBytes: number;
}

/**
 * All that the page knows of one gallery. Its views share it, and so are in step: what is shown,
 * rows, thumbnails, and what a person has typed and not yet asked.
 *
 * A row is named by its id, its number in the frame. A position is a place in what is shown, and
 * which row stands there changes with every query.
 */
export class Session {
  readonly rowCount = signal(DEFAULTS.row_count);
  readonly title = signal(DEFAULTS.title);
  readonly prompts = signal<Prompt[]>(DEFAULTS.prompts);
  readonly progress = signal<Progress>(DEFAULTS.progress);
  readonly columns = signal<FrameColumn[]>(DEFAULTS.columns);
  readonly shown = signal<Shown>({ ...DEFAULTS.shown, query: NO_QUERY });
  readonly selectedCount = signal(DEFAULTS.selected_count);
  readonly history = signal(DEFAULTS.history);
  readonly fewSelected = signal<number[]>(DEFAULTS.few_selected);
  readonly comparing = signal(DEFAULTS.comparing);
  readonly agreement = signal<Agreement[]>(DEFAULTS.agreement);
  readonly scored = signal<number[]>(DEFAULTS.scored);
  readonly scores = signal<Score[]>(DEFAULTS.scores);
  /** Goes up whenever the kernel says that rows have changed. */
  readonly changes = signal(0);
  /** Whether the kernel has owed an answer for long. */
  readonly silent = signal(false);
  /** Whether a cancel was asked for that the kernel has not yet acted on. */
  readonly cancelling = signal(false);
  /** What is asked to be shown: ahead of `shown.query` while the kernel works on it. */
  readonly wanted = computed(() => this.#wanted.value?.query ?? this.shown.value.query);
  /** Whether the kernel works on a query. */
  readonly searching = computed(() => this.#wanted.value !== null);
  /** What the kernel could not do, until a person has read it. */
  readonly notice = signal("");
  /** Reviews, pictures and conversations. */
  readonly details = new Details((request) => this.#send(request));
  readonly map = new PictureMap((request) => this.#send(request, false));
  /** What a person has typed to ask many rows and not yet asked. */
  readonly question = signal("");
  /** How the newest view is set: the next one starts like it. */
  settings: ViewSettings | null = null;

  readonly #model: Model;
  /** Which row stands where. */
  readonly #order: Cache<number>;
  readonly #rows: Cache<Row>;
  readonly #thumbs: Cache<Thumb>;
  // Replaced on every change, never changed in place: signals compare by identity.
  readonly #drafts: Signal<ReadonlyMap<string, string>> = signal(new Map());
  readonly #asks: Signal<ReadonlyMap<string, PendingAsk>> = signal(new Map());
  readonly #wanted: Signal<PendingQuery | null> = signal(null);
  readonly #views = new Set<ViewState>();
  /** Rows that are kept up to date although no view has drawn them, and by how many. */
  readonly #kept = new Map<number, number>();
  readonly #facets = new Map<string, (message: FacetsMessage) => void>();
  /** What the traits have cut, as it was told last, and the number of it that is asked for. */
  #whole: WholeMessage | null = null;
  #wholeAsked = 0;
  #places: { row: number; resolve(position: number | null): void }[] = [];
  #histories: ((prompts: string[]) => void)[] = [];

  /** The blocks of positions asked for: when, and how often. */
  readonly #pending = new Map<number, { at: number; tries: number }>();
  /** Positions of which the old row is shown until the new one comes. */
  readonly #stale = new Set<number>();
  /** Since when the kernel owes an answer to anything. */
  #owedSince: number | null = null;
  #thumbsAt = 0;
  #flushedAt = 0;
  #flushTimer: ReturnType<typeof setTimeout> | null = null;
  #tickTimer: ReturnType<typeof setInterval> | null = null;
  #nextView = 1;
  #nextFacets = 1;
  readonly #name = Math.random().toString(36).slice(2, 8);

  constructor(model: Model, limits: Limits = { rows: 3000, thumbBytes: 64 * 2 ** 20 }) {
    this.#model = model;
    this.#order = new Cache<number>({ limit: PLACES, weigh: () => 1 });
    this.#rows = new Cache<Row>({ limit: limits.rows, weigh: () => 1 });
    this.#thumbs = new Cache<Thumb>({
      limit: limits.thumbBytes,
      // Entries without a picture weigh a little, so that they do not gather without end.
      weigh: (thumb) => (thumb && "url" in thumb ? thumb.bytes : 0) + 512,
      release: (thumb) => "url" in thumb && URL.revokeObjectURL(thumb.url),
    });
    this.#readTraits();
  }

  /** Which row stands at a position, null until that is known. */
  idAt(position: number): ReadonlySignal<number | null> {
    const id = this.#order.watch(position);
    if (id.peek() === null && this.shown.peek().plain) this.#order.set(position, position);
    return id;
  }

  /** A row, null until it comes. */
  row(id: number): ReadonlySignal<Row | null> {
    return this.#rows.watch(id);
  }

  /** A row's thumbnail, null until it comes. */
  thumb(id: number): ReadonlySignal<Thumb | null> {
    return this.#thumbs.watch(id);
  }

  /** Where a row stands in what is shown, null where it does not. Comes to nothing like `facets`. */
  placeOf(row: number): Promise<number | null> {
    if (this.shown.peek().plain) return Promise.resolve(row);
    return new Promise((resolve) => {
      this.#places.push({ row, resolve });
      this.#send({ type: "place", row }, false);
    });
  }

  /** Keeps a row that was seen, and up to date, wherever the views go. Returns the way to stop. */
  keep(id: number): () => void {
    this.#kept.set(id, (this.#kept.get(id) ?? 0) + 1);
    let kept = true;
    return () => {
      if (!kept) return;
      kept = false;
      const others = (this.#kept.get(id) ?? 1) - 1;
      if (others > 0) this.#kept.set(id, others);
      else this.#kept.delete(id);
    };
  }

  /** Asks for a row and its thumbnail wherever it stands, and keeps the row. Returns the way to stop. */
  glance(id: number): () => void {
    if (!this.#rows.get(id)) this.#send({ type: "row", row: id }, false);
    if (!this.#thumbs.get(id)) {
      const view = `${this.#name}-glance`;
      this.#send({ type: "thumbs", view, rows: [id], pixels: 256 }, false);
    }
    return this.keep(id);
  }

  /** Shows something else. What was shown stays until the kernel has it. */
  query(query: Query): void {
    const now = this.#wanted.peek()?.query ?? this.shown.peek().query;
    if (sameQuery(query, now) && !this.shown.peek().error) return;
    if (this.#send({ type: "query", query })) {
      this.#wanted.value = { query, at: Date.now(), other: null };
    }
  }

  /** Changes a part of what is asked to be shown. */
  refine(part: Partial<Query>): void {
    this.query({ ...this.wanted.peek(), ...part });
  }

  /** Counts values among the rows shown. Comes to nothing where something else is shown meanwhile. */
  facets(keys: Key[]): Promise<FacetsMessage> {
    return new Promise((resolve) => {
      const id = `${this.#name}-${this.#nextFacets++}`;
      this.#facets.set(id, resolve);
      this.#send({ type: "facets", id, keys }, false);
    });
  }

  /** The prompts asked before, newest first. */
  promptHistory(): Promise<string[]> {
    return new Promise((resolve) => {
      this.#histories.push(resolve);
      this.#send({ type: "prompts" }, false);
    });
  }

  /** Selects rows, by id or by position. The rows that are held show it at once. */
  select(how: SelectRequest["how"], which: Pick<SelectRequest, "rows" | "positions">): void {
    const of = which.positions ? { version: this.shown.peek().version } : {};
    if (!this.#send({ type: "select", how, ...which, ...of }, false)) return;
    const [start, stop] = which.positions ?? [0, 0];
    const named = new Set(which.rows ?? []);
    for (const [position, id] of this.#order.values()) {
      if (position >= start && position < stop) named.add(id);
    }
    batch(() => {
      this.map.select(how, named);
      for (const [id, row] of this.#rows.values()) {
        const selected = named.has(id) ? how !== "remove" : how !== "set" && row.selected;
        if (selected !== row.selected) this.#rows.set(id, { ...row, selected });
      }
    });
  }

  /** Asks many rows something new; false where it could not be sent. */
  askMany(prompt: string, scope: AskManyRequest["scope"]): boolean {
    return this.#send({ type: "ask_many", prompt, scope });
  }

  /** A person's word on an answer; false where it could not be sent. */
  review(row: number, cell: number, action: ReviewRequest["action"], text?: string): boolean {
    return this.details.review(row, cell, action, text);
  }

  /** What was done to reviews, in the words of a screen reader. */
  sayDone(done: Done): string {
    const { undo, redo } = this.history.peek();
    if (done.type !== "review") {
      const left = done.type === "undo" ? undo : redo;
      return left > 0 ? { undo: "undone", redo: "redone" }[done.type] : `nothing to ${done.type}`;
    }
    // The kernel has not told of it yet: this is what was there before.
    const before = this.#rows.get(done.row)?.cells[done.prompt_index]?.review;
    const words = { accept: "accepted", reject: "rejected", correct: "corrected" };
    if (done.action === "clear") return "review taken back";
    if (done.action === "flag") return before?.flagged ? "flag taken off" : "flagged";
    return words[done.action];
  }

  /**
   * What a person has typed for a cell and not yet asked, or not yet saved. Reading it in a component
   * watches it.
   */
  draft(row: number, cell: number, of: Part = "prompt"): string | undefined {
    return this.#drafts.value.get(`${of} ${keyOf(row, cell)}`);
  }

  /** The prompt of a cell that was asked and of which the kernel has not yet spoken. */
  asked(row: number, cell: number): string | undefined {
    return this.#asks.value.get(keyOf(row, cell))?.prompt;
  }

  /** Keeps what a person is typing; null lets go of it. */
  setDraft(row: number, cell: number, text: string | null, of: Part = "prompt"): void {
    const key = `${of} ${keyOf(row, cell)}`;
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

  /** Goes on with a stopped run, and tries the errors of all rows again. */
  retryAll(): void {
    if (!this.#send({ type: "retry", row: null })) return;
    for (const [row, thumb] of this.#thumbs.values())
      if ("error" in thumb) this.#thumbs.set(row, null);
    this.#schedule();
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
        for (const position of span(wants.drawn.start, wants.drawn.stop)) {
          this.#order.touch(position);
          const id = this.#order.get(position);
          if (id === null) continue;
          this.#rows.touch(id);
          this.#thumbs.touch(id);
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
    this.details.close();
    this.#pending.clear();
    this.#owedSince = null;
    this.silent.value = false;
    this.#wanted.value = null;
    this.#facets.clear();
    this.map.forget();
    this.#histories = [];
    this.#places = [];
    this.#wholeAsked = 0;
    this.#stale.clear();
    this.#order.retain(() => false);
    this.#rows.retain(() => false);
    this.#thumbs.retain(() => false);
  }

  #readTraits(): void {
    const read = <K extends keyof Traits>(name: K): Traits[K] =>
      (this.#model.get(name) as Traits[K] | null | undefined) ?? DEFAULTS[name];
    const rowCount = read("row_count");
    const cut = read("cut");
    // Those of before stay until the new ones come.
    const parts = (cut > 0 && this.#whole?.parts) || {};
    const prompts = parts.prompts ?? read("prompts");
    const columns = parts.columns ?? read("columns");
    const old = this.shown.peek();
    // A kernel of before there were queries shows all.
    const told = (this.#model.get("shown") as Traits["shown"] | null | undefined) ?? {
      ...DEFAULTS.shown,
      count: rowCount,
    };
    const shown: Shown = { ...told, query: told.query ?? parts.query ?? old.query };
    // Rows held from before have the answers of other columns, or are not there any more.
    const stale =
      rowCount < this.rowCount.peek() ||
      !same(prompts, this.prompts.peek()) ||
      !same(columns, this.columns.peek());
    batch(() => {
      this.rowCount.value = rowCount;
      this.title.value = parts.title ?? read("title");
      this.prompts.value = prompts;
      this.progress.value = { ...DEFAULTS.progress, ...read("progress") };
      if (!same(columns, this.columns.peek())) this.columns.value = columns;
      this.selectedCount.value = read("selected_count");
      this.history.value = read("history");
      this.fewSelected.value = read("few_selected");
      this.comparing.value = read("comparing");
      if (!same(read("agreement"), this.agreement.peek())) this.agreement.value = read("agreement");
      if (!same(read("scored"), this.scored.peek())) this.scored.value = read("scored");
      if (!same(read("scores"), this.scores.peek())) this.scores.value = read("scores");
      const mapped = read("mapped");
      const map = "number" in mapped ? (mapped as MapState) : null;
      if (!same(map, this.map.state.peek())) this.map.state.value = map;
      if (!same(shown, old)) {
        this.shown.value = shown;
        const asked = this.#wanted.peek();
        if (asked && (shown.error !== null || sameQuery(asked.query, shown.query))) {
          this.#wanted.value = null;
        } else if (asked) {
          asked.other = Date.now();
        }
      }
      if (shown.version !== old.version || shown.plain !== old.plain) this.#reorder();
      if (stale) this.#refresh();
    });
    const lacks = cut > 0 && cut !== this.#whole?.cut && cut !== this.#wholeAsked;
    // Before there is a view nobody would hear the answer.
    if (lacks && this.#tickTimer !== null && this.#send({ type: "whole" })) this.#wholeAsked = cut;
  }

  /** Other rows are shown: asks which. Those that are drawn stay until it is known. */
  #reorder(): void {
    const { plain, count } = this.shown.peek();
    for (const [position] of this.#order.values()) {
      if (plain) this.#order.set(position, position);
      else if (position >= count || !this.#isDrawn(position)) this.#order.set(position, null);
    }
    this.#pending.clear();
    this.#stale.clear();
    if (!plain) this.#distrust();
    // A person waits for it.
    this.#flushedAt = 0;
    if (this.#flushTimer !== null) clearTimeout(this.#flushTimer);
    this.#flushTimer = null;
    this.#schedule();
  }

  /** Asks for the drawn rows again. What is held of them is shown until they come. */
  #refresh(): void {
    const drawn = this.#rowsInUse();
    this.#rows.retain((id) => id < this.rowCount.peek() && drawn.has(id));
    this.#thumbs.retain((id) => id < this.rowCount.peek());
    this.#pending.clear();
    this.#distrust();
    this.#schedule();
  }

  #distrust(): void {
    for (const { wants } of this.#views) {
      if (wants) for (const at of span(wants.drawn.start, wants.drawn.stop)) this.#stale.add(at);
    }
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
          this.#setRows(message);
          break;
        case "changed":
          this.#changeRows(message.rows);
          break;
        case "thumbs":
          this.#setThumbs(message, buffers);
          break;
        case "facets":
          // Those of what is no longer shown are of no use to anyone.
          if (message.version === this.shown.peek().version)
            this.#facets.get(message.id)?.(message);
          this.#facets.delete(message.id);
          break;
        case "row":
          this.#setRow(message.row.id, message.row);
          break;
        case "whole":
          this.#whole = message;
          this.#readTraits();
          break;
        case "place":
          this.#setPlace(message);
          break;
        case "notice":
          this.notice.value = message.text;
          break;
        case "prompts":
          for (const resolve of this.#histories.splice(0)) resolve(message.prompts);
          break;
        default:
          if (!this.map.receive(message, buffers)) this.details.receive(message, buffers);
      }
    });
    this.#heard();
    if (this.#rows.full || this.#thumbs.full) {
      const used = this.#rowsInUse();
      this.#rows.trim((id) => used.has(id));
      this.#thumbs.trim((id) => used.has(id));
    }
    this.#order.trim((position) => this.#isDrawn(position));
    this.#schedule();
  };

  #setRows({ version, start, rows }: RowsMessage): void {
    // They were asked for before something else was shown.
    if (version !== this.shown.peek().version) return;
    rows.forEach((row, k) => {
      this.#stale.delete(start + k);
      this.#order.set(start + k, row.id);
      this.#setRow(row.id, row);
    });
    this.#received(start, start + rows.length);
  }

  #changeRows(rows: [number, Row][]): void {
    this.changes.value++;
    const used = this.#rowsInUse();
    for (const [id, row] of rows) {
      // Of rows that nobody has asked for only those already held are kept up to date: a run over a
      // large column would push out of the cache what is looked at.
      if (this.#rows.get(id) || used.has(id)) this.#setRow(id, row);
      else this.#settle(id, row);
    }
  }

  #setRow(id: number, row: Row): void {
    this.#settle(id, row);
    const old = this.#rows.get(id);
    this.#rows.set(id, row);
    const thumb = this.#thumbs.get(id);
    if (old?.error && !row.error && thumb && "error" in thumb) this.#thumbs.set(id, null);
  }

  /** Lets go of an ask once the kernel's row shows that it has come to it. */
  #settle(id: number, row: Row): void {
    if (this.#asks.peek().size === 0) return;
    row.cells.forEach((cell, k) => {
      const key = keyOf(id, k);
      const ask = this.#asks.peek().get(key);
      if (!ask) return;
      // The row may have been on its way when the prompt was asked: then it still has the old one.
      const spoken = cell.prompt === ask.prompt || cell.prompt !== ask.before?.prompt;
      if (spoken || Date.now() - ask.at > TIMES.ask) {
        this.#asks.value = changed(this.#asks.peek(), key, null);
      }
    });
  }

  #setPlace({ row, version, position }: PlaceMessage): void {
    const waiting = this.#places;
    this.#places = waiting.filter((one) => one.row !== row);
    if (version !== this.shown.peek().version) return;
    for (const one of waiting) if (one.row === row) one.resolve(position);
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

  #isDrawn(position: number): boolean {
    for (const { wants } of this.#views) {
      if (wants && position >= wants.drawn.start && position < wants.drawn.stop) return true;
    }
    return false;
  }

  /** The rows that are drawn, as far as it is known which they are, and those that are kept. */
  #rowsInUse(): Set<number> {
    const ids = new Set(this.#kept.keys());
    for (const { wants } of this.#views) {
      if (!wants) continue;
      for (const position of span(wants.drawn.start, wants.drawn.stop)) {
        const id = this.#place(position);
        if (id !== null) ids.add(id);
      }
    }
    return ids;
  }

  #place(position: number): number | null {
    const { plain, count } = this.shown.peek();
    if (position >= count) return null;
    return this.#order.get(position) ?? (plain ? position : null);
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
    const stop = Math.min(drawn.stop, this.shown.peek().count);
    for (let position = drawn.start; position < stop; position++) {
      const id = this.#place(position);
      if (id !== null && this.#rows.get(id) && !this.#stale.has(position)) continue;
      const block = position - (position % BLOCK);
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
      this.#send({ type: "rows", view, start, stop: Math.min(stop, this.shown.peek().count) });
    }
  }

  #wishThumbs(view: ViewState, { drawn, seen, pixels }: Wants): void {
    const lacks = (row: number | null): row is number => {
      if (row === null || this.#rows.get(row)?.error) return false;
      const held = this.#thumbs.get(row);
      return !held || ("url" in held && held.pixels < pixels);
    };
    // What is seen comes first, then what scrolling on would bring, then what lies behind.
    const order = [...span(seen.start, drawn.stop), ...span(drawn.start, seen.start)];
    const wish = order.map((position) => this.#place(position)).filter(lacks);
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
    const asked = this.#wanted.peek();
    if (asked) {
      const differs = asked.other !== null && now - asked.other > TIMES.query;
      if (differs || now - asked.at > TIMES.queryMost) this.#wanted.value = null;
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

function same(a: unknown, b: unknown): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
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

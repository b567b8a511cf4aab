import { vi } from "vitest";
import {
  type Cell,
  DEFAULTS,
  type Message,
  type Progress,
  type Request,
  type Review,
  type Row,
  type Traits,
} from "../src/protocol";
import type { Listener, Model } from "../src/session";

/** A widget model with a kernel that does only what a test tells it to. */
export class FakeModel implements Model {
  readonly traits: Traits;
  readonly sent: Request[] = [];
  readonly listeners = new Map<string, Set<Listener>>();
  /** Whether sending fails, as it does without a kernel. */
  dead = false;

  constructor(traits: Partial<Traits> = {}) {
    this.traits = {
      ...DEFAULTS,
      row_count: 24,
      title: "caption · df.image",
      prompts: [{ name: "caption", text: "" }],
      ...traits,
    };
    // All rows in their own order, unless a test says otherwise.
    if (!traits.shown) this.traits.shown = { ...DEFAULTS.shown, count: this.traits.row_count };
  }

  get(name: string): unknown {
    return this.traits[name as keyof Traits];
  }

  send(content: unknown): void {
    if (this.dead) throw new Error("no comm");
    this.sent.push(structuredClone(content) as Request);
  }

  on(name: string, callback: Listener): void {
    if (!this.listeners.has(name)) this.listeners.set(name, new Set());
    this.listeners.get(name)?.add(callback);
  }

  off(name: string, callback: Listener): void {
    this.listeners.get(name)?.delete(callback);
  }

  #emit(name: string, ...args: unknown[]): void {
    for (const callback of this.listeners.get(name) ?? []) callback(...(args as never[]));
  }

  get listening(): number {
    return [...this.listeners.values()].reduce((sum, set) => sum + set.size, 0);
  }

  /** The kernel sets a trait. */
  set<K extends keyof Traits>(name: K, value: Traits[K]): void {
    this.traits[name] = value;
    this.#emit(`change:${name}`);
  }

  progress(part: Partial<Progress>): void {
    this.set("progress", { ...this.traits.progress, ...part });
  }

  /** The kernel shows something else. */
  show(part: Partial<Traits["shown"]>): void {
    const { version } = this.traits.shown;
    this.set("shown", { ...this.traits.shown, version: version + 1, ...part });
  }

  /** The kernel says something. */
  say(message: Message, buffers: DataView[] = []): void {
    this.#emit("msg:custom", message, buffers);
  }

  /** The kernel sends the rows that stand at [start, stop), all alike but for their labels. */
  sayRows(start: number, stop: number, part: Partial<Cell> = {}): void {
    this.sayAt(
      start,
      Array.from({ length: stop - start }, (_, k) => makeRow(start + k, part)),
    );
  }

  /** The kernel sends the rows that stand from a position on. */
  sayAt(start: number, rows: Row[], version = this.traits.shown.version): void {
    this.say({ type: "rows", version, start, rows });
  }

  sayThumbs(rows: number[], pixels = 256, bytes = 100): void {
    this.say(
      { type: "thumbs", rows, pixels, mime: "image/webp", errors: rows.map(() => null) },
      rows.map(() => new DataView(new ArrayBuffer(bytes))),
    );
  }

  /** What the page has sent of one kind. */
  requests<T extends Request["type"]>(type: T): Extract<Request, { type: T }>[] {
    return this.sent.filter((request) => request.type === type) as Extract<Request, { type: T }>[];
  }
}

export function makeCell(part: Partial<Cell> = {}): Cell {
  return {
    prompt: "",
    answer: "a dog",
    state: "done",
    error: null,
    cached: false,
    source: null,
    confidence: null,
    review: null,
    ...part,
  };
}

export function makeRow(id: number, part: Partial<Cell> = {}, row: Partial<Row> = {}): Row {
  return {
    id,
    label: `row ${id}`,
    error: null,
    cells: [makeCell(part)],
    values: [],
    selected: false,
    duplicates: 0,
    ...row,
  };
}

export function makeReview(part: Partial<Review> = {}): Review {
  return { status: null, flagged: false, text: null, who: "ada", when: 1_800_000_000, ...part };
}

/** Counts the object URLs that are in use. */
export function watchUrls(): Set<string> {
  const live = new Set<string>();
  let next = 1;
  vi.spyOn(URL, "createObjectURL").mockImplementation(() => {
    const url = `blob:test/${next++}`;
    live.add(url);
    return url;
  });
  vi.spyOn(URL, "revokeObjectURL").mockImplementation((url) => {
    if (!live.delete(String(url))) throw new Error(`${url} was not in use`);
  });
  return live;
}

import { type ReadonlySignal, type Signal, signal } from "@preact/signals";

interface Entry<V> {
  signal: Signal<V | null>;
  weight: number;
}

export interface CacheOptions<V> {
  /** The most that the values may weigh together. */
  limit: number;
  weigh(value: V | null): number;
  /** Called with every value that leaves, whether it is replaced, evicted or cleared. */
  release?(value: V): void;
}

/**
 * Values by row number that components can watch before they have come, least recently used out
 * first.
 */
export class Cache<V> {
  // A Map keeps the order of insertion, so the first entry is the one longest unused.
  readonly #entries = new Map<number, Entry<V>>();
  readonly #options: CacheOptions<V>;
  #weight = 0;

  constructor(options: CacheOptions<V>) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  get weight(): number {
    return this.#weight;
  }

  /** Whether there is more than the limit allows. */
  get full(): boolean {
    return this.#weight > this.#options.limit;
  }

  /** What is held, as it is now: what the caller does meanwhile does no harm. */
  values(): [row: number, value: V][] {
    const held: [number, V][] = [];
    for (const [row, { signal }] of this.#entries) {
      const value = signal.peek();
      if (value !== null) held.push([row, value]);
    }
    return held;
  }

  /** The value of a row as a signal, null until it comes. */
  watch(row: number): ReadonlySignal<V | null> {
    return this.#entry(row).signal;
  }

  get(row: number): V | null {
    return this.#entries.get(row)?.signal.peek() ?? null;
  }

  set(row: number, value: V | null): void {
    const entry = this.#entry(row);
    const old = entry.signal.peek();
    const weight = this.#options.weigh(value);
    this.#weight += weight - entry.weight;
    entry.weight = weight;
    entry.signal.value = value;
    if (old !== null && old !== value) this.#options.release?.(old);
  }

  /** Marks a row as just used. */
  touch(row: number): void {
    const entry = this.#entries.get(row);
    if (!entry) return;
    this.#entries.delete(row);
    this.#entries.set(row, entry);
  }

  /** Evicts down to the limit, sparing the rows that are in use. */
  trim(inUse: (row: number) => boolean): void {
    if (!this.full) return;
    for (const row of [...this.#entries.keys()]) {
      if (!this.full) return;
      if (!inUse(row)) this.delete(row);
    }
  }

  delete(row: number): void {
    const entry = this.#entries.get(row);
    if (!entry) return;
    this.set(row, null);
    this.#weight -= entry.weight;
    this.#entries.delete(row);
  }

  /** Deletes all but the rows that `keep` names. */
  retain(keep: (row: number) => boolean): void {
    for (const row of [...this.#entries.keys()]) if (!keep(row)) this.delete(row);
  }

  #entry(row: number): Entry<V> {
    let entry = this.#entries.get(row);
    if (!entry) {
      entry = { signal: signal<V | null>(null), weight: this.#options.weigh(null) };
      this.#entries.set(row, entry);
      this.#weight += entry.weight;
    }
    return entry;
  }
}

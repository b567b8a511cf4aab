import { computed, type ReadonlySignal, signal } from "@preact/signals";
import type { ColoursMessage, Key, MapState, Message, Request, SelectRequest } from "./protocol";
import { SELECTED } from "./scatter";

/** What points are coloured by: the kernel's word, and the byte of each row. */
export interface Colours extends Omit<ColoursMessage, "type"> {
  codes: Uint8Array;
}

/** All that the page knows of a gallery's map, shared by its views. */
export class PictureMap {
  /** Null where there is none. */
  readonly state = signal<MapState | null>(null);
  /** What points are coloured by, as a person has chosen; null for nothing. */
  readonly key = signal<Key | null>(null);
  readonly #send: (request: Request) => boolean;
  readonly #places = signal<Float32Array | null>(null);
  readonly #marks = signal<Uint8Array | null>(null);
  readonly #colours = signal<Colours | null>(null);
  /** What they are coloured by, null until it comes. */
  readonly colours = computed(() => {
    const colours = this.#colours.value;
    return colours?.key === this.key.value ? colours : null;
  });

  constructor(send: (request: Request) => boolean) {
    this.#send = send;
  }

  /** Where the rows lie, x and y one behind another, NaN for none; null until it comes. */
  get places(): ReadonlySignal<Float32Array | null> {
    return this.#places;
  }

  /** SHOWN and SELECTED of each row; null until they come. */
  get marks(): ReadonlySignal<Uint8Array | null> {
    return this.#marks;
  }

  /** Asks where the rows lie, and from now on how they are marked, for a view. */
  open(view: string): void {
    this.#send({ type: "map_open", view, open: true });
  }

  close(view: string): void {
    this.#send({ type: "map_open", view, open: false });
  }

  /** Asks what the rows are coloured by now. */
  askColours(): void {
    const key = this.key.peek();
    if (key !== null) this.#send({ type: "colours", key });
  }

  /** Marks rows at once, as the kernel will. */
  select(how: SelectRequest["how"], rows: ReadonlySet<number>): void {
    const old = this.#marks.peek();
    if (!old) return;
    const marks = old.slice();
    if (how === "set")
      for (let k = 0; k < marks.length; k++) marks[k] = (marks[k] ?? 0) & ~SELECTED;
    for (const row of rows) {
      if (how === "remove") marks[row] = (marks[row] ?? 0) & ~SELECTED;
      else marks[row] = (marks[row] ?? 0) | SELECTED;
    }
    this.#marks.value = marks;
  }

  /** Takes a message of the kernel's; false where it is not of these. */
  receive(message: Message, buffers: readonly DataView[]): boolean {
    const [buffer] = buffers;
    switch (message.type) {
      case "map": {
        // A copy: the numbers of a message may stand where no array of them can begin.
        const bytes = bytesOf(buffer);
        this.#places.value = new Float32Array(bytes.slice().buffer, 0, bytes.length >> 2);
        return true;
      }
      case "map_marks":
        this.#marks.value = bytesOf(buffer);
        return true;
      case "colours":
        this.#colours.value = { ...message, codes: bytesOf(buffer) };
        return true;
      default:
        return false;
    }
  }

  /** Lets go of all that can be asked for again. */
  forget(): void {
    this.#places.value = null;
    this.#marks.value = null;
    this.#colours.value = null;
  }
}

function bytesOf(buffer: DataView | undefined): Uint8Array {
  if (!buffer) return new Uint8Array();
  return new Uint8Array(buffer.buffer as ArrayBuffer, buffer.byteOffset, buffer.byteLength);
}

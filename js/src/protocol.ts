/**
 * What the page and the kernel say to each other.
 *
 * Small state is synced as traits, which the page reads and never writes. Rows and thumbnails go by
 * custom messages, because traits would be sent whole on every change and saved into the notebook.
 * The kernel is authoritative and messages keep their order.
 */

/** One column of answers. `text` is empty for a plain caption. */
export interface Prompt {
  name: string;
  text: string;
}

/** Where a run is. `idle` is a gallery that was never run, `waiting` one queued behind another run. */
export type RunState = "idle" | "waiting" | "loading" | "running" | "done" | "cancelled" | "failed";

/** How far a run is. Counts are of answers: rows × prompts. */
export interface Progress {
  state: RunState;
  /** One line for people: what is loading, or why the run failed. */
  note: string;
  /** Answers that are settled, errors among them. */
  done: number;
  total: number;
  /** How many of `done` are errors. */
  failed: number;
  /** How many of `done` came from the store. */
  cached: number;
  /** Answers a second, once it is known. */
  rate: number | null;
  seconds_left: number | null;
  /** How long the run took, once it has ended. */
  seconds: number | null;
  model: string;
  variant: string;
}

/** The synced traits. */
export interface Traits {
  row_count: number;
  title: string;
  prompts: Prompt[];
  progress: Progress;
}

/** `cancelled` is an answer that a cancelled run never came to. */
export type CellState = "waiting" | "running" | "done" | "error" | "cancelled";

/**
 * One answer. `prompt` is what was really asked: a person may have changed it on this row. While it
 * is `running`, `answer` is its beginning, once there is one.
 */
export interface Cell {
  prompt: string;
  answer: string | null;
  state: CellState;
  error: string | null;
  cached: boolean;
}

/** One picture and its answers, in the order of `prompts`. `error`: the picture cannot be read. */
export interface Row {
  label: string;
  error: string | null;
  cells: Cell[];
}

/** Page → kernel: send me the rows [start, stop). Answered by `RowsMessage`. */
export interface RowsRequest {
  type: "rows";
  view: string;
  start: number;
  stop: number;
}

/**
 * Page → kernel: the thumbnails this view wants now, most wanted first. Replaces the view's earlier
 * wish, so that rows scrolled past are not made; an empty list drops the wish. `pixels` is the
 * longest side in device pixels: 128, 256 or 512.
 */
export interface ThumbsRequest {
  type: "thumbs";
  view: string;
  rows: number[];
  pixels: number;
}

/** Page → kernel: answer this prompt on this row, in the place of what stands there. */
export interface AskRequest {
  type: "ask";
  row: number;
  prompt_index: number;
  prompt: string;
}

/** Page → kernel: try again what failed on this row or was cancelled, its picture included. */
export interface RetryRequest {
  type: "retry";
  row: number;
}

/** Page → kernel: stop the run. */
export interface CancelRequest {
  type: "cancel";
}

/** Page → kernel: this view is gone, forget its wishes. */
export interface CloseRequest {
  type: "close";
  view: string;
}

export type Request =
  | RowsRequest
  | ThumbsRequest
  | AskRequest
  | RetryRequest
  | CancelRequest
  | CloseRequest;

/** Kernel → page: the rows from `start` on, in reply to `RowsRequest`. */
export interface RowsMessage {
  type: "rows";
  start: number;
  rows: Row[];
}

/** Kernel → page: rows that have changed, as they now are. */
export interface ChangedMessage {
  type: "changed";
  rows: [index: number, row: Row][];
}

/**
 * Kernel → page: thumbnails. `buffers[k]` is the picture of `rows[k]`, empty where `errors[k]` says
 * why there is none. `pixels` repeats the request's, whatever size the picture itself has.
 */
export interface ThumbsMessage {
  type: "thumbs";
  rows: number[];
  pixels: number;
  mime: string;
  errors: (string | null)[];
}

export type Message = RowsMessage | ChangedMessage | ThumbsMessage;

/** What a trait is before the kernel has set it, or where a saved notebook lacks it. */
export const DEFAULTS: Traits = {
  row_count: 0,
  title: "",
  prompts: [],
  progress: {
    state: "idle",
    note: "",
    done: 0,
    total: 0,
    failed: 0,
    cached: 0,
    rate: null,
    seconds_left: null,
    seconds: null,
    model: "",
    variant: "",
  },
};

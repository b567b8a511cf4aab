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

/** How far a run is. Counts are of answers, rows × prompts, or of pictures that are measured. */
export interface Progress {
  state: RunState;
  /** One line for people: what is loading, or why the run failed. */
  note: string;
  counted: "answers" | "pictures" | "answers and pictures";
  /** Those that are settled, errors among them. */
  done: number;
  total: number;
  /** How many of `done` are errors. */
  failed: number;
  /** How many of `done` came from the store. */
  cached: number;
  /** How many a second are computed, once it is known. */
  rate: number | null;
  seconds_left: number | null;
  /** How long the run took, once it has ended. */
  seconds: number | null;
  model: string;
  variant: string;
}

/** A column of the caller's frame that can be shown, searched, filtered and sorted by. */
export interface FrameColumn {
  name: string;
  /**
   * `computed` is a number that is no part of the frame, such as a score; `probability` is one, too,
   * that is a choice's.
   */
  kind: "text" | "number" | "bool" | "computed" | "probability";
}

/**
 * What is filtered and sorted by, as one text: `column:NAME` of the frame, `answer:K`, `state:K`,
 * `confidence:K` and `review:K` of the K-th prompt, `label`, `error` (whether the picture is broken),
 * `copies` (how many rows hold the same picture), `row` (the frame's order), and `agreement` ("same"
 * or "different": all answers of a row, a person's where there is one), and `agreement:K,L` (the same
 * of the models' own answers to the K-th and L-th prompt).
 */
export type Key = string;

/** One filter; a row passes where its value is one of `values` (as texts), or in [min, max]. */
export interface Filter {
  key: Key;
  values?: string[];
  min?: number;
  max?: number;
}

/** What is shown of a gallery, and in which order. `search` is looked for in all texts of a row. */
export interface Query {
  search: string;
  filters: Filter[];
  sort: { key: Key; descending: boolean } | null;
  /** Show equal pictures once, at the first of them. */
  unique: boolean;
}

/**
 * The rows that the query lets through. `version` goes up whenever they or their order change.
 * `plain` says that it is all rows in their own order, so that a position is a row's number.
 */
export interface Shown {
  version: number;
  count: number;
  plain: boolean;
  query: Query;
  /** Why the query could not be done, in one line. */
  error: string | null;
}

/** How many reviews can be undone and done again. */
export interface History {
  undo: number;
  redo: number;
}

/** How often the models' own answers to two prompts are the same, where both have `answered`. */
export interface Agreement {
  one: number;
  other: number;
  answered: number;
  agree: number;
  /** The 95 % interval of the share, from 0 to 1. */
  low: number;
  high: number;
}

/** What the answers to a prompt were scored with when that was asked, the leading metric first. */
export interface Score {
  prompt: number;
  /** How many rows it is of. */
  count: number;
  metrics: Metric[];
  /** Null for captions, and where no answer has a confidence. */
  reliability: Reliability | null;
}

/** A metric's value and its 95 % interval, which is null where rows are too few for one. */
export type Metric = [name: string, value: number, low: number | null, high: number | null];

/** Whether a confidence means what it says. All but the counts are from 0 to 1. */
export interface Reliability {
  /** The expected calibration error, and the Brier score. */
  ece: number;
  brier: number;
  /** Of equal width, from 0 to 1: how many answers are so sure, how sure they are on average, and how
   * many of them are right; null where there are none. */
  bins: [count: number, confidence: number | null, correct: number | null][];
}

/**
 * A map of the pictures. `number` counts the maps that were asked for; `version` is 0 until the places
 * are known, and then another one whenever they change.
 */
export interface MapState {
  number: number;
  version: number;
  method: "pca" | "umap";
  /** Why there is none, in one line; empty where there is one, or it is on its way. */
  note: string;
}

/** The synced traits. They are saved with the notebook, so what is too long is cut in them. */
export interface Traits {
  row_count: number;
  title: string;
  prompts: Prompt[];
  progress: Progress;
  columns: FrameColumn[];
  /** The query is null where it is too long. */
  shown: Omit<Shown, "query"> & { query: Query | null };
  /** How many rows are selected. */
  selected_count: number;
  history: History;
  /** The selected rows where they are two to four, which can be looked at side by side; else none. */
  few_selected: number[];
  /** Whether the columns of answers are there to be compared: those that differ are marked. */
  comparing: boolean;
  /** Where they are, each two of the first columns that have answers to the same rows. */
  agreement: Agreement[];
  /** The prompts whose answers were scored: references stand beside these. */
  scored: number[];
  /** The scores of the four of them that were scored last. */
  scores: Score[];
  /** Empty where nobody asked for a map. */
  mapped: MapState | Record<string, never>;
  /**
   * 0 where title, prompts, columns and query are whole. Else the number of what is left out, which
   * `WholeRequest` asks for; another one whenever that changes.
   */
  cut: number;
}

/**
 * `cancelled` is an answer that a cancelled run never came to, `unasked` one that nobody asked for:
 * its prompt was asked of other rows.
 */
export type CellState = "unasked" | "waiting" | "running" | "done" | "error" | "cancelled";

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
  /** The file that an imported answer came from; no model has said it. */
  source: string | null;
  /** The answer's probability under the model, from 0 to 1: exp of its log-probability. */
  confidence: number | null;
  /** Where choices were ranked, the 20 most probable ones: their shares among all, from 0 to 1. */
  choices?: Candidate[];
  /** Where it was scored, what it was scored against, the most frequent 20: counted, since several
   * people may have said the same. `further` are how many different ones are left out. */
  references?: Reference[];
  further?: number;
  /** Where several answers were asked for, they and their probabilities, at most 20. */
  alternatives?: Candidate[];
  review: Review | null;
}

/** A right answer, or a caption by a person, and how many have given it. */
export type Reference = [text: string, count: number];

/** What the answer is, or might have been, and how probable it is; the most probable come first. */
export type Candidate = [text: string, probability: number];

export type ReviewStatus = "accepted" | "rejected" | "corrected";

/** What a person says of an answer. The model's own text stays in `Cell.answer`. */
export interface Review {
  status: ReviewStatus | null;
  flagged: boolean;
  /** The person's text where the status is `corrected`. */
  text: string | null;
  who: string;
  /** Unix seconds. */
  when: number;
}

/** One picture and its answers, in the order of `prompts`. `error`: the picture cannot be read. */
export interface Row {
  /** The row's number in the frame's order, by which everything but `RowsRequest` names it. */
  id: number;
  label: string;
  error: string | null;
  cells: Cell[];
  /** The values of `columns`, as texts; null where there is none. */
  values: (string | null)[];
  selected: boolean;
  /** How many other rows hold the same picture, of those that are known. */
  duplicates: number;
}

/**
 * Page → kernel: send me what is shown at the positions [start, stop). Answered by `RowsMessage`.
 */
export interface RowsRequest {
  type: "rows";
  view: string;
  start: number;
  stop: number;
}

/** Page → kernel: send me what is left out of the traits. Answered by `WholeMessage`. */
export interface WholeRequest {
  type: "whole";
}

/** Page → kernel: send me this row, wherever it stands. Answered by `RowMessage`. */
export interface RowRequest {
  type: "row";
  row: number;
}

/** Page → kernel: where does this row stand in what is shown? Answered by `PlaceMessage`. */
export interface PlaceRequest {
  type: "place";
  row: number;
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

/**
 * Page → kernel: try again what failed on this row or was cancelled, its picture included; with no
 * row, on all of them.
 */
export interface RetryRequest {
  type: "retry";
  row: number | null;
}

/** Page → kernel: show this. Answered by the trait `shown`. */
export interface QueryRequest {
  type: "query";
  query: Query;
}

/**
 * Page → kernel: count the values under these keys among the rows shown, each as if it had no filter
 * of its own. Answered by `FacetsMessage` with the same `id`.
 */
export interface FacetsRequest {
  type: "facets";
  id: string;
  keys: Key[];
}

/** Page → kernel: select rows. `positions` [start, stop) are of what is shown. */
export interface SelectRequest {
  type: "select";
  how: "set" | "add" | "remove";
  rows?: number[];
  positions?: [start: number, stop: number];
  /** The version that the positions are of: of another one nothing is selected. */
  version?: number;
}

/** Page → kernel: ask rows something new, in a new column; an empty prompt captions them. */
export interface AskManyRequest {
  type: "ask_many";
  prompt: string;
  scope: "all" | "shown" | "selected";
}

/** Page → kernel: the prompts asked before, newest first. Answered by `PromptsMessage`. */
export interface PromptsRequest {
  type: "prompts";
}

/** Page → kernel: a person's word on one answer. Answered by a `ChangedMessage` and `history`. */
export interface ReviewRequest {
  type: "review";
  row: number;
  prompt_index: number;
  action: "accept" | "reject" | "flag" | "clear" | "correct";
  /** The person's text, with `correct`. */
  text?: string;
}

/** Page → kernel: take the last review back, or do it again. */
export interface UndoRequest {
  type: "undo" | "redo";
}

/** Page → kernel: a picture as large as [pixels] on its longest side. Answered by `PictureMessage`. */
export interface PictureRequest {
  type: "picture";
  row: number;
  pixels: number;
}

/** Page → kernel: a row's prompts as lines for a cell. Answered by `CodesMessage`. */
export interface CodesRequest {
  type: "codes";
  row: number;
}

/**
 * Page → kernel: the conversation about a picture, from now on also when it changes. Answered by
 * `ChatMessage`. `null` for none.
 */
export interface ChatOpenRequest {
  type: "chat_open";
  view: string;
  row: number | null;
}

/**
 * Page → kernel: say this. With `at` it takes the place of that turn and of all behind it: so a turn
 * is edited, or with the same text answered anew.
 */
export interface ChatSayRequest {
  type: "chat_say";
  row: number;
  text: string;
  at?: number;
}

/** Page → kernel: stop the answer under way. What has come of it stays, and it can be said again. */
export interface ChatStopRequest {
  type: "chat_stop";
  row: number;
}

/**
 * Page → kernel: this view shows the map from now on, or no longer. Answered by `MapMessage`, where
 * there is a map, and from then on by a `MapMarksMessage` whenever what is shown or selected changes.
 */
export interface MapOpenRequest {
  type: "map_open";
  view: string;
  open: boolean;
}

/** Page → kernel: what are rows coloured by under this key? Answered by `ColoursMessage`. */
export interface ColoursRequest {
  type: "colours";
  key: Key;
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
  | RowRequest
  | MapOpenRequest
  | ColoursRequest
  | WholeRequest
  | PlaceRequest
  | ThumbsRequest
  | AskRequest
  | RetryRequest
  | CancelRequest
  | CloseRequest
  | QueryRequest
  | FacetsRequest
  | SelectRequest
  | AskManyRequest
  | PromptsRequest
  | ReviewRequest
  | UndoRequest
  | PictureRequest
  | CodesRequest
  | ChatOpenRequest
  | ChatSayRequest
  | ChatStopRequest;

/** Kernel → page: the rows shown from `start` on in that version, in reply to `RowsRequest`. */
export interface RowsMessage {
  type: "rows";
  version: number;
  start: number;
  rows: Row[];
}

/** Kernel → page: a row, in reply to `RowRequest`. */
export interface RowMessage {
  type: "row";
  row: Row;
}

/**
 * Kernel → page: where the rows lie on the map. The one buffer holds two numbers of 32 bits a row, x
 * and y, NaN for a row that has no place.
 */
export interface MapMessage {
  type: "map";
}

/** Kernel → page: in the one buffer a byte a row: 1 where it is shown, 2 more where it is selected. */
export interface MapMarksMessage {
  type: "map_marks";
}

/**
 * Kernel → page: what rows are coloured by. The one buffer holds a byte a row: a place in `values`, or
 * of numbers a share of their range, from 0 to 253; 254 is another value and 255 none.
 */
export interface ColoursMessage {
  type: "colours";
  key: Key;
  label: string;
  /** The most frequent values, at most 8; none for a range of numbers. */
  values: string[];
  /** How many rows have another one. */
  others: number;
  /** The range of numbers; null for values. */
  min: number | null;
  max: number | null;
}

/** Kernel → page: what the traits have cut, whole, under the number that `cut` has. */
export interface WholeMessage {
  type: "whole";
  cut: number;
  parts: Partial<Pick<Traits, "title" | "prompts" | "columns"> & Pick<Shown, "query">>;
}

/** Kernel → page: where a row stands in that version, null where it does not. */
export interface PlaceMessage {
  type: "place";
  row: number;
  version: number;
  position: number | null;
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

/** One value and how many rows have it. `value` is what a filter takes. */
export interface FacetValue {
  value: string;
  count: number;
}

/** The values under one key: the most frequent ones, or for numbers a histogram. */
export interface Facet {
  key: Key;
  /** What a person calls it. */
  label: string;
  kind: "values" | "histogram";
  /** At most 50, most frequent first; empty for a histogram. */
  values: FacetValue[];
  /** How many different values there are. */
  distinct: number;
  /** Equal bins [min, max), for a histogram; the last one holds max too. */
  bins: { min: number; max: number; count: number }[];
}

/** Kernel → page: in reply to `FacetsRequest`. */
export interface FacetsMessage {
  type: "facets";
  id: string;
  version: number;
  facets: Facet[];
}

/** Kernel → page: the prompts asked before, newest first. */
export interface PromptsMessage {
  type: "prompts";
  prompts: string[];
}

/** Kernel → page: a picture, in the one buffer; empty where `error` says why there is none. */
export interface PictureMessage {
  type: "picture";
  row: number;
  pixels: number;
  mime: string;
  /** The picture's own size, in pixels. */
  width: number;
  height: number;
  error: string | null;
}

/**
 * Kernel → page: for each of a row's prompts what asks it of all rows in a cell, and scores it where
 * it was scored. `measured` is what measures the pictures, empty where nothing can be copied.
 */
export interface CodesMessage {
  type: "codes";
  row: number;
  codes: string[];
  measured: string;
}

/**
 * One question and its answer. While it is `running`, and once it is `cancelled`, `answer` is its
 * beginning.
 */
export interface Turn {
  question: string;
  answer: string | null;
  state: CellState;
  error: string | null;
  confidence: number | null;
}

/** Kernel → page: the whole conversation about a picture. `code` is what does the same in a cell. */
export interface ChatMessage {
  type: "chat";
  row: number;
  turns: Turn[];
  code: string;
}

/** Kernel → page: why something that was asked for cannot be done, in one line. */
export interface NoticeMessage {
  type: "notice";
  text: string;
}

export type Message =
  | RowsMessage
  | RowMessage
  | MapMessage
  | MapMarksMessage
  | ColoursMessage
  | WholeMessage
  | PlaceMessage
  | ChangedMessage
  | ThumbsMessage
  | FacetsMessage
  | PromptsMessage
  | PictureMessage
  | CodesMessage
  | ChatMessage
  | NoticeMessage;

export const NO_QUERY: Query = { search: "", filters: [], sort: null, unique: false };

/** What a trait is before the kernel has set it, or where a saved notebook lacks it. */
export const DEFAULTS: Traits = {
  row_count: 0,
  title: "",
  prompts: [],
  progress: {
    state: "idle",
    note: "",
    counted: "answers",
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
  columns: [],
  shown: { version: 0, count: 0, plain: true, query: NO_QUERY, error: null },
  selected_count: 0,
  history: { undo: 0, redo: 0 },
  few_selected: [],
  comparing: false,
  agreement: [],
  scored: [],
  scores: [],
  mapped: {},
  cut: 0,
};

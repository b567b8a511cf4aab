import type { ReadonlySignal } from "@preact/signals";
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Details } from "../details";
import { count } from "../format";
import { isFirst, isLast, type Place, placeText } from "../place";
import type { FrameColumn, History, Prompt, Row } from "../protocol";
import { Conversation } from "./Conversation";
import { CopyCode } from "./CopyCode";
import { BrokenPictureIcon, CrossIcon, RedoIcon, RetryIcon, UndoIcon, ZoomIcon } from "./Icons";
import { NeighbourKnobs } from "./Knobs";
import { LONG } from "./Lightbox";
import { ReviewedAnswer, reviewKey } from "./ReviewedAnswer";
import { type ThumbLike, usePicture } from "./ZoomPane";

export interface PanelProps extends Place {
  details: Details;
  rowId: number;
  /** Null until it comes. */
  row: ReadonlySignal<Row | null>;
  thumb: ReadonlySignal<ThumbLike | null>;
  columns: FrameColumn[];
  prompts: Prompt[];
  /** How much can be undone; where it is not given, both can be tried. */
  history?: History | undefined;
  /** Whether it takes the focus when it opens. */
  takesFocus?: boolean | undefined;
  onMove(delta: number): void;
  onClose(): void;
  /** The picture is to be seen large. */
  onZoom(): void;
  /** What failed on the row is to be tried again. */
  onRetry?: (() => void) | undefined;
}

/** The longest side of the panel's picture. */
const PIXELS = 1024;

/** All that there is of one picture, at the side of the gallery. */
export function Panel(props: PanelProps) {
  const { details, rowId, columns, prompts, onMove, onClose, onZoom } = props;
  const row = props.row.value;
  const root = useRef<HTMLElement>(null);
  const title = useId();

  useLayoutEffect(() => {
    const element = root.current;
    if (!element || props.takesFocus === false) return;
    const before = element.ownerDocument.activeElement as HTMLElement | null;
    element.focus({ preventScroll: true });
    return () => {
      // Only if it is still here: a person may have gone on elsewhere.
      if (!element.contains(element.ownerDocument.activeElement)) return;
      if (before?.isConnected) before.focus({ preventScroll: true });
    };
  }, []);

  const asked =
    row && !row.error
      ? JSON.stringify(row.cells.map(({ prompt, references }) => [prompt, Boolean(references)]))
      : null;
  useEffect(() => {
    if (asked !== null) details.askCodes(rowId);
  }, [details, rowId, asked]);
  const codes = details.codes(rowId).value;

  const ends = { isFirst: isFirst(props), isLast: isLast(props) };
  const onKeyDown = (event: KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (target.matches("textarea")) return;
    let done = true;
    if (event.key === "Escape") onClose();
    else if (event.key === "ArrowLeft" && !ends.isFirst) onMove(-1);
    else if (event.key === "ArrowRight" && !ends.isLast) onMove(1);
    else if (event.key === "z") onZoom();
    else if (row && !event.shiftKey) {
      const cell = Number(target.closest<HTMLElement>("[data-answer]")?.dataset.answer ?? 0);
      done = reviewKey(details, row, cell, event.key);
    } else done = false;
    if (!done) return;
    event.preventDefault();
    event.stopPropagation();
  };

  const { history } = props;
  // The button that is pressed goes.
  const onRetry =
    props.onRetry &&
    (() => {
      root.current?.focus({ preventScroll: true });
      props.onRetry?.();
    });
  return (
    <aside ref={root} class="detail" aria-labelledby={title} tabIndex={-1} onKeyDown={onKeyDown}>
      <header class="detail-head">
        <NeighbourKnobs {...ends} onMove={onMove} />
        <span class="detail-place">{placeText(props)}</span>
        <button
          type="button"
          class="knob"
          aria-label="undo the last review"
          title="undo the last review"
          disabled={history?.undo === 0}
          onClick={() => details.undo()}
        >
          <UndoIcon />
        </button>
        <button
          type="button"
          class="knob"
          aria-label="redo the review"
          title="redo the review"
          disabled={history?.redo === 0}
          onClick={() => details.redo()}
        >
          <RedoIcon />
        </button>
        <span class="detail-rule" />
        <button type="button" class="knob" aria-label="close" title="close (Esc)" onClick={onClose}>
          <CrossIcon />
        </button>
      </header>
      <Conversation
        details={details}
        rowId={rowId}
        disabled={Boolean(row?.error)}
        before={
          <>
            <PanelPicture {...props} onRetry={onRetry} />
            <div class="detail-body">
              <h3 id={title} class="detail-title">
                {row ? (
                  row.label || `picture ${count(rowId + 1)}`
                ) : (
                  <span class="bone bone-label" />
                )}
              </h3>
              {row !== null && row.duplicates > 0 && (
                <p class="detail-note">
                  {row.duplicates === 1
                    ? "one other row holds the same picture"
                    : `${count(row.duplicates)} other rows hold the same picture`}
                </p>
              )}
              <Values row={row} columns={columns} code={details.measured.value} />
              {!row?.error && (
                <section class="detail-answers" aria-label="answers">
                  {(row?.cells ?? prompts.map(() => null)).map((cell, k) => (
                    <ReviewedAnswer
                      key={k}
                      details={details}
                      rowId={rowId}
                      index={k}
                      cell={cell}
                      column={prompts[k]}
                      code={codes[k]}
                      onRetry={onRetry}
                    />
                  ))}
                </section>
              )}
            </div>
          </>
        }
      />
      <Announcements details={details} rowId={rowId} row={row} />
    </aside>
  );
}

function PanelPicture({ details, rowId, row, thumb, onZoom, onRetry }: PanelProps) {
  const picture = usePicture(details, rowId, PIXELS);
  const small = thumb.value;
  const url =
    picture && "url" in picture ? picture.url : small && "url" in small ? small.url : null;
  const error =
    row.value?.error ??
    (url === null ? (picture && "error" in picture && picture.error) || null : null);
  if (error !== null) {
    return (
      <div class="detail-picture detail-picture-error">
        <BrokenPictureIcon />
        <p class="message">{error}</p>
        {onRetry && (
          <button type="button" class="button" onClick={onRetry}>
            <RetryIcon />
            Retry
          </button>
        )}
      </div>
    );
  }
  const answer = row.value?.cells.find((cell) => cell.state === "done" && cell.answer);
  const words = answer?.review?.text || answer?.answer || row.value?.label || "";
  return (
    <button
      type="button"
      class="detail-picture"
      aria-label={`look at it large${words ? `: ${words}` : ""}`}
      title="look at it large (z)"
      onClick={onZoom}
    >
      {url !== null && <img src={url} alt={words} draggable={false} decoding="async" />}
      <span class="detail-zoom">
        <ZoomIcon />
      </span>
    </button>
  );
}

interface ValuesProps {
  row: Row | null;
  columns: FrameColumn[];
  /** The line that measures the pictures, if they are. */
  code: string;
}

/** What the frame says of the row, and what was measured of it. */
function Values({ row, columns, code }: ValuesProps) {
  // The choices stand under their answer.
  const values = columns
    .map((column, k) => ({ ...column, k }))
    .filter(({ kind }) => kind !== "probability");
  if (!row || values.length === 0) return null;
  return (
    <div class="review-head">
      <dl class="detail-values">
        {values.map(({ name, kind, k }) => {
          const value = row.values[k] ?? null;
          return (
            <div key={name}>
              <dt title={name}>{name}</dt>
              <dd
                class={value === null ? "detail-none" : `detail-${kind}`}
                // What may have to be scrolled has to be reached with the keyboard.
                {...(value !== null && value.length > LONG ? { tabIndex: 0 } : {})}
              >
                {value ?? "—"}
              </dd>
            </div>
          );
        })}
      </dl>
      {code && <CopyCode code={code} small />}
    </div>
  );
}

/** Tells a screen reader of answers that come while the panel is open. */
function Announcements({
  details,
  rowId,
  row,
}: {
  details: Details;
  rowId: number;
  row: Row | null;
}) {
  const chat = details.chat(rowId).value;
  const [text, setText] = useState("");
  const before = useRef<{ rowId: number; states: Map<string, string> }>({
    rowId: -1,
    states: new Map(),
  });
  useEffect(() => {
    const old = before.current.rowId === rowId ? before.current.states : null;
    const states = new Map<string, string>();
    const words: string[] = [];
    const look = (key: string, state: string, came: string, failed: string | null) => {
      states.set(key, state);
      const was = old?.get(key);
      if (was !== "waiting" && was !== "running") return;
      if (state === "done") words.push(came);
      else if (state === "error") words.push(`No answer: ${failed ?? "it failed"}`);
    };
    row?.cells.forEach((cell, k) => {
      look(`cell ${k}`, cell.state, `Answer: ${cell.answer || "no words"}`, cell.error);
    });
    chat?.turns.forEach((turn, k) => {
      look(`turn ${k}`, turn.state, `Answer: ${turn.answer || "no words"}`, turn.error);
    });
    before.current = { rowId, states };
    if (words.length > 0) setText(words.join(" "));
    else if (old === null) setText("");
  }, [rowId, row, chat]);
  return (
    <div class="announcer" aria-live="polite">
      {text}
    </div>
  );
}

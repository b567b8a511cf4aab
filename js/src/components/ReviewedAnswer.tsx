import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { type Action, allows, outcomeOf, REVIEW_KEYS, toggled } from "../answers";
import type { Details } from "../details";
import { count, percent } from "../format";
import type { Cell, Prompt, Reference, Review, Row } from "../protocol";
import { Candidates } from "./Candidates";
import { CopyCode } from "./CopyCode";
import { AlertIcon, CheckIcon, CrossIcon, FlagIcon, PencilIcon, RetryIcon } from "./Icons";
import { Knob } from "./Knobs";
import { useTextHeight } from "./textHeight";

interface ReviewedAnswerProps {
  details: Details;
  rowId: number;
  index: number;
  /** Null until the row comes. */
  cell: Cell | null;
  column: Prompt | undefined;
  /** The line that asks it in a cell, once it is there. */
  code?: string | undefined;
  onRetry?: (() => void) | undefined;
}

/** What a key does to an answer: `a`, `r`, `f` and `e`. False where it does nothing. */
export function reviewKey(details: Details, row: Row, index: number, key: string): boolean {
  const cell = row.cells[index];
  const action = REVIEW_KEYS[key];
  if (!action || !cell || row.error || !allows(cell, action)) return false;
  if (action === "correct") {
    details.setCorrection(row.id, index, cell.review?.text ?? cell.answer ?? "");
  } else {
    details.review(row.id, index, toggled(action, cell.review));
  }
  return true;
}

/** A prompt, its answer, how sure the model is of it, and what a person says of it. */
export function ReviewedAnswer(props: ReviewedAnswerProps) {
  const { details, rowId, index, cell, column, onRetry } = props;
  const correction = details.correction(rowId, index).value;
  const review = cell?.review ?? null;
  const corrected = review?.status === "corrected";
  const prompt = cell?.prompt || column?.text || "";
  const name = column?.name && column.name !== prompt ? column.name : "";
  // What was pressed shows at once; the kernel may be at something else.
  const [pressed, setPressed] = useState<Action | null>(null);
  useEffect(() => setPressed(null), [review, rowId]);
  const press = (action: Action): void => {
    if (details.review(rowId, index, toggled(action, review))) setPressed(action);
  };
  const isOn = (action: Action, on: boolean) => (pressed === action ? !on : on);

  return (
    <article class="review" data-answer={index} aria-label={prompt || name || "caption"}>
      <div class="review-head">
        <p class="review-prompt">
          {name && <span class="review-name">{name}</span>}
          <span>{prompt || (name ? "" : "caption")}</span>
        </p>
        {props.code && <CopyCode code={props.code} small />}
      </div>
      {correction === null ? (
        <div class={`review-text${review?.status === "rejected" ? " review-text-rejected" : ""}`}>
          {corrected ? review.text || "no words" : <Outcome cell={cell} onRetry={onRetry} />}
        </div>
      ) : (
        <Correction
          text={correction}
          model={cell ? outcomeOf(cell) : ""}
          canRestore={corrected}
          onText={(text) => details.setCorrection(rowId, index, text)}
          onSave={(text) => details.review(rowId, index, "correct", text.trim())}
          onRestore={() => {
            if (details.review(rowId, index, "clear")) details.setCorrection(rowId, index, null);
          }}
          onCancel={() => details.setCorrection(rowId, index, null)}
        />
      )}
      {corrected && correction === null && (
        <p class="review-model">
          <span class="review-name">{cell?.source ?? "model"}</span>{" "}
          <Outcome cell={cell} onRetry={onRetry} />
        </p>
      )}
      {cell?.references && <References references={cell.references} further={cell.further} />}
      {cell && correction === null && (
        <Candidates
          cell={cell}
          onPick={(text) =>
            text === cell.answer
              ? details.review(rowId, index, "clear")
              : details.review(rowId, index, "correct", text)
          }
        />
      )}
      {cell && correction === null && (
        <div class="review-line">
          <Confidence value={cell.confidence} />
          {cell.source && !corrected && <span class="review-name">from {cell.source}</span>}
          <div class="review-buttons" role="group" aria-label="review">
            {allows(cell, "accept") && (
              <Knob
                class="knob-accept"
                label="accept"
                title="accept (a)"
                pressed={isOn("accept", review?.status === "accepted")}
                onClick={() => press("accept")}
              >
                <CheckIcon />
              </Knob>
            )}
            {allows(cell, "reject") && (
              <Knob
                class="knob-reject"
                label="reject"
                title="reject (r)"
                pressed={isOn("reject", review?.status === "rejected")}
                onClick={() => press("reject")}
              >
                <CrossIcon />
              </Knob>
            )}
            <Knob
              class="knob-flag"
              label="flag"
              title="flag (f)"
              pressed={isOn("flag", review?.flagged ?? false)}
              onClick={() => press("flag")}
            >
              <FlagIcon />
            </Knob>
            {allows(cell, "correct") && (
              <Knob
                class="knob-correct"
                label="correct"
                title="correct (e)"
                pressed={corrected}
                onClick={() =>
                  details.setCorrection(rowId, index, review?.text ?? cell.answer ?? "")
                }
              >
                <PencilIcon />
              </Knob>
            )}
          </div>
        </div>
      )}
      {review && (review.status || review.flagged) && <Signature review={review} />}
    </article>
  );
}

/** What the answer was scored against, all of it. */
function References({
  references,
  further = 0,
}: Pick<Cell, "further"> & { references: Reference[] }) {
  return (
    <div class="references">
      <span class="review-name">{references.length > 1 ? "references" : "reference"}</span>
      <ul aria-label="references">
        {references.map(([text, times]) => (
          <li key={text}>
            {text}
            {times > 1 && <span class="detail-none"> ×{count(times)}</span>}
          </li>
        ))}
        {further > 0 && <li class="detail-none">and {count(further)} more</li>}
      </ul>
    </div>
  );
}

function Outcome({ cell, onRetry }: { cell: Cell | null; onRetry?: (() => void) | undefined }) {
  if (cell?.state === "done") {
    return cell.answer ? <span>{cell.answer}</span> : <span class="detail-none">no words</span>;
  }
  if (cell?.state === "running" && cell.answer) {
    return (
      <span aria-busy="true">
        {cell.answer}
        <span class="caret" />
      </span>
    );
  }
  if (cell?.state === "error" || cell?.state === "cancelled") {
    return (
      <span class="review-failure">
        {cell.state === "error" ? (
          <span class="failure">
            <AlertIcon />
            {cell.error ?? "there is no answer"}
          </span>
        ) : (
          <span class="detail-none">not answered</span>
        )}
        {onRetry && (
          <button type="button" class="button" onClick={onRetry}>
            <RetryIcon />
            Retry
          </button>
        )}
      </span>
    );
  }
  return (
    <span class="review-bones" role="img" aria-label="waiting for an answer">
      <span class="bone" />
      <span class="bone bone-short" />
    </span>
  );
}

/** How probable the answer is under the model. */
export function Confidence({ value }: { value: number | null }) {
  if (value === null) return <span class="confidence" />;
  const share = Math.round(100 * Math.min(1, Math.max(0, value)));
  const words = percent(value);
  return (
    <span
      class={`confidence${share < 35 ? " confidence-low" : ""}`}
      title={`the answer's probability under the model: ${words}`}
    >
      <span
        class="confidence-bar"
        role="meter"
        aria-label="confidence"
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={share}
        aria-valuetext={words}
      >
        <span style={{ width: `${share}%` }} />
      </span>
      <span aria-hidden="true">{words}</span>
    </span>
  );
}

/** Who said so, and when. */
function Signature({ review }: { review: Review }) {
  const when = new Date(review.when * 1000);
  const words = [review.status, review.flagged ? "flagged" : null].filter(Boolean).join(", ");
  return (
    <p class="review-signature">
      {words}
      {review.who && ` by ${review.who}`}
      {review.when > 0 && (
        <>
          {" · "}
          <time dateTime={when.toISOString()} title={when.toLocaleString()}>
            {ago(review.when, Date.now() / 1000)}
          </time>
        </>
      )}
    </p>
  );
}

/** How long ago something was, and past a week the day: "just now", "5 min ago", "3 May 2026". */
export function ago(when: number, now: number): string {
  const seconds = Math.max(0, now - when);
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  const days = Math.floor(seconds / 86_400);
  if (days < 7) return days === 1 ? "yesterday" : `${days} days ago`;
  return new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" }).format(new Date(when * 1000));
}

interface CorrectionProps {
  text: string;
  model: string;
  /** Whether there is a correction to take back. */
  canRestore: boolean;
  onText(text: string): void;
  onSave(text: string): void;
  onRestore(): void;
  onCancel(): void;
}

function Correction(props: CorrectionProps) {
  const { text, model, canRestore, onText, onSave, onRestore, onCancel } = props;
  const container = useRef<HTMLDivElement>(null);
  // Back to the answer, where the keys go on.
  const leave = (action: () => void): void => {
    const panel = container.current?.closest<HTMLElement>(".detail");
    action();
    panel?.focus({ preventScroll: true });
  };
  return (
    <div ref={container} class="review-correction">
      <TextField
        value={text}
        label="correction"
        placeholder="what it should say"
        takesFocus
        onText={onText}
        onEnter={() => leave(() => onSave(text))}
        onEscape={() => leave(onCancel)}
      />
      <p class="review-model">
        <span class="review-name">model</span> {model}
      </p>
      <div class="detail-buttons">
        {canRestore && (
          <button type="button" class="button button-quiet" onClick={() => leave(onRestore)}>
            Take the correction back
          </button>
        )}
        <span class="detail-rule" />
        <button type="button" class="button" title="Esc" onClick={() => leave(onCancel)}>
          Cancel
        </button>
        <button
          type="button"
          class="button ask"
          title="Enter"
          onClick={() => leave(() => onSave(text))}
        >
          Save
        </button>
      </div>
    </div>
  );
}

interface TextFieldProps {
  value: string;
  label: string;
  placeholder: string;
  disabled?: boolean;
  takesFocus?: boolean;
  onText(text: string): void;
  onEnter(): void;
  onEscape(): void;
}

/** A field as high as its text. Nothing that is typed here comes to the notebook's shortcuts. */
export function TextField(props: TextFieldProps) {
  const { value, label, placeholder, disabled, takesFocus, onText, onEnter, onEscape } = props;
  const field = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    if (!takesFocus) return;
    field.current?.focus({ preventScroll: true });
    field.current?.select();
  }, []);
  useTextHeight(field, value);
  return (
    <textarea
      ref={field}
      class="detail-field"
      rows={1}
      value={value}
      placeholder={placeholder}
      aria-label={label}
      disabled={disabled ?? false}
      onInput={(event) => onText(event.currentTarget.value)}
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.isComposing) return;
        if (event.key === "Enter" && !event.shiftKey) {
          event.preventDefault();
          onEnter();
        } else if (event.key === "Escape") {
          event.preventDefault();
          onEscape();
        }
      }}
      onKeyUp={(event) => event.stopPropagation()}
      onKeyPress={(event) => event.stopPropagation()}
    />
  );
}

import type { ComponentChildren } from "preact";
import { allows, modelNote, type Action as Said, toggled } from "../answers";
import type { Cell } from "../protocol";
import type { Session } from "../session";
import { CheckIcon, CrossIcon, FlagIcon, PencilIcon } from "./Icons";

interface MarksProps {
  /** Null until it is known. */
  cell: Cell | null;
  /** Whether the row has other answers beside this one. */
  differs: boolean;
}

/** What a person has said of an answer, and that others differ from it. */
export function Marks({ cell, differs }: MarksProps) {
  const review = cell?.review;
  const status = review?.status ?? null;
  const flagged = review?.flagged ?? false;
  if (cell === null || (status === null && !flagged && !differs)) return null;
  const by = review?.who ? ` by ${review.who}` : "";
  const words = status === "corrected" ? `corrected${by}; ${modelNote(cell)}` : status + by;
  return (
    <span class="marks">
      {differs && (
        <span
          class="mark mark-differs"
          role="img"
          aria-label="answers differ"
          title="answers differ"
        >
          ≠
        </span>
      )}
      {status && (
        <span class={`mark mark-${status}`} role="img" aria-label={status} title={words}>
          {status === "accepted" && <CheckIcon />}
          {status === "rejected" && <CrossIcon />}
          {status === "corrected" && <PencilIcon />}
        </span>
      )}
      {flagged && (
        <span class="mark mark-flagged" role="img" aria-label="flagged" title={`flagged${by}`}>
          <FlagIcon />
        </span>
      )}
    </span>
  );
}

interface ActionsProps {
  session: Session;
  row: number;
  /** The place of the cell in its row. */
  index: number;
  cell: Cell;
  onCorrect(): void;
}

/** What a person with a mouse can say of an answer; the keys a, r, e and f do the same. */
export function ReviewActions({ session, row, index, cell, onCorrect }: ActionsProps) {
  const status = cell.review?.status ?? null;
  const say = (action: Said) => () => session.review(row, index, toggled(action, cell.review));
  return (
    <span class="actions">
      {allows(cell, "accept") && (
        <Action label="accept" hint="a" pressed={status === "accepted"} onClick={say("accept")}>
          <CheckIcon />
        </Action>
      )}
      {allows(cell, "reject") && (
        <Action label="reject" hint="r" pressed={status === "rejected"} onClick={say("reject")}>
          <CrossIcon />
        </Action>
      )}
      {allows(cell, "correct") && (
        <Action label="correct" hint="e" pressed={status === "corrected"} onClick={onCorrect}>
          <PencilIcon />
        </Action>
      )}
      <Action label="flag" hint="f" pressed={cell.review?.flagged ?? false} onClick={say("flag")}>
        <FlagIcon />
      </Action>
    </span>
  );
}

interface ActionProps {
  label: string;
  hint: string;
  pressed: boolean;
  onClick(): void;
  children: ComponentChildren;
}

function Action({ label, hint, pressed, onClick, children }: ActionProps) {
  return (
    <button
      type="button"
      class="action"
      tabIndex={-1}
      aria-label={label}
      aria-pressed={pressed}
      title={`${label} (${hint})`}
      onClick={(event) => {
        // The buttons go when the pointer does, and the focus would fall back to the notebook.
        const tile = event.currentTarget.closest<HTMLElement>("[data-index]");
        tile?.focus({ preventScroll: true });
        onClick();
      }}
    >
      {children}
    </button>
  );
}

import { useEffect, useRef, useState } from "preact/hooks";
import { allows, modelNote, referencesOf, wordsOf } from "../answers";
import type { Cell, CellState, Prompt, ReviewStatus } from "../protocol";
import { twinName } from "../query";
import type { Session } from "../session";
import { Editor } from "./Editor";
import { AskIcon, PencilIcon, StoreIcon } from "./Icons";
import type { Editing } from "./items";
import { Marks, ReviewActions } from "./Review";
import { Failure, Retry } from "./Trouble";

interface AnswerProps {
  session: Session;
  /** Null until it is known. */
  row: number | null;
  /** The place of the cell in its row. */
  index: number;
  /** Null until the row comes. */
  cell: Cell | null;
  /** The column that the cell is of, whose prompt it shares unless a person has changed it. */
  column: Prompt | undefined;
  /** Whether it is compared with the row's other answers and they differ. */
  differs: boolean;
  tabIndex: number;
  editing: Editing["part"] | null;
  onEdit(editing: Editing | null): void;
}

/** A prompt and its answer. */
export function Answer(props: AnswerProps) {
  const { session, row, index, cell, column, tabIndex, editing, onEdit } = props;
  const draft = row === null ? undefined : session.draft(row, index);
  const correction = row === null ? undefined : session.draft(row, index, "answer");
  const asked = row === null ? undefined : session.asked(row, index);
  const prompt = asked ?? cell?.prompt ?? column?.text ?? "";
  const own = cell !== null && column !== undefined && prompt !== column.text;
  const twin = twinName(session.prompts.value, index);
  const container = useRef<HTMLDivElement>(null);
  // The buttons are made when a person comes near: most tiles never need them.
  const [near, setNear] = useState(false);
  // What was asked anew has nothing of the answer before.
  const known = asked === undefined ? cell : null;
  const differs = props.differs && known !== null && wordsOf(known) !== null;

  const close = (focus: boolean): void => {
    onEdit(null);
    // Back to the tile, where the arrow keys go on.
    if (focus) container.current?.closest<HTMLElement>("[data-index]")?.focus();
  };

  return (
    <div
      ref={container}
      class={`cell${own ? " cell-own" : ""}${differs ? " cell-differs" : ""}`}
      data-cell={index}
      onPointerEnter={() => setNear(true)}
      onPointerLeave={() => setNear(false)}
    >
      <div class="promptline">
        <button
          type="button"
          class={`prompt${own ? " prompt-own" : ""}${draft === undefined ? "" : " prompt-draft"}`}
          tabIndex={tabIndex}
          disabled={cell === null || row === null}
          title={promptTitle(column, prompt, draft)}
          onClick={() => row !== null && onEdit({ row, cell: index, part: "prompt" })}
        >
          {twin && <span class="promptname prompttwin">{twin}</span>}
          <span class="prompttext">{draft ?? prompt ?? ""}</span>
          {!(draft ?? prompt) && !twin && (
            <span class="promptname">{column?.name || "caption"}</span>
          )}
          {draft !== undefined && <span class="draftmark">draft</span>}
          <PencilIcon />
        </button>
        {asked === undefined && cell?.state === "running" && (
          <span class="pulse" title="being answered" />
        )}
        {known?.state === "done" && known.cached && (
          <span class="stored" title={`from ${known.source ?? "the store"}`}>
            <StoreIcon />
          </span>
        )}
        {correction !== undefined && editing !== "answer" && (
          <span class="draftmark" title={`a correction that is not saved yet: ${correction}`}>
            draft
          </span>
        )}
        <Marks cell={known} differs={differs} />
        {known && near && editing === null && row !== null && (
          <ReviewActions
            session={session}
            row={row}
            index={index}
            cell={known}
            onCorrect={() => onEdit({ row, cell: index, part: "answer" })}
          />
        )}
      </div>
      <Outcome {...props} cell={cell} asked={asked !== undefined} />
      {cell?.references && <References cell={cell} />}
      {editing === "prompt" && row !== null && (
        <Editor
          label="prompt"
          placeholder="ask something…"
          hint="Esc restores"
          action={(text) => (text.trim() ? "Ask" : "Caption")}
          icon={<AskIcon />}
          text={draft ?? prompt}
          onDraft={(text) => session.setDraft(row, index, text === prompt ? null : text)}
          onDone={(text) => {
            session.ask(row, index, text.trim());
            close(true);
          }}
          onRestore={() => {
            session.setDraft(row, index, null);
            close(true);
          }}
          onLeave={() => close(false)}
        />
      )}
      {editing === "answer" && row !== null && known && allows(known, "correct") && (
        <Correction session={session} row={row} index={index} cell={known} close={close} />
      )}
    </div>
  );
}

/** What the answer was scored against, in one line. */
function References({ cell }: { cell: Cell }) {
  const words = referencesOf(cell);
  return (
    <div class="value reference" title={`reference: ${words}`}>
      <span class="valuename">reference</span> <span class="valuetext">{words}</span>
    </div>
  );
}

interface CorrectionProps {
  session: Session;
  row: number;
  index: number;
  cell: Cell;
  close(focus: boolean): void;
}

/** Edits an answer in its place. What the model said is kept beside it. */
function Correction({ session, row, index, cell, close }: CorrectionProps) {
  const before = cell.review?.text ?? cell.answer ?? "";
  const keep = (text: string): void =>
    session.setDraft(row, index, text === before ? null : text, "answer");
  const save = (text: string): void => {
    const words = text.trim();
    keep(before);
    // The model's own words are no correction, and an empty field is none either.
    if (words === before || !words) return;
    const sent =
      words === cell.answer
        ? session.review(row, index, "clear")
        : session.review(row, index, "correct", words);
    if (!sent) keep(words);
  };
  return (
    <Editor
      label="answer"
      placeholder="what is right…"
      hint="Esc leaves it"
      action={() => "Correct"}
      icon={<PencilIcon />}
      text={session.draft(row, index, "answer") ?? before}
      onDraft={keep}
      onDone={(text) => {
        save(text);
        close(true);
      }}
      onRestore={() => {
        keep(before);
        close(true);
      }}
      // What was typed is not lost: it can be undone.
      onLeave={(text) => {
        save(text);
        close(false);
      }}
    />
  );
}

function promptTitle(column: Prompt | undefined, prompt: string, draft: string | undefined) {
  const name = column?.name && column.name !== prompt ? `${column.name}: ` : "";
  if (draft !== undefined) return `${name}${draft}\nnot asked yet; it was: ${prompt || "caption"}`;
  return `${name}${prompt || "caption"}\nclick to ask something else`;
}

/** What stands under a prompt: the answer, the wait for it, or why there is none. */
function Outcome({ session, row, cell, tabIndex, asked }: AnswerProps & { asked: boolean }) {
  const run = session.progress.value.state;
  const ended = run === "failed" || run === "cancelled";
  let state: CellState | "writing" | "unknown" = cell?.state ?? "unknown";
  if (asked) state = "waiting";
  else if (state === "running" && cell?.answer) state = "writing";
  // Nothing will come of a run that has ended early.
  else if (state === "waiting" && ended) state = "cancelled";
  const before = useRef(state);
  const came = state === "done" && (before.current === "waiting" || before.current === "running");
  useEffect(() => {
    before.current = state;
  }, [state]);

  const review = cell?.review ?? null;
  const corrected = review?.status === "corrected" && review.text !== null;
  const none = state === "error" || state === "cancelled" || state === "unasked";
  if (cell && (state === "done" || (none && corrected))) {
    return (
      <Text
        text={(corrected ? review.text : cell.answer) ?? ""}
        note={corrected ? modelNote(cell) : null}
        kind={review?.status ?? null}
        tabIndex={tabIndex}
        came={came}
      />
    );
  }
  if (state === "writing") {
    return (
      <div class="answer answer-writing" aria-busy="true">
        {cell?.answer}
        <span class="caret" />
      </div>
    );
  }
  if (state === "error") {
    return (
      <div class="answer answer-error">
        <Failure message={cell?.error ?? "there is no answer"} />
        {row !== null && <Retry session={session} row={row} tabIndex={tabIndex} of={cell} />}
      </div>
    );
  }
  if (state === "unasked") {
    return (
      <div class="answer answer-cancelled">
        <span class="message">not asked</span>
      </div>
    );
  }
  if (state === "cancelled") {
    return (
      <div class="answer answer-cancelled">
        <span class="message">not answered</span>
        {row !== null && <Retry session={session} row={row} tabIndex={tabIndex} of={cell} />}
      </div>
    );
  }
  return (
    <div class={`answer answer-${state}`} role="img" aria-label="waiting for an answer">
      <span class="bone" />
      <span class="bone bone-short" />
    </div>
  );
}

interface TextProps {
  text: string;
  /** What else there is to say of it. */
  note: string | null;
  /** What a person has said of it. */
  kind: ReviewStatus | null;
  tabIndex: number;
  came: boolean;
}

/** An answer, cut off at the lines there is room for, whole over its tile when it is opened. */
function Text({ text, note, kind, tabIndex, came }: TextProps) {
  const box = useRef<HTMLDivElement>(null);
  // Long enough that it may be cut off: only then is there something for a keyboard to open.
  const long = text.length > 40;
  const [cut, setCut] = useState(false);
  const [open, setOpen] = useState(false);
  // Measured when a person comes near, because measuring every tile would slow scrolling down.
  const measure = (): boolean => {
    const element = box.current;
    const isCut = element !== null && !open && element.scrollHeight > element.clientHeight + 1;
    if (!open) setCut(isCut);
    return isCut;
  };
  const toggle = (): void => {
    // A click that ends the selection of some words is no wish to open.
    if (!open && !globalThis.getSelection?.()?.isCollapsed) return;
    if (open) setOpen(false);
    else if (measure()) setOpen(true);
  };
  useEffect(() => {
    setOpen(false);
    setCut(false);
  }, [text]);

  if (!text) return <div class="answer answer-empty">no words</div>;
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: a button while there is more to show
    <div
      ref={box}
      {...(long ? { role: "button", "aria-expanded": open, tabIndex } : {})}
      class={`answer answer-done${came ? " answer-came" : ""}${cut ? " answer-cut" : ""}${open ? " answer-open" : ""}${kind ? ` answer-${kind}` : ""}`}
      title={open ? (note ?? undefined) : [text, note].filter(Boolean).join("\n")}
      onPointerEnter={measure}
      onFocus={measure}
      onClick={toggle}
      onBlur={() => setOpen(false)}
      onKeyDown={(event) => {
        if (event.key === "Escape" ? !open : event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        event.stopPropagation();
        if (event.key === "Escape") setOpen(false);
        else toggle();
      }}
    >
      {text}
    </div>
  );
}

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Cell, CellState, Prompt } from "../protocol";
import type { Session } from "../session";
import { AskIcon, PencilIcon, StoreIcon } from "./Icons";
import { Failure, Retry } from "./Trouble";

interface AnswerProps {
  session: Session;
  row: number;
  /** The place of the cell in its row. */
  index: number;
  /** Null until the row comes. */
  cell: Cell | null;
  /** The column that the cell is of, whose prompt it shares unless a person has changed it. */
  column: Prompt | undefined;
  tabIndex: number;
  editing: boolean;
  onEdit(row: number, cell: number | null): void;
}

/** A prompt and its answer. */
export function Answer(props: AnswerProps) {
  const { session, row, index, cell, column, tabIndex, editing, onEdit } = props;
  const draft = session.draft(row, index);
  const asked = session.asked(row, index);
  const prompt = asked ?? cell?.prompt ?? column?.text ?? "";
  const own = cell !== null && column !== undefined && prompt !== column.text;
  const container = useRef<HTMLDivElement>(null);

  const close = (focus: boolean): void => {
    onEdit(row, null);
    // Back to the tile, where the arrow keys go on and Enter edits again.
    if (focus) container.current?.closest<HTMLElement>("[data-index]")?.focus();
  };

  return (
    <div ref={container} class="cell" data-cell={index}>
      <div class="promptline">
        <button
          type="button"
          class={`prompt${own ? " prompt-own" : ""}${draft === undefined ? "" : " prompt-draft"}`}
          tabIndex={tabIndex}
          disabled={cell === null}
          title={promptTitle(column, prompt, draft)}
          onClick={() => onEdit(row, index)}
        >
          <span class="prompttext">{draft ?? prompt ?? ""}</span>
          {!(draft ?? prompt) && <span class="promptname">{column?.name || "caption"}</span>}
          {draft !== undefined && <span class="draftmark">draft</span>}
          <PencilIcon />
        </button>
        {asked === undefined && cell?.state === "running" && (
          <span class="pulse" title="being answered" />
        )}
        {asked === undefined && cell?.state === "done" && cell.cached && (
          <span class="stored" title="from the store">
            <StoreIcon />
          </span>
        )}
      </div>
      <Outcome {...props} cell={cell} asked={asked !== undefined} />
      {editing && (
        <Editor
          text={draft ?? prompt}
          onDraft={(text) => session.setDraft(row, index, text === prompt ? null : text)}
          onAsk={(text) => {
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
    </div>
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

  if (state === "done") {
    return <Text text={cell?.answer ?? ""} tabIndex={tabIndex} came={came} />;
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
        <Retry session={session} row={row} tabIndex={tabIndex} of={cell} />
      </div>
    );
  }
  if (state === "cancelled") {
    return (
      <div class="answer answer-cancelled">
        <span class="message">not answered</span>
        <Retry session={session} row={row} tabIndex={tabIndex} of={cell} />
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

/** An answer, cut off at the lines there is room for, whole over its tile when it is opened. */
function Text({ text, tabIndex, came }: { text: string; tabIndex: number; came: boolean }) {
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
      class={`answer answer-done${came ? " answer-came" : ""}${cut ? " answer-cut" : ""}${open ? " answer-open" : ""}`}
      title={open ? undefined : text}
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

interface EditorProps {
  text: string;
  onDraft(text: string): void;
  onAsk(text: string): void;
  /** Esc: what was there before comes back. */
  onRestore(): void;
  /** The focus has gone: what was typed is kept. */
  onLeave(): void;
}

function Editor({ text, onDraft, onAsk, onRestore, onLeave }: EditorProps) {
  // The editor's own: what the kernel sends while a person types does not reach it.
  const [value, setValue] = useState(text);
  const field = useRef<HTMLTextAreaElement>(null);
  // Enter and Esc take the focus away themselves, which is then no leaving.
  const settled = useRef(false);

  useLayoutEffect(() => {
    field.current?.focus({ preventScroll: true });
    field.current?.select();
  }, []);
  useLayoutEffect(() => {
    const element = field.current;
    if (!element) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [value]);

  const settle = (action: () => void): void => {
    settled.current = true;
    action();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    // Nothing that is typed here may reach the shortcuts of the notebook around it.
    event.stopPropagation();
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      settle(() => onAsk(value));
    } else if (event.key === "Escape") {
      event.preventDefault();
      settle(onRestore);
    }
  };
  return (
    <div class="editor">
      <textarea
        ref={field}
        class="field"
        rows={1}
        value={value}
        placeholder="ask something…"
        aria-label="prompt"
        spellcheck={false}
        onInput={(event) => {
          setValue(event.currentTarget.value);
          onDraft(event.currentTarget.value);
        }}
        onKeyDown={onKeyDown}
        onKeyUp={(event) => event.stopPropagation()}
        onKeyPress={(event) => event.stopPropagation()}
        onBlur={() => {
          if (!settled.current) onLeave();
        }}
      />
      <div class="editorline">
        <span class="hint">Esc restores</span>
        <button
          type="button"
          class="button ask"
          tabIndex={-1}
          title="Enter"
          // The field would lose the focus first, and the editor would be gone before the click.
          onPointerDown={(event) => event.preventDefault()}
          onMouseDown={(event) => event.preventDefault()}
          onClick={() => settle(() => onAsk(value))}
        >
          {value.trim() ? "Ask" : "Caption"}
          <AskIcon />
        </button>
      </div>
    </div>
  );
}

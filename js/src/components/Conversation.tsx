import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { Details } from "../details";
import type { Turn } from "../protocol";
import { CopyCode } from "./CopyCode";
import { AlertIcon, PencilIcon, RetryIcon, SendIcon, StopIcon } from "./Icons";
import { Confidence, TextField } from "./ReviewedAnswer";

interface ConversationProps {
  details: Details;
  rowId: number;
  /** A picture that cannot be read cannot be asked about. */
  disabled: boolean;
  /** What stands above it and is scrolled with it. */
  before: ComponentChildren;
}

/** So near the end, what comes is followed. */
const NEAR_END = 48;

/** What was asked and answered about a picture, and the field to go on in. */
export function Conversation({ details, rowId, disabled, before }: ConversationProps) {
  const chat = details.chat(rowId).value;
  const draft = details.draft(rowId).value;
  const edit = details.edit(rowId).value;
  const offline = details.offline.value;
  const turns = chat?.turns ?? [];
  const last = turns.at(-1);
  const busy = last?.state === "waiting" || last?.state === "running";

  const scroller = useRef<HTMLDivElement>(null);
  const follows = useRef(false);
  const grown = `${turns.length} ${last?.answer?.length ?? 0} ${last?.state ?? ""}`;
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element && follows.current) element.scrollTop = element.scrollHeight;
  }, [grown]);

  // Another picture is looked at from its top.
  useLayoutEffect(() => {
    follows.current = false;
    if (scroller.current) scroller.current.scrollTop = 0;
  }, [rowId]);

  const say = (text: string, at?: number): void => {
    follows.current = true;
    details.say(rowId, text, at);
  };
  return (
    <>
      <div
        ref={scroller}
        class="detail-scroller"
        onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
          follows.current = turns.length > 0 && scrollHeight - clientHeight - scrollTop < NEAR_END;
        }}
      >
        {before}
        {!disabled && (
          <section class="talk" aria-label="conversation">
            <div class="talk-head">
              <h4 class="talk-title">Conversation</h4>
              {chat?.code && turns.length > 0 && <CopyCode key={rowId} code={chat.code} />}
            </div>
            {turns.length === 0 && (
              <p class="talk-empty">Ask about this picture; each answer knows those before it.</p>
            )}
            <ol class="talk-turns">
              {turns.map((turn, at) => (
                <TurnView
                  key={`${rowId} ${at}`}
                  turn={turn}
                  at={at}
                  behind={turns.length - at - 1}
                  busy={busy}
                  edit={edit?.at === at ? edit.text : null}
                  onEdit={(text) => details.setEdit(rowId, text === null ? null : { at, text })}
                  onSay={(text) => say(text, at)}
                  onStop={() => details.stop(rowId)}
                />
              ))}
            </ol>
          </section>
        )}
      </div>
      {!disabled && (
        <div class="composer">
          {offline && (
            <p class="composer-offline" role="status">
              <AlertIcon />
              There is no kernel to ask. What you type is kept.
            </p>
          )}
          <div class="composer-field">
            <TextField
              value={draft}
              label="ask about this picture"
              placeholder="Ask about this picture…"
              onText={(text) => details.setDraft(rowId, text)}
              onEnter={() => {
                if (!busy) say(draft);
              }}
              onEscape={() => {
                if (busy) details.stop(rowId);
                else
                  scroller.current?.closest<HTMLElement>(".detail")?.focus({ preventScroll: true });
              }}
            />
            <button
              type="button"
              class="composer-send"
              aria-label="ask"
              title={
                busy
                  ? "an answer is on its way; Esc stops it"
                  : "ask (Enter); Shift+Enter for a new line"
              }
              disabled={busy || !draft.trim()}
              onClick={() => say(draft)}
            >
              <SendIcon />
            </button>
          </div>
        </div>
      )}
    </>
  );
}

interface TurnProps {
  turn: Turn;
  at: number;
  /** How many turns stand behind it. */
  behind: number;
  /** Whether an answer is on its way. */
  busy: boolean;
  /** What was typed in the place of the question, null where it is not being edited. */
  edit: string | null;
  onEdit(text: string | null): void;
  onSay(text: string): void;
  onStop(): void;
}

function TurnView({ turn, at, behind, busy, edit, onEdit, onSay, onStop }: TurnProps) {
  const { question, answer, state } = turn;
  const container = useRef<HTMLLIElement>(null);
  const open = state === "waiting" || state === "running";
  const leave = (action: () => void): void => {
    const panel = container.current?.closest<HTMLElement>(".detail");
    action();
    panel?.focus({ preventScroll: true });
  };
  return (
    <li ref={container} class="turn" aria-busy={open}>
      {edit === null ? (
        <p class="turn-question">{question}</p>
      ) : (
        <div class="turn-editor">
          <TextField
            value={edit}
            label={`edit question ${at + 1}`}
            placeholder="ask something else…"
            takesFocus
            onText={onEdit}
            onEnter={() => {
              if (edit.trim()) leave(() => onSay(edit));
            }}
            onEscape={() => leave(() => onEdit(null))}
          />
          <div class="detail-buttons">
            <span class="turn-warning">
              {behind === 0
                ? "Its answer goes."
                : behind === 1
                  ? "Its answer and the turn behind it go."
                  : `Its answer and the ${behind} turns behind it go.`}
            </span>
            <button
              type="button"
              class="button"
              title="Esc"
              onClick={() => leave(() => onEdit(null))}
            >
              Cancel
            </button>
            <button
              type="button"
              class="button ask"
              title="Enter"
              disabled={!edit.trim()}
              onClick={() => leave(() => onSay(edit))}
            >
              Ask
            </button>
          </div>
        </div>
      )}
      {edit === null && (
        <div class={`turn-answer turn-${state}`}>
          <TurnAnswer turn={turn} />
        </div>
      )}
      {edit === null && (
        <div class="turn-tools">
          {state === "done" && turn.confidence !== null && answer && (
            <Confidence value={turn.confidence} />
          )}
          <span class="detail-rule" />
          {open ? (
            <button type="button" class="button" title="stop (Esc in the field)" onClick={onStop}>
              <StopIcon />
              Stop
            </button>
          ) : state === "error" || state === "cancelled" ? (
            <button type="button" class="button" disabled={busy} onClick={() => onSay(question)}>
              <RetryIcon />
              Retry
            </button>
          ) : (
            <button
              type="button"
              class="knob"
              aria-label={`answer question ${at + 1} anew`}
              title={behind > 0 ? "answer anew; what stands behind goes" : "answer anew"}
              disabled={busy}
              onClick={() => onSay(question)}
            >
              <RetryIcon />
            </button>
          )}
          <button
            type="button"
            class="knob"
            aria-label={`edit question ${at + 1}`}
            title="edit the question"
            onClick={() => onEdit(question)}
          >
            <PencilIcon />
          </button>
        </div>
      )}
    </li>
  );
}

function TurnAnswer({ turn: { answer, state, error } }: { turn: Turn }) {
  if (state === "done") {
    return answer ? <span>{answer}</span> : <span class="detail-none">no words</span>;
  }
  if (state === "error") {
    return (
      <span class="failure">
        <AlertIcon />
        {error ?? "there is no answer"}
      </span>
    );
  }
  if (state === "cancelled") {
    return (
      <>
        {answer} <span class="detail-none">{answer ? "stopped" : "not answered"}</span>
      </>
    );
  }
  if (answer) {
    return (
      <>
        {answer}
        <span class="caret" />
      </>
    );
  }
  return (
    <span class="turn-dots" role="img" aria-label="waiting for an answer">
      <span />
      <span />
      <span />
    </span>
  );
}

import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { count } from "../format";
import type { AskManyRequest } from "../protocol";
import type { Session } from "../session";
import { AskIcon } from "./Icons";
import { useTextHeight } from "./textHeight";

type Scope = AskManyRequest["scope"];

/** A stretch of the text that is the beginning of a column's name, after its brace. */
interface Word {
  start: number;
  stop: number;
  text: string;
}

/** The prompts asked before, while a person walks through them. */
interface Browsing {
  prompts: string[];
  at: number;
}

/** Asks many pictures something new. */
export function PromptBar({ session }: { session: Session }) {
  const text = session.question.value;
  const [caret, setCaret] = useState(0);
  const [closed, setClosed] = useState(false);
  const [choice, setChoice] = useState(0);
  const [browsing, setBrowsing] = useState<Browsing | null>(null);
  const [chosenScope, setScope] = useState<Scope>("all");
  const field = useRef<HTMLTextAreaElement>(null);
  const list = useId();

  const selected = session.selectedCount.value;
  const scope = chosenScope === "selected" && selected === 0 ? "all" : chosenScope;
  const word = closed ? null : wordAt(text, caret);
  const names = word ? matching(session, word.text) : [];
  const current = Math.min(choice, names.length - 1);

  useTextHeight(field, text);

  const put = (value: string, at: number): void => {
    session.question.value = value;
    setCaret(at);
    setChoice(0);
    setClosed(false);
    toPlace.current = at;
  };
  const toPlace = useRef<number | null>(null);
  useLayoutEffect(() => {
    if (toPlace.current === null) return;
    field.current?.setSelectionRange(toPlace.current, toPlace.current);
    toPlace.current = null;
  });

  const complete = (name: string): void => {
    if (!word) return;
    const head = `${text.slice(0, word.start)}${name}}`;
    // A brace that closes it already is not doubled.
    put(head + text.slice(word.stop).replace(/^\}/, ""), head.length);
    field.current?.focus();
  };

  const ask = (): void => {
    if (!session.askMany(text.trim(), scope)) return;
    sent.current = text;
    // The notice of an earlier try is read, and the same one may come again.
    session.notice.value = "";
    put("", 0);
    setBrowsing(null);
  };

  // What the kernel refuses is put back, so that it can be mended.
  const sent = useRef("");
  const putBack = useRef("");
  const notice = session.notice.value;
  const prompts = session.prompts.value;
  // A new column is what has become of it. Then a notice meanwhile was of something else.
  useEffect(() => {
    const asked = prompts.some((prompt) => prompt.text === putBack.current.trim());
    if (asked && text && text === putBack.current) put("", 0);
    sent.current = putBack.current = "";
  }, [prompts]);
  useEffect(() => {
    if (!notice || !sent.current) return;
    if (!text) {
      put(sent.current, sent.current.length);
      putBack.current = sent.current;
    }
    sent.current = "";
  }, [notice]);

  const live = useRef(true);
  useEffect(
    () => () => {
      live.current = false;
    },
    [],
  );
  /** One prompt further back, or forth. */
  const walk = async (by: number): Promise<void> => {
    const from = browsing ?? { prompts: await session.promptHistory(), at: -1 };
    if (!live.current) return;
    const at = Math.min(from.prompts.length - 1, from.at + by);
    if (at < 0) {
      setBrowsing(null);
      put("", 0);
      return;
    }
    const prompt = from.prompts[at] as string;
    put(prompt, prompt.length);
    // A brace in it is no wish for a list.
    setClosed(true);
    setBrowsing({ prompts: from.prompts, at });
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    // Nothing that is typed here may reach the shortcuts of the notebook around it.
    event.stopPropagation();
    if (event.isComposing) return;
    const { key } = event;
    if (names.length > 0) {
      const step = key === "ArrowDown" ? 1 : key === "ArrowUp" ? -1 : 0;
      if (step !== 0) setChoice((current + step + names.length) % names.length);
      else if ((key === "Enter" && !event.shiftKey) || key === "Tab") {
        complete(names[current] as string);
      } else if (key === "Escape") setClosed(true);
      else return;
    } else if (key === "Enter" && !event.shiftKey) {
      if (text.trim()) ask();
    } else if (key === "ArrowUp" && (text === "" || browsing)) {
      walk(1);
    } else if (key === "ArrowDown" && browsing) {
      walk(-1);
    } else if (key === "Escape" && (browsing || text)) {
      setBrowsing(null);
      put("", 0);
    } else return;
    event.preventDefault();
  };

  const follow = (element: HTMLTextAreaElement): void => {
    setCaret(element.selectionStart ?? element.value.length);
  };
  const shown = session.shown.value.count;
  return (
    <div class="promptbar">
      <div class="asking">
        <textarea
          ref={field}
          class="askfield"
          rows={1}
          value={text}
          placeholder={placeholder(scope, shown, selected)}
          // Not a combobox: a text field of several lines may be nothing else than that.
          aria-label="ask"
          aria-autocomplete="list"
          aria-haspopup="listbox"
          aria-controls={names.length > 0 ? list : undefined}
          aria-activedescendant={names.length > 0 ? `${list}-${current}` : undefined}
          spellcheck={false}
          onInput={(event) => {
            session.question.value = event.currentTarget.value;
            follow(event.currentTarget);
            setChoice(0);
            setClosed(false);
            setBrowsing(null);
          }}
          onSelect={(event) => follow(event.currentTarget)}
          onKeyDown={onKeyDown}
          onKeyUp={(event) => event.stopPropagation()}
          onKeyPress={(event) => event.stopPropagation()}
          onBlur={() => setClosed(true)}
          onFocus={() => setClosed(false)}
        />
        {names.length > 0 && (
          <div id={list} class="sheet completions" role="listbox" aria-label="columns">
            {names.map((name, k) => (
              // biome-ignore lint/a11y/useKeyWithClickEvents: the keys are heard by the field
              <div
                key={name}
                id={`${list}-${k}`}
                class="completion"
                role="option"
                tabIndex={-1}
                aria-selected={k === current}
                // The field would lose the focus first, and the list would be gone before the click.
                onPointerDown={(event) => event.preventDefault()}
                onMouseDown={(event) => event.preventDefault()}
                onClick={() => complete(name)}
              >
                {name}
              </div>
            ))}
          </div>
        )}
      </div>
      <select
        class="select scope"
        aria-label="which pictures to ask"
        title="which pictures to ask"
        value={scope}
        onChange={(event) => setScope(event.currentTarget.value as Scope)}
      >
        <option value="all">all {count(session.rowCount.value)}</option>
        <option value="shown">shown {count(shown)}</option>
        <option value="selected" disabled={selected === 0}>
          selected {count(selected)}
        </option>
      </select>
      <button
        type="button"
        class="button ask askbutton"
        title={text.trim() ? "Enter" : "caption the pictures in a new column"}
        onClick={ask}
      >
        {text.trim() ? "Ask" : "Caption"}
        <AskIcon />
      </button>
    </div>
  );
}

function placeholder(scope: Scope, shown: number, selected: number): string {
  if (scope === "all") return "Ask all pictures…";
  return scope === "shown"
    ? `Ask the ${count(shown)} pictures shown…`
    : `Ask the ${count(selected)} pictures selected…`;
}

/** The beginning of a column's name that the caret stands in or behind. */
export function wordAt(text: string, caret: number): Word | null {
  const open = /\{([^{}\n]*)$/.exec(text.slice(0, caret));
  if (!open) return null;
  const start = caret - (open[1] as string).length;
  const rest = /^[^{}\s]*/.exec(text.slice(caret))?.[0] ?? "";
  return { start, stop: caret + rest.length, text: open[1] as string };
}

/** The columns whose names begin with a word, then those that have it in them. */
function matching(session: Session, word: string): string[] {
  const small = word.toLowerCase();
  const names = session.columns.value.map(({ name }) => name);
  const begin = names.filter((name) => name.toLowerCase().startsWith(small));
  const hold = names.filter((name) => name.toLowerCase().indexOf(small) > 0);
  return [...begin, ...hold].slice(0, 8);
}

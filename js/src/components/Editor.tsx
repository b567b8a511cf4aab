import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { focusedFrom, focusGallery } from "../focus";
import { useTextHeight } from "./textHeight";

interface EditorProps {
  label: string;
  placeholder: string;
  hint: string;
  /** What the button says. */
  action(text: string): string;
  icon: ComponentChildren;
  text: string;
  /** What is typed, to be kept: the editor goes where its row does, and comes back with it. */
  onDraft(text: string): void;
  onDone(text: string): void;
  /** Esc: what was there before comes back. */
  onRestore(): void;
  /** A person has gone on to something else. */
  onLeave(text: string): void;
}

/** A text field over what it changes: Enter is done, Esc is not. */
export function Editor(props: EditorProps) {
  const { text, onDraft, onDone, onRestore, onLeave } = props;
  // The editor's own: what the kernel sends while a person types does not reach it.
  const [value, setValue] = useState(text);
  const field = useRef<HTMLTextAreaElement>(null);
  // Enter and Esc take the focus away themselves, which is then no leaving. Nor is it one where the
  // editor goes because its row does.
  const settled = useRef(false);

  useLayoutEffect(() => {
    const element = field.current;
    if (!element) return;
    takeFocus(element);
    return () => {
      if (settled.current) return;
      settled.current = true;
      if (focusedFrom(element) === element) focusGallery(element);
    };
  }, []);
  useTextHeight(field, value);

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
      settle(() => onDone(value));
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
        placeholder={props.placeholder}
        aria-label={props.label}
        spellcheck={false}
        onInput={(event) => {
          setValue(event.currentTarget.value);
          onDraft(event.currentTarget.value);
        }}
        onKeyDown={onKeyDown}
        onKeyUp={(event) => event.stopPropagation()}
        onKeyPress={(event) => event.stopPropagation()}
        onBlur={() => {
          if (!settled.current) onLeave(value);
        }}
      />
      <div class="editorline">
        <span class="hint">{props.hint}</span>
        <button
          type="button"
          class="button ask"
          tabIndex={-1}
          title="Enter"
          // The field would lose the focus first, and the editor would be gone before the click.
          onPointerDown={(event) => event.preventDefault()}
          onMouseDown={(event) => event.preventDefault()}
          onClick={() => settle(() => onDone(value))}
        >
          {props.action(value)}
          {props.icon}
        </button>
      </div>
    </div>
  );
}

/** Takes the focus, but not from what a person is at by the time the editor comes back. */
function takeFocus(field: HTMLTextAreaElement): void {
  const focused = focusedFrom(field);
  const opened = field.closest("[data-index]")?.contains(focused) ?? false;
  if (!opened && focused && !focused.matches(".blip2-gallery")) return;
  field.focus({ preventScroll: true });
  // Over what stands there, or behind what was typed already.
  if (opened) field.select();
  else field.setSelectionRange(field.value.length, field.value.length);
}

import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { keepKeys } from "../keys";

interface DialogProps {
  label: string;
  class: string;
  onClose(): void;
  /** Whether it has dealt with a key. Esc and Tab are dealt with here. */
  onKey?(event: KeyboardEvent): boolean;
  children: ComponentChildren;
}

const FOCUSABLE = "button:not(:disabled), textarea, [tabindex='0']";

/**
 * A dialog over the whole window. It has the focus while it is there, and gives it back to where it
 * was. None of its keys come to the gallery or the notebook around it.
 */
export function Dialog({ label, class: name, onClose, onKey, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    const element = dialog.current;
    if (!element) return;
    const before = element.ownerDocument.activeElement as HTMLElement | null;
    try {
      element.showModal();
    } catch {
      // An old browser, or an element that is not in the page proper: then it lies over it by style.
      element.setAttribute("open", "");
    }
    (element.querySelector<HTMLElement>("[data-first-focus]") ?? element).focus();
    const stop = keepKeys(element);
    return () => {
      stop();
      try {
        element.close();
      } catch {
        element.removeAttribute("open");
      }
      if (before?.isConnected) before.focus({ preventScroll: true });
    };
  }, []);

  const onKeyDown = (event: KeyboardEvent): void => {
    // Saving and the like stay the notebook's.
    if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      onClose();
    } else if (event.key === "Tab") {
      turnAround(event, dialog.current);
    } else if (onKey?.(event)) {
      event.preventDefault();
      event.stopPropagation();
    }
  };
  return (
    <dialog
      ref={dialog}
      class={`detail-dialog ${name}`}
      aria-modal="true"
      aria-label={label}
      tabIndex={-1}
      onKeyDown={onKeyDown}
      onKeyUp={(event) => event.stopPropagation()}
      onKeyPress={(event) => event.stopPropagation()}
      // What the browser itself does on Esc, or on the back gesture of a phone.
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      {children}
    </dialog>
  );
}

/** Leads Tab from the last element to the first one, and back. */
function turnAround(event: KeyboardEvent, dialog: HTMLElement | null): void {
  const all = [...(dialog?.querySelectorAll<HTMLElement>(FOCUSABLE) ?? [])];
  const active = dialog?.ownerDocument.activeElement ?? null;
  const [edge, other] = event.shiftKey ? [all[0], all.at(-1)] : [all.at(-1), all[0]];
  if (active !== edge && active !== dialog && dialog?.contains(active)) return;
  event.preventDefault();
  other?.focus();
}

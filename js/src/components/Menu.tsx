import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";

interface MenuProps {
  label: string;
  icon: ComponentChildren;
  /** What stands on the button beside the icon. */
  text?: string;
  children: ComponentChildren;
}

/** A button and what it opens: closed by Esc, a click beside it, or when the focus goes on. */
export function Menu({ label, icon, text, children }: MenuProps) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const id = useId();
  useEffect(() => {
    if (!open) return;
    const onPointerDown = (event: Event): void => {
      // The gallery may stand in a shadow tree, where the target is not what was pressed.
      if (root.current && !event.composedPath().includes(root.current)) setOpen(false);
    };
    document.addEventListener("pointerdown", onPointerDown, true);
    return () => document.removeEventListener("pointerdown", onPointerDown, true);
  }, [open]);
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: Esc is heard from what it holds
    <div
      ref={root}
      class="menu"
      onKeyDown={(event) => {
        if (event.key !== "Escape" || !open) return;
        event.stopPropagation();
        event.preventDefault();
        setOpen(false);
        button.current?.focus();
      }}
      onFocusOut={(event) => {
        const to = event.relatedTarget as Node | null;
        if (to && !root.current?.contains(to)) setOpen(false);
      }}
    >
      <button
        ref={button}
        type="button"
        class="button tool"
        aria-label={text ? `${label} ${text}` : label}
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        title={label}
        onClick={() => setOpen(!open)}
      >
        {icon}
        {text && <span class="tooltext">{text}</span>}
      </button>
      {open && (
        <div id={id} class="sheet" role="group" aria-label={label}>
          {children}
        </div>
      )}
    </div>
  );
}

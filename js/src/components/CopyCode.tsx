import { useEffect, useRef, useState } from "preact/hooks";
import { CheckIcon, CodeIcon } from "./Icons";

/** Copies a text, in whichever way this page is allowed to. False where in none. */
async function copy(text: string, near: HTMLElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // No permission, or a page without a secure origin: the old way.
    const field = near.ownerDocument.createElement("textarea");
    field.value = text;
    field.className = "announcer";
    near.append(field);
    field.select();
    let copied = false;
    try {
      copied = near.ownerDocument.execCommand("copy");
    } catch {
      copied = false;
    }
    field.remove();
    return copied;
  }
}

interface CopyCodeProps {
  code: string;
  /** Shows no words, only an icon. */
  small?: boolean;
}

/** Copies a line for a cell; where the page may not, shows it to be copied by hand. */
export function CopyCode({ code, small }: CopyCodeProps) {
  const [state, setState] = useState<"idle" | "copied" | "failed">("idle");
  const container = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (state !== "copied") return;
    const timer = setTimeout(() => setState("idle"), 2000);
    return () => clearTimeout(timer);
  }, [state]);
  const onClick = async () => {
    if (!container.current) return;
    const copied = await copy(code, container.current);
    button.current?.focus({ preventScroll: true });
    setState(copied ? "copied" : "failed");
  };
  return (
    <div ref={container} class="copycode">
      <button
        ref={button}
        type="button"
        class={small ? "knob" : "button button-quiet"}
        aria-label={small ? "copy as code" : undefined}
        title={small ? `copy as code: ${code}` : code}
        onClick={() => void onClick()}
      >
        {state === "copied" ? <CheckIcon /> : <CodeIcon />}
        {!small && (state === "copied" ? "Copied" : "Copy as code")}
      </button>
      {/* In the button it would be no region of its own, and the button would have no name. */}
      <span class="announcer" role="status">
        {state === "copied" && "copied"}
      </span>
      {state === "failed" && (
        <textarea
          class="detail-field copycode-field"
          aria-label="the code, to copy by hand"
          readOnly
          value={code}
          rows={Math.min(6, code.split("\n").length)}
          onFocus={(event) => event.currentTarget.select()}
          onKeyDown={(event) => event.stopPropagation()}
        />
      )}
    </div>
  );
}

import { useLayoutEffect, useRef } from "preact/hooks";
import { CrossIcon } from "./Icons";

const KEYS: [group: string, keys: [keys: string[], does: string][]][] = [
  [
    "Find",
    [
      [["/"], "search"],
      [["Esc"], "clear the search, or the selection"],
      [["?"], "this list"],
    ],
  ],
  [
    "Move",
    [
      [["←", "→", "↑", "↓"], "to the next picture"],
      [["Page Up", "Page Down"], "a screen on"],
      [["Home", "End"], "to the first, the last"],
      [["Enter"], "open the picture"],
    ],
  ],
  [
    "Ask",
    [
      [["p", "F2"], "ask this picture something else"],
      [["↑", "↓"], "in the bar: prompts asked before"],
      [["{"], "in the bar: a column's value"],
    ],
  ],
  [
    "Review",
    [
      [["a"], "accept the answer"],
      [["r"], "reject it"],
      [["e"], "correct it"],
      [["f"], "flag it"],
      [["Ctrl Z", "Ctrl Shift Z"], "undo, do again"],
    ],
  ],
  [
    "Select",
    [
      [["x", "Space"], "this picture"],
      [["Shift X"], "all from the last one"],
      [["Ctrl A"], "all that are shown"],
      [["+", "−", "0"], "in the map: nearer, farther, all"],
    ],
  ],
];

/** The list of keys. The focus stays in it until it is closed, and goes back where it was. */
export function Help({ onClose }: { onClose(): void }) {
  const dialog = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const root = dialog.current?.getRootNode() as Document | ShadowRoot | undefined;
    const before = root?.activeElement as HTMLElement | null | undefined;
    dialog.current?.querySelector("button")?.focus();
    return () => before?.focus?.({ preventScroll: true });
  }, []);
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: a click beside the dialog closes it
    // biome-ignore lint/a11y/useKeyWithClickEvents: Esc does the same
    <div
      class="veil"
      onClick={(event) => {
        if (event.target === event.currentTarget) onClose();
      }}
    >
      <div
        ref={dialog}
        class="dialog"
        role="dialog"
        aria-modal="true"
        aria-label="keys"
        onKeyDown={(event) => {
          event.stopPropagation();
          if (event.key === "Escape" || event.key === "?") onClose();
          // The only thing to go to is the button that closes it.
          if (["Escape", "?", "Tab"].includes(event.key)) event.preventDefault();
        }}
      >
        <div class="dialoghead">
          <h3 class="dialogtitle">Keys</h3>
          <button type="button" class="plain" aria-label="close" onClick={onClose}>
            <CrossIcon />
          </button>
        </div>
        <div class="keygroups">
          {KEYS.map(([group, keys]) => (
            <section key={group} class="keygroup">
              <h4 class="keytitle">{group}</h4>
              <dl class="keylist">
                {keys.map(([names, does]) => (
                  <div key={does} class="keyline">
                    <dt>
                      {names.map((name) => (
                        <kbd key={name} class="key">
                          {name}
                        </kbd>
                      ))}
                    </dt>
                    <dd>{does}</dd>
                  </div>
                ))}
              </dl>
            </section>
          ))}
        </div>
      </div>
    </div>
  );
}

/** JupyterLab takes no shortcut from a key that is pressed on an element with this attribute. */
const SUPPRESS = "data-lm-suppress-shortcuts";

/** Keys with Ctrl or Cmd that the gallery has a use for: all, undo, and redo. */
const OWN = new Set(["a", "z", "y"]);

/** Whether what is typed goes into a text, or to a field that has a use for letters itself. */
export function isTextField(target: EventTarget | null): boolean {
  return (
    target instanceof Element &&
    target.matches("textarea, select, input:not([type=range], [type=checkbox])")
  );
}

/**
 * Keeps plain keys that are pressed in an element from the notebook around it, where "dd" deletes a
 * cell and an arrow key moves to the next. Keys with Ctrl or Cmd stay the notebook's, for saving and
 * the like, except in a text field and those few that the gallery has a use for. Returns the way to
 * stop.
 *
 * JupyterLab listens on the document before any element does, and looks at the element that has the
 * focus first: so the attribute has to be right on that element before the document hears the key.
 */
export function keepKeys(root: HTMLElement): () => void {
  const onKeyDown = (event: KeyboardEvent): void => {
    const target = event.target;
    if (!(target instanceof HTMLElement) || !root.contains(target)) return;
    const command = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    const passes = command && (key === "s" || !(OWN.has(key) || isTextField(target)));
    for (const element of [root, target]) {
      if (passes) element.removeAttribute(SUPPRESS);
      else element.setAttribute(SUPPRESS, "true");
    }
  };
  window.addEventListener("keydown", onKeyDown, true);
  return () => window.removeEventListener("keydown", onKeyDown, true);
}

/** JupyterLab takes no shortcut from a key that is pressed on an element with this attribute. */
const SUPPRESS = "data-lm-suppress-shortcuts";

/**
 * Keeps plain keys that are pressed in an element from the notebook around it, where "dd" deletes a
 * cell and an arrow key moves to the next. Keys with Ctrl or Cmd stay the notebook's, for saving and
 * the like, except in a text field, which has its own undo and select all. Returns the way to stop.
 *
 * JupyterLab listens on the document before any element does, and looks at the element that has the
 * focus first: so the attribute has to be right on that element before the document hears the key.
 */
export function keepKeys(root: HTMLElement): () => void {
  const onKeyDown = (event: KeyboardEvent): void => {
    const target = event.target;
    if (!(target instanceof HTMLElement) || !root.contains(target)) return;
    const command = event.ctrlKey || event.metaKey;
    const saves = event.key.toLowerCase() === "s";
    const passes = command && (saves || !target.matches("textarea"));
    for (const element of [root, target]) {
      if (passes) element.removeAttribute(SUPPRESS);
      else element.setAttribute(SUPPRESS, "true");
    }
  };
  window.addEventListener("keydown", onKeyDown, true);
  return () => window.removeEventListener("keydown", onKeyDown, true);
}

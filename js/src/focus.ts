/** What has the focus, as seen from an element; null where nothing has. */
export function focusedFrom(element: Element): Element | null {
  const { activeElement } = element.getRootNode() as Document | ShadowRoot;
  // A shadow tree does not know what lies outside of it.
  const focused = activeElement ?? document.activeElement;
  return focused === document.body ? null : focused;
}

/**
 * Puts the focus on the gallery around an element, which is about to go. It would fall back to the
 * notebook, and what a person goes on typing would be taken as its commands.
 */
export function focusGallery(from: Element): void {
  from.closest<HTMLElement>(".blip2-gallery")?.focus({ preventScroll: true });
}

/** Puts the focus on the picture that the arrow keys go on from. */
export function focusTiles(from: Element): void {
  const gallery = from.closest(".blip2-gallery");
  gallery?.querySelector<HTMLElement>('[data-index][tabindex="0"]')?.focus({ preventScroll: true });
}

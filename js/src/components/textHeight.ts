import { useLayoutEffect } from "preact/hooks";

/** Keeps a text field as high as its text. */
export function useTextHeight(field: { current: HTMLTextAreaElement | null }, text: string): void {
  useLayoutEffect(() => {
    const element = field.current;
    if (!element) return;
    // The text may be shorter than it was: only what it needs is its height.
    element.style.height = "auto";
    if (element.scrollHeight > 0) element.style.height = `${element.scrollHeight}px`;
  }, [field, text]);
}

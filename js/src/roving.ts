import type { RefObject } from "preact";
import { useRef, useState } from "preact/hooks";

/** Buttons in a row that are one stop for Tab, and between which the arrow keys go. */
export function useRoving(length: number): {
  root: RefObject<HTMLDivElement | null>;
  /** The button that Tab comes to. */
  stop: number;
  setStop(at: number): void;
  onKeyDown(event: KeyboardEvent): void;
} {
  const root = useRef<HTMLDivElement>(null);
  const [cursor, setStop] = useState(0);
  const stop = Math.min(cursor, length - 1);
  const onKeyDown = (event: KeyboardEvent): void => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    const next = stop + step;
    if (step === 0 || next < 0 || next >= length) return;
    event.preventDefault();
    setStop(next);
    (root.current?.children[next] as HTMLElement | undefined)?.focus();
  };
  return { root, stop, setStop, onKeyDown };
}

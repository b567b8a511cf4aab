import { type ReadonlySignal, useSignal } from "@preact/signals";
import { useLayoutEffect, useState } from "preact/hooks";
import type { Details } from "../details";
import { isFirst, isLast, type Place, placeText } from "../place";
import { type Look, oneToOne, WHOLE } from "../zoom";
import { Dialog } from "./Dialog";
import { CloseKnob, NeighbourKnobs, ZoomKnobs } from "./Knobs";
import {
  lookOfKey,
  NO_PANE,
  nearer,
  type Pane,
  percent,
  type ThumbLike,
  ZoomPane,
} from "./ZoomPane";

export interface LightboxProps extends Place {
  details: Details;
  rowId: number;
  thumb: ReadonlySignal<ThumbLike | null>;
  label: string;
  /** What is on the picture, where it is known. */
  alt?: string | undefined;
  onMove(delta: number): void;
  onClose(): void;
}

/** A text that may not find room. */
export const LONG = 240;

/** One picture, as large as the window. */
export function Lightbox(props: LightboxProps) {
  const { details, rowId, thumb, label, alt, onMove, onClose } = props;
  const look = useSignal<Look>(WHOLE);
  const [pane, setPane] = useState<Pane>(NO_PANE);
  useLayoutEffect(() => {
    look.value = WHOLE;
  }, [rowId, look]);

  const ends = { isFirst: isFirst(props), isLast: isLast(props) };
  const zoom = (next: Look) => {
    look.value = next;
  };
  const onKey = (event: KeyboardEvent): boolean => {
    const inWords = (event.target as HTMLElement).matches(".lightbox-words");
    if (inWords && /^(ArrowUp|ArrowDown|Page)/.test(event.key)) return false;
    const leaf = {
      ArrowLeft: -1,
      ArrowUp: -1,
      PageUp: -1,
      ArrowRight: 1,
      ArrowDown: 1,
      PageDown: 1,
    };
    const delta = leaf[event.key as keyof typeof leaf];
    if (delta !== undefined && !event.shiftKey) {
      if (event.ctrlKey || event.metaKey || event.altKey) return false;
      if (!(delta < 0 ? ends.isFirst : ends.isLast)) onMove(delta);
      return true;
    }
    const next = lookOfKey(look.peek(), event, pane);
    if (next) zoom(next);
    return next !== null;
  };
  const ratio = globalThis.devicePixelRatio || 1;
  const own = oneToOne(pane.box, pane.picture, ratio);
  const words = alt || label;
  return (
    <Dialog label={`picture ${label}`} class="lightbox" onClose={onClose} onKey={onKey}>
      <header class="lightbox-head">
        <div class="lightbox-names">
          <span class="lightbox-label" title={label}>
            {label}
          </span>
          <span class="lightbox-place" aria-live="polite">
            {placeText(props)}
          </span>
        </div>
        <ZoomKnobs
          look={look}
          pane={pane}
          whole="the whole picture"
          between={<span class="lightbox-percent">{percent(look.value, pane)}</span>}
        >
          <button
            type="button"
            class="knob knob-words"
            title="its own pixels (1, or a double click)"
            disabled={!pane.own}
            aria-pressed={pane.own && Math.abs(look.value.zoom - own) < 0.01}
            onClick={() => zoom(nearer(look.peek(), own / look.peek().zoom, pane))}
          >
            1:1
          </button>
        </ZoomKnobs>
        <CloseKnob onClick={onClose} />
      </header>
      <div class="lightbox-stage" data-first-focus tabIndex={0} role="group" aria-label={words}>
        <ZoomPane
          details={details}
          row={rowId}
          thumb={thumb.value}
          alt={words}
          look={look}
          onPane={setPane}
        >
          <NeighbourKnobs place="lightbox" {...ends} onMove={onMove} />
        </ZoomPane>
      </div>
      {alt && alt !== label && (
        // What may have to be scrolled has to be reached with the keyboard.
        <p class="lightbox-words" {...(alt.length > LONG ? { tabIndex: 0 } : {})}>
          {alt}
        </p>
      )}
    </Dialog>
  );
}

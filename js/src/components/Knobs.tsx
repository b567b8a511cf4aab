import type { Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { type Look, STEP, WHOLE } from "../zoom";
import { CrossIcon, MinusIcon, NextIcon, PlusIcon, PreviousIcon } from "./Icons";
import { nearer, type Pane } from "./ZoomPane";

interface KnobProps {
  label: string;
  title: string;
  class?: string;
  disabled?: boolean;
  /** Given where the button is a switch. */
  pressed?: boolean;
  onClick(): void;
  children: ComponentChildren;
}

/** A button that is an icon. */
export function Knob({ label, title, disabled, pressed, onClick, children, ...rest }: KnobProps) {
  return (
    <button
      type="button"
      class={rest.class ? `knob ${rest.class}` : "knob"}
      aria-label={label}
      title={title}
      aria-pressed={pressed}
      disabled={disabled ?? false}
      onClick={onClick}
    >
      {children}
    </button>
  );
}

/** Closes what it stands in. */
export const CloseKnob = ({ onClick }: { onClick(): void }) => (
  <Knob label="close" title="close (Esc)" onClick={onClick}>
    <CrossIcon />
  </Knob>
);

interface ZoomKnobsProps {
  look: Signal<Look>;
  pane: Pane;
  /** What "Fit" shows. */
  whole: string;
  /** What stands between out and in. */
  between?: ComponentChildren;
  /** What stands behind them. */
  children?: ComponentChildren;
}

/** Zooms out and in, and back to the whole. */
export function ZoomKnobs({ look, pane, whole, between, children }: ZoomKnobsProps) {
  const zoom = (next: Look): void => {
    look.value = next;
  };
  return (
    <div class="lightbox-tools" role="group" aria-label="zoom">
      <Knob
        label="zoom out"
        title="zoom out (-)"
        onClick={() => zoom(nearer(look.peek(), 1 / STEP, pane))}
      >
        <MinusIcon />
      </Knob>
      {between}
      <Knob
        label="zoom in"
        title="zoom in (+)"
        onClick={() => zoom(nearer(look.peek(), STEP, pane))}
      >
        <PlusIcon />
      </Knob>
      <button
        type="button"
        class="knob knob-words"
        title={`${whole} (0)`}
        aria-pressed={Math.abs(look.value.zoom - 1) < 0.01}
        onClick={() => zoom(WHOLE)}
      >
        Fit
      </button>
      {children}
    </div>
  );
}

interface NeighbourKnobsProps {
  isFirst: boolean;
  isLast: boolean;
  /** Before the names of their classes, where they have places of their own. */
  place?: string;
  onMove(delta: number): void;
}

/** Goes to the picture before and to the one behind. */
export function NeighbourKnobs({ isFirst, isLast, place, onMove }: NeighbourKnobsProps) {
  return (
    <>
      <Knob
        {...(place ? { class: `${place}-previous` } : {})}
        label="previous picture"
        title="previous (←)"
        disabled={isFirst}
        onClick={() => onMove(-1)}
      >
        <PreviousIcon />
      </Knob>
      <Knob
        {...(place ? { class: `${place}-next` } : {})}
        label="next picture"
        title="next (→)"
        disabled={isLast}
        onClick={() => onMove(1)}
      >
        <NextIcon />
      </Knob>
    </>
  );
}

import { useEffect, useRef, useState } from "preact/hooks";
import { count } from "../format";
import type { Facet, Filter } from "../protocol";
import { short } from "../query";
import { useRoving } from "../roving";

type Bins = Facet["bins"];

interface HistogramProps {
  label: string;
  bins: Bins;
  filter: Filter | undefined;
  onChange(range: { min: number; max: number } | null): void;
}

/** How often which numbers are: a click on a bar shows only those, and a drag a range of them. */
export function Histogram({ label, bins, filter, onChange }: HistogramProps) {
  const { root, stop, setStop, onKeyDown } = useRoving(bins.length);
  const [drag, setDrag] = useState<{ from: number; to: number } | null>(null);
  const anchor = useRef<number | null>(null);

  const choose = (from: number, to: number): void => {
    const [first, last] = [from, to].sort((a, b) => a - b) as [number, number];
    const range = rangeOf(bins, first, last);
    const again = filter?.min === range.min && filter.max === range.max;
    onChange(again ? null : range);
  };
  // A drag ends wherever the pointer is let go.
  const latest = useRef({ drag, choose });
  latest.current = { drag, choose };
  const dragging = drag !== null;
  useEffect(() => {
    if (!dragging) return;
    const onUp = (): void => {
      const { drag: now, choose: end } = latest.current;
      setDrag(null);
      if (now) end(now.from, now.to);
    };
    const onCancel = (): void => setDrag(null);
    window.addEventListener("pointerup", onUp);
    window.addEventListener("pointercancel", onCancel);
    return () => {
      window.removeEventListener("pointerup", onUp);
      window.removeEventListener("pointercancel", onCancel);
    };
  }, [dragging]);

  if (bins.every((bin) => bin.count === 0)) return <p class="facetnote">nothing yet</p>;
  const most = Math.max(...bins.map((bin) => bin.count));
  const isChosen = ({ min, max }: Bins[number], k: number): boolean => {
    if (drag) return k >= Math.min(drag.from, drag.to) && k <= Math.max(drag.from, drag.to);
    const middle = (min + max) / 2;
    return (
      filter !== undefined &&
      middle >= (filter.min ?? Number.NEGATIVE_INFINITY) &&
      middle <= (filter.max ?? Number.POSITIVE_INFINITY)
    );
  };
  return (
    <>
      <div
        ref={root}
        class={`histogram${filter || drag ? " histogram-used" : ""}`}
        role="group"
        aria-label={`${label}, distribution`}
        onKeyDown={onKeyDown}
      >
        {bins.map((bin, k) => (
          <button
            key={k}
            type="button"
            class="column"
            tabIndex={k === stop ? 0 : -1}
            aria-pressed={isChosen(bin, k)}
            aria-label={`${short(bin.min)} to ${short(bin.max)}: ${count(bin.count)}`}
            title={`${short(bin.min)} – ${short(bin.max)}: ${count(bin.count)}`}
            onPointerDown={(event) => {
              if (event.button !== 0) return;
              // Touch would keep the pointer on the bar it began at.
              (event.target as Element).releasePointerCapture?.(event.pointerId);
              setStop(k);
              setDrag({ from: k, to: k });
            }}
            onPointerEnter={() => drag && setDrag({ ...drag, to: k })}
            onClick={(event) => {
              // The pointer's clicks have ended as drags of no length.
              if (event.detail > 0) return;
              if (event.shiftKey && anchor.current !== null) choose(anchor.current, k);
              else {
                anchor.current = k;
                choose(k, k);
              }
            }}
          >
            <span class="columnbar" style={{ height: heightOf(bin.count, most) }} />
          </button>
        ))}
      </div>
      <div class="histogramends" aria-hidden="true">
        <span>{short(bins[0]?.min ?? 0)}</span>
        <span>{short(bins.at(-1)?.max ?? 0)}</span>
      </div>
    </>
  );
}

/** What is there at all is seen, however little it is. */
function heightOf(times: number, most: number): string {
  return times === 0 ? "0" : `max(2px, ${(100 * times) / most}%)`;
}

/** The numbers of some neighbouring bins. Where another bin follows, its first number is left out. */
export function rangeOf(bins: Bins, first: number, last: number): { min: number; max: number } {
  const min = bins[first]?.min ?? 0;
  const max = bins[last]?.max ?? 0;
  return { min, max: last === bins.length - 1 ? max : justBelow(max) };
}

function justBelow(value: number): number {
  return value - Math.max(Math.abs(value), 1e-6) * 1e-12;
}

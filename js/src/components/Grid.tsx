import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import {
  type Layout,
  layoutOf,
  placeOf,
  type Range,
  rangeAt,
  reveal,
  scrollHeight,
  shiftAfter,
  step,
  thumbPixels,
  toGrid,
  toScroll,
} from "../layout";
import type { Session, View } from "../session";
import { Tile } from "./Tile";

/** Which cell of which row is being edited, in this view. */
export interface Editing {
  row: number;
  cell: number;
}

/** How long after the last scroll the scroll bar of a very tall grid is put right. */
const SETTLE_MS = 150;

/** The scrolled grid, which holds the tiles on screen and a few around them. */
export function Grid({ session, view }: { session: Session; view: View }) {
  const rowCount = session.rowCount.value;
  const promptCount = session.prompts.value.length;

  const scroller = useRef<HTMLDivElement>(null);
  const box = useBox(scroller);
  const layout = useMemo(
    () => layoutOf({ width: box.width, fontSize: box.fontSize, rowCount, promptCount }),
    [box.width, box.fontSize, rowCount, promptCount],
  );
  const { top, shift, scrollTo, sight } = useScroll(scroller, layout, box.height);

  const seen = rangeAt(layout, top, box.height);
  const drawn = rangeAt(layout, top, box.height, Math.max(240, box.height * 0.4));
  const pixels = thumbPixels(layout, globalThis.devicePixelRatio || 1);
  useEffect(() => {
    view.want({ drawn, seen, pixels });
  }, [view, drawn.start, drawn.stop, seen.start, seen.stop, pixels, rowCount]);

  // One tile is in the order of the Tab key; the arrow keys choose which.
  const [active, setActive] = useState(0);
  const [focused, setFocused] = useState(false);
  const [editing, setEditing] = useState<Editing | null>(null);
  // Always the same function, so that scrolling does not draw again the tiles that stay.
  const edit = useCallback((row: number, cell: number | null) => {
    setEditing(cell === null ? null : { row, cell });
  }, []);
  const toFocus = useRef(false);
  useLayoutEffect(() => {
    if (!toFocus.current) return;
    toFocus.current = false;
    const tile = scroller.current?.querySelector<HTMLElement>(`[data-index="${active}"]`);
    tile?.focus({ preventScroll: true });
  });

  const onKeyDown = (event: KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    const onTile = target.dataset.index !== undefined;
    if (event.altKey || event.metaKey || !(onTile || event.key === "F2")) return;
    const page = Math.max(1, Math.floor(box.height / (layout.tileHeight + layout.gap)));
    const next = step(layout, active, event.key, page);
    if (next !== null) {
      toFocus.current = true;
      setActive(next);
      scrollTo(reveal(layout, next, top, box.height));
    } else if (event.key === "Enter" || event.key === "F2") {
      const cell = Number(target.closest<HTMLElement>("[data-cell]")?.dataset.cell ?? 0);
      if (session.row(active).peek()?.cells[cell]) setEditing({ row: active, cell });
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  const onFocusIn = (event: FocusEvent): void => {
    const tile = (event.target as HTMLElement).closest<HTMLElement>("[data-index]");
    if (tile) setActive(Number(tile.dataset.index));
    setFocused(tile !== null);
  };

  const onFocusOut = (event: FocusEvent): void => {
    const to = event.relatedTarget as HTMLElement | null;
    if (!to?.closest("[data-index]")) setFocused(false);
  };

  const current = Math.min(active, Math.max(0, rowCount - 1));
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: it hears what happens to its tiles
    <div
      ref={scroller}
      class="scroller"
      style={variables(layout)}
      onKeyDown={onKeyDown}
      onFocusIn={onFocusIn}
      onFocusOut={onFocusOut}
    >
      <div ref={sight} class="sight" style={{ transform: `translateY(${top - shift + 8}px)` }} />
      {rowCount === 0 && <p class="empty">There are no pictures here.</p>}
      <div class="grid" role="list" style={{ height: `${scrollHeight(layout.total)}px` }}>
        {indices(drawn, focused ? current : null, rowCount).map((index) => {
          const { x, y } = placeOf(layout, index);
          const lowest = Math.max(0, scrollHeight(layout.total) - layout.tileHeight);
          return (
            <Tile
              key={index}
              session={session}
              index={index}
              rowCount={rowCount}
              x={x}
              // A tile that is kept for its focus may lie beyond what the element can hold.
              y={Math.min(lowest, Math.max(0, y - shift))}
              inTabOrder={index === tabStop(current, drawn)}
              editing={editing?.row === index ? editing.cell : null}
              onEdit={edit}
            />
          );
        })}
      </div>
    </div>
  );
}

/**
 * The rows to draw. A tile that has the focus is drawn wherever it is: without it the focus would
 * fall back to the notebook, and what a person goes on typing would be taken as its commands.
 */
function indices({ start, stop }: Range, kept: number | null, rowCount: number): number[] {
  const all = Array.from({ length: stop - start }, (_, k) => start + k);
  if (kept !== null && kept < rowCount && (kept < start || kept >= stop)) all.push(kept);
  return all;
}

/** The tile that Tab comes to, which has to be drawn even where the active one is not. */
function tabStop(active: number, { start, stop }: Range): number {
  return active >= start && active < stop ? active : start;
}

/** The sizes that the arithmetic has set, for the style sheet. */
function variables(layout: Layout): Record<string, string> {
  return {
    "--b2-tile-width": `${layout.tileWidth}px`,
    "--b2-tile-height": `${layout.tileHeight}px`,
    "--b2-picture-height": `${layout.pictureHeight}px`,
    "--b2-label-height": `${layout.labelHeight}px`,
    "--b2-prompt-height": `${layout.promptHeight}px`,
    "--b2-answer-height": `${layout.answerHeight}px`,
    "--b2-answer-lines": `${layout.answerLines}`,
  };
}

interface Box {
  width: number;
  height: number;
  fontSize: number;
}

/** The inner size of an element, and the size of its text. */
function useBox(ref: { current: HTMLElement | null }): Box {
  // Something to draw with before the page has been measured.
  const [box, setBox] = useState<Box>({ width: 800, height: 640, fontSize: 13 });
  useLayoutEffect(() => {
    const element = ref.current;
    if (!element) return;
    const measure = () => {
      const style = getComputedStyle(element);
      // Where scroll bars take room, they take it from the padding: both sides look alike.
      element.style.setProperty("--b2-gutter", `${element.offsetWidth - element.clientWidth}px`);
      const width =
        element.clientWidth - parsePixels(style.paddingLeft) - parsePixels(style.paddingRight);
      // Hidden, as in a notebook's inactive tab: what was measured before still holds.
      if (width <= 0) return;
      // The grid is at most as high as the window lets it be: with the height it has before its
      // rows are known, too few tiles would be drawn.
      const height = Math.max(element.clientHeight, 160);
      const fontSize = parsePixels(style.fontSize) || 13;
      setBox((old) =>
        old.width === width && old.height === height && old.fontSize === fontSize
          ? old
          : { width, height, fontSize },
      );
    };
    measure();
    const observer = globalThis.ResizeObserver && new ResizeObserver(measure);
    observer?.observe(element);
    return () => observer?.disconnect();
  }, [ref]);
  return box;
}

function parsePixels(value: string): number {
  return Number.parseFloat(value) || 0;
}

/**
 * Where the grid is scrolled to. `shift` is the distance between a place in the grid and its place
 * in the scrolled element, which is zero unless the grid is taller than a browser can hold.
 */
function useScroll(ref: { current: HTMLElement | null }, layout: Layout, height: number) {
  /** An element that the grid keeps at the top of what is in sight. */
  const sight = useRef<HTMLDivElement>(null);
  const [{ top, shift }, setPlace] = useState({ top: 0, shift: 0 });
  // What the handlers need to know of the last drawing.
  const now = useRef({ layout, height, top, shift, scrollTop: 0 });
  now.current.layout = layout;
  now.current.height = height;

  const moveTo = (scrollTop: number, newShift: number): void => {
    Object.assign(now.current, { scrollTop, shift: newShift, top: scrollTop + newShift });
    setPlace({ top: scrollTop + newShift, shift: newShift });
  };

  const scrollTo = (place: number): void => {
    const element = ref.current;
    const { top: from, shift: oldShift, layout: at, height: window } = now.current;
    if (!element || place === from) return;
    // Neighbouring tiles are reached without a change of the shift, so that nothing jumps.
    const near = Math.abs(place - from) <= 2 * window && place - oldShift >= 0;
    const scrollTop = near ? place - oldShift : toScroll(at.total, place);
    element.scrollTop = scrollTop;
    moveTo(element.scrollTop, near ? oldShift : place - scrollTop);
  };

  useLayoutEffect(() => {
    const element = ref.current;
    if (!element) return;
    let settling: ReturnType<typeof setTimeout> | undefined;
    const settle = () => {
      const { top: place, shift: oldShift, layout: at } = now.current;
      const scrollTop = Math.round(toScroll(at.total, place));
      if (oldShift === place - scrollTop) return;
      element.scrollTop = scrollTop;
      moveTo(element.scrollTop, place - element.scrollTop);
    };
    const onScroll = () => {
      const { layout: at, shift: oldShift, scrollTop: before, height: window } = now.current;
      const scrollTop = element.scrollTop;
      moveTo(scrollTop, shiftAfter(at.total, oldShift, before, scrollTop, window));
      clearTimeout(settling);
      settling = setTimeout(settle, SETTLE_MS);
    };
    element.addEventListener("scroll", onScroll, { passive: true });
    // An element that is taken out of the page and put back, as notebooks do with cells that are
    // moved or far away, comes back scrolled to its top, and no event tells of it. But its size has
    // changed meanwhile, or what was in sight is so no more.
    const restore = () => {
      const { scrollTop } = now.current;
      if (element.clientHeight > 0 && element.scrollTop !== scrollTop)
        element.scrollTop = scrollTop;
    };
    const sizes = globalThis.ResizeObserver && new ResizeObserver(restore);
    const sights =
      globalThis.IntersectionObserver && new IntersectionObserver(restore, { root: element });
    sizes?.observe(element);
    if (sight.current) sights?.observe(sight.current);
    return () => {
      clearTimeout(settling);
      sizes?.disconnect();
      sights?.disconnect();
      element.removeEventListener("scroll", onScroll);
    };
  }, [ref]);

  // A new width changes the number of columns: the first tile in sight stays the first.
  const before = useRef(layout);
  useLayoutEffect(() => {
    const old = before.current;
    before.current = layout;
    if (old === layout || now.current.top === 0) return;
    const first = rangeAt(old, now.current.top, 1).start;
    const offset = now.current.top - placeOf(old, first).y;
    const place = placeOf(layout, Math.min(first, Math.max(0, layout.rowCount - 1))).y + offset;
    const element = ref.current;
    if (!element) return;
    element.scrollTop = Math.round(toScroll(layout.total, place));
    moveTo(element.scrollTop, toGrid(layout.total, element.scrollTop) - element.scrollTop);
  }, [layout, ref]);

  return { top, shift, scrollTo, sight };
}

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { type Layout, placeOf, rangeAt, shiftAfter, toGrid, toScroll } from "./layout";

/** How long after the last scroll the scroll bar of a very tall grid is put right. */
const SETTLE_MS = 150;

export interface Box {
  width: number;
  height: number;
  fontSize: number;
}

/** The inner size of an element, and the size of its text. */
export function useBox(ref: { current: HTMLElement | null }): Box {
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
export function useScroll(ref: { current: HTMLElement | null }, layout: Layout, height: number) {
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

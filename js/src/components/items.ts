import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { allows, REVIEW_KEYS, toggled } from "../answers";
import { focusedFrom } from "../focus";
import {
  type Layout,
  type Measure,
  placeOf,
  type Range,
  rangeAt,
  reveal,
  step,
  thumbPixels,
} from "../layout";
import { useBox, useScroll } from "../scroll";
import type { Part, Session, View } from "../session";
import type { ViewSettings } from "../view";

/** What of which row is being edited, in this view. */
export interface Editing {
  row: number;
  cell: number;
  part: Part;
}

/** What tiles and the rows of a table are given. */
export interface ItemProps {
  session: Session;
  settings: ViewSettings;
  /** Its place in what is shown. */
  position: number;
  count: number;
  x: number;
  y: number;
  inTabOrder: boolean;
  /** What is being edited, of whichever row: rows move, and only a tile knows which one it shows. */
  editing: Editing | null;
  onEdit(editing: Editing | null): void;
  /** Selects the row or takes it out; with `extend` all rows from the last one that was picked. */
  onPick(position: number, extend: boolean): void;
}

/** Tells what stands around the gallery that a person wants to see a picture. */
export function openRow(element: Element | null, row: number, position: number): void {
  const detail: Opened = { row, position };
  element?.dispatchEvent(new CustomEvent(OPEN, { bubbles: true, detail }));
}

/** The event by which a picture is opened, and what it tells. */
export const OPEN = "blip2-open";
export interface Opened {
  row: number;
  position: number;
}

/**
 * What a grid and a table have in common: which rows are drawn, which one has the focus, what the
 * keys do, and what is being edited.
 */
export function useItems(
  session: Session,
  view: View,
  settings: ViewSettings,
  layoutFor: (measure: Measure) => Layout,
  /** Height at the top that is covered, in sizes of the text. */
  covered = 0,
) {
  const rowCount = session.shown.value.count;
  const promptCount = session.prompts.value.length;
  const valueCount = settings.shownColumns(session.columns.value).length;
  const scoredCount = session.scored.value.length;
  const size = settings.size.value;

  const scroller = useRef<HTMLDivElement>(null);
  const { width, height: outer, fontSize } = useBox(scroller);
  const height = Math.max(80, outer - covered * fontSize);
  const layout = useMemo(
    () => layoutFor({ width, fontSize, rowCount, promptCount, valueCount, scoredCount, size }),
    [layoutFor, width, fontSize, rowCount, promptCount, valueCount, scoredCount, size],
  );
  const { top, shift, scrollTo, sight } = useScroll(scroller, layout, height);

  const seen = rangeAt(layout, top, height);
  const drawn = rangeAt(layout, top, height, Math.max(240, height * 0.4));
  const pixels = thumbPixels(layout, globalThis.devicePixelRatio || 1);
  useEffect(() => {
    view.want({ drawn, seen, pixels });
    settings.place = seen.start;
  }, [view, drawn.start, drawn.stop, seen.start, seen.stop, pixels, rowCount]);

  // One tile is in the order of the Tab key; the arrow keys choose which.
  const [active, setActive] = useState(0);
  const [focused, setFocused] = useState(false);
  const [editing, setEditing] = useState<Editing | null>(null);
  const toFocus = useRef(false);
  useLayoutEffect(() => {
    if (!toFocus.current) return;
    toFocus.current = false;
    const tile = scroller.current?.querySelector<HTMLElement>(`[data-index="${active}"]`);
    tile?.focus({ preventScroll: true });
  });
  // The row with the focus may be the last one and be filtered out by what was done to it.
  useLayoutEffect(() => {
    if (!focused || active < rowCount || rowCount === 0) return;
    // What was typed into it must not go on as the keys of another row.
    if (scroller.current && focusedFrom(scroller.current) !== null) return;
    toFocus.current = true;
    setActive(rowCount - 1);
  }, [rowCount]);
  const current = Math.min(active, Math.max(0, rowCount - 1));

  /** Where a range of rows starts, and what is done to it. */
  const anchor = useRef<{ position: number; how: "add" | "remove" } | null>(null);

  // The table begins where the grid was, and the grid where the table was.
  useLayoutEffect(() => {
    if (settings.place === 0) return;
    setActive(settings.place);
    scrollTo(placeOf(layout, Math.min(settings.place, Math.max(0, rowCount - 1))).y);
  }, [settings]);

  // Another query starts from its top; the same one whose rows have moved stays where it is.
  const query = JSON.stringify(session.shown.value.query);
  const lastQuery = useRef(query);
  useLayoutEffect(() => {
    if (lastQuery.current === query) return;
    lastQuery.current = query;
    anchor.current = null;
    // What is typed inside of a tile goes on there; the tile's own focus goes to the top as well.
    const held = scroller.current && focusedFrom(scroller.current);
    toFocus.current = active !== 0 && held?.matches("[data-index]") === true;
    setActive(0);
    scrollTo(0);
  }, [query]);

  // Always the same functions, so that scrolling does not draw again the tiles that stay.
  const onPick = useCallback(
    (position: number, extend: boolean): void => {
      const from = anchor.current;
      if (extend && from) {
        const [first, last] = [from.position, position].sort((a, b) => a - b) as [number, number];
        session.select(from.how, { positions: [first, last + 1] });
        return;
      }
      const id = session.idAt(position).peek();
      if (id === null) return;
      const how = session.row(id).peek()?.selected ? "remove" : "add";
      anchor.current = { position, how };
      session.select(how, { rows: [id] });
    },
    [session],
  );
  const onEdit = useCallback((what: Editing | null): void => setEditing(what), []);

  /** What a key does to the row with the focus; false for a key that does nothing. */
  const act = (key: string, target: HTMLElement): boolean => {
    const id = session.idAt(current).peek();
    if (id === null) return false;
    const cell = Number(target.closest<HTMLElement>("[data-cell]")?.dataset.cell ?? 0);
    const row = session.row(id).peek();
    // Of a picture that cannot be read there is nothing to say.
    const held = row?.error ? undefined : row?.cells[cell];
    switch (key) {
      case "Enter":
        openRow(target, id, current);
        break;
      case "x":
      case " ":
        onPick(current, false);
        break;
      case "X":
        onPick(current, true);
        break;
      case "p":
      case "F2":
        if (held) setEditing({ row: id, cell, part: "prompt" });
        break;
      default: {
        const action = REVIEW_KEYS[key];
        if (!action) return false;
        if (!held || !allows(held, action)) break;
        if (action === "correct") setEditing({ row: id, cell, part: "answer" });
        else session.review(id, cell, toggled(action, held.review));
      }
    }
    return true;
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    const onTile = target.dataset.index !== undefined;
    if (event.altKey || event.metaKey || event.defaultPrevented) return;
    if (!onTile && !target.closest("[data-cell]")) return;
    const page = Math.max(1, Math.floor(height / (layout.tileHeight + layout.gap)));
    const next = onTile ? step(layout, current, event.key, page) : null;
    if (next !== null) {
      toFocus.current = true;
      setActive(next);
      scrollTo(reveal(layout, next, top, height));
    } else {
      if (event.ctrlKey) return;
      // A button in a tile keeps the keys that press it.
      if (!onTile && (event.key === "Enter" || event.key === " ")) return;
      if (!act(event.key, target)) return;
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

  /** What one of the drawn rows is given. */
  const itemProps = (position: number): Omit<ItemProps, "x" | "y"> => ({
    session,
    settings,
    position,
    count: rowCount,
    inTabOrder: position === tabStop(current, drawn),
    editing,
    onEdit,
    onPick,
  });

  return {
    scroller,
    sight,
    layout,
    top,
    shift,
    positions: indices(drawn, focused ? current : null, rowCount),
    itemProps,
    handlers: { onKeyDown, onFocusIn, onFocusOut },
  };
}

/**
 * The rows to draw. A tile that has the focus is drawn wherever it is: without it the focus would
 * fall back to the notebook, and what a person goes on typing would be taken as its commands.
 */
function indices({ start, stop }: Range, kept: number | null, rowCount: number): number[] {
  const all = Array.from({ length: stop - start }, (_, k) => start + k);
  if (kept === null || kept >= rowCount || (kept >= start && kept < stop)) return all;
  // In order: an element that is moved among the others would lose the focus.
  return kept < start ? [kept, ...all] : [...all, kept];
}

/** The tile that Tab comes to, which has to be drawn even where the active one is not. */
function tabStop(active: number, { start, stop }: Range): number {
  return active >= start && active < stop ? active : start;
}

/** The sizes that the arithmetic has set, for the style sheet. */
export function variables(layout: Layout): Record<string, string> {
  return {
    "--b2-tile-width": `${layout.tileWidth}px`,
    "--b2-tile-height": `${layout.tileHeight}px`,
    "--b2-picture-width": `${layout.pictureWidth}px`,
    "--b2-picture-height": `${layout.pictureHeight}px`,
    "--b2-label-height": `${layout.labelHeight}px`,
    "--b2-prompt-height": `${layout.promptHeight}px`,
    "--b2-answer-height": `${layout.answerHeight}px`,
    "--b2-answer-lines": `${layout.answerLines}`,
  };
}

/**
 * The arithmetic of the virtual grid and table: nothing here touches the page.
 *
 * Every tile of a gallery has the same size, known before anything is drawn, so that the place of
 * row 90,000 is a multiplication and nothing moves when an answer arrives.
 */

export interface Measure {
  /** The width tiles may use, and the size of the text, in CSS pixels. */
  width: number;
  fontSize: number;
  rowCount: number;
  promptCount: number;
  /** How much larger than usual the tiles are to be. */
  size?: number;
  /** How many columns of the frame stand under the pictures. */
  valueCount?: number;
  /** How many prompts' answers have a line of references under them. */
  scoredCount?: number;
}

export interface Layout {
  rowCount: number;
  columns: number;
  gap: number;
  tileWidth: number;
  tileHeight: number;
  pictureWidth: number;
  pictureHeight: number;
  labelHeight: number;
  promptHeight: number;
  answerHeight: number;
  answerLines: number;
  /** The height of all rows of tiles. */
  total: number;
}

/** Rows [start, stop). */
export interface Range {
  start: number;
  stop: number;
}

/** The space inside a tile around its text, and between two of its answers: also in style.css. */
export const TILE_PADDING = 10;
const CELL_GAP = 8;
const BORDER = 1;

/** The place of everything in a gallery of this width. */
export function layoutOf(measure: Measure): Layout {
  const { width, fontSize, rowCount, promptCount, size = 1 } = measure;
  const { valueCount = 0, scoredCount = 0 } = measure;
  const gap = width < 480 ? 10 : 14;
  const usual = (width < 480 ? 11.5 : width < 1100 ? 15.5 : 17) * fontSize;
  const narrowest = Math.min(width, usual * size);
  const columns = Math.max(1, Math.floor((width + gap) / (narrowest + gap)));
  const tileWidth = Math.floor((width - gap * (columns - 1)) / columns);
  const pictureHeight = Math.round(
    Math.min(240 * Math.max(1, size), Math.max(120 * Math.min(1, size), tileWidth * 0.72)),
  );

  const cells = promptCount;
  // A caption is some fifty letters: two lines, or three of a narrow tile.
  const answerLines = cells > 3 ? 1 : cells === 1 && tileWidth < 200 ? 3 : 2;
  const labelHeight = Math.round(fontSize * 1.5);
  const promptHeight = Math.round(fontSize * 1.6);
  const answerHeight = Math.round(fontSize * 1.5);
  const cellHeight = promptHeight + answerLines * answerHeight;
  const body =
    2 * TILE_PADDING +
    (1 + valueCount + scoredCount) * labelHeight +
    cells * cellHeight +
    Math.max(0, cells - 1) * CELL_GAP +
    CELL_GAP / 2;
  const tileHeight = 2 * BORDER + pictureHeight + body;

  const lines = Math.ceil(rowCount / columns);
  return {
    rowCount,
    columns,
    gap,
    tileWidth,
    tileHeight,
    pictureWidth: tileWidth,
    pictureHeight,
    labelHeight,
    promptHeight,
    answerHeight,
    answerLines,
    total: Math.max(0, lines * (tileHeight + gap) - gap),
  };
}

/** The place of everything in a table: its rows are tiles of which there is one in a line. */
export function tableOf(measure: Measure): Layout {
  const { width, fontSize, rowCount, size = 1, scoredCount = 0 } = measure;
  const labelHeight = Math.round(fontSize * 1.5);
  // Two lines of text and one of references, or a picture.
  const least = Math.round(fontSize * 3.5) + (scoredCount > 0 ? labelHeight : 0);
  const tileHeight = Math.max(least, Math.round(fontSize * 4 * size)) + 1;
  const answerHeight = Math.round(fontSize * 1.4);
  const pictureHeight = tileHeight - 9;
  return {
    rowCount,
    columns: 1,
    gap: 0,
    tileWidth: width,
    tileHeight,
    pictureWidth: Math.round(pictureHeight * 1.4),
    pictureHeight,
    labelHeight,
    promptHeight: 0,
    answerHeight,
    answerLines: Math.max(
      2,
      Math.floor((tileHeight - 8 - (scoredCount > 0 ? labelHeight : 0)) / answerHeight),
    ),
    total: rowCount * tileHeight,
  };
}

/** Where a tile stands, from the top left of the whole grid. */
export function placeOf(layout: Layout, index: number): { x: number; y: number } {
  return {
    x: (index % layout.columns) * (layout.tileWidth + layout.gap),
    y: Math.floor(index / layout.columns) * (layout.tileHeight + layout.gap),
  };
}

/** The rows whose tiles touch the stretch [top, top + height) of the grid, grown by `margin`. */
export function rangeAt(layout: Layout, top: number, height: number, margin = 0): Range {
  const pitch = layout.tileHeight + layout.gap;
  const first = Math.max(0, Math.floor((top - margin + layout.gap) / pitch));
  const last = Math.max(first, Math.ceil((top + height + margin) / pitch));
  const clamp = (line: number) => Math.min(layout.rowCount, line * layout.columns);
  return { start: clamp(first), stop: clamp(last) };
}

/** The least scroll from `top` that shows a whole tile in a window of this height. */
export function reveal(layout: Layout, index: number, top: number, height: number): number {
  const { y } = placeOf(layout, index);
  if (y < top) return y;
  const bottom = y + layout.tileHeight;
  // A tile taller than the window is shown from its top.
  return bottom > top + height ? Math.min(y, bottom - height) : top;
}

/** The index the arrow keys and their kin lead to, or null for any other key. */
export function step(layout: Layout, index: number, key: string, page: number): number | null {
  const { columns, rowCount } = layout;
  const moves: Record<string, number> = {
    ArrowLeft: index - 1,
    ArrowRight: index + 1,
    ArrowUp: index - columns,
    ArrowDown: index + columns,
    PageUp: index - columns * page,
    PageDown: index + columns * page,
    Home: 0,
    End: rowCount - 1,
  };
  const next = moves[key];
  if (next === undefined) return null;
  if (next >= 0 && next < rowCount) return next;
  if (key.startsWith("Page")) return next < 0 ? index % columns : rowCount - 1;
  // Down from a full line onto a last line that is shorter.
  const lastLine = Math.floor((rowCount - 1) / columns);
  if (key === "ArrowDown" && Math.floor(index / columns) < lastLine) return rowCount - 1;
  return index;
}

/** The side to ask thumbnails for: few sizes, so that the kernel's cache is of use. */
export function thumbPixels(layout: Layout, pixelRatio: number): number {
  const side = Math.max(layout.pictureWidth, layout.pictureHeight) * pixelRatio;
  return side <= 128 ? 128 : side <= 256 ? 256 : 512;
}

/**
 * Browsers cut an element off at some 17 million pixels (Firefox) or 33 million (Chromium, Safari),
 * so a taller grid is scrolled inside an element of this height.
 */
export const TALLEST = 12_000_000;

/** Near its ends a compressed grid scrolls pixel for pixel, so that the ends are reached exactly. */
const EXACT_END = 500_000;

/** The height of the element that is scrolled. */
export function scrollHeight(total: number): number {
  return Math.min(total, TALLEST);
}

/** The place in the grid that a place of the scroll bar stands for. */
export function toGrid(total: number, scrollTop: number): number {
  const height = scrollHeight(total);
  if (height === total || scrollTop <= EXACT_END) return scrollTop;
  if (scrollTop >= height - EXACT_END) return total - (height - scrollTop);
  const ratio = (total - 2 * EXACT_END) / (height - 2 * EXACT_END);
  return EXACT_END + (scrollTop - EXACT_END) * ratio;
}

/** The place of the scroll bar for a place in the grid: the inverse of `toGrid`. */
export function toScroll(total: number, top: number): number {
  const height = scrollHeight(total);
  if (height === total || top <= EXACT_END) return top;
  if (top >= total - EXACT_END) return height - (total - top);
  const ratio = (total - 2 * EXACT_END) / (height - 2 * EXACT_END);
  return EXACT_END + (top - EXACT_END) / ratio;
}

/**
 * How far the grid is shifted against the scroll bar after it moved from `before` to `now`.
 * A short move keeps the shift, so that a wheel scrolls pixel for pixel; a long one is a drag of the
 * scroll bar and goes where the bar says.
 */
export function shiftAfter(
  total: number,
  shift: number,
  before: number,
  now: number,
  height: number,
): number {
  const nearEnd = now <= EXACT_END || now >= scrollHeight(total) - EXACT_END;
  if (!nearEnd && Math.abs(now - before) <= 2 * height) return shift;
  return toGrid(total, now) - now;
}

/**
 * The arithmetic of the map: where points are drawn, which of them lies under the pointer or inside
 * of a line, and the pixels that they are. Nothing here touches the page.
 *
 * Places are pairs of numbers one behind another, x and y, NaN for a row that has none; y goes up.
 */

import type { Point, Size } from "./zoom";

/** What is looked at: the place at the middle, and how many pixels a step of 1 is. */
export interface Camera {
  x: number;
  y: number;
  scale: number;
}

/** The room around all points, in pixels. */
const MARGIN = 24;

/** How far a person can zoom out and in, from where all points are seen. */
const NEAREST = 200;
const FARTHEST = 0.5;

/** Into so many bands of one height a line around points is cut. */
const BANDS = 256;

/** The camera that sees all points. */
export function seeAll(places: Float32Array, { width, height }: Size): Camera {
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let k = 0; k < places.length; k += 2) {
    const x = places[k] as number;
    const y = places[k + 1] as number;
    if (x < left) left = x;
    if (x > right) right = x;
    if (y < low) low = y;
    if (y > high) high = y;
  }
  if (!(left <= right)) return { x: 0, y: 0, scale: 1 };
  const across = Math.max(1, width - 2 * MARGIN) / (right - left || 1e-9);
  const up = Math.max(1, height - 2 * MARGIN) / (high - low || 1e-9);
  return { x: (left + right) / 2, y: (low + high) / 2, scale: Math.min(across, up) };
}

/** The camera after the points were dragged by so many pixels. */
export function panned(camera: Camera, dx: number, dy: number): Camera {
  return { ...camera, x: camera.x - dx / camera.scale, y: camera.y + dy / camera.scale };
}

/** The camera `factor` times as near, with what is under `point` staying there. */
export function zoomed(
  camera: Camera,
  factor: number,
  point: Point,
  size: Size,
  whole: Camera,
): Camera {
  const { scale: one } = whole;
  const scale = Math.min(NEAREST * one, Math.max(FARTHEST * one, camera.scale * factor));
  const shift = 1 / camera.scale - 1 / scale;
  return {
    x: camera.x + (point.x - size.width / 2) * shift,
    y: camera.y - (point.y - size.height / 2) * shift,
    scale,
  };
}

/** The row whose point is drawn nearest to a point of the box, at most so far away; -1 for none. */
export function nearest(
  places: Float32Array,
  camera: Camera,
  size: Size,
  point: Point,
  reach: number,
): number {
  const x = camera.x + (point.x - size.width / 2) / camera.scale;
  const y = camera.y - (point.y - size.height / 2) / camera.scale;
  let least = (reach / camera.scale) ** 2;
  let found = -1;
  for (let k = 0; k < places.length; k += 2) {
    const dx = (places[k] as number) - x;
    const dy = (places[k + 1] as number) - y;
    const far = dx * dx + dy * dy;
    // Of points in one place the one that is drawn last.
    if (far <= least) {
      least = far;
      found = k / 2;
    }
  }
  return found;
}

/** The rows whose points lie inside of a closed line in the box, of those that `passes` names. */
export function inside(
  places: Float32Array,
  camera: Camera,
  size: Size,
  line: readonly Point[],
  passes: (row: number) => boolean,
): number[] {
  const xs = line.map(({ x }) => camera.x + (x - size.width / 2) / camera.scale);
  const ys = line.map(({ y }) => camera.y - (y - size.height / 2) / camera.scale);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [low, high] = [Math.min(...ys), Math.max(...ys)];
  // A point is held against the pieces of the line at its height: there are few of them.
  const bandOf = (y: number): number => Math.floor((BANDS * (y - low)) / (high - low || 1));
  const bands: number[][] = Array.from({ length: BANDS + 1 }, () => []);
  xs.forEach((_, k) => {
    const ends = [ys[k] as number, ys.at(k - 1) as number].map(bandOf).sort((a, b) => a - b);
    for (let at = ends[0] as number; at <= (ends[1] as number); at++) bands[at]?.push(k);
  });
  const rows: number[] = [];
  for (let k = 0; k < places.length; k += 2) {
    const x = places[k] as number;
    const y = places[k + 1] as number;
    if (!(x >= left && x <= right && y >= low && y <= high)) continue;
    if (isInside(x, y, xs, ys, bands[bandOf(y)] ?? []) && passes(k / 2)) rows.push(k / 2);
  }
  return rows;
}

/** Whether a ray from the point to the right crosses the line an odd number of times. */
function isInside(x: number, y: number, xs: number[], ys: number[], pieces: number[]): boolean {
  let odd = false;
  for (const k of pieces) {
    const before = k === 0 ? xs.length - 1 : k - 1;
    const y1 = ys[k] as number;
    const y2 = ys[before] as number;
    if (y1 > y === y2 > y) continue;
    const x1 = xs[k] as number;
    const x2 = xs[before] as number;
    if (x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) odd = !odd;
  }
  return odd;
}

// Drawing

/** What the kernel's marks of a row say. */
export const SHOWN = 1;
export const SELECTED = 2;

/** A colour of the canvas' pixels: red in the lowest byte, and no opacity. */
export type Colour = number;

export interface Picture {
  places: Float32Array;
  /** SHOWN and SELECTED of each row; null where all are shown. */
  marks: Uint8Array | null;
  /** Which of `colours` each row has; null where all have the first. */
  codes: Uint8Array | null;
  colours: Uint32Array;
  /** The ring around what is selected. */
  ring: Colour;
  camera: Camera;
  /** Half a point's width, in pixels of the box. */
  radius: number;
  /** Pixels of the canvas to one of the box. */
  ratio: number;
}

/** How opaque points are: shown, shown while others are selected, and filtered out. */
const OPAQUE = 255;
const BESIDE = 120;
const PALE = 38;
const OPAQUE_FROM = 0xff000000;

/** From so many points on they are drawn small, and with one pixel to one of the box. */
const MANY = 20_000;

/** The half width of a point in pixels of the box. */
export function radiusFor(count: number): number {
  return count <= 2_000 ? 4.5 : count <= MANY ? 3 : 1.5;
}

/** Pixels of the canvas to one of the box. */
export function ratioFor(count: number, device: number): number {
  return count <= MANY ? device : 1;
}

/**
 * Draws all points into the pixels of a canvas of this size, which are empty before: those that are
 * filtered out undermost, those that are selected on top. An ordinary canvas draws a hundred thousand
 * shapes in a good part of a second, and their pixels can be set in a few milliseconds.
 */
export function paint(pixels: Uint32Array, size: Size, picture: Picture): void {
  const { places, marks, codes, colours, camera, radius, ratio, ring } = picture;
  const selecting = marks?.some((mark) => mark & SELECTED) ?? false;
  const scale = camera.scale * ratio;
  const put = (mark: number, dots: Stamp, colour?: Colour): void => {
    for (let row = 0; row < places.length / 2; row++) {
      if ((marks ? marks[row] : SHOWN) !== mark) continue;
      const x = size.width / 2 + ((places[2 * row] as number) - camera.x) * scale;
      const y = size.height / 2 - ((places[2 * row + 1] as number) - camera.y) * scale;
      // Outside, at its edge, or nowhere.
      if (!(x >= dots.reach && x < size.width - dots.reach)) continue;
      if (!(y >= dots.reach && y < size.height - dots.reach)) continue;
      press(
        pixels,
        dots,
        (y | 0) * size.width + (x | 0),
        colour ?? colours[codes?.[row] ?? 0] ?? 0,
      );
    }
  };
  const dot = (opacity: number) => stamp(size.width, opacity, radius * ratio);
  if (marks) put(0, dot(PALE));
  put(SHOWN, dot(selecting ? BESIDE : OPAQUE));
  if (!selecting) return;
  for (const [mark, opacity] of [
    [SELECTED, BESIDE],
    [SELECTED | SHOWN, OPAQUE],
  ] as const) {
    // Only what is seen of the ring: with many points that is half of all pixels.
    put(mark, stamp(size.width, opacity, (radius + 1.5) * ratio, radius * ratio), ring);
    put(mark, dot(opacity));
  }
}

/** The pixels of a disc, or of a ring: where each is from its middle, and how opaque it is. */
interface Stamp {
  offsets: Int32Array;
  /** In the highest byte, as in a pixel. */
  alphas: Uint32Array;
  reach: number;
}

function stamp(width: number, opacity: number, radius: number, hole = 0): Stamp {
  const reach = Math.ceil(radius);
  const found: [offset: number, alpha: number][] = [];
  for (let y = -reach; y <= reach; y++) {
    for (let x = -reach; x <= reach; x++) {
      const far = Math.hypot(x, y);
      const cover = Math.min(1, Math.max(0, radius + 0.5 - far));
      if (cover > 0 && far >= hole) found.push([y * width + x, Math.round(opacity * cover) << 24]);
    }
  }
  return {
    offsets: Int32Array.from(found, ([offset]) => offset),
    alphas: Uint32Array.from(found, ([, alpha]) => alpha),
    reach,
  };
}

/** What is drawn later lies above; its edge does not thin what is there. */
function press(pixels: Uint32Array, { offsets, alphas }: Stamp, at: number, colour: Colour): void {
  for (let k = 0; k < offsets.length; k++) {
    const place = at + (offsets[k] as number);
    const pixel = ((alphas[k] as number) | colour) >>> 0;
    if (pixel >= OPAQUE_FROM || pixel >= (pixels[place] as number)) pixels[place] = pixel;
  }
}

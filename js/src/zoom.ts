/**
 * The arithmetic of zoom and pan: nothing here touches the page.
 *
 * What is looked at is told without pixels: how many times larger than the whole picture in its box,
 * and which point of the picture is at the middle. So a thumbnail gives way to the sharp picture and
 * nothing moves, and pictures of different sizes can be looked at in the same place.
 */

export interface Size {
  width: number;
  height: number;
}

/** `zoom` 1 is the whole picture; `x` and `y`, from 0 to 1, are the point at the middle of the box. */
export interface Look {
  zoom: number;
  x: number;
  y: number;
}

export interface Point {
  x: number;
  y: number;
}

export const WHOLE: Look = { zoom: 1, x: 0.5, y: 0.5 };

/** What one press of `+` does. */
export const STEP = 1.5;

/** How many pixels of the screen one of the picture may take at the most. */
const LARGEST_PIXEL = 16;

/** The size of the whole picture in the box. */
export function fitted(box: Size, picture: Size): Size {
  if (!(box.width > 0 && box.height > 0 && picture.width > 0 && picture.height > 0)) {
    return { width: 0, height: 0 };
  }
  const scale = Math.min(box.width / picture.width, box.height / picture.height);
  return { width: picture.width * scale, height: picture.height * scale };
}

/** The zoom at which a pixel of the picture is a pixel of the screen. */
export function oneToOne(box: Size, picture: Size, pixelRatio = 1): number {
  const { width } = fitted(box, picture);
  return width > 0 ? picture.width / (width * pixelRatio) : 1;
}

/** How far a person can zoom out and in. */
export function bounds(box: Size, picture: Size, pixelRatio = 1): { min: number; max: number } {
  const one = oneToOne(box, picture, pixelRatio);
  return { min: Math.min(1, one), max: Math.max(4, one * LARGEST_PIXEL) };
}

/** The nearest look that leaves no empty edge where the picture could fill it. */
export function clamp(look: Look, box: Size, picture: Size, pixelRatio = 1): Look {
  const { min, max } = bounds(box, picture, pixelRatio);
  const zoom = Math.min(max, Math.max(min, look.zoom));
  const whole = fitted(box, picture);
  const along = (place: number, size: number, room: number): number => {
    // What fits is at the middle. Rounding must not let a whole picture be pushed about.
    if (!(size > room + 0.5)) return 0.5;
    const half = room / (2 * size);
    return Math.min(1 - half, Math.max(half, place));
  };
  return {
    zoom,
    x: along(look.x, whole.width * zoom, box.width),
    y: along(look.y, whole.height * zoom, box.height),
  };
}

/** Where the picture is drawn, from the top left of the box. */
export function place(look: Look, box: Size, picture: Size): Size & { left: number; top: number } {
  const whole = fitted(box, picture);
  const width = whole.width * look.zoom;
  const height = whole.height * look.zoom;
  return {
    left: box.width / 2 - look.x * width,
    top: box.height / 2 - look.y * height,
    width,
    height,
  };
}

/** The look `factor` times as near, with what is under `point` of the box staying there. */
export function zoomAt(
  look: Look,
  factor: number,
  point: Point,
  box: Size,
  picture: Size,
  pixelRatio = 1,
): Look {
  const { min, max } = bounds(box, picture, pixelRatio);
  const zoom = Math.min(max, Math.max(min, look.zoom * factor));
  const whole = fitted(box, picture);
  if (whole.width === 0) return look;
  // From the middle of the box to the point, in parts of the picture before and after.
  const shift = (offset: number, size: number) =>
    offset / (size * look.zoom) - offset / (size * zoom);
  return clamp(
    {
      zoom,
      x: look.x + shift(point.x - box.width / 2, whole.width),
      y: look.y + shift(point.y - box.height / 2, whole.height),
    },
    box,
    picture,
    pixelRatio,
  );
}

/** The look after the picture was dragged by so many pixels. */
export function panBy(
  look: Look,
  dx: number,
  dy: number,
  box: Size,
  picture: Size,
  pixelRatio = 1,
): Look {
  const whole = fitted(box, picture);
  if (whole.width === 0) return look;
  return clamp(
    {
      zoom: look.zoom,
      x: look.x - dx / (whole.width * look.zoom),
      y: look.y - dy / (whole.height * look.zoom),
    },
    box,
    picture,
    pixelRatio,
  );
}

/**
 * From the whole picture to its own pixels at `point`, and from anywhere else back to the whole.
 * Where its own pixels are the whole picture, to twice its size.
 */
export function toggle(look: Look, point: Point, box: Size, picture: Size, pixelRatio = 1): Look {
  if (Math.abs(look.zoom - 1) > 0.01) return WHOLE;
  const one = oneToOne(box, picture, pixelRatio);
  const zoom = Math.abs(one - 1) > 0.05 ? one : 2;
  return zoomAt(look, zoom / look.zoom, point, box, picture, pixelRatio);
}

/** How much nearer one turn of the wheel leads. A pinch on a touchpad comes as a wheel with Ctrl. */
export function wheelFactor(event: {
  deltaY: number;
  deltaMode: number;
  ctrlKey: boolean;
}): number {
  const lines = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
  const pixels = Math.max(-240, Math.min(240, event.deltaY * lines));
  return Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.0022));
}

import type { Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Details, Picture } from "../details";
import {
  clamp,
  type Look,
  oneToOne,
  type Point,
  panBy,
  place,
  type Size,
  STEP,
  toggle,
  WHOLE,
  wheelFactor,
  zoomAt,
} from "../zoom";

/** A thumbnail, as the session holds it. */
export type ThumbLike = { url: string } | { error: string };

/** The longest side of the picture that is asked for to be looked at closely. */
export const SHARP = 2048;

/** Those who leaf through pictures quickly do not ask for each on their way. */
const LEAFING_MS = 120;

/** Asks for a row's picture and watches it; null until it comes. */
export function usePicture(details: Details, row: number, pixels: number): Picture | null {
  const first = useRef(true);
  // Before anything else can let go of what was just drawn.
  useLayoutEffect(() => {
    const stop = details.keep(row, pixels);
    const ask = () => void details.picture(row, pixels);
    let timer: ReturnType<typeof setTimeout> | undefined;
    if (first.current) ask();
    else timer = setTimeout(ask, LEAFING_MS);
    first.current = false;
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, [details, row, pixels]);
  return details.held(row, pixels).value;
}

/** What a pane is drawn with, for the keys and buttons around it. */
export interface Pane {
  box: Size;
  picture: Size;
  /** Whether it is the picture's own size, and not that of its thumbnail. */
  own: boolean;
}

export const NO_PANE: Pane = {
  box: { width: 0, height: 0 },
  picture: { width: 0, height: 0 },
  own: false,
};

const pixelRatio = (): number => globalThis.devicePixelRatio || 1;

/** The look `factor` times as near at the middle of a pane. */
export function nearer(look: Look, factor: number, { box, picture }: Pane): Look {
  const middle = { x: box.width / 2, y: box.height / 2 };
  return zoomAt(look, factor, middle, box, picture, pixelRatio());
}

/** How large a pixel of the picture is on the screen, as people write it: "100 %". */
export function percent(look: Look, { box, picture, own }: Pane): string {
  if (!own || box.width === 0 || picture.width === 0) return "";
  return `${Math.round((100 * look.zoom) / oneToOne(box, picture, pixelRatio()))} %`;
}

/** What a key does to a look, or null where it does nothing. */
export function lookOfKey(look: Look, event: KeyboardEvent, pane: Pane): Look | null {
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  const pan = (dx: number, dy: number) => {
    const { box, picture } = pane;
    return panBy(look, dx * box.width, dy * box.height, box, picture, pixelRatio());
  };
  switch (event.key) {
    case "+":
    case "=":
      return nearer(look, STEP, pane);
    case "-":
    case "_":
      return nearer(look, 1 / STEP, pane);
    case "0":
      return WHOLE;
    case "1":
      return nearer(look, oneToOne(pane.box, pane.picture, pixelRatio()) / look.zoom, pane);
    case "ArrowLeft":
      return pan(0.15, 0);
    case "ArrowRight":
      return pan(-0.15, 0);
    case "ArrowUp":
      return pan(0, 0.15);
    case "ArrowDown":
      return pan(0, -0.15);
    default:
      return null;
  }
}

interface ZoomPaneProps {
  details: Details;
  row: number;
  thumb: ThumbLike | null;
  alt: string;
  /** May be shared: panes that share a look are zoomed and moved together. */
  look: Signal<Look>;
  /** Told whenever the pane or its picture has another size. */
  onPane?(pane: Pane): void;
  children?: ComponentChildren;
}

/** A picture in a box, zoomed with the wheel or two fingers, and dragged about. */
export function ZoomPane({ details, row, thumb, alt, look, onPane, children }: ZoomPaneProps) {
  const frame = useRef<HTMLDivElement>(null);
  const [box, setBox] = useState<Size>({ width: 0, height: 0 });
  // The size of the thumbnail, by its URL: that of the picture before would be wrong.
  const [measured, setMeasured] = useState<(Size & { url: string }) | null>(null);
  const [dragged, setDragged] = useState(false);

  const sharp = usePicture(details, row, SHARP);
  const thumbUrl = thumb && "url" in thumb ? thumb.url : null;
  const sharpSize = sharp && "url" in sharp ? sharp : null;
  const picture: Size = sharpSize ??
    (measured && measured.url === thumbUrl ? measured : null) ?? { width: 0, height: 0 };
  // A sharp picture is laid over the thumbnail, so that nothing is blank while it is being decoded.
  const error = sharp && "error" in sharp ? sharp.error : null;

  useLayoutEffect(() => {
    const element = frame.current;
    if (!element) return;
    const measure = () => {
      const { clientWidth: width, clientHeight: height } = element;
      setBox((old) => (old.width === width && old.height === height ? old : { width, height }));
    };
    measure();
    const observer = globalThis.ResizeObserver && new ResizeObserver(measure);
    observer?.observe(element);
    return () => observer?.disconnect();
  }, []);

  // What the listeners need to know of the last drawing.
  const own = sharpSize !== null;
  const now = useRef<Pane>(NO_PANE);
  now.current = { box, picture, own };
  useLayoutEffect(() => {
    onPane?.({ box, picture, own });
  }, [box.width, box.height, picture.width, picture.height, own]);

  useEffect(() => {
    const element = frame.current;
    if (!element) return;
    const fingers = new Map<number, Point>();
    const pointOf = (event: { clientX: number; clientY: number }): Point => {
      const { left, top } = element.getBoundingClientRect();
      return { x: event.clientX - left, y: event.clientY - top };
    };
    const middle = () => {
      const [a, b] = [...fingers.values()] as [Point, Point | undefined];
      return b
        ? { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) }
        : { ...a, apart: 0 };
    };
    const onWheel = (event: WheelEvent) => {
      // The notebook behind is not to scroll, and the page not to be zoomed.
      event.preventDefault();
      const { box, picture } = now.current;
      look.value = zoomAt(
        look.peek(),
        wheelFactor(event),
        pointOf(event),
        box,
        picture,
        pixelRatio(),
      );
    };
    const onDown = (event: PointerEvent) => {
      if (event.pointerType === "mouse" && event.button !== 0) return;
      if (event.target instanceof Element && event.target.closest("button")) return;
      element.setPointerCapture?.(event.pointerId);
      fingers.set(event.pointerId, pointOf(event));
      setDragged(true);
    };
    const onMove = (event: PointerEvent) => {
      if (!fingers.has(event.pointerId)) return;
      const before = middle();
      fingers.set(event.pointerId, pointOf(event));
      const after = middle();
      const { box, picture } = now.current;
      const ratio = pixelRatio();
      let next = panBy(look.peek(), after.x - before.x, after.y - before.y, box, picture, ratio);
      if (before.apart > 0 && after.apart > 0) {
        next = zoomAt(next, after.apart / before.apart, after, box, picture, ratio);
      }
      look.value = next;
    };
    const onUp = (event: PointerEvent) => {
      fingers.delete(event.pointerId);
      if (fingers.size === 0) setDragged(false);
    };
    const onDouble = (event: MouseEvent) => {
      if (event.target instanceof Element && event.target.closest("button")) return;
      event.preventDefault();
      const { box, picture } = now.current;
      look.value = toggle(look.peek(), pointOf(event), box, picture, pixelRatio());
    };
    element.addEventListener("wheel", onWheel, { passive: false });
    element.addEventListener("pointerdown", onDown);
    element.addEventListener("pointermove", onMove);
    element.addEventListener("pointerup", onUp);
    element.addEventListener("pointercancel", onUp);
    element.addEventListener("dblclick", onDouble);
    return () => {
      element.removeEventListener("wheel", onWheel);
      element.removeEventListener("pointerdown", onDown);
      element.removeEventListener("pointermove", onMove);
      element.removeEventListener("pointerup", onUp);
      element.removeEventListener("pointercancel", onUp);
      element.removeEventListener("dblclick", onDouble);
    };
  }, [look]);

  const seen = clamp(look.value, box, picture, pixelRatio());
  const { left, top, width, height } = place(seen, box, picture);
  const known = picture.width > 0 && box.width > 0;
  const pixelated = known && width * pixelRatio() > 3 * picture.width;
  const style = known
    ? { width: `${width}px`, height: `${height}px`, transform: `translate(${left}px, ${top}px)` }
    : undefined;
  const loading = sharp === null;
  return (
    <div
      ref={frame}
      class={`zoom-pane${seen.zoom > 1.001 ? " zoom-near" : ""}${dragged ? " zoom-dragged" : ""}`}
      aria-busy={loading}
    >
      {thumbUrl && (
        <img
          key={`thumb ${row}`}
          class={`zoom-picture${known ? "" : " zoom-unknown"}`}
          style={style}
          src={thumbUrl}
          alt={sharpSize ? "" : alt}
          draggable={false}
          onLoad={({ currentTarget: { naturalWidth, naturalHeight } }) =>
            setMeasured({ url: thumbUrl, width: naturalWidth, height: naturalHeight })
          }
        />
      )}
      {sharpSize && (
        <img
          key={`sharp ${row}`}
          class={`zoom-picture${known ? "" : " zoom-unknown"}${pixelated ? " zoom-pixels" : ""}`}
          style={style}
          src={sharpSize.url}
          alt={alt}
          draggable={false}
          decoding="async"
        />
      )}
      {loading && <span class="zoom-loading" role="img" aria-label="the sharp picture is coming" />}
      {error !== null && (
        <p class={`zoom-error${thumbUrl ? " zoom-error-small" : ""}`} role="status">
          {thumbUrl ? `No sharper picture: ${error}` : error}
        </p>
      )}
      {children}
    </div>
  );
}

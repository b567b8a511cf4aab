import { effect } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { wordsOf } from "../answers";
import { COUNT_MS } from "../counts";
import { count } from "../format";
import type { Colours } from "../map";
import { NONE, PALETTE, RAMP, tableOf } from "../palette";
import type { Key, MapState } from "../protocol";
import { keyLabel, short } from "../query";
import {
  type Camera,
  inside,
  nearest,
  paint,
  panned,
  radiusFor,
  ratioFor,
  SELECTED,
  SHOWN,
  seeAll,
  zoomed,
} from "../scatter";
import type { Session, View } from "../session";
import { facetKeys, type ViewSettings } from "../view";
import { type Point, type Size, STEP, wheelFactor } from "../zoom";
import { CrossIcon, LassoIcon, MoveIcon, ZoomIcon } from "./Icons";
import { openRow } from "./items";

/** What dragging does. */
type Mode = "select" | "move";

/** How far from a point the pointer still is on it, and how far it may go in a click. */
const REACH = 5;
const CLICK = 4;

/** How wide the picture under the pointer is shown. */
const GLANCE = 172;

/** How long the pointer rests before a row that is not held is asked for. */
const REST_MS = 60;

interface MapPanelProps {
  session: Session;
  view: View;
  settings: ViewSettings;
  state: MapState;
}

/** The pictures as points, like beside like, at the side of the gallery. */
export function MapPanel({ session, view, settings, state }: MapPanelProps) {
  const { map } = session;
  const root = useRef<HTMLElement>(null);
  const [mode, setMode] = useState<Mode>("select");
  const whole = useRef<() => void>(() => {});
  useEffect(() => {
    map.open(view.id);
    return () => map.close(view.id);
  }, [map, view, state.version]);
  useColours(session);
  const close = (): void => {
    const gallery = root.current?.closest(".blip2-gallery");
    settings.map.value = false;
    // The button that opens it is the place to go on from.
    gallery?.querySelector<HTMLElement>(".maptool")?.focus();
  };
  const tool = (to: Mode, label: string, icon: preact.ComponentChildren) => (
    <button
      type="button"
      class="button tool"
      aria-label={label}
      title={label}
      aria-pressed={mode === to}
      onClick={() => setMode(to)}
    >
      {icon}
    </button>
  );
  const ready = state.version > 0 && map.places.value !== null;
  return (
    <aside ref={root} class="map" aria-label="map">
      <div class="maphead">
        <span class="maptitle" title="what looks alike lies together">
          Map <span class="mapmethod">{state.method.toUpperCase()}</span>
        </span>
        <ColourBy session={session} />
        <div class="switch" role="group" aria-label="dragging">
          {tool("select", "draw around points to select", <LassoIcon />)}
          {tool("move", "move the map", <MoveIcon />)}
        </div>
        <button
          type="button"
          class="button tool"
          aria-label="see all points"
          title="see all points (0)"
          onClick={() => whole.current()}
        >
          <ZoomIcon />
        </button>
        <button type="button" class="plain" aria-label="close the map" onClick={close}>
          <CrossIcon />
        </button>
      </div>
      {ready ? (
        <Stage session={session} mode={mode} whole={whole} method={state.method} />
      ) : (
        <p class="mapnote" role="status">
          {state.note || "The map comes when all pictures are looked at."}
        </p>
      )}
      {ready && <Legend colours={map.colours.value} />}
    </aside>
  );
}

/** Asks what points are coloured by whenever that may have changed, while answers come seldom. */
function useColours({ map, changes, prompts }: Session): void {
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | null = null;
    let asked: Key | null = null;
    const ask = (): void => {
      timer = null;
      map.askColours();
    };
    const stop = effect(() => {
      // Read here, so that all of them are followed.
      const follows = [map.key.value, changes.value, prompts.value, map.state.value];
      if (asked !== map.key.value) ask();
      else if (follows && asked !== null) timer ??= setTimeout(ask, COUNT_MS);
      asked = map.key.value;
    });
    return () => {
      stop();
      if (timer !== null) clearTimeout(timer);
    };
  }, [map, changes, prompts]);
}

function ColourBy({ session: { map, prompts, columns } }: { session: Session }) {
  const keys = facetKeys(prompts.value, columns.value);
  return (
    <select
      class="select mapcolour"
      aria-label="colour by"
      title="colour by"
      value={map.key.value ?? ""}
      onChange={(event) => {
        map.key.value = event.currentTarget.value || null;
      }}
    >
      <option value="">One colour</option>
      {keys.map((key) => (
        <option key={key} value={key}>
          {keyLabel(key, prompts.value)}
        </option>
      ))}
    </select>
  );
}

/** What the colours stand for. */
function Legend({ colours }: { colours: Colours | null }) {
  if (!colours) return null;
  const { values, others, min, max, codes } = colours;
  const entry = (name: string, colour: string, key: string) => (
    <li key={key} class="mapentry" title={name}>
      <span class="mapswatch" style={{ background: colour }} />
      <span class="mapvalue">{name}</span>
    </li>
  );
  return (
    <ul class="maplegend" aria-label={`colours: ${colours.label}`}>
      {min !== null && max !== null && (
        <li class="mapentry mapramp">
          {short(min)}
          <span class="mapscale" style={{ background: `linear-gradient(90deg, ${RAMP.join()})` }} />
          {short(max)}
        </li>
      )}
      {values.map((value, k) => entry(value, PALETTE[k] ?? "", value))}
      {others > 0 && entry(`others (${count(others)})`, "var(--b2-faint)", "\0others")}
      {codes.includes(NONE) && entry("(none)", "var(--b2-line)", "\0none")}
    </ul>
  );
}

/** What is being dragged: where it began, and the line that is drawn, if one is. */
interface Drag {
  pointer: number;
  from: Point;
  last: Point;
  line: Point[] | null;
  moved: boolean;
}

interface StageProps {
  session: Session;
  mode: Mode;
  method: string;
  /** Set to what shows all points. */
  whole: { current: () => void };
}

/** The points themselves. */
function Stage({ session, mode, method, whole }: StageProps) {
  const { map } = session;
  const stage = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [hover, setHover] = useState<{ row: number; at: Point } | null>(null);
  const [line, setLine] = useState("");
  const drag = useRef<Drag | null>(null);
  // What the listeners need to know; the camera is null where all points are seen.
  const now = useRef({
    size: { width: 0, height: 0 } as Size,
    all: { x: 0, y: 0, scale: 1 } as Camera,
    camera: null as Camera | null,
    redraw: () => {},
  });
  const placesNow = (): Float32Array => map.places.peek() ?? new Float32Array();
  const camera = (): Camera => now.current.camera ?? now.current.all;
  const look = (to: Camera | null): void => {
    now.current.camera = to;
    setHover(null);
    now.current.redraw();
  };
  whole.current = () => look(null);

  useLayoutEffect(() => {
    const [box, element] = [stage.current, canvas.current];
    if (!box || !element) return;
    let frame = 0;
    now.current.redraw = () => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        draw(element, session, now.current.size, camera());
      });
    };
    const measure = (): void => {
      const { clientWidth: width, clientHeight: height } = box;
      now.current.size = { width, height };
      now.current.all = seeAll(placesNow(), now.current.size);
      now.current.redraw();
    };
    const observer = globalThis.ResizeObserver && new ResizeObserver(measure);
    observer?.observe(box);
    let places: Float32Array | null = null;
    const stop = effect(() => {
      const other = map.places.value !== places;
      places = map.places.value;
      if (other) {
        now.current.camera = null;
        measure();
      }
      // Read here, so that both are followed.
      const follows = [map.marks.value, map.colours.value];
      if (follows) now.current.redraw();
    });
    // The style sheet lets the colour change with the theme, as slowly as can be noticed.
    element.addEventListener("transitionend", now.current.redraw);
    return () => {
      stop();
      observer?.disconnect();
      element.removeEventListener("transitionend", now.current.redraw);
      cancelAnimationFrame(frame);
    };
  }, [session]);

  const pointOf = (event: MouseEvent): Point => {
    const { left, top } = stage.current?.getBoundingClientRect() ?? { left: 0, top: 0 };
    return { x: event.clientX - left, y: event.clientY - top };
  };
  const rowAt = (point: Point): number => {
    const reach = radiusFor(placesNow().length / 2) + REACH;
    return nearest(placesNow(), camera(), now.current.size, point, reach);
  };
  const zoom = (factor: number, point: Point): boolean => {
    const { size, all } = now.current;
    const next = zoomed(camera(), factor, point, size, all);
    if (next.scale === camera().scale) return false;
    look(next);
    return true;
  };
  const giveUp = (): void => {
    drag.current = null;
    setLine("");
  };
  const finish = (event: PointerEvent): void => {
    const held = drag.current;
    if (held?.pointer !== event.pointerId) return;
    giveUp();
    const extend = event.shiftKey;
    if (!held.moved) {
      const row = rowAt(held.from);
      if (row < 0 || event.button !== 0) return;
      if (extend || event.ctrlKey || event.metaKey) {
        const selected = (map.marks.peek()?.[row] ?? 0) & SELECTED;
        session.select(selected ? "remove" : "add", { rows: [row] });
      } else openRow(stage.current, row, row); // where it stands is found out by the panel
    } else if (held.line && held.line.length > 2) {
      const marks = map.marks.peek();
      const shown = (row: number): boolean => !marks || ((marks[row] ?? 0) & SHOWN) > 0;
      const rows = inside(placesNow(), camera(), now.current.size, held.line, shown);
      if (rows.length > 0 || !extend) session.select(extend ? "add" : "set", { rows });
    }
  };

  const onPointerDown = (event: PointerEvent): void => {
    if (event.button > 1 || drag.current) return;
    if (event.button === 1) event.preventDefault(); // else the browser scrolls
    const target = event.currentTarget as HTMLElement;
    target.focus({ preventScroll: true });
    target.setPointerCapture?.(event.pointerId);
    const at = pointOf(event);
    const draws = mode === "select" && event.button === 0;
    const [pointer, from] = [event.pointerId, at];
    drag.current = { pointer, from, last: at, line: draws ? [at] : null, moved: false };
  };
  const onPointerMove = (event: PointerEvent): void => {
    const at = pointOf(event);
    const held = drag.current;
    if (!held) {
      const row = rowAt(at);
      if (row === (hover?.row ?? -1)) return;
      setHover(row < 0 ? null : { row, at: placeOf(placesNow(), row, camera(), now.current.size) });
      return;
    }
    if (held.pointer !== event.pointerId) return;
    const far = Math.hypot(at.x - held.from.x, at.y - held.from.y);
    if (!held.moved && far < CLICK) return;
    held.moved = true;
    if (hover) setHover(null);
    if (!held.line) look(panned(camera(), at.x - held.last.x, at.y - held.last.y));
    else if (Math.hypot(at.x - held.last.x, at.y - held.last.y) < 3) return;
    else {
      held.line.push(at);
      setLine(held.line.map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" "));
    }
    held.last = at;
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { width, height } = now.current.size;
    const move = (dx: number, dy: number) => look(panned(camera(), dx * width, dy * height));
    const keys: Record<string, () => unknown> = {
      "+": () => zoom(STEP, { x: width / 2, y: height / 2 }),
      "=": () => zoom(STEP, { x: width / 2, y: height / 2 }),
      "-": () => zoom(1 / STEP, { x: width / 2, y: height / 2 }),
      "0": () => look(null),
      ArrowLeft: () => move(0.15, 0),
      ArrowRight: () => move(-0.15, 0),
      ArrowUp: () => move(0, 0.15),
      ArrowDown: () => move(0, -0.15),
    };
    // With no line to give up, Escape is the gallery's.
    const does = event.key === "Escape" ? drag.current && giveUp : keys[event.key];
    if (!does) return;
    does();
    event.preventDefault();
    event.stopPropagation();
  };
  useEffect(() => {
    const element = stage.current;
    const onWheel = (event: WheelEvent): void => {
      // At its ends the notebook scrolls on.
      if (zoom(wheelFactor(event), pointOf(event))) event.preventDefault();
    };
    element?.addEventListener("wheel", onWheel, { passive: false });
    return () => element?.removeEventListener("wheel", onWheel);
  }, [session]);

  return (
    <div
      ref={stage}
      class={`mapstage mapstage-${mode}${hover ? " mapstage-on" : ""}`}
      role="img"
      aria-label={`map of ${count(placesNow().length / 2)} pictures by ${method.toUpperCase()}`}
      aria-description="Arrow keys move it, plus and minus zoom. The gallery selects by keyboard."
      tabIndex={0}
      onPointerDown={onPointerDown}
      onPointerMove={onPointerMove}
      onPointerUp={finish}
      onPointerCancel={giveUp}
      onPointerLeave={() => setHover(null)}
      onKeyDown={onKeyDown}
    >
      <canvas ref={canvas} class="mapcanvas" />
      {line && (
        <svg class="mapline" aria-hidden="true">
          <polygon points={line} />
        </svg>
      )}
      {hover && <Glance key={hover.row} session={session} {...hover} size={now.current.size} />}
    </div>
  );
}

function placeOf(places: Float32Array, row: number, camera: Camera, size: Size): Point {
  return {
    x: size.width / 2 + ((places[2 * row] ?? 0) - camera.x) * camera.scale,
    y: size.height / 2 - ((places[2 * row + 1] ?? 0) - camera.y) * camera.scale,
  };
}

/** The picture under the pointer, and what was answered. */
function Glance({
  session,
  row: id,
  at,
  size,
}: {
  session: Session;
  row: number;
  at: Point;
  size: Size;
}) {
  useEffect(() => {
    let stop = (): void => {};
    const timer = setTimeout(() => {
      stop = session.glance(id);
    }, REST_MS);
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, [session, id]);
  const row = session.row(id).value;
  const thumb = session.thumb(id).value;
  const words = row?.cells.map(wordsOf).filter(Boolean).slice(0, 3) ?? [];
  const left = at.x > size.width / 2 ? at.x - GLANCE - 10 : at.x + 10;
  const across = { left: `${Math.max(4, Math.min(left, size.width - GLANCE - 4))}px` };
  const down =
    at.y > size.height / 2 ? { bottom: `${size.height - at.y + 10}px` } : { top: `${at.y + 10}px` };
  return (
    <div class="mapglance" style={{ width: `${GLANCE}px`, ...across, ...down }}>
      {thumb && "url" in thumb ? (
        <img src={thumb.url} alt="" draggable={false} decoding="async" />
      ) : (
        <span class="mapnoimage" />
      )}
      {row && <span class="mapname">{row.label}</span>}
      {words.map((each, k) => (
        <span key={k} class="mapwords">
          {each}
        </span>
      ))}
    </div>
  );
}

/** Draws the points, in the canvas' own colours and those of what they are coloured by. */
function draw(canvas: HTMLCanvasElement, { map }: Session, box: Size, camera: Camera): void {
  const places = map.places.peek();
  const ratio = ratioFor((places?.length ?? 0) / 2, globalThis.devicePixelRatio || 1);
  const size = { width: Math.round(box.width * ratio), height: Math.round(box.height * ratio) };
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context || !places || size.width === 0 || size.height === 0) return;
  if (canvas.width !== size.width || canvas.height !== size.height) Object.assign(canvas, size);
  const style = getComputedStyle(canvas);
  const colourOf = (css: string): number => {
    context.fillStyle = css;
    context.fillRect(0, 0, 1, 1);
    const [red = 0, green = 0, blue = 0] = context.getImageData(0, 0, 1, 1).data;
    return (blue << 16) | (green << 8) | red;
  };
  const colours = map.colours.peek();
  const image = context.createImageData(size.width, size.height);
  paint(new Uint32Array(image.data.buffer), size, {
    places,
    marks: map.marks.peek(),
    codes: colours?.codes ?? null,
    colours: colours
      ? tableOf(colours, colourOf, { others: style.columnRuleColor, none: style.borderColor })
      : Uint32Array.of(colourOf(style.caretColor)),
    ring: colourOf(style.color),
    camera,
    radius: radiusFor(places.length / 2),
    ratio,
  });
  context.putImageData(image, 0, 0);
}

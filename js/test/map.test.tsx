import { fireEvent } from "@testing-library/preact";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { tableOf } from "../src/palette";
import type { ColoursMessage, MapState } from "../src/protocol";
import { inside, nearest, paint, panned, SELECTED, SHOWN, seeAll, zoomed } from "../src/scatter";
import { makeRow } from "./fake";
import { Page, usePages } from "./page";

const BOX = { width: 200, height: 100 };
const places = (...all: [number, number][]) => Float32Array.from(all.flat());
const NOWHERE: [number, number] = [Number.NaN, Number.NaN];

describe("the arithmetic", () => {
  const square = places([0, 0], [10, 0], [0, 10], [10, 10], NOWHERE);
  const all = seeAll(square, BOX);

  it("shows all points, with room around them", () => {
    expect(all).toEqual({ x: 5, y: 5, scale: 5.2 });
    expect(seeAll(places([3, 4]), BOX)).toMatchObject({ x: 3, y: 4 });
    expect(seeAll(places(NOWHERE), BOX)).toEqual({ x: 0, y: 0, scale: 1 });
  });

  it("finds the point under the pointer, which is y up", () => {
    // The upper left one, drawn half its side left of the middle and above it.
    expect(nearest(square, all, BOX, { x: 75, y: 25 }, 5)).toBe(2);
    expect(nearest(square, all, BOX, { x: 80, y: 50 }, 5)).toBe(-1);
    const twins = places([0, 0], [0, 0]);
    expect(nearest(twins, seeAll(twins, BOX), BOX, { x: 100, y: 50 }, 5)).toBe(1);
  });

  it("zooms about the pointer and stops at its ends", () => {
    const point = { x: 74, y: 24 };
    const near = zoomed(all, 4, point, BOX, all);
    expect(near.scale).toBeCloseTo(4 * all.scale);
    expect(nearest(square, near, BOX, point, 1)).toBe(2);
    expect(zoomed(all, 1e9, point, BOX, all).scale).toBeCloseTo(200 * all.scale);
    expect(zoomed(all, 1e-9, point, BOX, all).scale).toBeCloseTo(0.5 * all.scale);
    expect(nearest(square, panned(all, 30, -10), BOX, { x: 104, y: 14 }, 1)).toBe(2);
  });

  it("finds what lies inside of a line, bent inwards too, and what may be selected", () => {
    const line = [
      { x: 60, y: 10 },
      { x: 160, y: 10 },
      { x: 100, y: 50 }, // before the lower right one
      { x: 60, y: 100 },
    ];
    expect(inside(square, all, BOX, line, () => true)).toEqual([0, 2, 3]);
    expect(inside(square, all, BOX, line, (row) => row !== 2)).toEqual([0, 3]);
  });

  it("draws what is filtered out pale, and what is selected on top with a ring", () => {
    const size = { width: 60, height: 20 };
    const colours = Uint32Array.of(0x0000ff, 0x00ff00);
    const picture = (marks: Uint8Array | null, codes: Uint8Array | null = null) => {
      const pixels = new Uint32Array(size.width * size.height);
      paint(pixels, size, {
        places: places([-20, 0], [0, 0], [20, 0], NOWHERE),
        marks,
        codes,
        colours,
        ring: 0xff0000,
        camera: { x: 0, y: 0, scale: 1 },
        radius: 2,
        ratio: 1,
      });
      return (x: number) => {
        const pixel = pixels[10 * size.width + x] as number;
        return { alpha: pixel >>> 24, colour: pixel & 0xffffff };
      };
    };
    const plain = picture(null, Uint8Array.of(0, 1, 0, 0));
    expect([10, 30, 50].map((x) => plain(x).colour)).toEqual([0x0000ff, 0x00ff00, 0x0000ff]);
    expect(plain(20).alpha).toBe(0);
    const filtered = picture(Uint8Array.of(0, SHOWN, SHOWN, 0));
    expect(filtered(10).alpha).toBeLessThan(60);
    expect(filtered(30).alpha).toBeGreaterThan(250);
    const selecting = picture(Uint8Array.of(SHOWN, SHOWN | SELECTED, SHOWN, 0));
    expect(selecting(30)).toMatchObject({ colour: 0x0000ff });
    expect(selecting(33)).toMatchObject({ colour: 0xff0000 }); // the ring
    expect(selecting(10).alpha).toBeLessThan(selecting(30).alpha);
    expect(picture(Uint8Array.of(SHOWN, SELECTED, SHOWN, 0))(33).alpha).toBeGreaterThan(0);
  });

  it("has a colour for every byte", () => {
    const colourOf = (css: string) => Number.parseInt(css.slice(1), 16);
    const rest = { others: "#111111", none: "#222222" };
    const values = tableOf({ min: null }, colourOf, rest);
    expect(new Set(values.slice(0, 8)).size).toBe(8);
    expect([values[254], values[255]]).toEqual([0x111111, 0x222222]);
    const numbers = tableOf({ min: 0 }, colourOf, rest);
    expect(new Set(numbers.slice(0, 254)).size).toBeGreaterThan(100);
    expect(numbers[255]).toBe(0x222222);
  });
});

describe("the panel", () => {
  usePages();
  let page: Page;
  const MAP: MapState = { number: 1, version: 1, method: "pca", note: "" };
  const bytes = (array: ArrayBufferView) =>
    new DataView(array.buffer as ArrayBuffer, array.byteOffset, array.byteLength);
  const marked = (...marks: number[]) =>
    page.kernel((model) => model.say({ type: "map_marks" }, [bytes(Uint8Array.from(marks))]));
  const stage = () => page.get("img", /^map of/);
  /** Four points, at the corners of what is shown of a box of 200 by 100. */
  const CORNERS: Record<number, [number, number]> = {
    0: [74, 76],
    1: [126, 76],
    2: [74, 24],
    3: [126, 24],
  };
  const at = ([clientX, clientY]: [number, number], init: PointerEventInit = {}) => ({
    clientX,
    clientY,
    pointerId: 1,
    button: 0,
    ...init,
  });
  const drag = (points: [number, number][], init: PointerEventInit = {}) => {
    const [first, ...rest] = points as [[number, number], ...[number, number][]];
    fireEvent.pointerDown(stage(), at(first, init));
    for (const point of rest) fireEvent.pointerMove(stage(), at(point, init));
    page.settle(0);
  };
  const up = (point: [number, number], init: PointerEventInit = {}) => {
    fireEvent.pointerUp(stage(), at(point, init));
    page.settle(0);
  };
  const AROUND_LEFT: [number, number][] = [
    [60, 10],
    [90, 10],
    [90, 90],
    [60, 90],
  ];
  const selects = () => page.model.requests("select");

  const coming = () => {
    page = new Page({ mapped: { ...MAP, version: 0 }, columns: [{ name: "city", kind: "text" }] });
  };
  const there = () => {
    page.kernel((model) => model.set("mapped", MAP));
    const four = places([0, 0], [10, 0], [0, 10], [10, 10], NOWHERE);
    // Behind one byte, as buffers come.
    const shifted = new Uint8Array(four.byteLength + 1);
    shifted.set(new Uint8Array(four.buffer), 1);
    page.kernel((model) => model.say({ type: "map" }, [bytes(shifted.subarray(1))]));
    marked(1, 1, 1, 1, 1);
  };

  beforeEach(() => {
    vi.spyOn(HTMLElement.prototype, "clientWidth", "get").mockReturnValue(200);
    vi.spyOn(HTMLElement.prototype, "clientHeight", "get").mockReturnValue(100);
    coming();
    there();
  });

  it("is there with a map only, asks for it, and says why there is none", () => {
    const without = new Page();
    expect(without.query("button", "map")).toBeNull();
    expect(without.query("complementary", "map")).toBeNull();
    coming();
    expect(page.get("complementary", "map").textContent).toContain("The map comes when");
    page.kernel((model) => model.set("mapped", { ...MAP, version: 0, note: "none can be read" }));
    expect(page.get("status", "").textContent).toBeDefined();
    expect(page.get("complementary", "map").textContent).toContain("none can be read");
    there();
    expect(page.model.requests("map_open").at(-1)).toMatchObject({ open: true });
    expect(stage().getAttribute("aria-label")).toBe("map of 5 pictures by PCA");
  });

  it("closes, opens again, and opens for another map", () => {
    page.click("button", "close the map");
    expect(page.query("complementary", "map")).toBeNull();
    expect(document.activeElement).toBe(page.get("button", "map"));
    expect(page.model.requests("map_open").at(-1)).toMatchObject({ open: false });
    page.click("button", "map");
    expect(page.query("complementary", "map")).not.toBeNull();
    expect(stage()).not.toBeNull();
    page.click("button", "close the map");
    page.kernel((model) => model.set("mapped", { ...MAP, version: 2 }));
    expect(page.query("complementary", "map")).toBeNull();
    page.kernel((model) => model.set("mapped", { ...MAP, number: 2, version: 3 }));
    expect(page.query("complementary", "map")).not.toBeNull();
  });

  it("selects what a line is drawn around, with Shift beside what is selected", () => {
    drag(AROUND_LEFT);
    expect(page.el.querySelector("polygon")?.getAttribute("points")).toContain("90.0,90.0");
    up([60, 90]);
    expect(page.el.querySelector("polygon")).toBeNull();
    expect(selects().at(-1)).toEqual({ type: "select", how: "set", rows: [0, 2] });
    drag(AROUND_LEFT, { shiftKey: true });
    up([60, 90], { shiftKey: true });
    expect(selects().at(-1)).toMatchObject({ how: "add", rows: [0, 2] });
    // What is filtered out cannot be meant.
    marked(0, 1, 1, 1, 1);
    drag(AROUND_LEFT);
    up([60, 90]);
    expect(selects().at(-1)).toMatchObject({ how: "set", rows: [2] });
  });

  it("gives a line up with Escape, which is then nobody else's", () => {
    page.kernel((model) => model.set("selected_count", 2));
    drag(AROUND_LEFT);
    page.press(stage(), "Escape");
    expect(page.el.querySelector("polygon")).toBeNull();
    up([60, 90]);
    expect(selects()).toEqual([]);
    page.press(stage(), "Escape");
    expect(selects()).toEqual([{ type: "select", how: "set", rows: [] }]);
  });

  it("opens a picture by a click, and picks it with Shift", () => {
    page.rows(...[0, 1, 2, 3, 4].map((id) => makeRow(id)));
    drag([CORNERS[3] as [number, number]]);
    up(CORNERS[3] as [number, number]);
    expect(page.el.querySelector(".detail-title")?.textContent).toBe("row 3");
    drag([CORNERS[1] as [number, number]], { shiftKey: true });
    up(CORNERS[1] as [number, number], { shiftKey: true });
    expect(selects().at(-1)).toMatchObject({ how: "add", rows: [1] });
    marked(1, 3, 1, 1, 1);
    drag([CORNERS[1] as [number, number]], { ctrlKey: true });
    up(CORNERS[1] as [number, number], { ctrlKey: true });
    expect(selects().at(-1)).toMatchObject({ how: "remove", rows: [1] });
    expect(page.el.querySelector(".detail-title")?.textContent).toBe("row 3");
  });

  it("shows the picture under the pointer, asked for once the pointer rests", () => {
    const glance = () => page.el.querySelector(".mapglance");
    fireEvent.pointerMove(stage(), at(CORNERS[2] as [number, number]));
    fireEvent.pointerMove(stage(), at(CORNERS[0] as [number, number]));
    page.settle();
    expect(page.model.requests("row")).toEqual([{ type: "row", row: 0 }]);
    expect(page.model.requests("thumbs").at(-1)).toMatchObject({ rows: [0] });
    page.kernel((model) => {
      model.say({ type: "row", row: makeRow(0, { answer: "a red circle" }) });
      model.sayThumbs([0]);
    });
    expect(glance()?.textContent).toBe("row 0a red circle");
    expect(glance()?.querySelector("img")).not.toBeNull();
    fireEvent.pointerMove(stage(), at([100, 50]));
    page.settle(0);
    expect(glance()).toBeNull();
  });

  it("is moved and zoomed by pointer, wheel and keys", () => {
    const hovers = (point: [number, number]) => {
      fireEvent.pointerMove(stage(), at(point));
      page.settle(0);
      const found = page.el.querySelector(".mapglance") !== null;
      fireEvent.pointerLeave(stage());
      page.settle(0);
      return found;
    };
    page.click("button", "move the map");
    drag([
      [100, 50],
      [120, 50],
    ]);
    up([120, 50]);
    expect(selects()).toEqual([]);
    expect(hovers([94, 24])).toBe(true);
    page.press(stage(), "0");
    expect(hovers([74, 24])).toBe(true);
    page.press(stage(), "ArrowLeft");
    expect(hovers([104, 24])).toBe(true);
    page.click("button", "see all points");
    expect(hovers([74, 24])).toBe(true);
    const turn = (deltaY: number): boolean => {
      const wheel = new WheelEvent("wheel", { deltaY, cancelable: true });
      Object.defineProperties(wheel, { clientX: { value: 74 }, clientY: { value: 24 } });
      stage().dispatchEvent(wheel);
      return wheel.defaultPrevented;
    };
    expect(turn(-100)).toBe(true);
    expect(hovers([74, 24])).toBe(true);
    expect(hovers([126, 24])).toBe(false);
    // At its ends the notebook scrolls on.
    for (let k = 0; k < 10; k++) page.press(stage(), "-");
    expect(turn(100)).toBe(false);
  });

  it("is coloured by what a person chooses, and says what the colours are", () => {
    const codes = Uint8Array.of(0, 1, 0, 254, 255);
    const values: ColoursMessage = {
      type: "colours",
      key: "column:city",
      label: "city",
      values: ["Rome", "Oslo"],
      others: 1,
      min: null,
      max: null,
    };
    const select = page.get("combobox", "colour by");
    const choose = (value: string) => {
      fireEvent.change(select, { target: { value } });
      page.settle(0);
    };
    choose("column:city");
    expect(page.model.requests("colours")).toEqual([{ type: "colours", key: "column:city" }]);
    page.kernel((model) => model.say(values, [bytes(codes)]));
    const legend = () =>
      [...page.el.querySelectorAll(".maplegend li")].map(({ textContent }) => textContent);
    expect(legend()).toEqual(["Rome", "Oslo", "others (1)", "(none)"]);
    // Asked again when answers come, but seldom.
    for (let k = 0; k < 10; k++) {
      page.model.say({ type: "changed", rows: [[0, makeRow(0)]] });
      page.settle(50);
    }
    page.settle(1000);
    expect(page.model.requests("colours")).toHaveLength(2);
    choose("confidence:0");
    // What was asked for before comes too late.
    page.kernel((model) => model.say(values, [bytes(codes)]));
    const numbers = { ...values, key: "confidence:0", values: [], others: 0, min: 0.25, max: 1 };
    page.kernel((model) => model.say(numbers, [bytes(Uint8Array.of(0, 253, 9, 9, 9))]));
    expect(legend()).toEqual(["0.251"]);
    choose("");
    expect(legend()).toEqual([]);
  });

  it("shows at once what is selected on the tiles", () => {
    page.rows(...[0, 1, 2, 3, 4].map((id) => makeRow(id)));
    page.click("checkbox", "select row 1");
    // By the marks: a point that is selected is taken out by Ctrl.
    drag([CORNERS[1] as [number, number]], { ctrlKey: true });
    up(CORNERS[1] as [number, number], { ctrlKey: true });
    expect(selects().at(-1)).toMatchObject({ how: "remove", rows: [1] });
  });
});

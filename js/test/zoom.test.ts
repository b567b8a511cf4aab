import { describe, expect, it } from "vitest";
import {
  bounds,
  clamp,
  fitted,
  type Look,
  oneToOne,
  panBy,
  place,
  toggle,
  WHOLE,
  wheelFactor,
  zoomAt,
} from "../src/zoom";

const box = { width: 800, height: 600 };
const wide = { width: 4000, height: 2000 };

/** What part of the picture lies under a point of the box. */
function under(look: Look, point: { x: number; y: number }, picture = wide) {
  const { left, top, width, height } = place(look, box, picture);
  return { x: (point.x - left) / width, y: (point.y - top) / height };
}

describe("the whole picture", () => {
  it("touches two sides of the box and is at its middle", () => {
    expect(fitted(box, wide)).toEqual({ width: 800, height: 400 });
    expect(fitted(box, { width: 100, height: 300 })).toEqual({ width: 200, height: 600 });
    expect(place(WHOLE, box, wide)).toEqual({ left: 0, top: 100, width: 800, height: 400 });
  });

  it("is at the same place for a thumbnail of it", () => {
    const look = { zoom: 3, x: 0.4, y: 0.45 };
    expect(place(look, box, { width: 256, height: 128 })).toEqual(place(look, box, wide));
  });

  it("is nothing before sizes are known, and nothing breaks", () => {
    const none = { width: 0, height: 0 };
    expect(fitted(none, wide)).toEqual(none);
    expect(fitted(box, none)).toEqual(none);
    expect(zoomAt(WHOLE, 2, { x: 1, y: 1 }, box, none)).toEqual(WHOLE);
    expect(panBy(WHOLE, 5, 5, none, wide)).toEqual(WHOLE);
    expect(clamp(WHOLE, none, wide)).toEqual(WHOLE);
  });
});

describe("zooming", () => {
  it("keeps what is under the pointer where it is", () => {
    const point = { x: 300, y: 280 };
    let look: Look = { zoom: 2.5, x: 0.5, y: 0.5 };
    const before = under(look, point);
    look = zoomAt(look, 1.7, point, box, wide);
    expect(look.zoom).toBeCloseTo(4.25);
    expect(under(look, point).x).toBeCloseTo(before.x);
    expect(under(look, point).y).toBeCloseTo(before.y);
  });

  it("comes back to the whole picture at its middle", () => {
    let look: Look = WHOLE;
    for (let k = 0; k < 5; k++) look = zoomAt(look, 1.5, { x: 20, y: 130 }, box, wide);
    expect(look.x).toBeLessThan(0.2);
    for (let k = 0; k < 5; k++) look = zoomAt(look, 1 / 1.5, { x: 700, y: 500 }, box, wide);
    expect(look.zoom).toBeCloseTo(1);
    expect(look.x).toBe(0.5);
    expect(look.y).toBe(0.5);
  });

  it("has bounds", () => {
    expect(oneToOne(box, wide)).toBe(5);
    expect(oneToOne(box, wide, 2)).toBe(2.5);
    expect(bounds(box, wide)).toEqual({ min: 1, max: 80 });
    // A picture smaller than the box can be made as small as it is.
    expect(bounds(box, { width: 400, height: 200 })).toEqual({ min: 0.5, max: 8 });
    expect(zoomAt(WHOLE, 1e9, { x: 0, y: 0 }, box, wide).zoom).toBe(80);
    expect(zoomAt(WHOLE, 1e-9, { x: 0, y: 0 }, box, wide).zoom).toBe(1);
  });
});

describe("panning", () => {
  it("follows the hand, pixel for pixel", () => {
    const look = { zoom: 4, x: 0.5, y: 0.5 };
    const before = place(look, box, wide);
    const after = place(panBy(look, 30, -20, box, wide), box, wide);
    expect(after.left - before.left).toBeCloseTo(30);
    expect(after.top - before.top).toBeCloseTo(-20);
  });

  it("stops at the edges, and does not move what fits", () => {
    const far = panBy({ zoom: 4, x: 0.5, y: 0.5 }, 1e6, 1e6, box, wide);
    const { left, top } = place(far, box, wide);
    expect(left).toBeCloseTo(0);
    expect(top).toBeCloseTo(0);
    expect(panBy(WHOLE, 50, 50, box, wide)).toEqual(WHOLE);
    // As wide as the box is at a zoom of 1.2, but less high than it.
    const flat = panBy({ zoom: 1.2, x: 0.5, y: 0.5 }, 10, 10, box, wide);
    expect(flat.x).not.toBe(0.5);
    expect(flat.y).toBe(0.5);
  });
});

describe("a double click", () => {
  it("goes to the picture's own pixels, and back", () => {
    const point = { x: 500, y: 350 };
    const near = toggle(WHOLE, point, box, wide);
    expect(near.zoom).toBe(5);
    expect(under(near, point).x).toBeCloseTo(under(WHOLE, point).x);
    expect(toggle(near, point, box, wide)).toEqual(WHOLE);
  });

  it("does something where own pixels and the whole picture are the same", () => {
    expect(toggle(WHOLE, { x: 0, y: 0 }, box, { width: 800, height: 600 }).zoom).toBe(2);
  });
});

it("takes wheels that count in pixels, lines and pages, and pinches", () => {
  const wheel = (deltaY: number, deltaMode = 0, ctrlKey = false) =>
    wheelFactor({ deltaY, deltaMode, ctrlKey });
  expect(wheel(-100)).toBeGreaterThan(1);
  expect(wheel(100) * wheel(-100)).toBeCloseTo(1);
  expect(wheel(-3, 1)).toBeCloseTo(wheel(-48));
  expect(wheel(-5, 0, true)).toBeGreaterThan(wheel(-5));
  // A wheel that jumps does not throw the picture away.
  expect(wheel(-1e6)).toBeLessThan(2);
});

import { describe, expect, it } from "vitest";
import {
  layoutOf,
  placeOf,
  rangeAt,
  reveal,
  scrollHeight,
  shiftAfter,
  step,
  TALLEST,
  tableOf,
  thumbPixels,
  toGrid,
  toScroll,
} from "../src/layout";

const layout = (width: number, rowCount = 24, promptCount = 1) =>
  layoutOf({ width, fontSize: 13, rowCount, promptCount });

describe("layoutOf", () => {
  it("fits its columns into every width from a phone's to a wide screen's", () => {
    for (let width = 260; width <= 3000; width += 7) {
      const { columns, tileWidth, gap } = layout(width);
      expect(columns * tileWidth + (columns - 1) * gap).toBeLessThanOrEqual(width);
      expect(tileWidth).toBeGreaterThanOrEqual(140);
    }
    expect(layout(292).columns).toBe(1);
    expect(layout(372).columns).toBe(2);
    expect(layout(1572).columns).toBeGreaterThanOrEqual(6);
  });

  it("makes room for every prompt", () => {
    for (const prompts of [1, 2, 3, 4, 8]) {
      const at = layout(900, 24, prompts);
      const cell = at.promptHeight + at.answerLines * at.answerHeight;
      const content = at.pictureHeight + at.labelHeight + prompts * cell;
      expect(at.tileHeight).toBeGreaterThan(content);
      // What is left over is space between, not room for another answer.
      expect(at.tileHeight - content).toBeLessThan(30 + 10 * prompts);
    }
  });

  it("leaves no room for answers where nothing is asked", () => {
    const [none, one] = [layout(900, 24, 0), layout(900, 24, 1)];
    const cell = one.promptHeight + one.answerLines * one.answerHeight;
    expect(none.tileHeight).toBe(one.tileHeight - cell);
  });

  it("makes room for references where answers were scored", () => {
    const measure = { width: 900, fontSize: 13, rowCount: 24, promptCount: 2 };
    const one = layoutOf(measure);
    expect(layoutOf({ ...measure, scoredCount: 2 }).tileHeight).toBe(
      one.tileHeight + 2 * one.labelHeight,
    );
    const line = tableOf({ ...measure, scoredCount: 1 });
    expect(line.tileHeight).toBeGreaterThan(2 * line.answerHeight + line.labelHeight);
    expect(line.answerLines).toBe(2);
  });

  it("is as high as its lines", () => {
    const one = layout(900, 1);
    expect(one.total).toBe(one.tileHeight);
    const { columns } = one;
    expect(layout(900, columns).total).toBe(one.tileHeight);
    expect(layout(900, columns + 1).total).toBe(2 * one.tileHeight + one.gap);
    expect(layout(900, 0).total).toBe(0);
  });
});

describe("rangeAt", () => {
  it("holds every tile that touches the window and no line more", () => {
    const at = layout(900, 1000);
    for (let top = 0; top < 3000; top += 37) {
      const { start, stop } = rangeAt(at, top, 600);
      const touching = Array.from({ length: at.rowCount }, (_, index) => index).filter((index) => {
        const { y } = placeOf(at, index);
        return y < top + 600 && y + at.tileHeight > top;
      });
      expect(start).toBe(touching[0]);
      expect(stop).toBe((touching.at(-1) as number) + 1);
    }
  });

  it("stays within the rows", () => {
    const at = layout(900, 10);
    expect(rangeAt(at, 0, 99999, 500)).toEqual({ start: 0, stop: 10 });
    expect(rangeAt(at, 99999, 600)).toEqual({ start: 10, stop: 10 });
    expect(rangeAt(layout(900, 0), 0, 600)).toEqual({ start: 0, stop: 0 });
  });

  it("is bounded however many rows there are", () => {
    const { start, stop } = rangeAt(layout(1600, 100_000), 5_000_000, 720, 300);
    expect(stop - start).toBeLessThan(50);
    expect(start).toBeGreaterThan(50_000);
  });
});

describe("reveal", () => {
  const at = layout(900, 100);
  const line = at.tileHeight + at.gap;

  it("leaves a tile in sight where it is", () => expect(reveal(at, 0, 0, 600)).toBe(0));

  it("scrolls up to a tile's top and down to its bottom", () => {
    expect(reveal(at, 0, 300, 600)).toBe(0);
    expect(reveal(at, at.columns * 3, 0, 600)).toBe(3 * line + at.tileHeight - 600);
  });

  it("shows the top of a tile taller than the window", () => {
    expect(reveal(at, at.columns * 2, 0, 100)).toBe(2 * line);
  });
});

describe("step", () => {
  const at = { ...layout(900, 10), columns: 4 };

  it.each([
    ["ArrowRight", 0, 1],
    ["ArrowLeft", 0, 0],
    ["ArrowDown", 1, 5],
    ["ArrowUp", 5, 1],
    ["ArrowUp", 1, 1],
    // The last line has two tiles.
    ["ArrowDown", 7, 9],
    ["ArrowDown", 9, 9],
    ["Home", 7, 0],
    ["End", 2, 9],
    ["PageDown", 0, 8],
    ["PageDown", 6, 9],
    ["PageUp", 6, 2],
  ])("%s from %i leads to %i", (key, from, to) => expect(step(at, from, key, 2)).toBe(to));

  it("knows no other key", () => expect(step(at, 0, "a", 2)).toBeNull());
});

describe("thumbPixels", () => {
  it("rounds up to few sizes", () => {
    const at = { ...layout(900), tileWidth: 215, pictureHeight: 155 };
    expect(thumbPixels(at, 1)).toBe(256);
    expect(thumbPixels(at, 2)).toBe(512);
    expect(thumbPixels(at, 3)).toBe(512);
    expect(thumbPixels({ ...at, pictureWidth: 120, pictureHeight: 120 }, 1)).toBe(128);
  });
});

describe("a grid taller than a browser can hold", () => {
  const total = 60_000_000;

  it("is scrolled in an element that a browser can hold", () => {
    expect(scrollHeight(1000)).toBe(1000);
    expect(scrollHeight(total)).toBe(TALLEST);
  });

  it("is reached whole, and in order", () => {
    expect(toGrid(total, 0)).toBe(0);
    expect(toGrid(total, TALLEST)).toBe(total);
    let before = -1;
    for (let place = 0; place <= TALLEST; place += 10_007) {
      const at = toGrid(total, place);
      expect(at).toBeGreaterThan(before);
      expect(toScroll(total, at)).toBeCloseTo(place, 3);
      before = at;
    }
  });

  it("scrolls pixel for pixel with a wheel, and jumps with the bar", () => {
    const middle = 6_000_000;
    const shift = toGrid(total, middle) - middle;
    expect(shiftAfter(total, shift, middle, middle + 120, 700)).toBe(shift);
    const far = middle + 90_000;
    expect(shiftAfter(total, shift, middle, far, 700)).toBe(toGrid(total, far) - far);
  });

  it("is not shifted where it need not be", () => {
    expect(shiftAfter(5000, 0, 0, 4000, 700)).toBe(0);
  });
});

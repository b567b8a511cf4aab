import { act, fireEvent } from "@testing-library/preact";
import { beforeEach, describe, expect, it } from "vitest";
import { rangeOf } from "../src/components/Histogram";
import { type Facet, type Key, NO_QUERY } from "../src/protocol";
import { short } from "../src/query";
import { makeRow } from "./fake";
import { Page, usePages } from "./page";

usePages();

let page: Page;
const asked = () => page.model.requests("facets");
const filters = () => page.model.requests("query").at(-1)?.query.filters;

const values = (key: Key, ...counts: [string, number][]): Facet => ({
  key,
  label: key,
  kind: "values",
  values: counts.map(([value, count]) => ({ value, count })),
  distinct: counts.length,
  bins: [],
});
const histogram = (key: Key, ...counts: number[]): Facet => ({
  key,
  label: key,
  kind: "histogram",
  values: [],
  distinct: 0,
  bins: counts.map((count, k) => ({ min: k, max: k + 1, count })),
});

/** The kernel answers to the last request. */
async function count(...facets: Facet[]): Promise<void> {
  const { version } = page.model.traits.shown;
  await act(async () => {
    page.model.say({ type: "facets", id: asked().at(-1)?.id as string, version, facets });
  });
}

beforeEach(() => {
  page = new Page({ columns: [{ name: "city", kind: "text" }] });
});

describe("facets", () => {
  beforeEach(() => page.click("button", "filters"));

  it("are asked for only when they are seen, and only those that are", () => {
    expect(asked().map(({ keys }) => keys)).toEqual([["answer:0", "confidence:0", "review:0"]]);
    page.click("button", "city");
    expect(asked().at(-1)?.keys).toContain("column:city");
    page.click("button", "close the filters");
    const before = asked().length;
    page.kernel((model) => model.show({ count: 3, plain: false }));
    expect(asked()).toHaveLength(before);
    expect(page.query("complementary")).toBeNull();
  });

  it("filter by a click, by several, and no longer", async () => {
    await count(values("answer:0", ["a dog", 12], ["a cat", 3]));
    page.click("button", /^a dog/);
    expect(filters()).toEqual([{ key: "answer:0", values: ["a dog"] }]);
    expect(page.get("button", /^a dog/).getAttribute("aria-pressed")).toBe("true");
    page.click("button", /^a cat/);
    expect(filters()).toEqual([{ key: "answer:0", values: ["a dog", "a cat"] }]);
    page.click("button", /^a dog/);
    page.click("button", /^a cat/);
    expect(filters()).toEqual([]);
  });

  it("show few values at first, and whatever is chosen", async () => {
    const many = Array.from({ length: 20 }, (_, k) => [`answer ${k}`, 100 - k] as [string, number]);
    await count(values("answer:0", ...many));
    const bins = () => page.el.querySelectorAll(".bin").length;
    expect(bins()).toBe(8);
    page.click("button", "12 more");
    expect(bins()).toBe(20);
    page.click("button", "Fewer");
    const query = { ...NO_QUERY, filters: [{ key: "answer:0", values: ["answer 15", "rare"] }] };
    page.kernel((model) => model.show({ query, plain: false }));
    await count(values("answer:0", ...many));
    expect(page.get("button", /^answer 15/)).not.toBeNull();
    expect(page.get("button", /^rare/).getAttribute("aria-pressed")).toBe("true");
  });

  it("filter by a bar of a histogram, and by a range of them", async () => {
    await count(histogram("confidence:0", 5, 0, 7, 2));
    const bars = [...page.el.querySelectorAll<HTMLElement>(".column")];
    fireEvent.click(bars[3] as HTMLElement);
    expect(filters()).toEqual([{ key: "confidence:0", min: 3, max: 4 }]);
    fireEvent.click(bars[3] as HTMLElement);
    expect(filters()).toEqual([]);
    fireEvent.pointerDown(bars[2] as HTMLElement, { button: 0 });
    fireEvent.pointerEnter(bars[1] as HTMLElement);
    expect(bars.map((bar) => bar.getAttribute("aria-pressed"))).toEqual([
      "false",
      "true",
      "true",
      "false",
    ]);
    act(() => void window.dispatchEvent(new Event("pointerup")));
    expect(filters()?.[0]).toMatchObject({ key: "confidence:0", min: 1 });
    expect(filters()?.[0]?.max).toBeLessThan(3);
    expect(page.el.querySelector(".chip")?.textContent).toBe("confidence1 – 3");
  });

  it("have a histogram for the keyboard", async () => {
    await count(histogram("confidence:0", 5, 0, 7, 2));
    const bars = [...page.el.querySelectorAll<HTMLElement>(".column")];
    page.press(bars[0] as HTMLElement, "ArrowRight");
    expect(document.activeElement).toBe(bars[1]);
    expect(bars.filter(({ tabIndex }) => tabIndex === 0)).toEqual([bars[1]]);
  });

  it("are counted anew at once for another query, and seldom during a run", () => {
    page.kernel((model) => model.progress({ state: "running", total: 24 }));
    let before = asked().length;
    page.kernel((model) => model.show({ query: { ...NO_QUERY, search: "x" }, plain: false }));
    expect(asked()).toHaveLength(before + 1);
    before = asked().length;
    for (let k = 0; k < 40; k++) {
      act(() => model().say({ type: "changed", rows: [[k, makeRow(k)]] }));
      page.settle(100);
    }
    expect(asked().length - before).toBeGreaterThan(2);
    expect(asked().length - before).toBeLessThan(6);
  });
  const model = () => page.model;

  it("close with Esc, back to their button", () => {
    page.press(page.get("button", "close the filters"), "Escape");
    expect(page.query("complementary")).toBeNull();
    expect(document.activeElement).toBe(page.get("button", "filters"));
  });
});

it("leaves out of a range what belongs to the next bar, but not the greatest", () => {
  const { bins } = histogram("column:year", 1, 1, 1);
  const some = rangeOf(bins, 0, 1);
  expect(some.min).toBe(0);
  expect(some.max).toBeLessThan(2);
  expect(short(some.max)).toBe("2");
  expect(rangeOf(bins, 1, 2)).toEqual({ min: 1, max: 3 });
});

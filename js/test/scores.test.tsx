import { describe, expect, it } from "vitest";
import { NO_QUERY, type Score } from "../src/protocol";
import { Page, usePages } from "./page";

usePages();

const NONE: [number, null, null] = [0, null, null];
const SCORE: Score = {
  prompt: 0,
  count: 1250,
  metrics: [
    ["VQA accuracy", 0.8125, 0.75, 0.875],
    ["exact match", 0.5, null, null],
  ],
  reliability: {
    ece: 0.0413,
    brier: 0.12,
    bins: [...[NONE, NONE, NONE, NONE, NONE, NONE, NONE], [1, 0.75, 1], NONE, [1240, 0.95, 0.8]],
  },
};
const scored = (...scores: Score[]) => new Page({ scores });
const bins = (page: Page) => [...page.el.querySelectorAll<HTMLElement>(".reliability-bins button")];

describe("scores", () => {
  it("are a line a metric, once there are any", () => {
    const page = new Page();
    expect(page.query("group", "Scores")).toBeNull();
    page.kernel((model) => model.set("scores", [SCORE]));
    const lines = [...page.get("table", "scores of caption").querySelectorAll("tr")];
    expect(lines.map((line) => line.textContent)).toEqual([
      "VQA accuracy0.8130.750 – 0.875of 1,250",
      "exact match0.500of 1,250",
    ]);
    expect(page.el.querySelector("figcaption")?.textContent).toBe("ECE 0.041 Brier 0.120");
  });

  it("draw how many are right of those that are so sure, and how far that is off", () => {
    const page = scored(SCORE);
    expect(bins(page).map((bin) => bin.getAttribute("aria-label"))).toEqual([
      "confidence 0.7 to 0.8: 1 answer, 100 % right, 75 % sure on average",
      "confidence 0.9 to 1: 1,240 answers, 80 % right, 95 % sure on average",
    ]);
    const drawn = (name: string) =>
      [...page.el.querySelectorAll(name)].map((each) => [
        Number(each.getAttribute("y")),
        Number(each.getAttribute("height")),
      ]);
    const close = (name: string, ...boxes: number[][]) => {
      const found = drawn(name);
      expect(found).toHaveLength(boxes.length);
      for (const [k, box] of boxes.entries())
        for (const [at, number] of box.entries()) expect(found[k]?.[at]).toBeCloseTo(number);
    };
    close(".right", [25, 75], [20, 80]);
    close(".beyond", [0, 25]);
    close(".missing", [5, 15]);
    // One of 1,241 is seen, too.
    close(".times", [0, 6], [0, 100]);
  });

  it("show the rows of a bin, and all again", () => {
    const page = scored(SCORE);
    const filters = () => page.model.requests("query").at(-1)?.query.filters;
    page.click("button", /^confidence 0.7 to 0.8/);
    const [filter] = filters() ?? [];
    expect(filter).toMatchObject({ key: "confidence:0", min: 0.7 });
    expect(filter?.max).toBeLessThan(0.8);
    page.kernel((model) => {
      model.show({ query: { ...NO_QUERY, filters: filters() ?? [] }, count: 1, plain: false });
    });
    expect(bins(page).map((bin) => bin.getAttribute("aria-pressed"))).toEqual(["true", "false"]);
    page.click("button", /^confidence 0.7 to 0.8/);
    expect(filters()).toEqual([]);
    page.click("button", /^confidence 0.9 to 1/);
    expect(filters()).toEqual([{ key: "confidence:0", min: 0.9, max: 1 }]);
  });

  it("are one stop for Tab, between whose bins the arrows go", () => {
    const page = scored(SCORE);
    const [first, last] = bins(page) as [HTMLElement, HTMLElement];
    expect([first.tabIndex, last.tabIndex]).toEqual([0, -1]);
    page.press(first, "ArrowRight");
    expect(document.activeElement).toBe(last);
    expect([first.tabIndex, last.tabIndex]).toEqual([-1, 0]);
  });

  it("name the prompt where there are several, and have no curve for captions", () => {
    const prompts = [
      { name: "a", text: "what?" },
      { name: "b", text: "who?" },
    ];
    const page = new Page({ prompts, scores: [{ ...SCORE, prompt: 1, reliability: null }] });
    expect(page.el.querySelector(".scorename")?.textContent).toBe("who?");
    expect(page.query("table", "scores of who?")).not.toBeNull();
    expect(page.el.querySelector("figure")).toBeNull();
  });
});

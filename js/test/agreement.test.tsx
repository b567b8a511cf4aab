import { describe, expect, it } from "vitest";
import { NO_QUERY } from "../src/protocol";
import { keyLabel, labelOf, shortNames } from "../src/query";
import { makeCell, makeRow } from "./fake";
import { Page, usePages } from "./page";

usePages();

const named = (...names: string[]) => names.map((name) => ({ name, text: "what?" }));
const PAIR = { one: 0, other: 1, answered: 1250, agree: 1249, low: 0.9954, high: 0.9999 };
const compared = () => {
  const prompts = named("what? · cpu-fp32", "what? · cpu-int8", "what? · cpu-int4");
  return new Page({ prompts, comparing: true });
};

describe("agreement", () => {
  it("is a line for each two columns, with interval, rows, and those that differ", () => {
    const page = compared();
    expect(page.query("table", "agreement")).toBeNull();
    const other = { ...PAIR, other: 2, agree: 1250 };
    page.kernel((model) => model.set("agreement", [PAIR, other]));
    const lines = [...page.get("table", "agreement").querySelectorAll("tr")];
    expect(lines.map((line) => line.textContent)).toEqual([
      "cpu-fp32 and cpu-int8agree on 99.9 %99.5 – >99.9 %of 1,2501 differ",
      "cpu-fp32 and cpu-int4agree on 100 %99.5 – >99.9 %of 1,250",
    ]);
  });

  it("shows the rows that differ, and all again", () => {
    const page = compared();
    page.kernel((model) => model.set("agreement", [PAIR]));
    const filters = () => page.model.requests("query").at(-1)?.query.filters;
    page.click("button", /1 differ/);
    expect(filters()).toEqual([{ key: "agreement:0,1", values: ["different"] }]);
    page.kernel((model) => {
      const query = { ...NO_QUERY, filters: filters() ?? [] };
      model.show({ query, count: 1, plain: false });
    });
    expect(page.get("button", /1 differ/).getAttribute("aria-pressed")).toBe("true");
    expect(page.el.querySelector(".chip")?.textContent).toContain(
      "agreement of cpu-fp32 and cpu-int8",
    );
    page.click("button", /1 differ/);
    expect(filters()).toEqual([]);
  });

  it("is of galleries that compare", () => {
    const page = new Page({ agreement: [PAIR] });
    expect(page.query("table", "agreement")).toBeNull();
  });
});

it("tells columns apart that ask the same, on tiles, in heads and in what is read aloud", () => {
  const page = compared();
  const cells = ["a", "b", "c"].map((answer) => makeCell({ prompt: "what?", answer }));
  page.rows({ ...makeRow(0), cells });
  const names = [...page.tile(0).querySelectorAll(".prompttwin")].map((one) => one.textContent);
  expect(names).toEqual(["cpu-fp32", "cpu-int8", "cpu-int4"]);
  expect(page.tile(0).getAttribute("aria-label")).toContain("cpu-int8: b");
  page.click("button", "table");
  const heads = page.el.querySelectorAll(".thtext");
  expect([...heads].map((one) => one.textContent).slice(1, 4)).toEqual(names);
  const different = [
    { name: "a", text: "what?" },
    { name: "b", text: "who?" },
  ];
  expect([labelOf(different, 0), keyLabel("answer:1", different)]).toEqual(["what?", "who?"]);
});

it("names columns without what all of them begin with", () => {
  expect(shortNames(named("a · x", "a · y"))).toEqual(["x", "y"]);
  expect(shortNames(named("a · x", "b · x"))).toEqual(["a · x", "b · x"]);
  expect(shortNames(named("a", "a"))).toEqual(["a", "a"]);
  expect(shortNames([])).toEqual([]);
  expect(keyLabel("agreement", named("a"))).toBe("agreement");
});

import { fireEvent, within } from "@testing-library/preact";
import { beforeEach, describe, expect, it } from "vitest";
import { scrollHeight, TALLEST, tableOf } from "../src/layout";
import { makeCell, makeRow } from "./fake";
import { Page, usePages } from "./page";

usePages();

let page: Page;
const columns = ["a", "b", "c", "d", "e", "f", "g"].map((name) => ({
  name,
  kind: "text" as const,
}));
const prompts = [
  { name: "caption", text: "" },
  { name: "n", text: "how many?" },
];
const row = (id: number) =>
  makeRow(
    id,
    {},
    {
      values: columns.map(({ name }) => `${name}${id}`),
      cells: [makeCell(), makeCell({ prompt: "how many?", answer: `${id} dogs` })],
    },
  );
const heads = () =>
  within(page.el)
    .getAllByRole("columnheader")
    .map(({ textContent }) => textContent);
const sorts = () => page.model.requests("query").map(({ query }) => query.sort);

beforeEach(() => {
  page = new Page({ row_count: 1_000_000, columns, prompts });
  page.rows(...Array.from({ length: 32 }, (_, id) => row(id)));
  page.click("button", "table");
  page.settle();
});

describe("the table", () => {
  it("has the label, the answers, and six of the frame's columns at first", () => {
    const six = ["a", "b", "c", "d", "e", "f"];
    expect(heads()).toEqual(["selected", "picture", "label", "caption", "how many?", ...six]);
    const cells = within(page.tile(3)).getAllByRole("gridcell");
    expect(cells[2]?.textContent).toBe("row 3");
    expect(cells[4]?.querySelector(".answer")?.textContent).toBe("3 dogs");
    expect(cells.slice(5, 7).map(({ textContent }) => textContent)).toEqual(["a3", "b3"]);
    // The widths are of the columns that stand there.
    const table = page.el.querySelector(".scroller") as HTMLElement;
    const widths = table.style.getPropertyValue("--b2-template").match(/minmax\(\d+em/g);
    const least = [9, 15, 15, 8, 8, 8, 8, 8, 8];
    expect(widths).toEqual(least.map((width) => `minmax(${width}em`));
    page.click("button", /^columns/);
    page.click("checkbox", "a");
    expect(heads()).not.toContain("a");
  });

  it("draws only what is near the window, and asks for nothing that is held", () => {
    const drawn = page.el.querySelectorAll(".line").length;
    expect(drawn).toBeGreaterThan(8);
    expect(drawn).toBeLessThan(60);
    expect(page.get("grid").getAttribute("aria-rowcount")).toBe("1000001");
    const body = page.el.querySelector(".tbody") as HTMLElement;
    expect(body.style.height).toBe(`${TALLEST}px`);
    expect(page.model.requests("rows").filter(({ start }) => start === 0)).toHaveLength(1);
  });

  it("sorts by a click on a head: up, down, and no longer", () => {
    const press = (name: string) => {
      fireEvent.click(page.get("columnheader", name).querySelector("button") as HTMLElement);
      page.settle(0);
    };
    press("how many?");
    press("how many?");
    const head = page.get("columnheader", "how many?");
    expect(head.getAttribute("aria-sort")).toBe("descending");
    press("how many?");
    press("a");
    expect(sorts()).toEqual([
      { key: "answer:1", descending: false },
      { key: "answer:1", descending: true },
      null,
      { key: "column:a", descending: false },
    ]);
  });

  it("has the keys of the grid", () => {
    page.press(page.tile(0), "ArrowDown");
    expect(document.activeElement).toBe(page.tile(1));
    page.press(page.tile(1), "x");
    expect(page.model.requests("select").at(-1)).toMatchObject({ how: "add", rows: [1] });
    expect(page.tile(1).getAttribute("aria-selected")).toBe("true");
    page.press(page.tile(1), "p");
    const field = page.get("textbox", "prompt");
    page.type(field, "what is it?");
    page.press(field, "Enter");
    expect(page.model.requests("ask")).toMatchObject([{ row: 1, prompt_index: 0 }]);
  });

  it("marks answers that differ where they are compared", () => {
    const same = makeRow(1, {}, { cells: [makeCell(), makeCell({ prompt: "how many?" })] });
    page.rows(row(0), same);
    const marks = (position: number) =>
      within(page.tile(position)).queryAllByRole("img", { name: "answers differ" });
    expect(marks(0)).toEqual([]);
    page.kernel((model) => model.set("comparing", true));
    expect(marks(0).map((mark) => mark.closest(".td-answer .cell-differs") !== null)).toEqual([
      true,
      true,
    ]);
    expect(marks(1)).toEqual([]);
  });

  it("says what is wrong with a picture", () => {
    page.rows(makeRow(0, {}, { error: "row 0 is not a picture" }));
    expect(page.tile(0).querySelector(".td-answer")?.textContent).toBe("row 0 is not a picture");
    fireEvent.click(within(page.tile(0)).getByRole("button", { name: "Retry" }));
    expect(page.model.requests("retry")).toEqual([{ type: "retry", row: 0 }]);
  });
});

it("is laid out for a million rows within what browsers can hold", () => {
  const at = (rowCount: number, size = 1) =>
    tableOf({ width: 900, fontSize: 13, rowCount, promptCount: 1, size });
  expect(at(10).total).toBe(10 * at(10).tileHeight);
  expect(scrollHeight(at(1_000_000).total)).toBe(TALLEST);
  expect(at(10, 2).pictureHeight).toBeGreaterThan(at(10, 1).pictureHeight);
});

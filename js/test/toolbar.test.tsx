import { act, fireEvent } from "@testing-library/preact";
import { describe, expect, it } from "vitest";
import { NO_QUERY } from "../src/protocol";
import { makeRow } from "./fake";
import { Page, usePages } from "./page";

usePages();

const COLUMNS = [
  { name: "city", kind: "text" },
  { name: "year", kind: "number" },
] as const;
const asked = (page: Page) => page.model.requests("query").map(({ query }) => query);
const line = (page: Page) => page.el.querySelector(".shownline") as HTMLElement;

describe("the search", () => {
  it("asks once a person stops typing, and only then", () => {
    const page = new Page();
    const field = page.get("searchbox");
    for (const text of ["d", "do", "dog"]) {
      page.type(field, text);
      page.settle(30);
    }
    expect(asked(page)).toEqual([]);
    page.settle(60);
    expect(asked(page)).toEqual([{ ...NO_QUERY, search: "dog" }]);
  });

  it("is reached with / and cleared with Esc", () => {
    const page = new Page();
    const field = page.get("searchbox") as HTMLInputElement;
    page.press(page.tile(0), "/");
    expect(document.activeElement).toBe(field);
    page.type(field, "dog");
    page.settle();
    page.press(field, "Escape");
    page.settle();
    expect(field.value).toBe("");
    expect(asked(page).at(-1)).toEqual(NO_QUERY);
    // Out of the field, but not out of the gallery.
    page.press(field, "Escape");
    expect(document.activeElement).toBe(page.tile(0));
  });

  it("is in step in two views, but not while it is typed in", () => {
    const page = new Page();
    const other = new Page({}, page);
    page.type(page.get("searchbox"), "dog");
    page.settle();
    expect((other.get("searchbox") as HTMLInputElement).value).toBe("dog");
    other.type(other.get("searchbox"), "dogs");
    page.kernel((model) => model.show({ query: { ...NO_QUERY, search: "dog" }, plain: false }));
    expect((other.get("searchbox") as HTMLInputElement).value).toBe("dogs");
  });

  it("keeps its letters to itself", () => {
    const page = new Page();
    page.press(page.get("searchbox"), "?");
    expect(page.query("dialog")).toBeNull();
    page.press(page.get("searchbox"), "a", { ctrlKey: true });
    expect(page.model.requests("select")).toEqual([]);
  });
});

describe("the order", () => {
  it("can be that of the doubtful first, of answers and of columns", () => {
    const page = new Page({ columns: [...COLUMNS] });
    const select = page.get("combobox", "sort by") as HTMLSelectElement;
    expect([...select.options].map(({ text }) => text)).toEqual([
      "Row order",
      "Label",
      "Equal pictures together",
      "Doubtful first",
      "Answer",
      "city",
      "year",
    ]);
    fireEvent.change(select, { target: { value: "confidence:0" } });
    expect(asked(page).at(-1)?.sort).toEqual({ key: "confidence:0", descending: false });
    page.settle();
    page.click("button", "ascending");
    expect(asked(page).at(-1)?.sort).toEqual({ key: "confidence:0", descending: true });
    page.click("button", "descending");
    fireEvent.change(select, { target: { value: "row" } });
    expect(asked(page).at(-1)?.sort).toBeNull();
  });

  it("names the prompts where there are several", () => {
    const prompts = ["what is it?", "how many?"].map((text) => ({ name: text, text }));
    const page = new Page({ prompts });
    const select = page.get("combobox", "sort by") as HTMLSelectElement;
    expect([...select.options].map(({ text }) => text)).toContain("Answer · how many?");
  });
});

describe("what is shown", () => {
  it("is counted, and said to who cannot see it", () => {
    const page = new Page({ row_count: 100_000 });
    expect(line(page).textContent).toBe("100,000 pictures");
    page.kernel((model) =>
      model.show({ count: 1234, plain: false, query: { ...NO_QUERY, search: "dog" } }),
    );
    expect(line(page).textContent).toContain("1,234 of 100,000");
    expect(page.el.querySelector(".announcer")?.textContent).toBe("1,234 shown.");
    expect(page.tile(0).getAttribute("aria-setsize")).toBe("1234");
  });

  it("has its filters as chips that can be removed", () => {
    const page = new Page();
    const filters = [
      { key: "answer:0", values: ["a dog", "a cat"] },
      { key: "confidence:0", min: 0.2, max: 0.4 },
    ];
    const query = { ...NO_QUERY, search: "x", filters, unique: true };
    page.kernel((model) => model.show({ count: 3, plain: false, query }));
    expect([...line(page).querySelectorAll(".chip")].map((chip) => chip.textContent)).toEqual([
      "searchx",
      "captiona dog, a cat",
      "confidence0.2 – 0.4",
      "equal pictures once",
    ]);
    const chip = page.get("button", "remove caption: a dog, a cat");
    act(() => chip.focus());
    fireEvent.click(chip);
    expect(page.el.contains(document.activeElement)).toBe(true);
    expect(asked(page).at(-1)).toEqual({ ...query, filters: filters.slice(1) });
    page.click("button", "remove equal pictures once");
    expect(asked(page).at(-1)?.unique).toBe(false);
    page.click("button", "Show all");
    expect(asked(page).at(-1)).toEqual(NO_QUERY);
  });

  it("can be nothing, from which there is a way back", () => {
    const page = new Page();
    const query = { ...NO_QUERY, search: "x" };
    page.kernel((model) => model.show({ count: 0, plain: false, query }));
    expect(page.el.textContent).toContain("Nothing matches.");
    const empty = page.el.querySelector(".empty .button") as HTMLElement;
    fireEvent.click(empty);
    expect(asked(page).at(-1)).toEqual(NO_QUERY);
  });

  it("can be what could not be asked", () => {
    const page = new Page();
    page.kernel((model) => model.show({ error: "there is no column <b>x</b>" }));
    expect(page.get("alert").textContent).toBe("there is no column <b>x</b>");
  });

  it("can leave out equal pictures", () => {
    const page = new Page();
    page.click("button", "equal pictures once");
    expect(asked(page)).toEqual([{ ...NO_QUERY, unique: true }]);
    expect(page.get("button", "equal pictures once").getAttribute("aria-pressed")).toBe("true");
  });

  it("shows the rows that stand there by their own number", () => {
    const page = new Page();
    page.kernel((model) => model.show({ count: 2, plain: false }));
    page.rows(makeRow(17), makeRow(4));
    expect(page.tile(0).dataset.row).toBe("17");
    expect(page.tile(0).textContent).toContain("row 17");
    expect(page.tile(1).textContent).toContain("row 4");
    expect(page.tile(2)).toBeNull();
  });
});

describe("the view", () => {
  it("has larger and smaller pictures", () => {
    const page = new Page();
    const width = () => {
      const scroller = page.el.querySelector(".scroller") as HTMLElement;
      return Number.parseFloat(scroller.style.getPropertyValue("--b2-tile-width"));
    };
    const before = width();
    const slider = page.get("slider");
    fireEvent.input(slider, { target: { value: "2" } });
    page.settle();
    expect(width()).toBeGreaterThan(before * 1.3);
    fireEvent.input(slider, { target: { value: "0.6" } });
    page.settle();
    expect(width()).toBeLessThan(before);
  });

  it("has the frame's columns under the pictures that a person wants there", () => {
    const page = new Page({ columns: [...COLUMNS] });
    page.rows(makeRow(0, {}, { values: ["Oslo", null] }));
    expect(page.tile(0).textContent).not.toContain("Oslo");
    page.click("button", "columns");
    page.click("checkbox", "city");
    expect(page.tile(0).textContent).toContain("city Oslo");
    // The next view starts like this one.
    const other = new Page({}, page);
    expect(other.tile(0).textContent).toContain("city Oslo");
    page.press(page.get("checkbox", "city"), "Escape");
    expect(page.query("checkbox", "city")).toBeNull();
    expect(document.activeElement).toBe(page.get("button", /^columns/));
  });
});

describe("the list of keys", () => {
  it("opens with ?, keeps the focus, and gives it back", () => {
    const page = new Page();
    page.press(page.tile(2), "?");
    const close = page.get("button", "close");
    expect(page.get("dialog", "keys").textContent).toContain("accept the answer");
    expect(document.activeElement).toBe(close);
    fireEvent.keyDown(close, { key: "Tab" });
    expect(document.activeElement).toBe(close);
    page.press(close, "Escape");
    expect(page.query("dialog")).toBeNull();
    expect(document.activeElement).toBe(page.tile(2));
  });
});

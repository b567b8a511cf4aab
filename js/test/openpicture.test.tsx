import { act } from "@testing-library/preact";
import { beforeEach, describe, expect, it } from "vitest";
import { makeRow } from "./fake";
import { Page, usePages } from "./page";

usePages();

let page: Page;
const place = () => page.el.querySelector(".detail-place")?.textContent;
const title = () => page.el.querySelector(".detail-title")?.textContent;
const can = (name: string) => !(page.get("button", name) as HTMLButtonElement).disabled;
const go = (name: string) => {
  page.click("button", name);
  page.settle();
};

/** The kernel shows these rows, and says where the one that is open stands. */
async function show(open: number, ...rows: number[]): Promise<void> {
  page.kernel((model) => model.show({ count: rows.length, plain: false }));
  page.rows(...rows.map((row) => makeRow(row)));
  const position = rows.indexOf(open);
  const { version } = page.model.traits.shown;
  await act(async () => {
    page.model.say({
      type: "place",
      row: open,
      version,
      position: position < 0 ? null : position,
    });
  });
  page.settle();
}

beforeEach(() => {
  page = new Page({ row_count: 6 });
  page.rows(...[0, 1, 2, 3, 4, 5].map((row) => makeRow(row)));
  page.press(page.tile(2), "Enter");
});

describe("the picture at the side", () => {
  it("stands where the query puts it", async () => {
    expect(place()).toBe("3 of 6");
    await show(2, 5, 4, 3, 2);
    expect(page.model.requests("place").at(-1)).toEqual({ type: "place", row: 2 });
    expect([place(), title()]).toEqual(["4 of 4", "row 2"]);
    expect(can("next picture")).toBe(false);
    go("previous picture");
    expect([place(), title()]).toEqual(["3 of 4", "row 3"]);
  });

  it("says when it is not shown any more, and goes on from where it was", async () => {
    await show(2, 0, 1, 4, 5);
    expect([place(), title()]).toEqual(["not among those shown", "row 2"]);
    go("next picture");
    expect([place(), title()]).toEqual(["3 of 4", "row 4"]);
    await show(4, 0, 1, 5);
    expect(place()).toBe("not among those shown");
    go("previous picture");
    expect([place(), title()]).toEqual(["2 of 3", "row 1"]);
  });

  it("stays at the end of what has become shorter", async () => {
    await show(2, 0);
    expect(place()).toBe("not among those shown");
    expect([can("previous picture"), can("next picture")]).toEqual([true, false]);
    await show(2);
    expect([can("previous picture"), can("next picture")]).toEqual([false, false]);
  });

  it("leaves the focus in the gallery when it closes, wherever its row is", async () => {
    page.press(page.get("complementary"), "Escape");
    expect(document.activeElement).toBe(page.tile(2));
    page.press(page.tile(2), "Enter");
    await show(2, 0, 1);
    page.press(page.get("complementary"), "Escape");
    expect(document.activeElement).toBe(page.tile(1));
  });
});

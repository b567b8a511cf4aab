import { act, fireEvent, within } from "@testing-library/preact";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { NO_QUERY } from "../src/protocol";
import type { Session } from "../src/session";
import { Session as SessionClass } from "../src/session";
import { makeCell, makeReview, makeRow } from "./fake";
import { Page, usePages } from "./page";

usePages();

let page: Page;
let reviews: unknown[][];
const undo = vi.fn();
const redo = vi.fn();

/** What reviews are told to, in the place of `Details`. */
function listen(session: Session): void {
  vi.spyOn(session.details, "review").mockImplementation((...args) => reviews.push(args) > 0);
  vi.spyOn(session.details, "undo").mockImplementation(undo);
  vi.spyOn(session.details, "redo").mockImplementation(redo);
}

beforeEach(() => {
  reviews = [];
  undo.mockClear();
  redo.mockClear();
  const open = SessionClass.prototype.open;
  vi.spyOn(SessionClass.prototype, "open").mockImplementation(function (this: Session) {
    listen(this);
    return open.call(this);
  });
  page = new Page();
  page.rows(...Array.from({ length: 24 }, (_, id) => makeRow(id)));
});

const selects = () => page.model.requests("select").map(({ type, ...rest }) => rest);
const box = (position: number) => within(page.tile(position)).getByRole("checkbox");
const field = (name: string) => page.get("textbox", name) as HTMLTextAreaElement;

describe("references", () => {
  it("stand under the answer that was scored, counted, as words and in what is read aloud", () => {
    const references: [string, number][] = [
      ["<b>red</b>", 7],
      ["dark red", 3],
    ];
    page.kernel((model) => model.set("scored", [0]));
    page.rows(makeRow(0, { references, further: 2 }), makeRow(1));
    const line = page.tile(0).querySelector(".reference") as HTMLElement;
    expect(line.textContent).toBe("reference <b>red</b> ×7 · dark red ×3 · 2 more");
    expect(line.querySelector("b")).toBeNull();
    expect(page.tile(0).getAttribute("aria-label")).toContain("reference: <b>red</b> ×7");
    expect(page.tile(1).querySelector(".reference")).toBeNull();
  });
});

describe("selecting", () => {
  it("is a click on a tile's box, and another takes it back", () => {
    fireEvent.click(box(3));
    expect(box(3).getAttribute("aria-checked")).toBe("true");
    fireEvent.click(box(3));
    expect(box(3).getAttribute("aria-checked")).toBe("false");
    expect(selects()).toEqual([
      { how: "add", rows: [3] },
      { how: "remove", rows: [3] },
    ]);
  });

  it("takes all from the last one with Shift, in either direction", () => {
    fireEvent.click(box(2));
    fireEvent.click(box(4), { shiftKey: true });
    fireEvent.click(box(1), { shiftKey: true });
    expect(selects().slice(1)).toEqual([
      { how: "add", positions: [2, 5], version: 0 },
      { how: "add", positions: [1, 3], version: 0 },
    ]);
    expect(box(3).getAttribute("aria-checked")).toBe("true");
    expect(box(5).getAttribute("aria-checked")).toBe("false");
  });

  it("goes by what is shown", () => {
    page.kernel((model) => model.show({ count: 2, plain: false }));
    page.rows(makeRow(17), makeRow(4));
    page.press(page.tile(1), "x");
    expect(selects()).toEqual([{ how: "add", rows: [4] }]);
  });

  it("has keys: x, Ctrl+A and Esc", () => {
    page.press(page.tile(1), "x");
    page.press(page.tile(4), "X", { shiftKey: true });
    page.press(page.tile(4), "a", { ctrlKey: true });
    page.press(page.tile(4), "a", { metaKey: true });
    page.kernel((model) => model.set("selected_count", 24));
    page.press(page.tile(4), "Escape");
    expect(selects()).toEqual([
      { how: "add", rows: [1] },
      { how: "add", positions: [1, 5], version: 0 },
      { how: "set", positions: [0, 24], version: 0 },
      { how: "set", positions: [0, 24], version: 0 },
      { how: "set", rows: [] },
    ]);
  });

  it("is counted, and can be given up", () => {
    expect(page.query("button", "clear the selection")).toBeNull();
    page.kernel((model) => model.set("selected_count", 1200));
    expect(page.el.querySelector(".selection")?.textContent).toContain("1,200 selected");
    page.click("button", "clear the selection");
    expect(selects()).toEqual([{ how: "set", rows: [] }]);
  });
});

describe("opening a picture", () => {
  it("is told to what stands around, from Enter or a click", () => {
    const rows: number[] = [];
    const listener = (event: Event) => rows.push((event as CustomEvent).detail.row);
    document.addEventListener("blip2-open", listener);
    page.kernel((model) => model.show({ count: 2, plain: false }));
    page.rows(makeRow(17), makeRow(4));
    page.press(page.tile(1), "Enter");
    fireEvent.click(page.tile(0).querySelector(".picture") as HTMLElement);
    fireEvent.click(page.tile(0).querySelector(".picture") as HTMLElement, { ctrlKey: true });
    document.removeEventListener("blip2-open", listener);
    expect(rows).toEqual([4, 17]);
    expect(selects()).toEqual([{ how: "add", rows: [17] }]);
  });
});

describe("reviewing", () => {
  const change = (review: Parameters<typeof makeReview>[0], answer = "a dog") =>
    page.kernel((model) =>
      model.say({
        type: "changed",
        rows: [[0, makeRow(0, { answer, review: makeReview(review) })]],
      }),
    );

  it("has a key for every word", () => {
    for (const key of ["a", "r", "f"]) page.press(page.tile(2), key);
    expect(reviews).toEqual([
      [2, 0, "accept", undefined],
      [2, 0, "reject", undefined],
      [2, 0, "flag", undefined],
    ]);
  });

  it("is taken back by the same key", () => {
    change({ status: "accepted" });
    page.press(page.tile(0), "a");
    expect(reviews).toEqual([[0, 0, "clear", undefined]]);
  });

  it("is not of an answer that is still to come, but for a flag", () => {
    page.rows(makeRow(0, { state: "waiting", answer: null }));
    for (const key of ["a", "r", "f", "e"]) page.press(page.tile(0), key);
    expect(reviews).toEqual([[0, 0, "flag", undefined]]);
    expect(page.query("textbox", "answer")).toBeNull();
  });

  it("is not of a picture that cannot be read", () => {
    page.rows(makeRow(0, { state: "error", answer: null }, { error: "not a picture" }));
    for (const key of ["a", "r", "f", "e", "p"]) page.press(page.tile(0), key);
    page.rows(makeRow(0));
    expect(page.query("textbox", "answer") ?? page.query("textbox", "prompt")).toBeNull();
    expect(reviews).toEqual([]);
  });

  it("can say what is right where there is no answer", () => {
    for (const state of ["error", "cancelled", "unasked"] as const) {
      page.rows(makeRow(0, { state, answer: null, error: state === "error" ? "too long" : null }));
      for (const key of ["a", "r"]) page.press(page.tile(0), key);
      fireEvent.pointerEnter(page.tile(0).querySelector(".cell") as HTMLElement);
      const actions = [...page.tile(0).querySelectorAll(".action")];
      expect(actions.map((one) => one.getAttribute("aria-label"))).toEqual(["correct", "flag"]);
      fireEvent.click(actions[0] as HTMLElement);
      expect(field("answer").value).toBe("");
      page.type(field("answer"), "two dogs");
      page.press(field("answer"), "Enter");
      expect(reviews.splice(0)).toEqual([[0, 0, "correct", "two dogs"]]);
    }
    const review = makeReview({ status: "corrected", text: "two dogs" });
    page.rows(makeRow(0, { state: "error", answer: null, error: "too long", review }));
    const answer = page.tile(0).querySelector(".answer") as HTMLElement;
    expect(answer.textContent).toBe("two dogs");
    expect(answer.title).toContain("no answer: too long");
    const mark = within(page.tile(0)).getByRole("img", { name: "corrected" });
    expect(mark.title).toContain("no answer: too long");
  });

  it("corrects in place", () => {
    page.press(page.tile(0), "e");
    expect(field("answer").value).toBe("a dog");
    page.type(field("answer"), "two dogs ");
    page.press(field("answer"), "Enter");
    expect(reviews).toEqual([[0, 0, "correct", "two dogs"]]);
    expect(page.query("textbox", "answer")).toBeNull();
    expect(document.activeElement).toBe(page.tile(0));
  });

  it("corrects nothing on Esc or without a change, and loses nothing when the focus goes", () => {
    page.press(page.tile(0), "e");
    page.type(field("answer"), "two dogs");
    page.press(field("answer"), "Escape");
    page.press(page.tile(0), "e");
    page.press(field("answer"), "Enter");
    expect(reviews).toEqual([]);
    page.press(page.tile(0), "e");
    page.type(field("answer"), "two dogs");
    fireEvent.blur(field("answer"));
    expect(reviews).toEqual([[0, 0, "correct", "two dogs"]]);
  });

  describe("of which a half was typed", () => {
    const root = () => page.el.querySelector(".blip2-gallery");
    const show = (...ids: number[]) => {
      page.kernel((model) => model.show({ count: ids.length, plain: false }));
      page.rows(...ids.map((id) => makeRow(id)));
    };
    beforeEach(() => {
      page.press(page.tile(1), "e");
      page.type(field("answer"), "two do");
    });

    it("goes with its row, and nothing is said yet", () => {
      show(1, 0);
      expect(page.tile(0).contains(field("answer"))).toBe(true);
      expect(field("answer").value).toBe("two do");
      expect(document.activeElement).toBe(field("answer"));
      expect(field("answer").selectionStart).toBe("two do".length);
      expect(reviews).toEqual([]);
      page.press(field("answer"), "Enter");
      expect(reviews).toEqual([[1, 0, "correct", "two do"]]);
    });

    it("is back when its row is, and the keys go nowhere meanwhile", () => {
      show(7);
      expect(page.query("textbox", "answer")).toBeNull();
      expect(document.activeElement).toBe(root());
      show(7, 1);
      expect(field("answer").value).toBe("two do");
      expect(document.activeElement).toBe(field("answer"));
      expect(reviews).toEqual([]);
    });

    it("comes back without taking the focus from what a person is at", () => {
      show(7);
      act(() => page.get("searchbox").focus());
      show(7, 1);
      expect(field("answer").value).toBe("two do");
      expect(document.activeElement).toBe(page.get("searchbox"));
    });

    it("is given up by Esc, wherever its row went", () => {
      show(1, 0);
      page.press(field("answer"), "Escape");
      page.press(page.tile(0), "e");
      expect(field("answer").value).toBe("a dog");
      expect(reviews).toEqual([]);
    });

    it("is marked as a draft where it is not edited", () => {
      show(7);
      page.press(page.tile(0), "p");
      show(7, 1);
      expect(page.tile(1).querySelector(".draftmark")?.textContent).toBe("draft");
    });
  });

  it("keeps a correction that could not be sent", () => {
    vi.spyOn(SessionClass.prototype, "review").mockReturnValue(false);
    page.press(page.tile(0), "e");
    page.type(field("answer"), "two dogs");
    page.press(field("answer"), "Enter");
    page.press(page.tile(0), "e");
    expect(field("answer").value).toBe("two dogs");
  });

  it("is seen on the tile", () => {
    change({ status: "accepted", flagged: true });
    expect(within(page.tile(0)).getByRole("img", { name: "accepted" }).title).toContain("ada");
    expect(within(page.tile(0)).queryByRole("img", { name: "flagged" })).not.toBeNull();
    change({ status: "corrected", text: "two dogs" });
    const answer = page.tile(0).querySelector(".answer") as HTMLElement;
    expect(answer.textContent).toBe("two dogs");
    expect(answer.title).toContain("the model: a dog");
    change({ status: "rejected" });
    expect(within(page.tile(0)).queryByRole("img", { name: "rejected" })).not.toBeNull();
    expect(page.tile(0).textContent).toContain("a dog");
  });

  it("has buttons for who comes with a mouse", () => {
    expect(within(page.tile(0)).queryByRole("button", { name: "accept" })).toBeNull();
    fireEvent.pointerEnter(page.tile(0).querySelector(".cell") as HTMLElement);
    fireEvent.click(within(page.tile(0)).getByRole("button", { name: "accept" }));
    expect(document.activeElement).toBe(page.tile(0));
    fireEvent.click(within(page.tile(0)).getByRole("button", { name: "correct" }));
    expect(reviews).toEqual([[0, 0, "accept", undefined]]);
    expect(field("answer").value).toBe("a dog");
  });

  it("can be undone and done again, but not from a text", () => {
    page.press(page.tile(0), "z", { ctrlKey: true });
    expect([undo.mock.calls.length, redo.mock.calls.length]).toEqual([1, 0]);
    page.press(page.tile(0), "Z", { ctrlKey: true, shiftKey: true });
    expect([undo.mock.calls.length, redo.mock.calls.length]).toEqual([1, 1]);
    page.press(page.get("searchbox"), "z", { ctrlKey: true });
    expect(undo).toHaveBeenCalledTimes(1);
  });
});

it("acts on the row that stands there, not on its position", () => {
  page.kernel((model) => model.show({ count: 2, plain: false }));
  page.rows(makeRow(17), makeRow(4));
  page.press(page.tile(0), "a");
  page.press(page.tile(1), "p");
  page.type(field("prompt"), "what is it?");
  page.press(field("prompt"), "Enter");
  expect(reviews).toEqual([[17, 0, "accept", undefined]]);
  expect(page.model.requests("ask")).toMatchObject([{ row: 4, prompt: "what is it?" }]);
});

it("says how many rows hold the same picture", () => {
  page.rows(makeRow(0, {}, { duplicates: 2 }));
  const badge = page.tile(0).querySelector(".badge") as HTMLElement;
  expect(badge.textContent).toBe("+2");
  expect(badge.title).toBe("2 other rows hold the same picture");
});

it("has a name for every picture, with its answers and what was said of them", () => {
  const name = (position: number) => page.tile(position).getAttribute("aria-label");
  const accepted = makeReview({ status: "accepted", flagged: true });
  const corrected = makeReview({ status: "corrected", text: "two dogs" });
  page.rows(
    makeRow(0),
    makeRow(1, { review: accepted }, { selected: true }),
    makeRow(2, {}, { error: "not a picture" }),
    makeRow(3, { state: "waiting", answer: null }),
    makeRow(4, { state: "error", answer: null, error: "too long" }),
    makeRow(
      5,
      {},
      {
        cells: [
          makeCell({ review: corrected }),
          makeCell({ prompt: "how many?", state: "unasked", answer: null }),
        ],
      },
    ),
  );
  expect([0, 1, 2, 3, 4, 5].map(name)).toEqual([
    "row 0; a dog",
    "row 1; a dog, accepted, flagged; selected",
    "row 2; not a picture",
    "row 3; waiting for an answer",
    "row 4; too long",
    "row 5; caption: two dogs, corrected; how many?: not asked",
  ]);
  page.kernel((model) => model.show({ count: 4_000 }));
  page.click("button", "table");
  page.settle();
  // That it is selected is told by the row itself.
  expect(name(1)).toBe("row 1; a dog, accepted, flagged");
  expect(page.tile(1).getAttribute("aria-selected")).toBe("true");
});

it("draws what has the focus in its place among the others, however far it is", () => {
  page.kernel((model) => {
    model.set("row_count", 5000);
    model.show({ count: 5000 });
  });
  const scroller = page.el.querySelector(".scroller") as HTMLElement;
  act(() => page.tile(0).focus());
  scroller.scrollTop = 100_000;
  fireEvent.scroll(scroller);
  page.settle();
  const drawn = [...page.el.querySelectorAll<HTMLElement>(".tile")].map((tile) =>
    Number(tile.dataset.index),
  );
  expect(drawn[0]).toBe(0);
  expect(drawn[1]).toBeGreaterThan(100);
  expect(document.activeElement).toBe(page.tile(0));
});

it("keeps the focus when what has it is filtered out", () => {
  page.kernel((model) => model.show({ count: 2, plain: false }));
  page.rows(makeRow(17), makeRow(4));
  page.press(page.tile(1), "a");
  page.kernel((model) => model.show({ count: 1, plain: false }));
  expect(document.activeElement).toBe(page.tile(0));
});

it("takes the focus to the top with another query, unless something is typed there", () => {
  const search = (words: string) =>
    page.kernel((model) => model.show({ query: { ...NO_QUERY, search: words } }));
  act(() => page.tile(3).focus());
  search("dog");
  expect(document.activeElement).toBe(page.tile(0));
  page.press(page.tile(0), "ArrowRight");
  expect(document.activeElement).toBe(page.tile(1));
  page.press(page.tile(1), "e");
  search("do");
  expect(document.activeElement).toBe(field("answer"));
});

it("marks answers that differ where they are compared, by a person's text before the model's", () => {
  const cells = (one: string, other: string, text: string | null = null) => ({
    cells: [makeCell({ answer: one, review: makeReview({ text }) }), makeCell({ answer: other })],
  });
  page.rows(
    makeRow(0, {}, cells("a dog", "A dog ")),
    makeRow(1, {}, cells("a dog", "a cat")),
    makeRow(2, {}, cells("a dog", "a cat", "a cat")),
    makeRow(3, {}, cells("a dog", "a dog", "a cat")),
  );
  const marks = (k: number) => [...page.tile(k).querySelectorAll(".cell-differs")];
  const marked = () => [0, 1, 2, 3, 4].filter((k) => marks(k).length > 0);
  expect(marked()).toEqual([]);
  page.kernel((model) => model.set("comparing", true));
  expect(marked()).toEqual([1, 3]);
  // Both of them, and not by an edge alone.
  for (const cell of marks(1)) {
    const mark = within(cell as HTMLElement).getByRole("img", { name: "answers differ" });
    expect(mark.textContent).toBe("≠");
  }
  expect(marks(1)).toHaveLength(2);
});

import { act, cleanup, fireEvent, screen, within } from "@testing-library/preact";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import widget from "../src/index";
import type { Row } from "../src/protocol";
import type { Listener } from "../src/session";
import { FakeModel, makeReview, makeRow, watchUrls } from "./fake";

let model: FakeModel;
let urls: Set<string>;
let close: (() => void)[];

/** Draws one more view of the model. */
function show(of = definition, el = document.body.appendChild(document.createElement("div"))) {
  act(() => {
    close.push(of.render({ model, el }));
  });
  return el;
}

let definition: ReturnType<typeof widget>;

function start(traits: ConstructorParameters<typeof FakeModel>[0] = {}): HTMLElement {
  model = new FakeModel(traits);
  definition = widget();
  definition.initialize({ model });
  const el = show();
  settle();
  return el;
}

const settle = () => act(() => void vi.advanceTimersByTime(500));
const say = (...rows: [number, Row][]) => act(() => model.say({ type: "changed", rows }));
const tile = (el: HTMLElement, index: number) =>
  el.querySelector(`[data-index="${index}"]`) as HTMLElement;
const promptOf = (el: HTMLElement, index: number) =>
  tile(el, index).querySelector(".prompt") as HTMLElement;
const field = () => screen.queryByRole("textbox", { name: "prompt" }) as HTMLTextAreaElement;

function type(text: string): void {
  fireEvent.input(field(), { target: { value: text } });
}

beforeEach(() => {
  vi.useFakeTimers();
  urls = watchUrls();
  close = [];
});

afterEach(() => {
  for (const one of close) one();
  cleanup();
  document.body.replaceChildren();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe("the header", () => {
  it("is there before anything has come", () => {
    const el = start({ title: "caption · df.image" });
    expect(within(el).getByRole("heading").textContent).toBe("caption · df.image");
    expect(el.textContent).toContain("24 pictures");
  });

  it("follows a run and can cancel it", () => {
    const el = start();
    act(() => {
      model.progress({
        state: "running",
        done: 12,
        total: 24,
        failed: 1,
        rate: 3.14,
        seconds_left: 4,
        model: "blip2-opt-2.7b",
        variant: "cpu-bf16",
      });
    });
    expect(el.textContent).toContain("12 of 24 · 3.1/s · 4 s left");
    expect(el.textContent).toContain("1 error");
    expect(el.textContent).toContain("blip2-opt-2.7b · cpu-bf16");
    const bar = within(el).getByRole("progressbar");
    expect(bar.getAttribute("aria-valuenow")).toBe("12");
    expect(bar.getAttribute("aria-valuemax")).toBe("24");

    fireEvent.click(within(el).getByRole("button", { name: "Cancel" }));
    expect(model.requests("cancel")).toHaveLength(1);
    const button = within(el).getByRole("button", { name: "Cancelling…" });
    expect((button as HTMLButtonElement).disabled).toBe(true);

    act(() => model.progress({ state: "done", done: 24, seconds: 3 }));
    expect(within(el).queryByRole("button", { name: /Cancel/ })).toBeNull();
    expect(el.textContent).toContain("23 answered in 3 s");
    fireEvent.click(within(el).getByRole("button", { name: "Retry errors" }));
    expect(model.requests("retry")).toEqual([{ type: "retry", row: null }]);

    act(() => model.progress({ state: "cancelled", done: 5, failed: 0 }));
    fireEvent.click(within(el).getByRole("button", { name: "Go on" }));
    expect(model.requests("retry")).toHaveLength(2);
  });

  it("tells a screen reader of the start and the end", () => {
    const el = start();
    const live = el.querySelector('[aria-live="polite"]') as HTMLElement;
    act(() => model.progress({ state: "running", total: 24 }));
    expect(live.textContent).toBe("Answering 24.");
    act(() => model.progress({ done: 5 }));
    expect(live.textContent).toBe("Answering 24.");
    act(() => model.progress({ state: "done", done: 24 }));
    expect(live.textContent).toBe("Done: 24 answered.");
  });

  it("says when the kernel is silent, and stops saying so", () => {
    const el = start();
    act(() => void vi.advanceTimersByTime(12_000));
    expect(el.textContent).toContain("No answer from the kernel.");
    act(() => model.sayRows(0, 24));
    expect(el.textContent).not.toContain("No answer from the kernel.");
  });
});

describe("the grid", () => {
  it("draws only what is near the window", () => {
    const el = start({ row_count: 100_000 });
    const tiles = within(el).getAllByRole("listitem");
    expect(tiles.length).toBeGreaterThan(3);
    expect(tiles.length).toBeLessThan(40);
    expect(tiles[0]?.getAttribute("aria-setsize")).toBe("100000");
  });

  it("shows an answer while it is being written", () => {
    const el = start();
    say([0, makeRow(0, { state: "running", answer: "two dogs" })]);
    const writing = tile(el, 0).querySelector(".answer-writing") as HTMLElement;
    expect(writing.textContent).toBe("two dogs");
    expect(writing.getAttribute("aria-busy")).toBe("true");
    expect(tile(el, 0).getAttribute("aria-busy")).toBe("true");
    say([0, makeRow(0, { state: "done", answer: "two dogs on grass" })]);
    expect(tile(el, 0).querySelector(".answer-writing")).toBeNull();
    expect(tile(el, 0).querySelector(".answer-done")?.textContent).toBe("two dogs on grass");
  });

  it("shows rows, thumbnails and answers as they come", () => {
    const el = start();
    act(() => model.sayRows(0, 24, { state: "waiting", answer: null }));
    expect(tile(el, 0).getAttribute("aria-busy")).toBe("true");
    act(() => model.sayThumbs([0]));
    expect(tile(el, 0).querySelector("img")?.alt).toBe("row 0");
    say([0, makeRow(0, { answer: "two dogs on grass" })]);
    expect(tile(el, 0).querySelector("img")?.alt).toBe("two dogs on grass");
    expect(tile(el, 0).textContent).toContain("two dogs on grass");
    expect(tile(el, 0).getAttribute("aria-busy")).toBe("false");
  });

  it("moves with the arrow keys, one tile in the order of Tab", () => {
    const el = start();
    act(() => model.sayRows(0, 24));
    act(() => tile(el, 0).focus());
    fireEvent.keyDown(tile(el, 0), { key: "ArrowRight" });
    settle();
    expect(document.activeElement).toBe(tile(el, 1));
    const stops = [...el.querySelectorAll('.tile[tabindex="0"]')];
    expect(stops).toEqual([tile(el, 1)]);
  });

  it("says that it is empty", () => {
    expect(start({ row_count: 0 }).textContent).toContain("There are no pictures here.");
  });
});

describe("editing a prompt", () => {
  let el: HTMLElement;
  beforeEach(() => {
    el = start({ prompts: [{ name: "dogs", text: "how many dogs?" }] });
    act(() => model.sayRows(0, 24, { prompt: "how many dogs?" }));
    fireEvent.click(promptOf(el, 0));
  });

  it("starts from the prompt as it is, with the focus", () => {
    expect(field().value).toBe("how many dogs?");
    expect(document.activeElement).toBe(field());
  });

  it("starts from the row's own text where the column's is cut", () => {
    fireEvent.keyDown(field(), { key: "Escape" });
    act(() => {
      model.set("prompts", [{ name: "dogs", text: "how…" }]);
      model.sayRows(0, 24, { prompt: "how many dogs?" });
    });
    fireEvent.click(promptOf(el, 0));
    expect(field().value).toBe("how many dogs?");
  });

  it("asks on Enter, and shows at once what was asked", () => {
    type("how many cats?  ");
    fireEvent.keyDown(field(), { key: "Enter" });
    expect(model.requests("ask")).toEqual([
      { type: "ask", row: 0, prompt_index: 0, prompt: "how many cats?" },
    ]);
    expect(field()).toBeNull();
    expect(promptOf(el, 0).textContent).toContain("how many cats?");
    expect(tile(el, 0).textContent).not.toContain("a dog");
    expect(document.activeElement).toBe(tile(el, 0));
    say([0, makeRow(0, { prompt: "how many cats?", answer: "nine" })]);
    expect(tile(el, 0).textContent).toContain("nine");
  });

  it("does not ask on Shift+Enter, or while letters are being composed", () => {
    fireEvent.keyDown(field(), { key: "Enter", shiftKey: true });
    fireEvent.keyDown(field(), { key: "Enter", isComposing: true });
    expect(model.requests("ask")).toHaveLength(0);
    expect(field()).not.toBeNull();
  });

  it("restores on Esc", () => {
    type("how many c");
    fireEvent.keyDown(field(), { key: "Escape" });
    expect(field()).toBeNull();
    expect(promptOf(el, 0).textContent).toBe("how many dogs?");
    expect(model.requests("ask")).toHaveLength(0);
  });

  it("keeps a draft when the focus goes, marked as one", () => {
    type("how many c");
    fireEvent.blur(field());
    settle();
    expect(field()).toBeNull();
    expect(promptOf(el, 0).textContent).toBe("how many cdraft");
    fireEvent.click(promptOf(el, 0));
    expect(field().value).toBe("how many c");
  });

  it("keeps no draft of what was not changed", () => {
    fireEvent.blur(field());
    settle();
    expect(promptOf(el, 0).textContent).toBe("how many dogs?");
  });

  it("is not disturbed by what the kernel sends meanwhile", () => {
    type("how many c");
    const before = field();
    say([0, makeRow(0, { prompt: "how many dogs?", answer: "three" })]);
    expect(field()).toBe(before);
    expect(field().value).toBe("how many c");
    expect(document.activeElement).toBe(before);
  });

  it("keeps its keys from the notebook", () => {
    // JupyterLab listens on the document, in the capturing phase.
    const kept: string[] = [];
    const hear = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      kept.push(`${event.key} ${target.hasAttribute("data-lm-suppress-shortcuts")}`);
    };
    document.addEventListener("keydown", hear, true);
    const bubbled = vi.fn();
    document.addEventListener("keydown", bubbled);
    fireEvent.keyDown(field(), { key: "d" });
    fireEvent.keyDown(field(), { key: "z", ctrlKey: true });
    fireEvent.keyDown(field(), { key: "s", ctrlKey: true });
    fireEvent.keyDown(field(), { key: "Escape" });
    expect(bubbled).not.toHaveBeenCalled();
    fireEvent.keyDown(tile(el, 0), { key: "d" });
    fireEvent.keyDown(tile(el, 0), { key: "z", ctrlKey: true });
    fireEvent.keyDown(tile(el, 0), { key: "c", ctrlKey: true });
    document.removeEventListener("keydown", hear, true);
    document.removeEventListener("keydown", bubbled);
    expect(kept).toEqual([
      "d true",
      "z true",
      "s false",
      "Escape true",
      "d true",
      "z true",
      "c false",
    ]);
  });

  it("starts with p or F2 on a tile too", () => {
    fireEvent.keyDown(field(), { key: "Escape" });
    for (const key of ["p", "F2"]) {
      act(() => tile(el, 1).focus());
      fireEvent.keyDown(tile(el, 1), { key });
      expect(within(tile(el, 1)).getByRole("textbox")).toBe(field());
      fireEvent.keyDown(field(), { key: "Escape" });
    }
  });
});

it("invites to ask where there is only a caption", () => {
  const el = start();
  act(() => model.sayRows(0, 24));
  expect(promptOf(el, 0).textContent).toBe("caption");
  fireEvent.click(promptOf(el, 0));
  expect(field().value).toBe("");
  expect(field().placeholder).toBe("ask something…");
});

it("tells a screen reader of reviews, once and in the view they were made in", () => {
  const el = start();
  const other = show();
  settle();
  const live = (view: HTMLElement) => view.querySelector('[aria-live="polite"]') as HTMLElement;
  act(() => {
    model.set("history", { undo: 1, redo: 1 });
    model.sayAt(0, [makeRow(0), makeRow(1, { review: makeReview({ flagged: true }) })]);
  });
  const press = (position: number, key: string, init: KeyboardEventInit = {}) => {
    act(() => tile(el, position).focus());
    act(() => void fireEvent.keyDown(tile(el, position), { key, ...init }));
    return live(el).textContent;
  };
  expect(press(0, "a")).toBe("accepted");
  const first = live(el).firstChild;
  expect(press(1, "a")).toBe("accepted");
  expect(live(el).firstChild).not.toBe(first);
  expect(press(0, "r")).toBe("rejected");
  expect(press(0, "f")).toBe("flagged");
  expect(press(1, "f")).toBe("flag taken off");
  press(0, "e");
  const answer = within(el).getByRole("textbox", { name: "answer" });
  act(() => void fireEvent.input(answer, { target: { value: "two dogs" } }));
  act(() => void fireEvent.keyDown(answer, { key: "Enter" }));
  expect(live(el).textContent).toBe("corrected");
  expect(press(0, "z", { ctrlKey: true })).toBe("undone");
  expect(press(0, "y", { ctrlKey: true })).toBe("redone");
  act(() => model.set("history", { undo: 0, redo: 0 }));
  expect(press(0, "z", { ctrlKey: true })).toBe("nothing to undo");
  expect(live(other).textContent).toBe("");
  // What was done does not come again with the kernel's word on it.
  act(() => model.progress({ state: "running", total: 24 }));
  expect(live(el).textContent).toBe("Answering 24.");
  model.dead = true;
  press(0, "a");
  expect(live(el).textContent).toBe("Answering 24.");
});

it("hands the focus on when the button that was pressed goes", () => {
  const el = start();
  const press = (button: HTMLElement) => {
    act(() => button.focus());
    fireEvent.click(button);
    return document.activeElement;
  };
  const root = el.querySelector(".blip2-gallery");
  act(() => {
    model.sayAt(0, [
      makeRow(0, { state: "error", answer: null, error: "too long" }),
      makeRow(1, {}, { error: "not a picture" }),
    ]);
    model.progress({ state: "running", total: 24 });
    model.say({ type: "notice", text: "the store is full" });
  });
  for (const position of [0, 1]) {
    const retry = within(tile(el, position)).getByRole("button", { name: "Retry" });
    expect(press(retry)).toBe(tile(el, position));
  }
  expect(press(within(el).getByRole("button", { name: "Cancel" }))).toBe(root);
  expect(press(within(el).getByRole("button", { name: "close" }))).toBe(root);
  expect(model.requests("retry")).toHaveLength(2);
  expect(model.requests("cancel")).toHaveLength(1);
});

it("has the keys when nothing in it has the focus, and the notebook has none of them", () => {
  const el = start();
  act(() => model.sayRows(0, 24));
  const root = el.querySelector(".blip2-gallery") as HTMLElement;
  act(() => root.focus());
  expect(document.activeElement).toBe(root);
  const bubbled: string[] = [];
  const hear = (event: KeyboardEvent) => bubbled.push(event.key);
  document.addEventListener("keydown", hear);
  for (const key of ["a", "x", "X", "d", "Enter", "Delete", " "]) fireEvent.keyDown(root, { key });
  expect(root.hasAttribute("data-lm-suppress-shortcuts")).toBe(true);
  expect(model.requests("review")).toEqual([]);
  fireEvent.keyDown(root, { key: "s", ctrlKey: true });
  expect(bubbled).toEqual(["s"]);
  fireEvent.keyDown(root, { key: "ArrowDown" });
  expect(document.activeElement).toBe(tile(el, 0));
  document.removeEventListener("keydown", hear);
});

describe("errors", () => {
  it("of a picture stand in its place, and can be tried again", () => {
    const el = start();
    const broken = makeRow(1, {}, { error: "b.jpg is not a picture" });
    act(() => model.sayAt(0, [makeRow(0), broken]));
    expect(tile(el, 1).textContent).toContain("b.jpg is not a picture");
    expect(tile(el, 1).querySelector("img")).toBeNull();
    const retry = within(tile(el, 1)).getByRole("button", { name: "Retry" }) as HTMLButtonElement;
    fireEvent.click(retry);
    expect(model.requests("retry")).toEqual([{ type: "retry", row: 1 }]);
    expect(retry.disabled).toBe(true);
    say([1, makeRow(1, { answer: "a cat after all" })]);
    expect(tile(el, 1).textContent).toContain("a cat after all");
  });

  it("of an answer stand in its place, and can be tried again", () => {
    const el = start();
    const error = { state: "error", answer: null, error: "the prompt is too long" } as const;
    act(() => model.sayAt(0, [makeRow(0, error)]));
    expect(tile(el, 0).querySelector(".answer")?.textContent).toContain("the prompt is too long");
    fireEvent.click(within(tile(el, 0)).getByRole("button", { name: "Retry" }));
    expect(model.requests("retry")).toEqual([{ type: "retry", row: 0 }]);
  });
});

it("shows hostile words of the frame and the query as words", () => {
  const evil = "<img src=x onerror=alert(1)>{}<b>b</b>";
  const columns = [{ name: evil, kind: "text" as const }];
  const el = start({ title: evil, columns, prompts: [{ name: evil, text: evil }] });
  const review = { status: "corrected", flagged: true, text: evil, who: evil, when: 1 } as const;
  const query = { search: evil, filters: [{ key: `column:${evil}`, values: [evil] }] };
  act(() => {
    model.show({ query: { ...query, sort: null, unique: false }, plain: false });
    model.sayAt(0, [makeRow(0, { review }, { values: [evil], label: evil })]);
  });
  for (const name of ["filters", /^columns/, "table"]) {
    fireEvent.click(within(el).getByRole("button", { name }));
  }
  settle();
  expect(el.querySelector("img, script, b")).toBeNull();
  expect(el.querySelector(".answer")?.textContent).toBe(evil);
  expect(el.querySelector(".td:nth-child(5)")?.textContent).toBe(evil);
  expect(el.querySelector(".chiptext")?.textContent).toBe(evil);
  expect(el.querySelector(".choicetext")?.textContent).toBe(evil);
});

it("shows hostile words as words", () => {
  const evil = "<img src=x onerror=alert(1)><script>alert(2)</script>&lt;b&gt;";
  const el = start({ title: evil, prompts: [{ name: evil, text: evil }] });
  const row = makeRow(0, { prompt: evil, answer: evil }, { label: evil });
  const error = { prompt: evil, answer: null, state: "error", error: evil } as const;
  act(() => {
    model.sayAt(0, [
      row,
      makeRow(1, error, { label: evil }),
      makeRow(2, {}, { label: evil, error: evil }),
    ]);
    model.progress({ state: "failed", note: evil, model: evil, variant: evil });
  });
  expect(el.querySelector("img, script, b")).toBeNull();
  expect(el.querySelector(".label")?.textContent).toBe(evil);
  expect(el.querySelector(".prompttext")?.textContent).toBe(evil);
  expect(el.querySelector(".answer")?.textContent).toBe(evil);
  expect(el.querySelector(".status")?.textContent).toBe(evil);
  expect(tile(el, 1).querySelector(".message")?.textContent).toBe(evil);
  expect(tile(el, 2).querySelector(".message")?.textContent).toBe(evil);
});

describe("two views", () => {
  it("share what is known, and drafts", () => {
    const first = start();
    const second = show();
    settle();
    act(() => model.sayRows(0, 24));
    expect(tile(second, 0).textContent).toContain("a dog");
    fireEvent.click(promptOf(first, 0));
    type("what is it?");
    expect(promptOf(second, 0).textContent).toContain("what is it?");
    expect(within(second).queryByRole("textbox", { name: "prompt" })).toBeNull();
  });

  it("are in step where the host wraps the model anew for each of them", () => {
    // As anywidget does: and what a view's wrapper listens to goes with the view.
    const wrap = () => {
      const own: [string, Listener][] = [];
      const wrapper = {
        get: (name: string) => model.get(name),
        send: (content: unknown) => model.send(content),
        on: (name: string, callback: Listener) => {
          own.push([name, callback]);
          model.on(name, callback);
        },
        off: (name: string, callback: Listener) => model.off(name, callback),
      };
      const drop = () => {
        for (const [name, callback] of own) model.off(name, callback);
      };
      return { wrapper, drop };
    };
    model = new FakeModel();
    const created = widget();
    created.initialize({ model: wrap().wrapper });
    const views = [wrap(), wrap()].map(({ wrapper, drop }) => {
      const el = document.body.appendChild(document.createElement("div"));
      const end = created.render({ model: wrapper, el });
      close.push(end);
      const remove = () =>
        act(() => {
          end();
          drop();
        });
      return { el, remove };
    });
    settle();
    // Both show the same rows, which one session asks for once.
    expect(model.requests("rows")).toHaveLength(1);
    views[0]?.remove();
    act(() => model.sayRows(0, 24));
    expect(views[1]?.el.textContent).toContain("a dog");
  });
});

it("leaves nothing behind", () => {
  const el = start();
  act(() => model.sayRows(0, 24));
  act(() => model.sayThumbs([0, 1, 2]));
  expect(urls.size).toBe(3);
  expect(model.listening).toBeGreaterThan(0);
  act(() => {
    for (const one of close.splice(0)) one();
  });
  expect(el.childNodes).toHaveLength(0);
  expect(urls.size).toBe(0);
  expect(model.listening).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
  expect(model.requests("close")).toHaveLength(1);
});

it("stands without a kernel", () => {
  model = new FakeModel({ row_count: 3 });
  model.dead = true;
  definition = widget();
  definition.initialize({ model });
  const el = show();
  settle();
  act(() => void vi.advanceTimersByTime(15_000));
  expect(within(el).getAllByRole("listitem")).toHaveLength(3);
  expect(el.textContent).toContain("run the cell again");
});

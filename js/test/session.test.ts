import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { NO_QUERY } from "../src/protocol";
import { Session, type Thumb, TIMES, type View } from "../src/session";
import { FakeModel, makeRow, watchUrls } from "./fake";

let model: FakeModel;
let session: Session;
let view: View;
let urls: Set<string>;

function start(rowCount = 1000, limits?: { rows: number; thumbBytes: number }): void {
  model = new FakeModel({ row_count: rowCount });
  session = limits ? new Session(model, limits) : new Session(model);
  view = session.open();
}

/** The view shows the rows [start, stop), with `around` more drawn on either side. */
function show(start: number, stop: number, around = 0, of = view, pixels = 256): void {
  of.want({
    seen: { start, stop },
    drawn: { start: Math.max(0, start - around), stop: stop + around },
    pixels,
  });
}

const settle = () => vi.advanceTimersByTime(2 * TIMES.flush);
const urlOf = (row: number) => {
  const thumb = session.thumb(row).peek();
  return thumb && "url" in thumb ? thumb.url : null;
};

beforeEach(() => {
  vi.useFakeTimers();
  urls = watchUrls();
  start();
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe("traits", () => {
  it("are read at once and followed", () => {
    expect(session.rowCount.value).toBe(1000);
    model.progress({ state: "running", done: 3 });
    expect(session.progress.value).toMatchObject({ state: "running", done: 3, failed: 0 });
  });

  it("may be missing", () => {
    const bare = new FakeModel();
    bare.get = () => undefined;
    const other = new Session(bare);
    expect(other.rowCount.value).toBe(0);
    expect(other.progress.value.state).toBe("idle");
  });
});

describe("asking for rows", () => {
  it("is one message however often a view moves meanwhile", () => {
    for (let row = 0; row < 20; row++) show(row, row + 10);
    settle();
    expect(model.requests("rows")).toEqual([{ type: "rows", view: view.id, start: 0, stop: 32 }]);
  });

  it("stays within the rows there are", () => {
    start(40);
    show(30, 40);
    settle();
    expect(model.requests("rows").at(-1)).toMatchObject({ start: 0, stop: 40 });
  });

  it("is not repeated for rows that are held or on their way", () => {
    show(0, 10);
    settle();
    show(5, 15);
    settle();
    expect(model.requests("rows")).toHaveLength(1);
    model.sayRows(0, 32);
    show(10, 30);
    settle();
    expect(model.requests("rows")).toHaveLength(1);
    show(30, 40);
    settle();
    expect(model.requests("rows").at(-1)).toMatchObject({ start: 32, stop: 64 });
  });

  it("passes over what a fast scroll did not stop at", () => {
    for (let row = 0; row < 900; row += 10) {
      show(row, row + 10);
      vi.advanceTimersByTime(2);
    }
    settle();
    expect(model.requests("rows").length).toBeLessThan(6);
    expect(model.requests("rows").at(-1)).toMatchObject({ start: 864, stop: 928 });
  });

  it("is repeated quietly, more and more rarely, when nothing comes", () => {
    show(0, 10);
    settle();
    vi.advanceTimersByTime(TIMES.retry + TIMES.tick);
    expect(model.requests("rows")).toHaveLength(2);
    vi.advanceTimersByTime(60_000);
    const sent = model.requests("rows").length;
    expect(sent).toBeGreaterThan(3);
    expect(sent).toBeLessThan(8);
  });

  it("starts over when the columns change, showing the old rows meanwhile", () => {
    show(0, 10);
    settle();
    model.sayRows(0, 32);
    model.set("prompts", [{ name: "dogs", text: "how many dogs?" }]);
    settle();
    expect(model.requests("rows")).toHaveLength(2);
    expect(session.row(0).value?.label).toBe("row 0");
    model.sayRows(0, 32);
    settle();
    expect(model.requests("rows")).toHaveLength(2);
  });
});

describe("what the traits have cut", () => {
  const long = { name: "n".repeat(300), text: "how many?" };
  const query = { ...NO_QUERY, search: "dog", filters: [{ key: "label", values: ["a", "b"] }] };

  it("is asked for once a view is there, and takes the place of what is cut", () => {
    model = new FakeModel({ title: "cut…", prompts: [{ name: "n…", text: "how…" }], cut: 3 });
    session = new Session(model);
    expect(model.sent).toEqual([]);
    view = session.open();
    model.progress({ state: "running" });
    expect(model.requests("whole")).toEqual([{ type: "whole" }]);
    expect(session.title.value).toBe("cut…");
    const columns = [{ name: "c".repeat(300), kind: "text" as const }];
    model.say({ type: "whole", cut: 3, parts: { prompts: [long], columns } });
    model.progress({ state: "done" });
    expect(session.prompts.value).toEqual([long]);
    expect(session.columns.value).toEqual(columns);
    expect(session.title.value).toBe("cut…");
    expect(model.requests("whole")).toHaveLength(1);
    // Another column of answers: those of before stay until the new ones come.
    model.set("cut", 4);
    expect(session.prompts.value).toEqual([long]);
    expect(model.requests("whole")).toHaveLength(2);
  });

  it("may be the query, of which nothing else is made meanwhile", () => {
    session.query(query);
    model.show({ query: null, count: 2, plain: false });
    expect(session.wanted.value).toEqual(query);
    expect(session.shown.value).toMatchObject({ count: 2, query: NO_QUERY });
    model.set("cut", 1);
    model.say({ type: "whole", cut: 1, parts: { query } });
    expect(session.shown.value.query).toEqual(query);
    expect(session.searching.value).toBe(false);
    model.show({ query: NO_QUERY, count: 1000, plain: true });
    model.set("cut", 0);
    expect(session.wanted.value).toEqual(NO_QUERY);
  });

  it("is asked for again by the next view where the last one has gone before it came", () => {
    model.set("cut", 1);
    view.close();
    view = session.open();
    expect(model.requests("whole")).toHaveLength(2);
  });
});

describe("rows", () => {
  it("follow what the kernel says of them", () => {
    show(0, 10);
    settle();
    model.sayRows(0, 32, { state: "waiting", answer: null });
    model.say({ type: "changed", rows: [[3, makeRow(3, { answer: "a cat" })]] });
    expect(session.row(3).value?.cells[0]?.answer).toBe("a cat");
    expect(session.row(4).value?.cells[0]?.answer).toBeNull();
  });

  it("that nobody looks at do not fill the memory", () => {
    start(100_000, { rows: 100, thumbBytes: 1e6 });
    show(0, 10);
    for (let row = 0; row < 50_000; row += 500) {
      model.say({ type: "changed", rows: [[row, makeRow(row)]] });
    }
    expect(session.row(40_000).value).toBeNull();
    for (let row = 0; row < 3000; row += 30) {
      show(row, row + 30);
      settle();
      model.sayRows(row, row + 30);
    }
    const held = Array.from({ length: 3000 }, (_, row) => session.row(row).peek()).filter(Boolean);
    expect(held.length).toBeLessThanOrEqual(100);
    expect(session.row(2975).value?.label).toBe("row 2975");
  });
});

describe("the wish for thumbnails", () => {
  it("names what is seen first, then what scrolling on would bring", () => {
    show(10, 14, 2);
    settle();
    expect(model.requests("thumbs")).toEqual([
      { type: "thumbs", view: view.id, pixels: 256, rows: [10, 11, 12, 13, 14, 15, 8, 9] },
    ]);
  });

  it("replaces the one before, and never names what is held", () => {
    show(0, 6);
    settle();
    model.sayThumbs([0, 1, 2, 3]);
    show(3, 9);
    settle();
    expect(model.requests("thumbs").at(-1)?.rows).toEqual([4, 5, 6, 7, 8]);
  });

  it("is not sent again while it is being granted", () => {
    show(0, 6);
    settle();
    for (let row = 0; row < 6; row++) {
      model.sayThumbs([row]);
      settle();
    }
    expect(model.requests("thumbs")).toHaveLength(1);
  });

  it("is taken back when all that is seen is held", () => {
    show(0, 6);
    settle();
    model.sayThumbs([0, 1, 2, 3, 4]);
    show(0, 5);
    settle();
    expect(model.requests("thumbs").at(-1)?.rows).toEqual([]);
  });

  it("leaves out pictures that cannot be read", () => {
    show(0, 3);
    model.sayAt(0, [makeRow(0), makeRow(1, {}, { error: "no" })]);
    settle();
    expect(model.requests("thumbs").at(-1)?.rows).toEqual([0, 2]);
  });

  it("asks for larger ones, and shows the smaller until they come", () => {
    show(0, 2);
    settle();
    model.sayThumbs([0, 1], 256);
    const small = urlOf(0);
    show(0, 2, 0, view, 512);
    settle();
    expect(model.requests("thumbs").at(-1)).toMatchObject({ rows: [0, 1], pixels: 512 });
    expect(urlOf(0)).toBe(small);
    model.sayThumbs([0], 512);
    expect(urlOf(0)).not.toBe(small);
    expect(urls.has(small as string)).toBe(false);
    // A smaller one that comes late does not take its place.
    const large = urlOf(0);
    model.sayThumbs([0], 256);
    expect(urlOf(0)).toBe(large);
    expect(urls.size).toBe(2);
  });

  it("does not ask without end for one that cannot be made", () => {
    show(0, 1);
    settle();
    model.say({ type: "thumbs", rows: [0], pixels: 256, mime: "image/webp", errors: ["broken"] });
    settle();
    expect(session.thumb(0).value).toEqual({ error: "broken" } satisfies Thumb);
    expect(model.requests("thumbs")).toHaveLength(1);
    session.retry(0);
    settle();
    expect(model.requests("retry")).toEqual([{ type: "retry", row: 0 }]);
    expect(model.requests("thumbs")).toHaveLength(2);
  });
});

describe("the thumbnails held", () => {
  it("keep to their budget, and let go of the longest unused and its URL", () => {
    start(1000, { rows: 1000, thumbBytes: 20_000 });
    for (let row = 0; row < 100; row += 5) {
      show(row, row + 5);
      settle();
      model.sayThumbs([row, row + 1, row + 2, row + 3, row + 4], 256, 1000);
    }
    expect(urls.size).toBeLessThanOrEqual(13);
    expect(urls.size).toBeGreaterThan(9);
    expect(urlOf(99)).not.toBeNull();
    expect(urlOf(0)).toBeNull();
  });

  it("are never taken from a tile that is drawn", () => {
    start(1000, { rows: 1000, thumbBytes: 1000 });
    show(0, 8);
    settle();
    model.sayThumbs([0, 1, 2, 3, 4, 5, 6, 7], 256, 1000);
    expect(urls.size).toBe(8);
  });
});

describe("drafts", () => {
  it("outlive what the kernel says, scrolling, and the view", () => {
    show(0, 10);
    session.setDraft(3, 0, "how many d");
    model.sayRows(0, 32);
    model.say({ type: "changed", rows: [[3, makeRow(3, { answer: "a cat" })]] });
    for (let row = 0; row < 900; row += 30) {
      show(row, row + 10);
      settle();
      model.sayRows(row, row + 10);
    }
    expect(session.draft(3, 0)).toBe("how many d");
    view.close();
    session.open();
    expect(session.draft(3, 0)).toBe("how many d");
  });

  it("are gone once they are asked, and come back where asking fails", () => {
    session.setDraft(3, 0, "what is it?");
    session.ask(3, 0, "what is it?");
    expect(session.draft(3, 0)).toBeUndefined();
    expect(model.requests("ask")).toEqual([
      { type: "ask", row: 3, prompt_index: 0, prompt: "what is it?" },
    ]);
    model.dead = true;
    session.ask(4, 0, "and this?");
    expect(session.draft(4, 0)).toBe("and this?");
    expect(session.asked(4, 0)).toBeUndefined();
  });
});

describe("an ask", () => {
  beforeEach(() => {
    show(0, 10);
    settle();
    model.sayRows(0, 32);
    session.ask(3, 0, "is it a dog?");
  });
  const say = (prompt: string) =>
    model.say({ type: "changed", rows: [[3, makeRow(3, { prompt })]] });

  it("is shown at once, and until the kernel has come to it", () => {
    expect(session.asked(3, 0)).toBe("is it a dog?");
    say("");
    expect(session.asked(3, 0)).toBe("is it a dog?");
    say("is it a dog?");
    expect(session.asked(3, 0)).toBeUndefined();
  });

  it("gives way to a prompt that the kernel has put otherwise", () => {
    say("Question: is it a dog? Answer:");
    expect(session.asked(3, 0)).toBeUndefined();
  });

  it("gives way to the kernel's word in the end", () => {
    vi.advanceTimersByTime(TIMES.ask + 1);
    say("");
    expect(session.asked(3, 0)).toBeUndefined();
  });
});

describe("a kernel that does not answer", () => {
  it("is reported after a while, until it speaks", () => {
    show(0, 10);
    settle();
    vi.advanceTimersByTime(TIMES.silence - 2 * TIMES.tick);
    expect(session.silent.value).toBe(false);
    vi.advanceTimersByTime(3 * TIMES.tick);
    expect(session.silent.value).toBe(true);
    model.progress({ done: 1 });
    expect(session.silent.value).toBe(false);
  });

  it("is not reported where nothing is owed", () => {
    show(0, 10);
    settle();
    model.sayRows(0, 32);
    vi.advanceTimersByTime(60_000);
    expect(session.silent.value).toBe(false);
  });

  it("is reported where the line is down, and nothing breaks", () => {
    model.dead = true;
    show(0, 10);
    settle();
    session.ask(0, 0, "?");
    session.retry(0);
    session.cancel();
    vi.advanceTimersByTime(15_000);
    expect(session.silent.value).toBe(true);
    expect(session.cancelling.value).toBe(false);
    view.close();
  });
});

describe("views", () => {
  it("have wishes of their own and share what comes", () => {
    const other = session.open();
    expect(other.id).not.toBe(view.id);
    show(0, 4);
    show(500, 502, 0, other);
    settle();
    expect(model.requests("thumbs").map(({ view: id, rows }) => [id, rows])).toEqual([
      [view.id, [0, 1, 2, 3]],
      [other.id, [500, 501]],
    ]);
    model.sayThumbs([0, 500]);
    expect(urlOf(0)).not.toBeNull();
    expect(urlOf(500)).not.toBeNull();
  });

  it("leave nothing behind when the last one closes", () => {
    const other = session.open();
    show(0, 4);
    settle();
    model.sayThumbs([0, 1, 2, 3]);
    view.close();
    expect(model.requests("close")).toEqual([{ type: "close", view: view.id }]);
    expect(urls.size).toBe(4);
    other.close();
    expect(urls.size).toBe(0);
    expect(model.listening).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
    other.close();
    expect(model.requests("close")).toHaveLength(2);
  });

  it("start anew after all were closed", () => {
    show(0, 4);
    settle();
    model.sayRows(0, 32);
    view.close();
    model.set("row_count", 2000);
    const again = session.open();
    expect(session.rowCount.value).toBe(2000);
    show(0, 4, 0, again);
    settle();
    expect(model.requests("rows")).toHaveLength(2);
  });
});

it("takes a cancel back once the run has ended", () => {
  model.progress({ state: "running" });
  session.cancel();
  expect(session.cancelling.value).toBe(true);
  model.progress({ done: 1 });
  expect(session.cancelling.value).toBe(true);
  model.progress({ state: "cancelled" });
  expect(session.cancelling.value).toBe(false);
});

describe("what is shown", () => {
  const query = { ...NO_QUERY, search: "dog" };
  const ids = (...places: number[]) => places.map((place) => session.idAt(place).peek());

  it("is all rows in their own order at first, known at once", () => {
    expect(session.shown.value).toMatchObject({ count: 1000, plain: true });
    expect(ids(0, 7, 999)).toEqual([0, 7, 999]);
  });

  it("stays while the kernel works on a query, which is known meanwhile", () => {
    show(0, 4);
    settle();
    model.sayRows(0, 32);
    session.query(query);
    expect(model.requests("query")).toEqual([{ type: "query", query }]);
    expect(session.wanted.value.search).toBe("dog");
    expect(session.searching.value).toBe(true);
    expect(ids(0, 1)).toEqual([0, 1]);
    model.show({ count: 2, plain: false, query });
    expect(session.searching.value).toBe(false);
    // Until it is known what stands there now.
    expect(ids(0, 1)).toEqual([0, 1]);
    expect(session.row(0).value?.label).toBe("row 0");
  });

  it("is asked for by position, and told by id", () => {
    show(0, 4);
    settle();
    model.sayRows(0, 32);
    model.show({ count: 40, plain: false, query });
    settle();
    expect(model.requests("rows").at(-1)).toMatchObject({ start: 0, stop: 32 });
    model.sayAt(0, [makeRow(900), makeRow(7), makeRow(350), makeRow(2)]);
    expect(ids(0, 1, 2, 3, 4)).toEqual([900, 7, 350, 2, null]);
    settle();
    expect(model.requests("thumbs").at(-1)?.rows).toEqual([900, 7, 350, 2]);
    expect(session.row(900).value?.label).toBe("row 900");
    expect(session.row(7).value?.label).toBe("row 7");
  });

  it("takes no rows of another version", () => {
    show(0, 2);
    model.show({ count: 2, plain: false, query });
    settle();
    model.sayAt(0, [makeRow(5), makeRow(6)], 0);
    expect(ids(0, 1)).not.toEqual([5, 6]);
    model.sayAt(0, [makeRow(8), makeRow(9)]);
    expect(ids(0, 1)).toEqual([8, 9]);
  });

  it("keeps rows and thumbnails by id, so that what comes back is there at once", () => {
    show(0, 4);
    settle();
    model.sayRows(0, 32);
    model.sayThumbs([0, 1, 2, 3]);
    const url = urlOf(3);
    model.show({ count: 1, plain: false, query });
    settle();
    model.sayAt(0, [makeRow(3)]);
    settle();
    expect(urlOf(3)).toBe(url);
    expect(model.requests("thumbs")).toHaveLength(1);
    const asked = model.requests("rows").length;
    model.show({ count: 1000, plain: true, query: NO_QUERY });
    settle();
    expect(ids(0, 3)).toEqual([0, 3]);
    expect(session.row(0).value?.label).toBe("row 0");
    expect(model.requests("rows")).toHaveLength(asked);
  });

  it("asks no more than what is shown", () => {
    show(0, 40);
    model.show({ count: 3, plain: false, query });
    settle();
    expect(model.requests("rows").at(-1)).toMatchObject({ start: 0, stop: 3 });
    model.show({ count: 0, plain: false, query });
    const asked = model.requests("rows").length;
    settle();
    expect(model.requests("rows")).toHaveLength(asked);
  });

  it("is not asked for twice, and gives in to the kernel's word", () => {
    session.query(NO_QUERY);
    session.query(query);
    session.query({ ...query });
    expect(model.requests("query")).toHaveLength(1);
    vi.advanceTimersByTime(20_000);
    expect(session.wanted.value).toEqual(query);
    const other = { ...NO_QUERY, search: "dogs" };
    model.show({ query: other });
    expect(session.wanted.value).toEqual(query);
    vi.advanceTimersByTime(TIMES.query + 2 * TIMES.tick);
    expect(session.wanted.value).toEqual(other);
    session.query(query);
    model.show({ error: "no such column" });
    expect(session.searching.value).toBe(false);
  });

  it("of an earlier query does not undo a later one", () => {
    session.refine({ search: "do" });
    session.refine({ search: "dog" });
    model.show({ count: 9, plain: false, query: { ...NO_QUERY, search: "do" } });
    expect(session.wanted.value.search).toBe("dog");
    model.show({ count: 3, plain: false, query });
    expect(session.searching.value).toBe(false);
  });
});

describe("facets", () => {
  const counted = (id: string, version: number) =>
    model.say({ type: "facets", id, version, facets: [] });

  it("come to the one who asked", async () => {
    const first = session.facets(["label"]);
    const second = session.facets(["answer:0"]);
    const [a, b] = model.requests("facets").map(({ id }) => id) as [string, string];
    expect(a).not.toBe(b);
    counted(b, 0);
    counted(a, 0);
    expect((await first).id).toBe(a);
    expect((await second).id).toBe(b);
  });

  it("of what is no longer shown come to nothing", async () => {
    const heard = vi.fn();
    session.facets(["label"]).then(heard);
    model.show({ count: 3, plain: false });
    counted(model.requests("facets")[0]?.id as string, 0);
    await Promise.resolve();
    expect(heard).not.toHaveBeenCalled();
  });
});

it("hands on the prompts asked before", async () => {
  const one = session.promptHistory();
  const other = session.promptHistory();
  model.say({ type: "prompts", prompts: ["what is it?"] });
  expect(await one).toEqual(["what is it?"]);
  expect(await other).toEqual(["what is it?"]);
});

describe("selecting", () => {
  const selected = (id: number) => session.row(id).peek()?.selected;
  beforeEach(() => {
    show(0, 10);
    settle();
    model.sayRows(0, 32);
  });

  it("shows at once on the rows that are held", () => {
    session.select("add", { rows: [3] });
    session.select("add", { positions: [5, 7] });
    expect([3, 4, 5, 6, 7].map(selected)).toEqual([true, false, true, true, false]);
    session.select("remove", { rows: [5] });
    expect(selected(5)).toBe(false);
    session.select("set", { rows: [] });
    expect([3, 5, 6].map(selected)).toEqual([false, false, false]);
    expect(model.requests("select")).toEqual([
      { type: "select", how: "add", rows: [3] },
      { type: "select", how: "add", positions: [5, 7], version: 0 },
      { type: "select", how: "remove", rows: [5] },
      { type: "select", how: "set", rows: [] },
    ]);
  });

  it("is of what is shown, where it goes by position", () => {
    model.show({ count: 2, plain: false });
    settle();
    model.sayAt(0, [makeRow(20), makeRow(4)]);
    session.select("set", { positions: [0, 2] });
    expect([0, 1, 4, 20].map(selected)).toEqual([false, false, true, true]);
  });
});

it("leaves reviews, pictures and conversations to others", () => {
  session.review(4, 1, "correct", "a cat");
  expect(model.requests("review")).toEqual([
    { type: "review", row: 4, prompt_index: 1, action: "correct", text: "a cat" },
  ]);
  const receive = vi.spyOn(session.details, "receive");
  model.say({ type: "chat", row: 4, turns: [], code: "" });
  model.sayRows(0, 2);
  expect(receive.mock.calls.map(([{ type }]) => type)).toEqual(["chat"]);
});

it("keeps up to date a row that is kept, wherever the views are", () => {
  start(100_000, { rows: 10, thumbBytes: 1e6 });
  show(0, 10);
  settle();
  model.sayRows(0, 10);
  const release = session.keep(3);
  const scroll = () => {
    for (let row = 1000; row < 1100; row += 10) {
      show(row, row + 10);
      settle();
      model.sayRows(row, row + 10);
    }
  };
  scroll();
  model.say({ type: "changed", rows: [[3, makeRow(3, { answer: "a cat" })]] });
  expect(session.row(3).peek()?.cells[0]?.answer).toBe("a cat");
  release();
  scroll();
  expect(session.row(3).peek()).toBeNull();
});

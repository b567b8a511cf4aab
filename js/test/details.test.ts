import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { DETAIL_TIMES, Details } from "../src/details";
import type { ChatMessage, Request, Turn } from "../src/protocol";

let sent: Request[];
let dead: boolean;
let live: Set<string>;
let details: Details;

beforeEach(() => {
  vi.useFakeTimers();
  sent = [];
  dead = false;
  live = new Set();
  let next = 1;
  vi.spyOn(URL, "createObjectURL").mockImplementation(() => {
    const url = `blob:test/${next++}`;
    live.add(url);
    return url;
  });
  vi.spyOn(URL, "revokeObjectURL").mockImplementation((url) => {
    if (!live.delete(String(url))) throw new Error(`${url} was not in use`);
  });
  details = new Details((request) => {
    if (!dead) sent.push(structuredClone(request));
    return !dead;
  });
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

function sayPicture(row: number, pixels = 2048, error: string | null = null): void {
  const size = { width: 4000, height: 3000 };
  details.receive({ type: "picture", row, pixels, mime: "image/webp", ...size, error }, [
    new DataView(new ArrayBuffer(error === null ? 10 : 0)),
  ]);
}

const turn = (question: string, part: Partial<Turn> = {}): Turn => ({
  question,
  answer: "yes",
  state: "done",
  error: null,
  confidence: 0.5,
  ...part,
});
const sayChat = (row: number, ...turns: Turn[]) =>
  details.receive({ type: "chat", row, turns, code: "%blip2" } satisfies ChatMessage);
const shown = (row: number) =>
  (details.chat(row).peek()?.turns ?? []).map(({ question, state }) => `${question} ${state}`);

describe("pictures", () => {
  it("come once to all who ask for the same one", async () => {
    const first = details.picture(3, 2048);
    const second = details.picture(3, 2048);
    void details.picture(3, 512);
    expect(sent).toEqual([
      { type: "picture", row: 3, pixels: 2048 },
      { type: "picture", row: 3, pixels: 512 },
    ]);
    sayPicture(3);
    const picture = { url: "blob:test/1", width: 4000, height: 3000 };
    expect(await first).toEqual(picture);
    expect(await second).toEqual(picture);
    expect(await details.picture(3, 2048)).toEqual(picture);
    expect(sent).toHaveLength(2);
    expect(details.held(3, 2048).peek()).toEqual(picture);
  });

  it("are let go, longest unused first, but for those that are looked at", async () => {
    const stop = details.keep(0, 2048);
    for (let row = 0; row < 20; row++) {
      void details.picture(row, 2048);
      sayPicture(row);
    }
    expect(live.size).toBe(9);
    expect(details.held(0, 2048).peek()).not.toBeNull();
    expect(details.held(11, 2048).peek()).toBeNull();
    expect(details.held(12, 2048).peek()).not.toBeNull();
    stop();
    stop();
    void details.picture(19, 2048);
    for (let row = 20; row < 30; row++) sayPicture(row);
    expect(details.held(0, 2048).peek()).toBeNull();
    expect(live.size).toBeLessThanOrEqual(8);
    details.close();
    expect(live.size).toBe(0);
  });

  it("that come unasked take the place of the old ones", () => {
    sayPicture(3);
    sayPicture(3);
    expect(details.held(3, 2048).peek()).toMatchObject({ url: "blob:test/2" });
    expect([...live]).toEqual(["blob:test/2"]);
  });

  it("that cannot be read say why, and can be asked for again", async () => {
    const first = details.picture(3, 2048);
    sayPicture(3, 2048, "broken");
    expect(await first).toEqual({ error: "broken" });
    const second = details.picture(3, 2048);
    expect(sent).toHaveLength(2);
    sayPicture(3);
    expect(await second).toMatchObject({ url: "blob:test/1" });
  });

  it("do not keep anybody waiting without end", async () => {
    const first = details.picture(3, 2048);
    vi.advanceTimersByTime(DETAIL_TIMES.again + 1);
    expect(details.picture(3, 2048)).toBe(first);
    expect(sent).toHaveLength(2);
    vi.advanceTimersByTime(DETAIL_TIMES.lost);
    expect(await first).toEqual({ error: "the picture has not come" });
    dead = true;
    expect(await details.picture(4, 2048)).toHaveProperty("error");
    dead = false;
    const late = details.picture(5, 2048);
    details.close();
    expect(await late).toHaveProperty("error");
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("a conversation", () => {
  it("is opened by a view, and comes", () => {
    const chat = details.chat(3);
    details.openChat("v", 3);
    details.openChat("v", null);
    expect(sent).toEqual([
      { type: "chat_open", view: "v", row: 3 },
      { type: "chat_open", view: "v", row: null },
    ]);
    expect(chat.value).toBeNull();
    sayChat(3, turn("a"));
    expect(chat.value?.turns).toHaveLength(1);
    expect(chat.value?.code).toBe("%blip2");
  });

  it("shows at once what was said, until the kernel has come to it", () => {
    sayChat(3, turn("a"));
    details.setDraft(3, " b ");
    expect(details.say(3, " b ")).toBe(true);
    expect(sent).toEqual([{ type: "chat_say", row: 3, text: "b" }]);
    expect(details.draft(3).peek()).toBe("");
    expect(shown(3)).toEqual(["a done", "b waiting"]);
    // On its way when it was said.
    sayChat(3, turn("a", { answer: "yes!" }));
    expect(shown(3)).toEqual(["a done", "b waiting"]);
    sayChat(3, turn("a"), turn("b", { state: "running", answer: "n" }));
    expect(shown(3)).toEqual(["a done", "b running"]);
    sayChat(3, turn("a"), turn("b"));
    expect(shown(3)).toEqual(["a done", "b done"]);
  });

  it("takes several said in a row", () => {
    details.say(3, "a");
    details.say(3, "b");
    expect(shown(3)).toEqual(["a waiting", "b waiting"]);
    sayChat(3, turn("a", { state: "running" }));
    expect(shown(3)).toEqual(["a running", "b waiting"]);
    sayChat(3, turn("a"), turn("b"));
    expect(shown(3)).toEqual(["a done", "b done"]);
  });

  it("loses what stands behind a turn that is edited", () => {
    sayChat(3, turn("a"), turn("b"), turn("c"));
    details.setEdit(3, { at: 1, text: "x" });
    details.say(3, "x", 1);
    expect(sent).toEqual([{ type: "chat_say", row: 3, text: "x", at: 1 }]);
    expect(details.edit(3).peek()).toBeNull();
    expect(shown(3)).toEqual(["a done", "x waiting"]);
    sayChat(3, turn("a"), turn("b"), turn("c"));
    expect(shown(3)).toEqual(["a done", "x waiting"]);
    sayChat(3, turn("a"), turn("x", { state: "waiting", answer: null }));
    sayChat(3, turn("a"), turn("x"));
    expect(shown(3)).toEqual(["a done", "x done"]);
  });

  it("is answered anew with the same words", () => {
    sayChat(3, turn("a"));
    details.say(3, "a", 0);
    expect(shown(3)).toEqual(["a waiting"]);
    sayChat(3, turn("a"));
    expect(shown(3)).toEqual(["a waiting"]);
    sayChat(3, turn("a", { state: "running", answer: null }));
    expect(shown(3)).toEqual(["a running"]);
  });

  it("follows the kernel's word in the end", () => {
    details.say(3, "a");
    sayChat(3);
    expect(shown(3)).toEqual(["a waiting"]);
    vi.advanceTimersByTime(DETAIL_TIMES.say + 1);
    sayChat(3);
    expect(shown(3)).toEqual([]);
  });

  it("keeps what cannot be sent", () => {
    sayChat(3, turn("a"), turn("b"));
    dead = true;
    expect(details.say(3, "what now?")).toBe(false);
    expect(details.draft(3).peek()).toBe("what now?");
    expect(details.say(3, "x", 1)).toBe(false);
    expect(details.edit(3).peek()).toEqual({ at: 1, text: "x" });
    expect(shown(3)).toEqual(["a done", "b done"]);
    expect(details.offline.peek()).toBe(true);
    details.close();
    expect(details.draft(3).peek()).toBe("what now?");
    dead = false;
    details.say(3, "what now?");
    expect(details.offline.peek()).toBe(false);
  });

  it("keeps the words of an edit whose turn has gone", () => {
    sayChat(3, turn("a"), turn("b"));
    details.setEdit(3, { at: 1, text: "half a word" });
    sayChat(3, turn("z"));
    expect(details.edit(3).peek()).toBeNull();
    expect(details.draft(3).peek()).toBe("half a word");
  });

  it("is not said where there are no words", () => {
    expect(details.say(3, "  \n")).toBe(false);
    expect(sent).toEqual([]);
  });

  it("is let go where many are, but not while it is open", () => {
    details.openChat("v", 0);
    for (let row = 0; row < 300; row++) sayChat(row, turn("a"));
    expect(shown(0)).toHaveLength(1);
    expect(shown(1)).toHaveLength(0);
    expect(shown(299)).toHaveLength(1);
  });
});

describe("reviews", () => {
  it("are sent, with a text where it is a correction", () => {
    details.review(3, 1, "accept");
    details.review(3, 1, "correct", "two dogs");
    details.undo();
    details.redo();
    expect(sent).toEqual([
      { type: "review", row: 3, prompt_index: 1, action: "accept" },
      { type: "review", row: 3, prompt_index: 1, action: "correct", text: "two dogs" },
      { type: "undo" },
      { type: "redo" },
    ]);
  });

  it("keep a correction that cannot be sent", () => {
    dead = true;
    expect(details.review(3, 1, "correct", "two dogs")).toBe(false);
    expect(details.correction(3, 1).peek()).toBe("two dogs");
    dead = false;
    details.review(3, 1, "correct", "two dogs");
    expect(details.correction(3, 1).peek()).toBeNull();
  });
});

it("leaves other messages to others", () => {
  expect(details.receive({ type: "prompts", prompts: [] })).toBe(false);
  expect(details.receive({ type: "chat", row: 1, turns: [], code: "" })).toBe(true);
});

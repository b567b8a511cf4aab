import { signal } from "@preact/signals";
import { act, cleanup, fireEvent, render, screen, within } from "@testing-library/preact";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { DetailView } from "../src/components/DetailView";
import { ago } from "../src/components/ReviewedAnswer";
import type { ThumbLike } from "../src/components/ZoomPane";
import { Details } from "../src/details";
import type { Cell, Request, Review, Row, Turn } from "../src/protocol";

let sent: Request[];
let dead: boolean;
let details: Details;
const row = signal<Row | null>(null);
const thumb = signal<ThumbLike | null>(null);
const onMove = vi.fn();
const onClose = vi.fn();

const cell = (part: Partial<Cell> = {}): Cell => ({
  prompt: "",
  answer: "two dogs on grass",
  state: "done",
  error: null,
  cached: false,
  source: null,
  confidence: 0.824,
  review: null,
  ...part,
});
const review = (part: Partial<Review>): Review => ({
  status: null,
  flagged: false,
  text: null,
  who: "ann",
  when: Date.now() / 1000 - 120,
  ...part,
});
const rowOf = (part: Partial<Row> = {}): Row => ({
  id: 7,
  label: "dogs.jpg",
  error: null,
  cells: [cell()],
  values: ["<b>grass</b>", null],
  selected: false,
  duplicates: 0,
  ...part,
});
const turn = (question: string, part: Partial<Turn> = {}): Turn => ({
  question,
  answer: "yes",
  state: "done",
  error: null,
  confidence: 0.5,
  ...part,
});
const sayChat = (...turns: Turn[]) =>
  act(() => void details.receive({ type: "chat", row: 7, turns, code: "%blip2 df.image" }));
const setRow = (part: Partial<Row> = {}) =>
  act(() => {
    row.value = rowOf(part);
  });
const of = <T extends Request["type"]>(type: T) => sent.filter((one) => one.type === type);
const panel = () => screen.getByRole("complementary");
const button = (name: string | RegExp) => screen.getByRole("button", { name }) as HTMLButtonElement;
const field = (name: string | RegExp) =>
  screen.getByRole("textbox", { name }) as HTMLTextAreaElement;
const type = (name: string | RegExp, text: string) =>
  fireEvent.input(field(name), { target: { value: text } });
const COMPOSER = "ask about this picture";

function draw(part: Partial<Parameters<typeof DetailView>[0]> = {}) {
  return render(
    <DetailView
      view="v"
      details={details}
      rowId={7}
      row={row}
      thumb={thumb}
      columns={[
        { name: "place", kind: "text" },
        { name: "year", kind: "number" },
      ]}
      prompts={[{ name: "caption", text: "" }]}
      position={2}
      count={1000}
      onMove={onMove}
      onClose={onClose}
      {...part}
    />,
  );
}

beforeEach(() => {
  sent = [];
  dead = false;
  row.value = rowOf();
  thumb.value = { url: "blob:thumb" };
  onMove.mockReset();
  onClose.mockReset();
  vi.spyOn(URL, "createObjectURL").mockImplementation(() => "blob:sharp");
  vi.spyOn(URL, "revokeObjectURL").mockImplementation(() => {});
  details = new Details((request) => {
    if (!dead) sent.push(structuredClone(request));
    return !dead;
  });
});

afterEach(() => {
  cleanup();
  details.close();
  document.body.replaceChildren();
  vi.restoreAllMocks();
});

describe("the panel", () => {
  it("shows the picture, its label, its values and answers, all as text", () => {
    draw();
    expect(panel().getAttribute("aria-labelledby")).toBe(
      screen.getByRole("heading", { name: "dogs.jpg" }).id,
    );
    expect(panel().textContent).toContain("3 of 1,000");
    expect(panel().querySelector("b")).toBeNull();
    expect([...panel().querySelectorAll("dd")].map((dd) => dd.textContent)).toEqual([
      "<b>grass</b>",
      "—",
    ]);
    expect(panel().textContent).toContain("two dogs on grass");
    expect(screen.getByRole("meter").getAttribute("aria-valuenow")).toBe("82");
    expect(panel().querySelector("img")?.getAttribute("src")).toBe("blob:thumb");
    const data = [new DataView(new ArrayBuffer(4))];
    act(() => {
      const part = { row: 7, mime: "image/webp", width: 9, height: 9, error: null };
      details.receive({ type: "picture", pixels: 1024, ...part }, data);
    });
    expect(panel().querySelector("img")?.getAttribute("src")).toBe("blob:sharp");
    expect(panel().querySelector("img")?.alt).toBe("two dogs on grass");
  });

  it("is there before its row is", () => {
    row.value = null;
    draw();
    expect(panel().querySelectorAll(".bone").length).toBeGreaterThan(0);
    setRow();
    expect(panel().textContent).toContain("two dogs on grass");
  });

  it("follows the conversation while it is open, and no longer", () => {
    const { unmount } = draw();
    expect(of("chat_open")).toEqual([{ type: "chat_open", view: "v", row: 7 }]);
    unmount();
    expect(of("chat_open").at(-1)).toEqual({ type: "chat_open", view: "v", row: null });
  });

  it("takes the focus and gives it back", () => {
    const before = document.body.appendChild(document.createElement("button"));
    before.focus();
    const { unmount } = draw();
    expect(document.activeElement).toBe(panel());
    unmount();
    expect(document.activeElement).toBe(before);
  });

  it("goes to the next picture, and not past the ends", () => {
    draw({ position: 0 });
    expect(button("previous picture").disabled).toBe(true);
    fireEvent.keyDown(panel(), { key: "ArrowLeft" });
    expect(onMove).not.toHaveBeenCalled();
    fireEvent.keyDown(panel(), { key: "ArrowRight" });
    fireEvent.click(button("next picture"));
    expect(onMove.mock.calls).toEqual([[1], [1]]);
    fireEvent.keyDown(panel(), { key: "Escape" });
    fireEvent.click(button("close"));
    expect(onClose).toHaveBeenCalledTimes(2);
  });

  it("says why there is no picture, and asks nothing about it", () => {
    const onRetry = vi.fn();
    row.value = rowOf({ error: "dogs.jpg is not a picture" });
    draw({ onRetry });
    expect(panel().textContent).toContain("dogs.jpg is not a picture");
    expect(screen.queryByRole("textbox")).toBeNull();
    button("Retry").focus();
    fireEvent.click(button("Retry"));
    expect(onRetry).toHaveBeenCalledOnce();
    expect(document.activeElement).toBe(panel());
  });

  it("opens the picture over the window, and comes back to where it was", () => {
    draw();
    const opener = button(/look at it large/);
    opener.focus();
    fireEvent.click(opener);
    const dialog = screen.getByRole("dialog");
    fireEvent.keyDown(dialog, { key: "Escape" });
    expect(screen.queryByRole("dialog")).toBeNull();
    expect(onClose).not.toHaveBeenCalled();
    expect(document.activeElement).toBe(opener);
  });
});

describe("a review", () => {
  it("is sent, shows at once, and is taken back by the same button", () => {
    draw();
    fireEvent.click(button("accept"));
    expect(of("review")).toEqual([{ type: "review", row: 7, prompt_index: 0, action: "accept" }]);
    expect(button("accept").getAttribute("aria-pressed")).toBe("true");
    setRow({ cells: [cell({ review: review({ status: "accepted" }) })] });
    expect(button("accept").getAttribute("aria-pressed")).toBe("true");
    expect(panel().textContent).toContain("accepted by ann · 2 min ago");
    fireEvent.click(button("accept"));
    expect(of("review").at(-1)).toMatchObject({ action: "clear" });
    expect(button("accept").getAttribute("aria-pressed")).toBe("false");
  });

  it("is not shown where it could not be sent", () => {
    dead = true;
    draw();
    fireEvent.click(button("reject"));
    expect(button("reject").getAttribute("aria-pressed")).toBe("false");
    expect(panel().textContent).toContain("There is no kernel to ask.");
  });

  it("is given by keys too, to the answer that has the focus", () => {
    row.value = rowOf({ cells: [cell(), cell({ prompt: "how many?" })] });
    draw();
    fireEvent.keyDown(panel(), { key: "a" });
    const second = within(panel().querySelector('[data-answer="1"]') as HTMLElement);
    fireEvent.keyDown(second.getByRole("button", { name: "flag" }), { key: "f" });
    fireEvent.keyDown(panel(), { key: "r", ctrlKey: true });
    expect(of("review")).toEqual([
      { type: "review", row: 7, prompt_index: 0, action: "accept" },
      { type: "review", row: 7, prompt_index: 1, action: "flag" },
    ]);
  });

  it("says what is right where there is no answer, and what was wrong stays to be read", () => {
    const failed = { state: "error", answer: null, error: "out of memory" } as const;
    row.value = rowOf({ cells: [cell(failed)] });
    draw({ onRetry: vi.fn() });
    expect(screen.queryByRole("button", { name: "accept" })).toBeNull();
    for (const key of ["a", "r", "f", "e"]) fireEvent.keyDown(panel(), { key });
    expect(field("correction").value).toBe("");
    expect(panel().querySelector(".review-model")?.textContent).toContain("out of memory");
    type("correction", "two wolves");
    fireEvent.keyDown(field("correction"), { key: "Enter" });
    expect(of("review")).toMatchObject([
      { action: "flag" },
      { action: "correct", text: "two wolves" },
    ]);
    const corrected = review({ status: "corrected", text: "two wolves" });
    setRow({ cells: [cell({ ...failed, review: corrected })] });
    expect(panel().querySelector(".review-text")?.textContent).toBe("two wolves");
    expect(panel().querySelector(".review-model")?.textContent).toContain("out of memory");
    expect(button("Retry")).not.toBeNull();
  });

  it("corrects an answer, beside what the model said", () => {
    draw();
    fireEvent.keyDown(panel(), { key: "e" });
    expect(field("correction").value).toBe("two dogs on grass");
    type("correction", "two wolves ");
    fireEvent.keyDown(field("correction"), { key: "Enter", shiftKey: true });
    expect(of("review")).toEqual([]);
    fireEvent.keyDown(field("correction"), { key: "Enter" });
    expect(of("review")).toEqual([
      { type: "review", row: 7, prompt_index: 0, action: "correct", text: "two wolves" },
    ]);
    setRow({ cells: [cell({ review: review({ status: "corrected", text: "two wolves" }) })] });
    expect(panel().querySelector(".review-text")?.textContent).toBe("two wolves");
    expect(panel().querySelector(".review-model")?.textContent).toContain("two dogs on grass");
    fireEvent.click(button("correct"));
    expect(field("correction").value).toBe("two wolves");
    fireEvent.click(button("Take the correction back"));
    expect(of("review").at(-1)).toMatchObject({ action: "clear" });
    expect(screen.queryByRole("textbox", { name: "correction" })).toBeNull();
  });

  it("says where an answer came from that no model gave", () => {
    draw();
    setRow({ cells: [cell({ source: "<b>old</b>.csv", confidence: null })] });
    expect(panel().textContent).toContain("from <b>old</b>.csv");
    const words = { status: "corrected", text: "one dog" } as const;
    setRow({ cells: [cell({ source: "old.csv", review: review(words) })] });
    expect(panel().textContent).toContain("old.csv two dogs on grass");
  });

  it("keeps a correction that is being typed over another picture, and drops it on Esc", () => {
    const { unmount } = draw();
    fireEvent.click(button("correct"));
    type("correction", "two wol");
    unmount();
    draw();
    expect(field("correction").value).toBe("two wol");
    fireEvent.keyDown(field("correction"), { key: "Escape" });
    expect(screen.queryByRole("textbox", { name: "correction" })).toBeNull();
    expect(onClose).not.toHaveBeenCalled();
  });

  it("has the prompt it is of as code, asked for again when that is another", async () => {
    const writeText = vi.fn().mockResolvedValue(undefined);
    vi.stubGlobal("navigator", { clipboard: { writeText } });
    draw();
    setRow({ duplicates: 1 });
    expect(of("codes")).toEqual([{ type: "codes", row: 7 }]);
    expect(screen.queryByRole("button", { name: "copy as code" })).toBeNull();
    const code = "%blip2 caption df.image";
    act(() => void details.receive({ type: "codes", row: 7, codes: [code], measured: "" }));
    fireEvent.click(button("copy as code"));
    expect(writeText).toHaveBeenCalledWith(code);
    await screen.findByText("copied");
    setRow({ cells: [cell({ prompt: "why?" })] });
    expect(of("codes")).toHaveLength(2);
    vi.unstubAllGlobals();
  });

  it("has what measured the pictures as code, beside its numbers", async () => {
    const writeText = vi.fn().mockResolvedValue(undefined);
    vi.stubGlobal("navigator", { clipboard: { writeText } });
    setRow({ cells: [], values: ["0.9"] });
    draw({ prompts: [], columns: [{ name: "match: a dog", kind: "computed" }] });
    expect(of("codes")).toHaveLength(1);
    expect(screen.queryByRole("button", { name: "copy as code" })).toBeNull();
    const measured = '%blip2 match df.image "a dog"';
    act(() => void details.receive({ type: "codes", row: 7, codes: [], measured }));
    fireEvent.click(button("copy as code"));
    expect(writeText).toHaveBeenCalledWith(measured);
    vi.unstubAllGlobals();
  });

  it("can be undone and done again where there is something to", () => {
    draw({ history: { undo: 1, redo: 0 } });
    expect(button(/redo/).disabled).toBe(true);
    fireEvent.click(button(/undo/));
    expect(of("undo")).toHaveLength(1);
  });
});

it("lists all that an answer was scored against, and how many say so", () => {
  const references: Cell["references"] = [
    ["a dog & a <b>ball</b>", 1],
    ["dogs", 4],
  ];
  row.value = rowOf({ cells: [cell({ references, further: 0 })] });
  draw();
  const list = screen.getByRole("list", { name: "references" });
  const words = within(list).getAllByRole("listitem");
  expect(words.map((each) => each.textContent)).toEqual(["a dog & a <b>ball</b>", "dogs ×4"]);
  setRow({ cells: [cell({ references, further: 1200 })] });
  expect(list.textContent).toContain("and 1,200 more");
});

describe("what else the answer might have been", () => {
  const candidates = (name: string) => within(screen.getByRole("list", { name }));
  const lines = (name: string) =>
    candidates(name)
      .getAllByRole("button")
      .map((each) => `${each.getAttribute("aria-pressed")} ${each.textContent}`);

  it("is shown where there is anything, as words and never as HTML", () => {
    draw();
    expect(screen.queryByRole("list", { name: /choices|alternatives/ })).toBeNull();
    const choices: Cell["choices"] = [
      ["<b>yes</b>", 0.9961],
      ["no", 0.0039],
    ];
    setRow({ cells: [cell({ answer: "<b>yes</b>", choices })] });
    expect(lines("choices")).toEqual(["true <b>yes</b>100 %", "false no<1 %"]);
    expect(panel().querySelector("b")).toBeNull();
    const bars = [...panel().querySelectorAll<HTMLElement>(".candidate-bar > span")];
    expect(bars.map((bar) => Math.round(Number.parseFloat(bar.style.width)))).toEqual([100, 0]);
    setRow({ cells: [cell({ state: "running", answer: "<b>y", choices })] });
    expect(screen.queryByRole("list", { name: "choices" })).toBeNull();
  });

  it("leaves the choices' columns to the answer they are of", () => {
    setRow({ values: ["0.9", "1990"] });
    draw({
      columns: [
        { name: "yes", kind: "probability" },
        { name: "year", kind: "number" },
      ],
    });
    expect(panel().querySelector("dl")?.textContent).toBe("year1990");
  });

  it("is picked as a correction, and the model's own answer takes it back", () => {
    const several: Partial<Cell> = {
      alternatives: [
        ["two dogs on grass", 0.5],
        ["two wolves", 0.3],
        ["", 0.1],
      ],
    };
    row.value = rowOf({ cells: [cell(several)] });
    draw();
    expect(button(/no words/).disabled).toBe(true);
    fireEvent.click(button(/two dogs.* 50 %/));
    expect(of("review")).toEqual([]);
    fireEvent.click(button(/two wolves/));
    const sends = { type: "review", row: 7, prompt_index: 0 };
    expect(of("review")).toEqual([{ ...sends, action: "correct", text: "two wolves" }]);
    const picked = ["false two dogs on grass50 %", "true two wolves30 %", "false no words10 %"];
    expect(lines("alternatives")).toEqual(picked);
    const corrected = review({ status: "corrected", text: "two wolves" });
    setRow({ cells: [cell({ ...several, review: corrected })] });
    expect(lines("alternatives")).toEqual(picked);
    fireEvent.click(button(/two dogs.* 50 %/));
    expect(of("review").at(-1)).toEqual({ ...sends, action: "clear" });
    expect(lines("alternatives")[0]).toBe("true two dogs on grass50 %");
    setRow({ cells: [cell({ ...several, review: review({ ...corrected, text: "a fox" }) })] });
    expect(lines("alternatives").some((line) => line.startsWith("true"))).toBe(false);
  });

  it("stays to be sent where it could not be", () => {
    dead = true;
    row.value = rowOf({ cells: [cell({ alternatives: [["two wolves", 0.3]] })] });
    draw();
    fireEvent.click(button(/two wolves/));
    expect(field("correction").value).toBe("two wolves");
    expect(panel().textContent).toContain("There is no kernel to ask.");
    fireEvent.keyDown(field("correction"), { key: "Escape" });
    expect(lines("alternatives")).toEqual(["false two wolves30 %"]);
  });
});

describe("the conversation", () => {
  it("asks with Enter, shows it at once, and streams the answer", () => {
    draw();
    type(COMPOSER, "what colour?");
    fireEvent.keyDown(field(COMPOSER), { key: "Enter", shiftKey: true });
    fireEvent.keyDown(field(COMPOSER), { key: "Enter", isComposing: true });
    expect(of("chat_say")).toEqual([]);
    fireEvent.keyDown(field(COMPOSER), { key: "Enter" });
    expect(of("chat_say")).toEqual([{ type: "chat_say", row: 7, text: "what colour?" }]);
    expect(field(COMPOSER).value).toBe("");
    expect(panel().querySelector(".turn")?.textContent).toContain("what colour?");
    sayChat(turn("what colour?", { state: "running", answer: "bro" }));
    expect(panel().querySelector(".turn-answer")?.textContent).toBe("bro");
    expect(panel().querySelector(".turn .caret")).not.toBeNull();
    expect(panel().querySelector(":scope > .announcer")?.textContent).toBe("");
    sayChat(turn("what colour?", { answer: "brown" }));
    expect(panel().querySelector(".turn .caret")).toBeNull();
    expect(panel().querySelector(":scope > .announcer")?.textContent).toBe("Answer: brown");
  });

  it("keeps what is typed while an answer is on its way, and when it cannot be sent", () => {
    draw();
    sayChat(turn("a", { state: "running", answer: null }));
    type(COMPOSER, "and then?");
    fireEvent.keyDown(field(COMPOSER), { key: "Enter" });
    expect(of("chat_say")).toEqual([]);
    expect(field(COMPOSER).value).toBe("and then?");
    sayChat(turn("a"));
    dead = true;
    fireEvent.keyDown(field(COMPOSER), { key: "Enter" });
    expect(field(COMPOSER).value).toBe("and then?");
    expect(panel().textContent).toContain("What you type is kept.");
    cleanup();
    draw();
    expect(field(COMPOSER).value).toBe("and then?");
  });

  it("is stopped by a button or Esc; what has come and what is typed stay", () => {
    draw();
    sayChat(turn("a", { state: "running", answer: "two do" }));
    type(COMPOSER, "and then?");
    fireEvent.keyDown(field(COMPOSER), { key: "Escape" });
    fireEvent.click(button("Stop"));
    expect(of("chat_stop")).toEqual(Array(2).fill({ type: "chat_stop", row: 7 }));
    sayChat(turn("a", { state: "cancelled", answer: "two do" }));
    expect(panel().querySelector(".turn-answer")?.textContent).toBe("two do stopped");
    expect(field(COMPOSER).value).toBe("and then?");
    fireEvent.click(button("Retry"));
    expect(of("chat_say")).toEqual([{ type: "chat_say", row: 7, text: "a", at: 0 }]);
    sayChat(turn("a"));
    fireEvent.keyDown(field(COMPOSER), { key: "Escape" });
    expect(of("chat_stop")).toHaveLength(2);
    expect(document.activeElement).toBe(panel());
  });

  it("edits a turn, and says what goes with it", () => {
    draw();
    sayChat(turn("a"), turn("b"), turn("c"));
    fireEvent.click(button("edit question 1"));
    expect(field("edit question 1").value).toBe("a");
    expect(panel().textContent).toContain("Its answer and the 2 turns behind it go.");
    type("edit question 1", "x");
    sayChat(turn("a"), turn("b"), turn("c"));
    fireEvent.keyDown(field("edit question 1"), { key: "Enter" });
    expect(of("chat_say")).toEqual([{ type: "chat_say", row: 7, text: "x", at: 0 }]);
    expect(panel().querySelectorAll(".turn")).toHaveLength(1);
  });

  it("answers anew, and tries again what failed", () => {
    draw();
    sayChat(turn("a"), turn("b", { state: "error", answer: null, error: "out of memory" }));
    expect(panel().textContent).toContain("out of memory");
    fireEvent.click(button("Retry"));
    expect(of("chat_say")).toEqual([{ type: "chat_say", row: 7, text: "b", at: 1 }]);
    sayChat(turn("a"), turn("b"));
    fireEvent.click(button("answer question 1 anew"));
    expect(of("chat_say").at(-1)).toEqual({ type: "chat_say", row: 7, text: "a", at: 0 });
  });

  it("is copied as code, by hand where the page may not", async () => {
    const writeText = vi.fn().mockResolvedValueOnce(undefined).mockRejectedValueOnce("no");
    vi.stubGlobal("navigator", { clipboard: { writeText } });
    draw();
    sayChat(turn("a"));
    fireEvent.click(button("Copy as code"));
    expect(writeText).toHaveBeenCalledWith("%blip2 df.image");
    fireEvent.click(await screen.findByRole("button", { name: "Copied" }));
    const byHand = await screen.findByRole("textbox", { name: /the code/ });
    expect((byHand as HTMLTextAreaElement).value).toBe("%blip2 df.image");
    vi.unstubAllGlobals();
  });

  it("keeps its keys from the gallery and the notebook", () => {
    draw();
    const heard = vi.fn();
    document.addEventListener("keydown", heard);
    fireEvent.keyDown(field(COMPOSER), { key: "a" });
    fireEvent.keyDown(field(COMPOSER), { key: "Escape" });
    fireEvent.keyDown(panel(), { key: "a" });
    expect(heard).not.toHaveBeenCalled();
    fireEvent.keyDown(panel(), { key: "?" });
    expect(heard).toHaveBeenCalledOnce();
    document.removeEventListener("keydown", heard);
    expect(onClose).not.toHaveBeenCalled();
  });
});

it("tells how long ago a review was", () => {
  const now = Date.UTC(2026, 4, 20) / 1000;
  expect(ago(now - 5, now)).toBe("just now");
  expect(ago(now - 150, now)).toBe("2 min ago");
  expect(ago(now - 7300, now)).toBe("2 h ago");
  expect(ago(now - 90_000, now)).toBe("yesterday");
  expect(ago(now - 300_000, now)).toBe("3 days ago");
  expect(ago(now - 17 * 86_400, now)).toBe("3 May 2026");
});

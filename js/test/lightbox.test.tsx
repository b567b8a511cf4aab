import { signal } from "@preact/signals";
import { act, cleanup, fireEvent, render, screen, within } from "@testing-library/preact";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ComparePictures } from "../src/components/ComparePictures";
import { Lightbox } from "../src/components/Lightbox";
import type { ThumbLike } from "../src/components/ZoomPane";
import { Details } from "../src/details";
import type { Request, Row } from "../src/protocol";

let sent: Request[];
let details: Details;
const thumb = signal<ThumbLike | null>({ url: "blob:thumb" });
const onMove = vi.fn();
const onClose = vi.fn();

const box = (part = {}) => (
  <Lightbox
    details={details}
    rowId={7}
    thumb={thumb}
    label="dogs.jpg"
    alt="two dogs"
    position={2}
    count={1000}
    onMove={onMove}
    onClose={onClose}
    {...part}
  />
);
const dialog = () => screen.getByRole("dialog");
const stage = () => dialog().querySelector("[data-first-focus]") as HTMLElement;
const images = () => [...dialog().querySelectorAll("img")] as HTMLImageElement[];
const percent = () => dialog().querySelector(".lightbox-percent")?.textContent;
const widths = () => images().map(({ style }) => style.width);

function sayPicture(row = 7, error: string | null = null): void {
  act(() => {
    const size = { width: 4000, height: 3000 };
    details.receive({ type: "picture", row, pixels: 2048, mime: "image/webp", ...size, error }, [
      new DataView(new ArrayBuffer(error === null ? 4 : 0)),
    ]);
  });
}

beforeEach(() => {
  sent = [];
  onMove.mockReset();
  onClose.mockReset();
  let next = 1;
  vi.spyOn(URL, "createObjectURL").mockImplementation(() => `blob:sharp/${next++}`);
  vi.spyOn(URL, "revokeObjectURL").mockImplementation(() => {});
  vi.spyOn(HTMLElement.prototype, "clientWidth", "get").mockReturnValue(800);
  vi.spyOn(HTMLElement.prototype, "clientHeight", "get").mockReturnValue(600);
  details = new Details((request) => {
    sent.push(structuredClone(request));
    return true;
  });
});

afterEach(() => {
  cleanup();
  details.close();
  document.body.replaceChildren();
  vi.restoreAllMocks();
});

describe("the lightbox", () => {
  it("shows the thumbnail at once, then the sharp picture", () => {
    render(box());
    expect(images().map(({ src }) => src)).toEqual(["blob:thumb"]);
    expect(sent).toEqual([{ type: "picture", row: 7, pixels: 2048 }]);
    expect(percent()).toBe("");
    sayPicture();
    const sharp = images().at(-1) as HTMLImageElement;
    expect(sharp.src).toBe("blob:sharp/1");
    expect(sharp.alt).toBe("two dogs");
    expect(widths()).toEqual(["800px", "800px"]);
    expect(percent()).toBe("20 %");
  });

  it("says why there is no sharp picture", () => {
    render(box());
    sayPicture(7, "dogs.jpg has gone");
    expect(dialog().textContent).toContain("dogs.jpg has gone");
    expect(images()).toHaveLength(1);
  });

  it("is modal, has the focus, keeps it, and gives it back", () => {
    const before = document.body.appendChild(document.createElement("button"));
    before.focus();
    const { unmount } = render(box());
    expect(dialog().getAttribute("aria-modal")).toBe("true");
    expect((dialog() as HTMLDialogElement).open).toBe(true);
    expect(document.activeElement).toBe(stage());
    const buttons = within(dialog()).getAllByRole("button") as HTMLButtonElement[];
    const last = buttons.at(-1) as HTMLElement;
    last.focus();
    fireEvent.keyDown(last, { key: "Tab" });
    expect(document.activeElement).toBe(buttons[0]);
    fireEvent.keyDown(buttons[0] as HTMLElement, { key: "Tab", shiftKey: true });
    expect(document.activeElement).toBe(last);
    unmount();
    expect(document.activeElement).toBe(before);
  });

  it("leafs with the arrow keys and buttons, not past the ends, and starts anew with each", () => {
    const { rerender } = render(box());
    sayPicture();
    fireEvent.keyDown(stage(), { key: "ArrowRight" });
    fireEvent.keyDown(stage(), { key: "ArrowLeft" });
    fireEvent.click(screen.getByRole("button", { name: "next picture" }));
    expect(onMove.mock.calls).toEqual([[1], [-1], [1]]);
    fireEvent.keyDown(stage(), { key: "+" });
    expect(percent()).toBe("30 %");
    rerender(box({ rowId: 8, position: 999 }));
    sayPicture(8);
    expect(percent()).toBe("20 %");
    expect(images().at(-1)?.src).toBe("blob:sharp/2");
    onMove.mockReset();
    fireEvent.keyDown(stage(), { key: "ArrowRight" });
    expect(onMove).not.toHaveBeenCalled();
  });

  it("zooms with keys, buttons, the wheel and a double click", () => {
    render(box());
    sayPicture();
    fireEvent.keyDown(stage(), { key: "+" });
    expect(widths().at(-1)).toBe("1200px");
    fireEvent.keyDown(stage(), { key: "-" });
    expect(widths().at(-1)).toBe("800px");
    fireEvent.click(screen.getByRole("button", { name: "zoom in" }));
    fireEvent.click(screen.getByRole("button", { name: "1:1" }));
    expect(percent()).toBe("100 %");
    fireEvent.keyDown(stage(), { key: "0" });
    expect(percent()).toBe("20 %");
    const pane = dialog().querySelector(".zoom-pane") as HTMLElement;
    fireEvent.dblClick(pane, { clientX: 10, clientY: 10 });
    expect(percent()).toBe("100 %");
    fireEvent.dblClick(pane);
    expect(percent()).toBe("20 %");
    const wheel = new WheelEvent("wheel", { deltaY: -200, cancelable: true, bubbles: true });
    act(() => void pane.dispatchEvent(wheel));
    expect(wheel.defaultPrevented).toBe(true);
    expect(Number.parseFloat(percent() ?? "")).toBeGreaterThan(25);
  });

  it("is dragged, and pinched with two fingers", () => {
    render(box());
    sayPicture();
    fireEvent.keyDown(stage(), { key: "+" });
    const pane = dialog().querySelector(".zoom-pane") as HTMLElement;
    const pointer = (type: string, pointerId: number, clientX: number) =>
      act(() => {
        const place = { pointerId, clientX, clientY: 300, bubbles: true };
        pane.dispatchEvent(new PointerEvent(type, { ...place, pointerType: "touch" }));
      });
    const left = () =>
      Number(/translate\((-?[\d.]+)/.exec(images().at(-1)?.style.transform ?? "")?.[1]);
    const before = left();
    pointer("pointerdown", 1, 300);
    pointer("pointermove", 1, 340);
    expect(left()).toBeCloseTo(before + 40);
    pointer("pointerdown", 2, 440);
    pointer("pointermove", 2, 540);
    expect(widths().at(-1)).toBe("2400px");
    pointer("pointerup", 1, 340);
    pointer("pointerup", 2, 540);
    pointer("pointermove", 1, 0);
    expect(widths().at(-1)).toBe("2400px");
  });

  it("closes on Esc, by its button, and on what the browser takes for Esc", () => {
    render(box());
    fireEvent.keyDown(stage(), { key: "Escape" });
    fireEvent.click(screen.getByRole("button", { name: "close" }));
    const cancel = new Event("cancel", { cancelable: true });
    act(() => void dialog().dispatchEvent(cancel));
    expect(cancel.defaultPrevented).toBe(true);
    expect(onClose).toHaveBeenCalledTimes(3);
  });

  it("keeps its keys from the notebook", () => {
    render(box());
    const bubbled = vi.fn();
    let marked = false;
    const hear = (event: KeyboardEvent) => {
      marked = (event.target as HTMLElement).hasAttribute("data-lm-suppress-shortcuts");
    };
    document.addEventListener("keydown", bubbled);
    document.addEventListener("keydown", hear, true);
    for (const key of ["d", "ArrowRight", "a", "Enter", "x"]) {
      marked = false;
      fireEvent.keyDown(stage(), { key });
      expect(marked).toBe(true);
    }
    expect(bubbled).not.toHaveBeenCalled();
    fireEvent.keyDown(stage(), { key: "s", ctrlKey: true });
    expect(marked).toBe(false);
    expect(bubbled).toHaveBeenCalledOnce();
    document.removeEventListener("keydown", bubbled);
    document.removeEventListener("keydown", hear, true);
  });
});

describe("pictures side by side", () => {
  const item = (rowId: number, answer: string) => {
    const cell = {
      prompt: "",
      error: null,
      cached: false,
      source: null,
      confidence: null,
      review: null,
    };
    const row: Row = {
      id: rowId,
      label: `${rowId}.jpg`,
      error: null,
      cells: [{ ...cell, answer, state: "done" }],
      values: [],
      selected: false,
      duplicates: 0,
    };
    return { rowId, row: signal<Row | null>(row), thumb };
  };
  const compare = (answers: string[], part = {}) => (
    <ComparePictures
      details={details}
      items={answers.map((answer, k) => item(k, answer))}
      prompts={[{ name: "caption", text: "" }]}
      onClose={onClose}
      {...part}
    />
  );

  it("are zoomed and moved together", () => {
    render(compare(["a dog", "a cat"]));
    sayPicture(0);
    sayPicture(1);
    fireEvent.keyDown(stage(), { key: "+" });
    expect(widths()).toEqual(["1200px", "1200px", "1200px", "1200px"]);
    const [, second] = dialog().querySelectorAll<HTMLElement>(".zoom-pane");
    fireEvent.dblClick(second as HTMLElement);
    expect(new Set(widths())).toEqual(new Set(["800px"]));
    fireEvent.keyDown(stage(), { key: "+" });
    fireEvent.keyDown(stage(), { key: "ArrowRight" });
    const moved = images()[0]?.style.transform;
    fireEvent.keyDown(dialog().querySelector("figcaption") as HTMLElement, { key: "ArrowRight" });
    expect(images()[0]?.style.transform).toBe(moved);
    expect(new Set(images().map(({ style }) => style.transform)).size).toBe(1);
    expect(images()[0]?.style.transform).not.toBe("translate(-200px, -150px)");
  });

  it("have their labels and answers, with differences marked", () => {
    render(compare(["a dog", "A dog ", "a dog"]));
    expect(dialog().textContent).toContain("2.jpg");
    expect(dialog().querySelector(".pictures-differs")).toBeNull();
    cleanup();
    render(compare(["a dog", "a cat"]));
    expect(dialog().querySelectorAll(".pictures-differs")).toHaveLength(2);
  });

  it("are at most four, and one can be taken out of more than two", () => {
    const onRemove = vi.fn();
    render(compare(["a", "b", "c", "d", "e"], { onRemove }));
    expect(dialog().querySelectorAll("figure")).toHaveLength(4);
    fireEvent.click(screen.getByRole("button", { name: "take out 2.jpg" }));
    expect(onRemove).toHaveBeenCalledWith(2);
    cleanup();
    render(compare(["a", "b"], { onRemove }));
    expect(screen.queryByRole("button", { name: /take out/ })).toBeNull();
  });
});

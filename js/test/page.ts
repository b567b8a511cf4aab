import { act, cleanup, configure, fireEvent, within } from "@testing-library/preact";
import { afterEach, beforeEach, vi } from "vitest";
import widget from "../src/index";
import type { Row, Traits } from "../src/protocol";
import { FakeModel, watchUrls } from "./fake";

// Whether an element is hidden is slow to find out, and nothing here hides with styles.
configure({ defaultHidden: true });

/** One view of a gallery on the page, as a person sees it. */
export class Page {
  readonly model: FakeModel;
  readonly el: HTMLElement;
  readonly #widget: ReturnType<typeof widget>;
  readonly #close: () => void;

  constructor(traits: Partial<Traits> = {}, like?: Page) {
    this.model = like?.model ?? new FakeModel(traits);
    this.#widget = like ? like.#widget : widget();
    if (!like) this.#widget.initialize({ model: this.model });
    this.el = document.body.appendChild(document.createElement("div"));
    let close = (): void => {};
    act(() => {
      close = this.#widget.render({ model: this.model, el: this.el });
    });
    this.#close = close;
    pages.push(this);
    this.settle();
  }

  /** Lets all that is put off happen. */
  settle(ms = 500): void {
    act(() => void vi.advanceTimersByTime(ms));
  }

  /** The kernel does something. */
  kernel(does: (model: FakeModel) => void): void {
    act(() => does(this.model));
    this.settle();
  }

  rows(...rows: Row[]): void {
    this.kernel((model) => model.sayAt(0, rows));
  }

  tile(position: number): HTMLElement {
    return this.el.querySelector(`[data-index="${position}"]`) as HTMLElement;
  }

  get(role: string, name?: string | RegExp): HTMLElement {
    return within(this.el).getByRole(role, name === undefined ? {} : { name });
  }

  query(role: string, name?: string | RegExp): HTMLElement | null {
    return within(this.el).queryByRole(role, name === undefined ? {} : { name });
  }

  click(role: string, name: string | RegExp, init: MouseEventInit = {}): void {
    fireEvent.click(this.get(role, name), init);
    this.settle(0);
  }

  /** Puts the focus on an element and presses a key there. */
  press(on: HTMLElement, key: string, init: KeyboardEventInit = {}): void {
    act(() => on.focus());
    fireEvent.keyDown(on, { key, ...init });
    this.settle(0);
  }

  /** Puts a text into a field as if it was typed. */
  type(into: HTMLElement, value: string): void {
    act(() => into.focus());
    fireEvent.input(into, { target: { value } });
    this.settle(0);
  }

  close(): void {
    act(() => this.#close());
  }
}

const pages: Page[] = [];

export function usePages(): void {
  beforeEach(() => {
    vi.useFakeTimers();
    watchUrls();
  });
  afterEach(() => {
    for (const page of pages.splice(0)) page.close();
    cleanup();
    document.body.replaceChildren();
    vi.useRealTimers();
    vi.restoreAllMocks();
  });
}

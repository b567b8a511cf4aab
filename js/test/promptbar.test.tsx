import { act, fireEvent } from "@testing-library/preact";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { wordAt } from "../src/components/PromptBar";
import { Page, usePages } from "./page";

usePages();

let page: Page;
const asked = () => page.model.requests("ask_many").map(({ prompt, scope }) => ({ prompt, scope }));
const field = () => page.get("textbox", "ask") as HTMLTextAreaElement;
const options = () =>
  [...page.el.querySelectorAll('div[role="option"]')].map(({ textContent }) => textContent);
const option = (name: string) => {
  const all = [...page.el.querySelectorAll<HTMLElement>('div[role="option"]')];
  return all.find(({ textContent }) => textContent === name) as HTMLElement;
};
const columns = ["city", "year", "capacity"].map((name) => ({ name, kind: "text" as const }));

/** The kernel hands out the prompts asked before. */
async function history(...prompts: string[]): Promise<void> {
  await act(async () => page.model.say({ type: "prompts", prompts }));
}

beforeEach(() => {
  page = new Page({ columns });
});

describe("asking many", () => {
  it("is Enter, and clears the field", () => {
    page.type(field(), " how many dogs? ");
    page.press(field(), "Enter", { shiftKey: true });
    page.press(field(), "Enter", { isComposing: true });
    expect(asked()).toEqual([]);
    page.press(field(), "Enter");
    expect(asked()).toEqual([{ prompt: "how many dogs?", scope: "all" }]);
    expect(field().value).toBe("");
  });

  it("of nothing is a click, never a key", () => {
    page.press(field(), "Enter");
    expect(asked()).toEqual([]);
    page.click("button", "Caption");
    expect(asked()).toEqual([{ prompt: "", scope: "all" }]);
  });

  it("is of all, of those shown, or of those selected while there are any", () => {
    const scope = page.get("combobox", "which pictures to ask") as HTMLSelectElement;
    const [, , selected] = scope.options;
    expect(selected?.disabled).toBe(true);
    page.kernel((model) => {
      model.show({ count: 5, plain: false });
      model.set("selected_count", 3);
    });
    expect([...scope.options].map(({ text }) => text)).toEqual(["all 24", "shown 5", "selected 3"]);
    for (const value of ["shown", "selected"]) {
      fireEvent.change(scope, { target: { value } });
      page.type(field(), "why?");
      page.press(field(), "Enter");
    }
    expect(asked().map(({ scope: of }) => of)).toEqual(["shown", "selected"]);
    page.kernel((model) => model.set("selected_count", 0));
    expect(scope.value).toBe("all");
  });

  it("keeps what is not asked yet when the cell is drawn again, in every view", () => {
    page.type(field(), "is this {city} or ");
    const second = new Page({}, page);
    expect((second.get("textbox", "ask") as HTMLTextAreaElement).value).toBe("is this {city} or ");
    second.close();
    page.close();
    page = new Page({}, page);
    expect(field().value).toBe("is this {city} or ");
    page.press(field(), "Enter");
    expect(asked()).toEqual([{ prompt: "is this {city} or", scope: "all" }]);
    expect(field().value).toBe("");
  });

  it("keeps what could not be sent", () => {
    page.model.dead = true;
    page.type(field(), "why?");
    page.press(field(), "Enter");
    expect(field().value).toBe("why?");
  });

  describe("of which the kernel tells", () => {
    const ask = (text: string) => {
      page.type(field(), text);
      page.press(field(), "Enter");
    };
    const notice = (text: string) => page.kernel((model) => model.say({ type: "notice", text }));
    const taken = (text: string) =>
      page.kernel((model) => model.set("prompts", [...model.traits.prompts, { name: text, text }]));

    it("comes back every time it is refused, for the same reason too", () => {
      for (let time = 0; time < 2; time++) {
        ask("why {nothing}?");
        notice("there is no nothing");
        expect(field().value).toBe("why {nothing}?");
        expect(page.get("alert").textContent).toContain("there is no nothing");
      }
    });

    it("does not come back once it is taken, whatever there is to read", () => {
      notice("the rows have moved");
      ask("why?");
      taken("why?");
      expect(field().value).toBe("");
      notice("the store is full");
      expect(field().value).toBe("");
    });

    it("goes again where a notice before was of something else", () => {
      ask("why? ");
      notice("the rows have moved");
      taken("why?");
      expect(field().value).toBe("");
      ask("where?");
      notice("the rows have moved");
      page.type(field(), "where to?");
      taken("where?");
      expect(field().value).toBe("where to?");
    });
  });

  it("keeps its keys from the notebook and from the gallery", () => {
    const heard = vi.fn();
    document.addEventListener("keydown", heard);
    page.press(field(), "/");
    page.press(field(), "d");
    document.removeEventListener("keydown", heard);
    expect(heard).not.toHaveBeenCalled();
    expect(document.activeElement).toBe(field());
  });
});

describe("the prompts asked before", () => {
  it("are walked through with the arrows", async () => {
    page.press(field(), "ArrowUp");
    await history("newest", "older");
    expect(field().value).toBe("newest");
    page.press(field(), "ArrowUp");
    await act(async () => {});
    expect(field().value).toBe("older");
    page.press(field(), "ArrowUp");
    await act(async () => {});
    expect(field().value).toBe("older");
    page.press(field(), "ArrowDown");
    await act(async () => {});
    expect(field().value).toBe("newest");
    page.press(field(), "ArrowDown");
    await act(async () => {});
    expect(field().value).toBe("");
    expect(page.model.requests("prompts")).toHaveLength(1);
  });

  it("may be none", async () => {
    page.press(field(), "ArrowUp");
    await history();
    expect(field().value).toBe("");
  });

  it("leave alone what is being typed", () => {
    page.type(field(), "how");
    page.press(field(), "ArrowUp");
    expect(page.model.requests("prompts")).toEqual([]);
  });
});

describe("columns in a prompt", () => {
  it("are offered after a brace, and put in by Enter", () => {
    page.type(field(), "is this {");
    expect(options()).toEqual(["city", "year", "capacity"]);
    page.type(field(), "is this {c");
    expect(options()).toEqual(["city", "capacity"]);
    page.press(field(), "ArrowDown");
    expect(option("capacity").getAttribute("aria-selected")).toBe("true");
    expect(field().getAttribute("aria-activedescendant")).toBe(option("capacity").id);
    page.press(field(), "Enter");
    expect(field().value).toBe("is this {capacity}");
    expect(options()).toEqual([]);
    page.press(field(), "Enter");
    expect(asked()).toEqual([{ prompt: "is this {capacity}", scope: "all" }]);
  });

  it("are put in by a click, and refused by Esc", () => {
    page.type(field(), "{");
    fireEvent.click(option("year"));
    page.settle(0);
    expect(field().value).toBe("{year}");
    page.type(field(), "{year} {");
    page.press(field(), "Escape");
    expect(options()).toEqual([]);
    expect(field().value).toBe("{year} {");
  });

  it("are looked for where the caret is", () => {
    expect(wordAt("a {ci", 5)).toEqual({ start: 3, stop: 5, text: "ci" });
    expect(wordAt("a {city} b", 5)).toEqual({ start: 3, stop: 7, text: "ci" });
    expect(wordAt("a {city} b", 9)).toBeNull();
    expect(wordAt("a b", 2)).toBeNull();
  });
});

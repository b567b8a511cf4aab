import { computed, type Signal, signal } from "@preact/signals";
import type { FrameColumn, Key, Prompt } from "./protocol";

export type Mode = "grid" | "table";

/** How much the tiles can be made smaller and larger. */
export const SIZES = { least: 0.6, most: 2.4, step: 0.1 };

/** How many of the frame's columns a table shows before a person chooses. */
const TABLE_COLUMNS = 6;

/** How many prompts' answers are counted before a person opens more. */
const OPEN_PROMPTS = 3;

/** How one view is set: what is of the page alone and not of the kernel. */
export class ViewSettings {
  readonly mode: Signal<Mode>;
  readonly size: Signal<number>;
  /** The names of the columns that are shown, as far as a person has chosen. */
  readonly chosen: Record<Mode, Signal<readonly string[] | null>>;
  /** Whether the facets stand beside the gallery. */
  readonly facets: Signal<boolean>;
  /** Whether the map stands beside the gallery, where there is one. */
  readonly map: Signal<boolean>;
  /** The facets that are folded out, or in, other than at first. */
  readonly folded: Signal<ReadonlyMap<Key, boolean>>;
  /** What stands at the top, so that another mode begins there. */
  place = 0;
  readonly table = computed(() => this.mode.value === "table");

  /** Starts like another view. */
  constructor(like?: ViewSettings | null) {
    this.mode = signal(like?.mode.peek() ?? "grid");
    this.size = signal(like?.size.peek() ?? 1);
    this.chosen = {
      grid: signal(like?.chosen.grid.peek() ?? null),
      table: signal(like?.chosen.table.peek() ?? null),
    };
    this.facets = signal(like?.facets.peek() ?? false);
    this.map = signal(like?.map.peek() ?? true);
    this.folded = signal(like?.folded.peek() ?? new Map());
  }

  /** Which of the frame's columns are shown, as places in it. */
  shownColumns(columns: readonly FrameColumn[]): number[] {
    const mode = this.mode.value;
    const chosen = this.chosen[mode].value;
    const all = columns.map((_, k) => k);
    if (chosen) return all.filter((k) => chosen.includes(columns[k]?.name as string));
    const first = mode === "table" ? TABLE_COLUMNS : 0;
    return all.filter((k) => k < first || columns[k]?.kind === "computed");
  }

  /** Shows a column, or no longer. */
  toggleColumn(columns: readonly FrameColumn[], name: string): void {
    const names = this.shownColumns(columns).map((k) => columns[k]?.name as string);
    this.chosen[this.mode.peek()].value = names.includes(name)
      ? names.filter((one) => one !== name)
      : [...names, name];
  }

  isOpen(key: Key): boolean {
    const chosen = this.folded.value.get(key);
    if (chosen !== undefined) return chosen;
    const [kind, of] = key.split(":");
    if (kind === "answer") return Number(of) < OPEN_PROMPTS;
    return (kind === "confidence" || kind === "review") && of === "0";
  }

  fold(key: Key): void {
    this.folded.value = new Map(this.folded.peek()).set(key, !this.isOpen(key));
  }
}

/** All that can be counted, in the order in which it stands. */
export function facetKeys(prompts: readonly Prompt[], columns: readonly FrameColumn[]): Key[] {
  return [
    ...prompts.flatMap((_, k) => [`answer:${k}`, `confidence:${k}`, `review:${k}`, `state:${k}`]),
    ...(prompts.length > 1 ? ["agreement"] : []),
    ...columns.map(({ name }) => `column:${name}`),
    "error",
    "copies",
  ];
}

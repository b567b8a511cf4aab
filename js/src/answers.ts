import { count } from "./format";
import type { Cell, Prompt, Row } from "./protocol";
import { promptLabel } from "./query";

/** What an answer says: a person's text counts before the model's. Null where there is none. */
export function wordsOf({ state, answer, review }: Cell): string | null {
  return review?.text ?? (state === "done" ? answer : null);
}

/** Whether a row's answers are not all the same, but for case and spaces at their ends. */
export function differs(row: Row | null): boolean {
  const all = row?.cells.map(wordsOf).filter((words) => words !== null);
  return new Set(all?.map((words) => words.trim().toLowerCase())).size > 1;
}

/** What a screen reader says of a row when the focus comes to it: its label, and its answers. */
export function nameOf(row: Row | null, position: number, prompts: readonly Prompt[]): string {
  if (!row) return `picture ${count(position + 1)}`;
  if (row.error) return `${row.label}; ${row.error}`;
  const answers = row.cells.map((cell, k) => {
    const { prompt, review } = cell;
    const of = row.cells.length > 1 ? `${prompt || promptLabel(prompts[k], k)}: ` : "";
    const said = [review?.status, review?.flagged ? "flagged" : null];
    return [of + outcomeOf(cell), ...said].filter(Boolean).join(", ");
  });
  return [row.label, ...answers].join("; ");
}

function outcomeOf(cell: Cell): string {
  const words = wordsOf(cell);
  if (words !== null) return words || "no words";
  if (cell.state === "error") return cell.error ?? "there is no answer";
  if (cell.state === "unasked") return "not asked";
  return cell.state === "cancelled" ? "not answered" : "waiting for an answer";
}

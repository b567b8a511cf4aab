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
    return [of + (wordsOf(cell) || outcomeOf(cell)), ...said].filter(Boolean).join(", ");
  });
  return [row.label, ...answers].join("; ");
}

/** What has become of the model's answer. */
export function outcomeOf({ state, answer, error }: Cell): string {
  if (state === "done") return answer || "no words";
  if (state === "error") return error ?? "there is no answer";
  if (state === "unasked") return "not asked";
  return state === "cancelled" ? "not answered" : "waiting for an answer";
}

/** The same as it stands beside a person's correction. */
export function modelNote(cell: Cell): string {
  if (cell.state === "done") return `the model: ${cell.answer ?? ""}`;
  return cell.state === "error" ? `no answer: ${outcomeOf(cell)}` : outcomeOf(cell);
}

/** Whether a person can write what is right: the answer is there, or none is to come. */
export function canCorrect({ state }: Cell): boolean {
  return state !== "waiting" && state !== "running";
}

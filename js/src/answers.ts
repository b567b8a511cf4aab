import { count } from "./format";
import type { Cell, Prompt, Review, ReviewRequest, Row } from "./protocol";
import { promptLabel, twinName } from "./query";

/** What a person can say of an answer. */
export type Action = ReviewRequest["action"];

/** What an answer says: a person's text counts before the model's. Null where there is none. */
export function wordsOf({ state, answer, review }: Cell): string | null {
  return review?.text ?? (state === "done" ? answer : null);
}

/** What an answer was scored against: "red ×7 · dark red ×3"; empty where it was not. */
export function referencesOf({ references = [], further = 0 }: Cell): string {
  const all = references.map(([text, times]) => (times > 1 ? `${text} ×${count(times)}` : text));
  return [...all, ...(further > 0 ? [`${count(further)} more`] : [])].join(" · ");
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
    const name = twinName(prompts, k) || prompt || promptLabel(prompts[k], k);
    const of = row.cells.length > 1 ? `${name}: ` : "";
    const right = referencesOf(cell);
    const said = [
      review?.status,
      review?.flagged ? "flagged" : null,
      right ? `reference: ${right}` : null,
    ];
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
  if (cell.state === "done") return `${cell.source ?? "the model"}: ${cell.answer ?? ""}`;
  return cell.state === "error" ? `no answer: ${outcomeOf(cell)}` : outcomeOf(cell);
}

/** What the keys say of an answer. */
export const REVIEW_KEYS: Readonly<Record<string, Action>> = {
  a: "accept",
  r: "reject",
  f: "flag",
  e: "correct",
};

/** Whether a person can say this of an answer: of one that is not there, only what is right, once
 * none is to come. */
export function allows({ state }: Cell, action: Action): boolean {
  if (action === "flag") return true;
  if (action === "correct") return state !== "waiting" && state !== "running";
  return state === "done";
}

/** Pressing what is pressed already takes it back. `flag` is one switch for both ways. */
export function toggled(action: Action, review: Review | null): Action {
  if (action === "accept" && review?.status === "accepted") return "clear";
  if (action === "reject" && review?.status === "rejected") return "clear";
  return action;
}

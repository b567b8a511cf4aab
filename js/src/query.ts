import type { Filter, FrameColumn, Key, Prompt, Query } from "./protocol";

/** What a person calls the answers of a column. */
export function promptLabel(prompt: Prompt | undefined, index: number): string {
  return prompt?.text || prompt?.name || (index === 0 ? "caption" : `caption ${index + 1}`);
}

/** The same among others: where several columns ask the same, by what tells them apart. */
export function labelOf(prompts: readonly Prompt[], index: number): string {
  return twinName(prompts, index) || promptLabel(prompts[index], index);
}

/** What tells a column from others that ask the same, such as its variant; else empty. */
export function twinName(prompts: readonly Prompt[], index: number): string {
  const text = prompts[index]?.text;
  const isTwin = prompts.some((other, at) => at !== index && other.text === text);
  return (isTwin && shortNames(prompts)[index]) || "";
}

/** The names of columns of answers that are compared, without what all of them begin with. */
export function shortNames(prompts: readonly Prompt[]): string[] {
  const parts = prompts.map(({ name }) => name.split(" · "));
  const [first = []] = parts;
  const alike = (at: number) =>
    at < first.length && parts.every((each) => at < each.length - 1 && each[at] === first[at]);
  let from = 0;
  while (alike(from)) from++;
  return parts.map((each) => each.slice(from).join(" · "));
}

/** Splits "answer:2" into "answer" and "2"; a column's name may hold colons of its own. */
export function parseKey(key: Key): [kind: string, of: string] {
  const at = key.indexOf(":");
  return at < 0 ? [key, ""] : [key.slice(0, at), key.slice(at + 1)];
}

/** What a person calls a key. The prompt is named only where there are several. */
export function keyLabel(key: Key, prompts: readonly Prompt[]): string {
  const [kind, of] = parseKey(key);
  switch (kind) {
    case "column":
      return of;
    case "answer":
      return labelOf(prompts, Number(of));
    case "state":
    case "confidence":
    case "review":
      return prompts.length > 1 ? `${kind} · ${labelOf(prompts, Number(of))}` : kind;
    case "agreement": {
      const names = shortNames(prompts);
      const two = of.split(",").map((at) => names[Number(at)]);
      return of ? `agreement of ${two.join(" and ")}` : kind;
    }
    case "error":
      return "broken picture";
    case "copies":
      return "equal pictures";
    default:
      return kind;
  }
}

/** What a person calls a value. */
export function valueLabel(value: string): string {
  return value === "" ? "(none)" : value;
}

/** A number with as many digits as tell it from its neighbours in a histogram. */
export function short(value: number): string {
  if (Number.isInteger(value))
    return new Intl.NumberFormat("en", { useGrouping: false }).format(value);
  return String(Number(Math.abs(value) < 100 ? value.toPrecision(3) : value.toFixed(1)));
}

/** The words of a filter: "a dog, a cat", "0.2 – 0.4". */
export function filterLabel(filter: Filter): string {
  if (filter.values) return filter.values.map(valueLabel).join(", ");
  const { min, max } = filter;
  if (min === undefined) return max === undefined ? "any" : `≤ ${short(max)}`;
  return max === undefined ? `≥ ${short(min)}` : `${short(min)} – ${short(max)}`;
}

export function filterOf(query: Query, key: Key): Filter | undefined {
  return query.filters.find((filter) => filter.key === key);
}

/** The filters with the one of this key replaced, or taken out. */
export function withFilter(filters: Filter[], key: Key, filter: Filter | null): Filter[] {
  if (!filter) return filters.filter((one) => one.key !== key);
  if (!filters.some((one) => one.key === key)) return [...filters, filter];
  return filters.map((one) => (one.key === key ? filter : one));
}

/** The filters after a click on a value: it is one of those let through, or no longer. */
export function toggleValue(filters: Filter[], key: Key, value: string): Filter[] {
  const old = filters.find((one) => one.key === key)?.values ?? [];
  const values = old.includes(value) ? old.filter((one) => one !== value) : [...old, value];
  return withFilter(filters, key, values.length > 0 ? { key, values } : null);
}

/** One way to sort, as it stands in the menu. */
export interface SortChoice {
  key: Key;
  label: string;
  /** The direction that is of most use. */
  descending: boolean;
}

export function sortChoices(prompts: readonly Prompt[], columns: readonly FrameColumn[]) {
  const many = prompts.length > 1;
  const named = (words: string, k: number) => (many ? `${words} · ${labelOf(prompts, k)}` : words);
  const choice = (key: Key, label: string): SortChoice => ({ key, label, descending: false });
  return {
    gallery: [
      choice("row", "Row order"),
      choice("label", "Label"),
      { key: "copies", label: "Equal pictures together", descending: true },
    ],
    answers: [
      ...prompts.map((_, k) => choice(`confidence:${k}`, named("Doubtful first", k))),
      ...prompts.map((_, k) => choice(`answer:${k}`, named("Answer", k))),
      ...(many ? [choice("agreement", "Disagreement first")] : []),
    ],
    columns: columns.map(({ name }) => choice(`column:${name}`, name)),
  };
}

/** Whether two queries ask for the same, however they are written. */
export function sameQuery(a: Query, b: Query): boolean {
  return plain(a) === plain(b);
}

function plain({ search, filters, sort, unique }: Query): string {
  const parts = filters.map(({ key, values, min, max }) =>
    JSON.stringify([key, values ?? null, min ?? null, max ?? null]),
  );
  const order = sort && !(sort.key === "row" && !sort.descending) ? sort : null;
  return JSON.stringify([search, parts, order && [order.key, order.descending], unique]);
}

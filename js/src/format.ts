import type { Progress } from "./protocol";

const numbers = new Intl.NumberFormat("en");

/** 100000 → "100,000". */
export function count(value: number): string {
  return numbers.format(value);
}

/** "1 error", "2 errors". */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** A probability: "82 %", and where there is next to none "<1 %". */
export function percent(probability: number): string {
  const share = Math.round(100 * Math.min(1, Math.max(0, probability)));
  return probability > 0 && share === 0 ? "<1 %" : `${share} %`;
}

/** A share of many: "92.4 %", and 100 % only where it is all of them. */
export function share(value: number): string {
  const words = (100 * value).toFixed(1);
  if (value < 1 && words === "100.0") return ">99.9 %";
  return `${words.replace(/\.0$/, "")} %`;
}

/** A duration with as much detail as a person wants: "0.4 s", "42 s", "3 min 20 s", "2 h 5 min". */
export function duration(seconds: number): string {
  if (seconds < 0.95) return `${Math.max(0.1, Math.round(seconds * 10) / 10)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const [big, small, bigUnit, smallUnit] =
    whole < 3600
      ? [Math.floor(whole / 60), whole % 60, "min", "s"]
      : [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), "h", "min"];
  return small ? `${count(big)} ${bigUnit} ${small} ${smallUnit}` : `${count(big)} ${bigUnit}`;
}

/** What is left of a run, coarse enough not to flicker: past ten minutes, seconds are noise. */
export function left(seconds: number): string {
  if (seconds < 1) return "<1 s left";
  const coarse = seconds < 600 ? seconds : Math.round(seconds / 60) * 60;
  return `${duration(coarse)} left`;
}

/** A rate in the unit that makes a readable number: "12/s", "3.1/s", "24/min", "40/h". */
export function rate(perSecond: number): string {
  const [value, unit] =
    perSecond >= 1
      ? [perSecond, "s"]
      : perSecond * 60 >= 1
        ? [perSecond * 60, "min"]
        : [perSecond * 3600, "h"];
  return `${value < 10 ? Number(value.toFixed(1)) : count(Math.round(value))}/${unit}`;
}

/** Whether a run goes on, so that it can be cancelled. */
export function isActive(progress: Progress): boolean {
  return ["waiting", "loading", "running"].includes(progress.state);
}

/** What can be done about a run that has ended before its last answer, or with errors. */
export function next({ state, failed }: Progress): string {
  if (state === "cancelled" || state === "failed") return "Go on";
  return state === "done" && failed > 0 ? "Retry errors" : "";
}

/** What is done with what a run counts, and what is being done. */
const WORDS = {
  answers: ["answered", "Answering"],
  pictures: ["measured", "Measuring"],
  "answers and pictures": ["done", "Working on"],
} as const;

/** The line beside the bar, without the errors, which stand on their own. */
export function status(progress: Progress, rowCount: number): string {
  const { state, note, done, total, failed, cached } = progress;
  const word = WORDS[progress.counted][0];
  const settled = count(Math.max(0, done - failed));
  const store = cached > 0 ? `${count(cached)} from the store` : "";
  const parts: string[] = [];
  switch (state) {
    case "idle":
      parts.push(plural(rowCount, "picture"), note);
      break;
    case "waiting":
      parts.push(note || "waiting");
      break;
    case "loading":
      parts.push(note || "loading");
      break;
    case "running":
      parts.push(
        `${count(done)} of ${count(total)}`,
        progress.rate ? rate(progress.rate) : "",
        progress.seconds_left === null ? "" : left(progress.seconds_left),
        note,
      );
      break;
    case "done":
      parts.push(
        progress.seconds === null
          ? `${settled} ${word}`
          : `${settled} ${word} in ${duration(progress.seconds)}`,
        store,
      );
      break;
    case "cancelled":
      parts.push(`cancelled · ${settled} of ${count(total)} ${word}`, store);
      break;
    case "failed":
      parts.push(note || "the run failed");
      break;
  }
  return parts.filter(Boolean).join(" · ");
}

/** What a screen reader is told, at the start and at the end of a run only. */
export function announcement(progress: Progress): string {
  const { state, done, total, failed } = progress;
  const errors = failed ? `, ${plural(failed, "error")}` : "";
  const [word, doing] = WORDS[progress.counted];
  switch (state) {
    case "running":
      return `${doing} ${count(total)}.`;
    case "done":
      return `Done: ${count(done - failed)} ${word}${errors}.`;
    case "cancelled":
      return `Cancelled: ${count(done - failed)} of ${count(total)} ${word}${errors}.`;
    case "failed":
      return `Failed: ${progress.note}`;
    default:
      return "";
  }
}

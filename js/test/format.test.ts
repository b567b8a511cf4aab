import { describe, expect, it } from "vitest";
import { announcement, count, duration, left, next, plural, rate, status } from "../src/format";
import { DEFAULTS, type Progress } from "../src/protocol";

const progress = (part: Partial<Progress>): Progress => ({ ...DEFAULTS.progress, ...part });

describe("numbers", () => {
  it("groups thousands and counts in words", () => {
    expect(count(100000)).toBe("100,000");
    expect(plural(1, "error")).toBe("1 error");
    expect(plural(2, "error")).toBe("2 errors");
    expect(plural(0, "error")).toBe("0 errors");
  });

  it.each([
    [0, "0.1 s"],
    [0.42, "0.4 s"],
    [0.97, "1 s"],
    [42.4, "42 s"],
    [59.6, "1 min"],
    [200, "3 min 20 s"],
    [3600, "1 h"],
    [7500, "2 h 5 min"],
  ])("writes %f seconds as %s", (seconds, words) => expect(duration(seconds)).toBe(words));

  it.each([
    [0.2, "<1 s left"],
    [4.2, "4 s left"],
    [125, "2 min 5 s left"],
    [1234, "21 min left"],
  ])("writes %f seconds left as %s", (seconds, words) => expect(left(seconds)).toBe(words));

  it.each([
    [12.3, "12/s"],
    [3.14, "3.1/s"],
    [2, "2/s"],
    [0.4, "24/min"],
    [0.05, "3/min"],
    [0.01, "36/h"],
  ])("writes a rate of %f as %s", (value, words) => expect(rate(value)).toBe(words));
});

describe("status", () => {
  it("follows a run from its start to its end", () => {
    expect(status(progress({}), 24)).toBe("24 pictures");
    expect(status(progress({ state: "loading", note: "downloading … 43 %" }), 24)).toBe(
      "downloading … 43 %",
    );
    const running = progress({
      state: "running",
      done: 12,
      total: 24,
      rate: 3.14,
      seconds_left: 4,
    });
    expect(status(running, 24)).toBe("12 of 24 · 3.1/s · 4 s left");
    const done = progress({ state: "done", done: 24, total: 24, cached: 20, seconds: 3.2 });
    expect(status(done, 24)).toBe("24 answered in 3 s · 20 from the store");
  });

  it("does not count errors as answered", () => {
    const done = progress({ state: "done", done: 24, total: 24, failed: 1, seconds: 3 });
    expect(status(done, 24)).toBe("23 answered in 3 s");
    const cancelled = progress({ state: "cancelled", done: 9, total: 24, failed: 1 });
    expect(status(cancelled, 24)).toBe("cancelled · 8 of 24 answered");
  });

  it("says what was done with what is counted", () => {
    const done = progress({ state: "done", done: 8, total: 8, counted: "pictures" });
    expect(status(done, 8)).toBe("8 measured");
    expect(announcement(done)).toBe("Done: 8 measured.");
    expect(announcement({ ...done, state: "running" })).toBe("Measuring 8.");
    const both = progress({
      state: "cancelled",
      done: 9,
      total: 16,
      counted: "answers and pictures",
    });
    expect(status(both, 8)).toBe("cancelled · 9 of 16 done");
    expect(announcement(both)).toBe("Cancelled: 9 of 16 done.");
    expect(announcement({ ...both, state: "running" })).toBe("Working on 16.");
  });

  it("leaves out what is not known", () => {
    expect(status(progress({ state: "running", done: 0, total: 24 }), 24)).toBe("0 of 24");
    expect(status(progress({ state: "done", done: 2, total: 2 }), 2)).toBe("2 answered");
  });

  it("says why a run failed", () => {
    expect(status(progress({ state: "failed", note: "out of memory" }), 24)).toBe("out of memory");
  });
});

describe("announcement", () => {
  it("speaks at the start and at the end only", () => {
    expect(announcement(progress({ state: "running", total: 24 }))).toBe("Answering 24.");
    expect(announcement(progress({ state: "done", done: 24, total: 24, failed: 1 }))).toBe(
      "Done: 23 answered, 1 error.",
    );
    expect(announcement(progress({ state: "loading" }))).toBe("");
  });
});

it.each([
  [{ state: "cancelled" }, "Go on"],
  [{ state: "failed" }, "Go on"],
  [{ state: "done", failed: 2 }, "Retry errors"],
  [{ state: "done" }, ""],
  [{ state: "running", failed: 2 }, ""],
] as const)("after %o offers %s", (part, words) => expect(next(progress(part))).toBe(words));

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { progress } from "./progress.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** What is said of work that is done in steps of ten seconds. */
function said(steps: readonly number[], total: number): string {
  let written = "";
  const shown = progress({ write: (text: string) => (written += text) }, { label: "patching", quiet: false });
  for (const done of steps) {
    shown.update(done, total);
    vi.advanceTimersByTime(10_000);
  }
  shown.stop();
  return written;
}

test("time left is what is left at the rate so far", () => {
  // 10 a second for 30 s; 700 are left.
  expect(said([0, 100, 200, 300], 1000)).toBe("patching: 300 of 1000, 1 min 10 s left\n");
});

test("what was done before the first report counts as done, but not for the rate", () => {
  expect(said([700, 710, 720, 730], 1000)).toBe("patching: 730 of 1000, 4 min 30 s left\n");
});

test("a line in half a minute where there is no terminal, none at the end, none when quiet", () => {
  expect(said([0, 1, 2, 3, 4, 5, 6, 10], 10).split("\n")).toEqual([
    "patching: 3 of 10, 1 min 10 s left",
    "patching: 6 of 10, 40 s left",
    "",
  ]);
  let written = "";
  const quiet = progress({ write: (text: string) => (written += text) }, { label: "patching", quiet: true });
  quiet.update(0, 10);
  vi.advanceTimersByTime(60_000);
  quiet.update(5, 10);
  expect(written).toBe("");
});

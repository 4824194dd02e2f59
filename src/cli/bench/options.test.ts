import { expect, test } from "vitest";
import { typedFields } from "../../job/fields.ts";
import { crosspatch } from "../testing.ts";
import { benchOptions, CHOICES } from "./options.ts";

test("all faults of the options at once, before anything is measured", async () => {
  const { status, stdout, stderr } = await crosspatch(
    ...["bench", "--rows", "shorts", "--peers", "tl2,tl5", "--repeats", "x", "--sample", "0.5"],
    ...["--threads", "0", "--out", ""],
  );
  expect([status, stdout]).toEqual([2, ""]);
  expect(stderr.split("\n").sort()).toEqual([
    "",
    '--out: found ""; wanted a text.',
    `--peers: found "tl2,tl5"; wanted all, none, or some of ${CHOICES.join(", ")}, separated by commas, each once.`,
    '--repeats: found "x"; wanted a whole number from 1 to 100.',
    '--rows: found "shorts"; wanted one of headline, short, all, none. Did you mean "short"?',
    '--sample: found "0.5"; wanted a whole number, 1 or more.',
    '--threads: found "0"; wanted a whole number from 1 to 1024.',
  ]);
});

test("peers are all, none or some, each once", () => {
  const peersOf = (peers: string): unknown => typedFields(benchOptions, { peers }).peers;
  expect(peersOf("all")).toEqual(CHOICES);
  expect(peersOf("none")).toEqual([]);
  expect(peersOf("rome,tl2")).toEqual(["rome", "tl2"]);
  for (const wrong of ["", "tl2,", "tl2,tl2", "all,tl2"])
    expect(() => peersOf(wrong)).toThrow("--peers: found ");
});

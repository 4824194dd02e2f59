import { beforeAll, expect, test } from "vitest";
import { plantedHydra } from "../../test/helpers/planted-hydra.ts";
import { type BackupOptions, backups } from "../method/backups.ts";
import type { Prompted } from "../model/fact.ts";
import type { Tokens } from "../model/pair-tokens.ts";
import type { Dataset } from "../result/result.ts";
import { displayWidth } from "./labels.ts";
import { terminal } from "./terminal.ts";

const tokens = (ids: readonly number[]): Tokens => ({ text: ids.join(), ids, pieces: ids.map(String) });
const prompts = [
  [0, 1, 2],
  [1, 0, 2],
  [0, 1, 1, 2],
].map(
  (ids): Prompted => ({
    id: ids.join(),
    where: "prompt",
    clean: tokens(ids),
    answers: [tokens([0])],
    foils: [tokens([1])],
  }),
);
const searched = (options: BackupOptions): Promise<Dataset> =>
  backups(plantedHydra(), prompts, { ablation: { kind: "zero" }, rounds: 1, perRound: 1, ...options });
/** The text with its lines run together. */
const prose = (result: Dataset): string => terminal(result, { columns: 80 }).replace(/\s+/g, " ");
const withRole = (result: Dataset, role: string): Dataset => ({
  ...result,
  dataVars: { ...result.dataVars, found_role: { dims: ["found"], data: ["primary", role], attrs: {} } },
});

let planted: Dataset;
beforeAll(async () => {
  planted = await searched({});
});

test("the backup that was planted is named before any map, with its round and both of its effects", () => {
  const lines = terminal(planted, { columns: 80 }).split("\n");
  const words = lines.findIndex((line) => line.startsWith("1 backup head: 2.1 (round 1)."));
  expect(words).toBeGreaterThan(0);
  expect(words).toBeLessThan(lines.findIndex((line) => line.includes("(down)")));
  expect(lines).toContainEqual(expect.stringMatching(/^0\.0 +0 {2}primary +0\.00 +0\.00 to 0\.00$/));
  expect(lines).toContainEqual(
    expect.stringMatching(/^2\.1 +1 {2}backup +0\.00 +0\.00 to 0\.00 +-1\.00 +-1\.00 to -1\.00$/),
  );
  expect(prose(planted)).toContain(
    "All 2 together: -1.00 (-1.00 to -1.00); one by one they add up to 0.00 (0.00 to 0.00).",
  );
});

test("a backup whose cost may be none is said to be one of those", () => {
  const data = [...(planted.dataVars.conditional_ci_high?.data ?? [])].map(Number);
  const unsure = {
    ...planted,
    dataVars: {
      ...planted.dataVars,
      conditional_ci_high: {
        dims: ["round", "layer", "head"],
        data: data.map((high) => (high < 0 ? 0.5 : high)),
        attrs: {},
      },
    },
  };
  expect(prose(unsure)).toContain("What 2.1 costs on top has an interval that holds 0.");
  expect(prose(planted)).not.toContain("holds 0");
});

test("where no backup is found the text says so, and by what", async () => {
  expect(prose(withRole(planted, "independent"))).toContain(
    "No backup head was found: the one further head that costs most on top of those of earlier rounds costs at least half as much alone.",
  );
  const both = { first: ["2.1", "0.0"].map((name) => ({ layer: Number(name[0]), head: Number(name[2]) })) };
  expect(prose(await searched(both))).toContain(
    "No backup head was found: with the heads of round 0 ablated, no other lowers the logit difference.",
  );
  expect(prose(await searched({ rounds: 0 }))).toContain(
    "No backup head was looked for: that takes a round or more.",
  );
});

test("it fits the widths of terminals, and the maps alone are without it", () => {
  for (const columns of [60, 80, 132]) {
    const lines = terminal(planted, { columns }).split("\n");
    expect(lines.filter((line) => displayWidth(line) > columns)).toEqual([]);
  }
  expect(terminal(planted, { sites: ["single"] })).not.toContain("backup head");
});

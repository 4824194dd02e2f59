import { describe, expect, test } from "vitest";
import { bothBackends } from "../../test/helpers/backends.ts";
import { useGolden } from "../../test/helpers/golden-model.ts";
import { patch } from "./edit.ts";
import { planSweep } from "./plan.ts";
import { type Measured, type RecordLog, waveKeeper } from "./records.ts";
import { sweep } from "./sweep.ts";
import type { SweepInput } from "./variant.ts";

/** A log in memory that ends, as if the process were killed, behind so many records. */
function memoryLog(records: Uint8Array<ArrayBuffer>[], most = Number.POSITIVE_INFINITY): RecordLog {
  let at = 0;
  return {
    async next(bytes) {
      const record = records[at];
      if (record === undefined) return undefined;
      expect(record.length).toBe(bytes);
      at += 1;
      return record.slice();
    },
    async append(record) {
      if (records.length >= most) throw new Error("killed");
      records.push(new Uint8Array(record));
    },
  };
}

const IDS = [3, 1, 4, 1, 5, 9];
const OTHER = [3, 1, 2, 1, 5, 9];

describe.each(bothBackends())("$name", (backend) => {
  const open = useGolden("llama-gqa-tied", backend);

  test("a sweep that is taken up behind any wave gives every reading and number of one that was not stopped", async () => {
    const model = await open();
    const { vocabulary, heads } = model.architecture;
    const layers = model.definition.blocks.length;
    const readouts = [{ columns: [1, 5], logsumexp: true }, { logits: true }];
    const input: SweepInput = {
      runs: [IDS, OTHER, IDS.toReversed(), IDS].map((ids) => ({
        ids,
        read: readouts.map((readout, at) => ({ position: 4 + at, readout })),
      })),
      count: 2 * layers * heads,
      variant(index) {
        const [layer, head] = [Math.floor(index / heads) % layers, index % heads];
        const where = { head: [head] };
        const run = index < layers * heads ? 0 : 2;
        return { run, edits: [patch("z", layer, { run: head === 0 ? run : 1, where })] };
      },
    };
    const plan = planSweep(model, input, { stateBytes: 60 * model.architecture.dModel * 8 });
    expect(plan.waves.length).toBeGreaterThan(3);
    expect(plan.unchanged).toBe(2 * layers);

    const run = async (log: RecordLog) => {
      const measured: Measured = { values: new Float64Array(input.count), unchanged: 0 };
      const runs: Record<number, unknown> = {};
      const keeper = waveKeeper(model, input, { log, plan, measured });
      const progress: number[] = [];
      await sweep(model, input, {
        plan,
        keeper,
        onRun: (index, reading) => {
          expect(reading[1]?.logits).toHaveLength(vocabulary);
          runs[index] = reading;
        },
        onReading(index, [first, second]) {
          const all = Float64Array.from(second?.logits ?? []).reduce((sum, logit) => sum + logit, 0);
          measured.values[index] = (first?.columns[1] ?? 0) - (first?.logsumexp ?? 0) + all;
        },
        onProgress: (done) => progress.push(done),
      });
      expect(progress.toSorted((a, b) => a - b)).toEqual(progress);
      expect(progress.at(-1)).toBe(plan.flops);
      return { values: measured.values, runs, found: keeper.found(), seconds: keeper.seconds() };
    };
    const whole: Uint8Array<ArrayBuffer>[] = [];
    const expected = await run(memoryLog(whole));
    expect(whole).toHaveLength(plan.waves.length);
    expect(new Set(expected.values).size).toBeGreaterThan(heads);
    for (let kept = 0; kept <= plan.waves.length; kept++) {
      const records: Uint8Array<ArrayBuffer>[] = [];
      const stopped = run(memoryLog(records, kept));
      if (kept < plan.waves.length) await expect(stopped).rejects.toThrow("killed");
      else await stopped;
      const seconds = records.reduce(
        (sum, record) => sum + (new Float64Array(record.buffer, 0, 1)[0] ?? 0),
        0,
      );
      const again = await run(memoryLog(records));
      expect(again).toEqual({ ...expected, found: kept, seconds });
      expect(records.map((record) => record.subarray(8))).toEqual(whole.map((record) => record.subarray(8)));
    }
  });
});

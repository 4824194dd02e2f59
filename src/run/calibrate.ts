/** @file How fast this machine multiplies matrices, measured once, to tell beforehand how long a sweep takes. */

import type { Backend } from "../backend/backend.ts";
import { milliseconds } from "../core/clock.ts";
import { tensor } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { builder } from "../program/program.ts";
import type { SweepPlan } from "./plan.ts";

/** Rows of the product that is timed: a batch of tokens as the sweep makes them. */
const TOKENS = 512;
/** Measuring longer finds no better rate. */
const MEASURED_MS = 60;
/** Share of the rate that sweeps reach: the rest is norms, activations, softmax and the masked half of attention. */
const REACHED = 0.6;
/** Seconds for what a row costs in a layer beside its FLOPs. */
const ROW_SECONDS = 15e-6;

const rates = new WeakMap<Backend, Promise<number>>();

/** FLOP/s of one matrix product of the model's own width; the same number for the rest of the process. */
export function matmulRate(model: Model): Promise<number> {
  let rate = rates.get(model.backend);
  if (rate === undefined) {
    rate = measure(model);
    rates.set(model.backend, rate);
  }
  return rate;
}

/** Seconds that a sweep can be expected to take; off by half or double. */
export function expectedSeconds({ flops, rows }: SweepPlan, rate: number): number {
  return flops / (REACHED * rate) + rows * ROW_SECONDS;
}

async function measure({ architecture, backend }: Model): Promise<number> {
  const { dModel, dMlp } = architecture;
  const b = builder();
  const product = b.op("linear", [b.state("x", ["token", dModel]), b.weight("w", [dMlp, dModel])], {
    layout: "out_in",
  });
  b.site("result", product);
  const executable = await backend.compile(b.build(["result"]));
  const inputs = {
    x: tensor(backend.allocate(TOKENS * dModel).fill(0.5), [TOKENS, dModel]),
    w: tensor(backend.allocate(dMlp * dModel).fill(0.5), [dMlp, dModel]),
  };
  let best = Number.POSITIVE_INFINITY;
  const until = milliseconds() + MEASURED_MS;
  do {
    const begun = milliseconds();
    await executable.run(inputs);
    best = Math.min(best, milliseconds() - begun);
  } while (milliseconds() < until);
  return (2 * TOKENS * dModel * dMlp) / (best / 1000);
}

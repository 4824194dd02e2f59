/** @file How fast this machine multiplies matrices, by the same engine and in the same run as the table. */
import type { Backend } from "../../backend/backend.ts";
import { random } from "../../core/random.ts";
import { tensor } from "../../core/tensor.ts";
import { builder } from "../../program/program.ts";

/** [512, 576] × [576, 1536]: a batch of tokens through the first matrix of SmolLM2-135M's MLP. */
const ROWS = 512;
const INNER = 576;
const COLUMNS = 1536;
const FLOPS = 2 * ROWS * INNER * COLUMNS;

/** Best FLOP/s of one matrix product, over at least `seconds` seconds. */
export async function matmulRate(backend: Backend, seconds: number): Promise<number> {
  const b = builder();
  const x = b.state("x", ["token", INNER]);
  const weight = b.weight("w", [COLUMNS, INNER]);
  b.site("result", b.op("linear", [x, weight], { layout: "out_in" }));
  const executable = await backend.compile(b.build(["result"]));
  const source = random(1);
  const numbers = (size: number): Float32Array => Float32Array.from({ length: size }, () => source.normal());
  const inputs = {
    x: tensor(numbers(ROWS * INNER), [ROWS, INNER]),
    w: tensor(numbers(COLUMNS * INNER), [COLUMNS, INNER]),
  };
  const into = { result: tensor(backend.allocate(ROWS * COLUMNS), [ROWS, COLUMNS]) };
  let best = 0;
  const until = performance.now() + 1000 * seconds;
  do {
    const begun = performance.now();
    await executable.run(inputs, { into });
    best = Math.max(best, FLOPS / ((performance.now() - begun) / 1000));
  } while (performance.now() < until);
  return best;
}

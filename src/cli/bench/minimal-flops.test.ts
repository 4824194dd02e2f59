import { expect, test } from "vitest";
import { define } from "../../model/families/registry.ts";
import { minimalFlops } from "./minimal-flops.ts";
import { axesOf, cellsOf, seededPairs } from "./rows.ts";

const LAYERS = 3;
const WIDTH = 8;
const MLP = 20;
const definition = define({
  architectures: ["GPT2LMHeadModel"],
  model_type: "gpt2",
  activation_function: "gelu_new",
  layer_norm_epsilon: 1e-5,
  n_layer: LAYERS,
  n_head: 2,
  n_embd: WIDTH,
  n_inner: MLP,
  n_positions: 32,
  vocab_size: 50,
});
const model = { definition, architecture: definition.architecture };

// By hand: 2 FLOPs a multiply-add; query, key, value and output [8, 8]; MLP [8, 20] and back; 4·8 for a query and a key.
const TOKEN = 2 * (4 * WIDTH * WIDTH + 2 * WIDTH * MLP);
const KEYS_VALUES = 2 * 2 * WIDTH * WIDTH;
const KEY = 4 * WIDTH;
const LENGTH = 3;
const [pair] = seededPairs(50, { tokens: LENGTH, pairs: 1 }); // differs at position 1

const last = (tokens: number): number => (tokens - 1) * KEYS_VALUES + TOKEN + LENGTH * KEY;
const unedited = 2 * (2 * (3 * TOKEN + 6 * KEY) + last(3));

test("resid_pre: a suffix from the edited layer on, and nothing before the prompts differ", () => {
  expect(pair.differing).toEqual([1]);
  // From position 1 the queries see 2 and 3 keys, from position 2 one sees 3. Layer 0 differs at position 1 alone.
  const first = 2 * (2 * TOKEN + 5 * KEY) + last(2);
  const second = 2 * TOKEN + 5 * KEY + last(2) + TOKEN + 3 * KEY + last(1);
  const third = last(2) + last(1);
  const cells = cellsOf(axesOf("resid_pre", model.architecture, LENGTH));
  expect(minimalFlops(model, [pair], { kind: "resid_pre", cells })).toBe(unedited + first + second + third);
});

test("z at one position: output projection and MLP there, whole blocks above", () => {
  const after = 2 * (WIDTH * WIDTH + 2 * WIDTH * MLP);
  const cost = (layer: number, pos: number) =>
    minimalFlops(model, [pair], { kind: "heads-by-pos", cells: [[layer, pos, 0]] }) - unedited;
  expect(cost(1, 0)).toBe(0);
  expect(cost(1, 2)).toBe(after + last(1));
  expect(cost(2, 1)).toBe(0); // the last layer is read at the last position
  expect(cost(2, 2)).toBe(after);
});

/**
 * @file Cuts of every family's programs, on both backends. The law: a cut that is given a run's own values computes
 * that run's other values, whatever is given and wanted. Weights are random; the families' goldens are elsewhere.
 */

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Backend } from "../../src/backend/backend.ts";
import { nodeBackend } from "../../src/backend/ort/node.node.ts";
import { referenceBackend } from "../../src/backend/reference/reference.ts";
import { random } from "../../src/core/random.ts";
import { sizeOf, type Tensor, tensor } from "../../src/core/tensor.ts";
import type { Definition } from "../../src/model/architecture.ts";
import { cut, frontier } from "../../src/program/cut.ts";
import type { AnyNode, Program } from "../../src/program/program.ts";
import { shapeOf, valueOfSite } from "../../src/program/program.ts";
import { families } from "../goldens/load.ts";
import { readDefinition } from "./checkpoint.ts";
import { blockContext, runProgram, type Values } from "./plain-run.ts";

const LENGTH = 7;
const DIMS = { row: 1, token: LENGTH, dst: LENGTH, src: LENGTH };

const reference = referenceBackend();
const ort = nodeBackend({ threads: 1 });
afterAll(() => ort.close());

/** A program with everything it takes, and what its uncut run computes. */
interface Case {
  readonly program: Program;
  readonly inputs: Values;
  readonly values: Values;
}

/** Values that float32 holds, so that both backends are given the same. */
function draw(shape: readonly number[], seed: number, scale = 1): Tensor {
  const { normal } = random(seed);
  return tensor(
    Float32Array.from({ length: sizeOf(shape) }, () => scale * normal()),
    shape,
  );
}

function weightsOf(program: Program, seed: number): Values {
  const weights = program.inputs.filter(({ role }) => role.kind === "weight");
  return Object.fromEntries(
    weights.map(({ name, shape }, index) => {
      const numbers = shape.map(Number);
      const scale = numbers.length === 2 ? 1 / Math.sqrt(Math.min(...numbers)) : 1;
      return [name, draw(numbers, seed + index, scale)];
    }),
  );
}

async function caseOf(program: Program, given: readonly string[], inputs: Values): Promise<Case> {
  const values = await runProgram(reference, program, { given, inputs, length: LENGTH });
  return { program, inputs, values };
}

async function casesOf({ architecture, embed, blocks, unembed }: Definition, seed: number): Promise<Case[]> {
  const { dModel: d, vocabulary } = architecture;
  const { integer } = random(seed);
  const ids = tensor(
    Int32Array.from({ length: LENGTH }, () => integer(vocabulary)),
    [LENGTH],
  );
  const positions = tensor(
    Int32Array.from({ length: LENGTH }, (_, i) => i),
    [LENGTH],
  );
  const columns = tensor(Int32Array.of(vocabulary - 1, 3), [2]);
  const stream = { resid_pre: draw([LENGTH, d], seed), resid_post: draw([LENGTH, d], seed) };
  const allocate = (size: number) => new Float32Array(size);
  return await Promise.all([
    caseOf(embed, [], { ...weightsOf(embed, seed), ids, positions }),
    caseOf(unembed, ["resid_post"], { ...weightsOf(unembed, seed), ...stream, columns }),
    ...blocks.map((block, layer) => {
      const context = blockContext(architecture, layer, { length: LENGTH, allocate });
      return caseOf(block, ["resid_pre"], { ...weightsOf(block, seed), ...context, ...stream });
    }),
  ]);
}

/** Runs a cut on values of the uncut run, rounded to the backend's precision. */
async function runCut(
  backend: Backend,
  { program, inputs, values }: Case,
  options: { readonly given: readonly string[]; readonly want: readonly string[] },
): Promise<Values> {
  const part = cut(program, options);
  const feeds = part.inputs.map(({ name, role }): [string, Tensor] => {
    const value = role.kind === "state" ? values[name] : inputs[name];
    const { data, shape } = value;
    if (data instanceof Int32Array || backend.precision === "float64") return [name, value];
    return [name, { data: Float32Array.from(data), shape }];
  });
  return await (await backend.compile(part)).run(Object.fromEntries(feeds), { dims: DIMS });
}

/** The program with `shift` added to the value of a site; without simplification, so that nothing of a cut is used. */
function shifted(program: Program, site: string): Program {
  const value = valueOfSite(program, site);
  const shape = shapeOf(program, value);
  const before = `${value} before`;
  return {
    ...program,
    inputs: [...program.inputs, { name: "shift", shape, role: { kind: "state" } }],
    nodes: program.nodes.flatMap((node): AnyNode[] =>
      node.out === value
        ? [
            { ...node, out: before },
            { op: "add", args: [before, "shift"], attrs: {}, out: value },
          ]
        : [node],
    ),
    shapes: new Map([...program.shapes, ["shift", shape], [before, shape]]),
  };
}

/** Largest difference over the size of the largest value. */
function distance(found: Tensor, wanted: Tensor): number {
  let scale = 1;
  let worst = 0;
  for (const [i, value] of wanted.data.entries()) {
    const off = Math.abs(found.data[i] - value);
    if (Number.isNaN(off)) return Number.POSITIVE_INFINITY;
    scale = Math.max(scale, Math.abs(value));
    worst = Math.max(worst, off);
  }
  return worst / scale;
}

describe.each(families())("$name", ({ directory }) => {
  let cases: Case[];
  beforeAll(async () => {
    cases = await casesOf(readDefinition(directory), 5);
  });

  test("what is given and wanted at random", async () => {
    const choice = fc.nat(cases.length - 1).chain((index) => {
      const sites = Object.keys(cases[index].values);
      const maxLength = Math.min(4, sites.length);
      return fc.tuple(
        fc.constant(index),
        fc.subarray(sites, { maxLength }),
        fc.subarray(sites, { minLength: 1, maxLength }),
      );
    });
    await fc.assert(
      fc.asyncProperty(choice, async ([index, given, want]) => {
        const known = cases[index];
        const exact = await runCut(reference, known, { given, want });
        const found = await runCut(ort, known, { given, want });
        for (const site of want) {
          expect(distance(exact[site], known.values[site])).toBeLessThan(1e-12);
          expect(distance(found[site], known.values[site])).toBeLessThan(5e-6);
        }
      }),
      { numRuns: 12, seed: 3 },
    );
  });

  test("an edited site reaches what it reaches in the whole program, and only the frontier need be known", async () => {
    const computed = cases.map(({ program, values }) =>
      Object.keys(values).filter((site) => program.nodes.some(({ out }) => out === program.sites.get(site))),
    );
    const choice = fc.nat(cases.length - 1).chain((index) => {
      const sites = computed[index];
      const maxLength = Math.min(4, sites.length);
      return fc.record({
        index: fc.constant(index),
        edited: fc.constantFrom(...sites),
        want: fc.subarray(sites, { minLength: 1, maxLength }),
      });
    });
    await fc.assert(
      fc.asyncProperty(choice, async ({ index, edited, want }) => {
        const { program, inputs, values } = cases[index];
        const base = values[edited];
        const value = draw(base.shape, 17);
        const shift = { ...base, data: Float64Array.from(base.data, (x, i) => value.data[i] - x) };
        const whole = await reference.compile({ ...shifted(program, edited), outputs: want });
        const wanted = await whole.run({ ...inputs, shift }, { dims: DIMS });

        const given = frontier(program, [edited], want);
        const known = { program, inputs, values: { ...values, [edited]: value } };
        for (const [backend, within] of [
          [reference, 1e-12],
          [ort, 5e-6],
        ] as const) {
          const found = await runCut(backend, known, { given, want });
          for (const site of want) expect(distance(found[site], wanted[site])).toBeLessThan(within);
        }
      }),
      { numRuns: 12, seed: 4 },
    );
  });

  test("every site from every earlier one", async () => {
    for (const known of cases) {
      const sites = Object.keys(known.values);
      for (const [index, from] of sites.entries()) {
        const want = sites.slice(index + 1);
        if (want.length === 0) continue;
        const exact = await runCut(reference, known, { given: [from], want });
        for (const site of want) expect(distance(exact[site], known.values[site])).toBeLessThan(1e-12);
      }
    }
  });

  test("chosen columns of the unembedding are those of the logits", async () => {
    const unembedding = cases[1];
    for (const [backend, within] of [
      [reference, 1e-13],
      [ort, 2e-6],
    ] as const) {
      const found = await runCut(backend, unembedding, {
        given: ["resid_post"],
        want: ["columns", "logits"],
      });
      const { logits, columns } = found;
      const [vocabulary] = logits.shape.slice(1);
      for (let token = 0; token < LENGTH; token++) {
        for (const [i, id] of (unembedding.inputs.columns.data as Int32Array).entries()) {
          const wanted = logits.data[token * vocabulary + id];
          expect(Math.abs(columns.data[2 * token + i] - wanted)).toBeLessThan(
            within * Math.max(1, Math.abs(wanted)),
          );
        }
      }
    }
  });
});

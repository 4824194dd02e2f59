/**
 * @file Generation with edits against the plain path: whatever comes back from the cache, every token is that of a
 * whole forward pass over the text so far with the same edits.
 */

import { describe, expect, test } from "vitest";
import type { Model } from "../../src/model/model.ts";
import { logSumExp } from "../../src/numeric/logits.ts";
import type { Edit, EditAction, Where } from "../../src/run/edit.ts";
import { patch, positionAxis } from "../../src/run/edit.ts";
import { unembed } from "../../src/run/ends.ts";
import type { Cache } from "../../src/run/forward.ts";
import { forward } from "../../src/run/forward.ts";
import { type EditOn, generate } from "../../src/run/generate.ts";
import type { SiteName } from "../../src/run/site.ts";
import { SITE_NAMES, SITES } from "../../src/run/site.ts";
import { goldenFacts } from "../goldens/load.ts";
import { bothBackends, rounding } from "../helpers/backends.ts";
import { useGolden } from "../helpers/golden-model.ts";

const backends = bothBackends();

const TOKENS = 3;
/** Not the last one, behind which earlier positions no longer matter. */
const LAYER = 0;
const upTo = (length: number): number[] => [...Array(length).keys()];

/** Which positions an edit names, when it is made, and the edits of a whole pass over a text of some length. */
interface Mode {
  readonly what: string;
  readonly editOn?: EditOn;
  readonly where: (site: SiteName) => Where;
  readonly whole: (edit: Edit, prompt: number) => Edit;
}

const at = (site: SiteName, positions: readonly number[]): Where => ({ [positionAxis(site)]: positions });

/** Cells of attention between tokens of the prompt; a mask hides the others of its queries from causal models alone. */
function inPrompt(edit: Edit, prompt: number): Edit {
  const where = { ...at(edit.site, upTo(prompt)), ...edit.where };
  return { ...edit, where: SITES[edit.site].axes.includes("src") ? { src: upTo(prompt), ...where } : where };
}

const MODES: readonly Mode[] = [
  { what: "no position, prefill", where: () => ({}), whole: inPrompt },
  { what: "no position, every step", editOn: "every-step", where: () => ({}), whole: (edit) => edit },
  { what: "named positions", editOn: "every-step", where: (site) => at(site, [2, 5]), whole: inPrompt },
];

interface Case {
  readonly edits: readonly Edit[];
  readonly editOn: EditOn | undefined;
  readonly runs?: readonly Cache[];
  /** Edits of a whole pass over a text of so many tokens. */
  readonly whole: (length: number) => readonly Edit[];
}

/** Log-probabilities, which are checked to be those of whole passes. */
async function checked(
  model: Model,
  prompt: readonly number[],
  { edits, editOn, runs = [], whole }: Case,
): Promise<readonly number[]> {
  const { ids, logprobs } = await generate(model, prompt, {
    tokens: TOKENS,
    stopIds: [],
    edits,
    editOn,
    runs,
  });
  const texts = ids.map((_, done) => [...prompt, ...ids.slice(0, done)]);
  const { residuals } = await forward(model, texts, {
    edits: texts.map(({ length }) => whole(length)),
    runs,
  });
  for (const [done, residual] of residuals.entries()) {
    const last = residual.slice(-model.architecture.dModel);
    const { logits = model.backend.allocate(0) } = await unembed(model, last, { logits: true });
    const plain = (logits[ids[done] ?? -1] ?? Number.NaN) - logSumExp(logits);
    const off = Math.abs(plain - (logprobs[done] ?? Number.NaN));
    if (!(off <= rounding(model.backend))) throw new Error(`token ${done} is off by ${off}`);
  }
  return logprobs;
}

// Windows, norms behind attention and grouped keys; attention that looks ahead.
describe.each(["gemma2", "gemma3-bidirectional"])("%s", (name) => {
  const [, prompt] = goldenFacts(name).prompts;

  describe.each(backends)("$name", (backend) => {
    const opened = useGolden(name, backend);

    for (const { what, editOn, where, whole } of MODES) {
      test(`edits of every site, ${what}: each token is that of a whole pass`, async () => {
        const model = await opened();
        const unedited = await checked(model, prompt, { edits: [], editOn, whole: () => [] });
        const sites = SITE_NAMES.filter((site) => model.definition.blocks[LAYER]?.sites.has(site));
        for (const site of sites) {
          const edit: Edit = {
            site,
            layer: LAYER,
            where: where(site),
            action: "scale",
            value: { kind: "fill", value: -0.5 },
          };
          const edited = [whole(edit, prompt.length)];
          const found = await checked(model, prompt, { edits: [edit], editOn, whole: () => edited });
          expect(found, site).not.toEqual(unedited);
        }
      });
    }

    test("an edit at named positions is the same, whenever edits are made", async () => {
      const model = await opened();
      for (const site of ["keys", "pattern", "mlp_out"] satisfies SiteName[]) {
        const where = at(site, [2, 5]);
        const edit: Edit = { site, layer: LAYER, where, action: "scale", value: { kind: "fill", value: 2 } };
        const options = { tokens: TOKENS, stopIds: [], edits: [edit] };
        const prefill = await generate(model, prompt, options);
        expect(await generate(model, prompt, { ...options, editOn: "every-step" })).toEqual(prefill);
      }
    });

    test("edits of several sites of one layer, made one after the other", async () => {
      const model = await opened();
      const sites: readonly SiteName[] = ["k", "keys", "values", "scores", "z", "resid_post"];
      const edits = sites.map(
        (site): Edit => ({
          site,
          layer: LAYER,
          where: {},
          action: "scale",
          value: { kind: "fill", value: 0.5 },
        }),
      );
      await checked(model, prompt, { edits, editOn: "every-step", whole: () => edits });
      const edited = edits.map((edit) => inPrompt(edit, prompt.length));
      await checked(model, prompt, { edits, editOn: "prefill", whole: () => edited });
    });

    test("values of another run, of as many positions as are run", async () => {
      const model = await opened();
      const other = [...prompt, ...prompt].reverse();
      const sites = SITE_NAMES.filter((site) => model.definition.blocks[LAYER]?.sites.has(site));
      const capture = sites.map((site) => ({ site, layers: [LAYER] }));
      const { caches } = await forward(model, [other.slice(0, prompt.length + TOKENS - 1)], { capture });
      for (const site of sites) {
        const edits = [patch(site, LAYER, { run: 0 })];
        await checked(model, prompt, { edits, runs: caches, editOn: "every-step", whole: () => edits });
      }
    });

    test("a row of attention is edited once, with the keys that there are by then", async () => {
      const model = await opened();
      const { length } = prompt;
      for (const action of ["replace", "add"] satisfies EditAction[]) {
        const edit: Edit = {
          site: "pattern",
          layer: LAYER,
          where: {},
          action,
          value: { kind: "fill", value: 0.1 },
        };
        const row = (dst: number): Edit => ({ ...edit, where: { dst: [dst], src: upTo(dst + 1) } });
        const causal = (tokens: number): Edit[] => [
          { ...edit, where: { dst: upTo(length), src: upTo(length) } },
          ...upTo(tokens).slice(length).map(row),
        ];
        const whole = model.architecture.causal ? causal : () => [edit];
        await checked(model, prompt, { edits: [edit], editOn: "every-step", whole });
      }
    });
  });
});

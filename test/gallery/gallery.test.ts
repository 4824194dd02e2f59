/** @file The gallery: every figure is an example, a picture of the documentation, and pinned here to the byte. */
import { expect, test } from "vitest";
import { plot } from "../../src/plot/spec.ts";
import { svg } from "../../src/plot/svg.ts";
import { terminal } from "../../src/plot/terminal.ts";
import {
  destinationBySource,
  headScores,
  layerByHead,
  layerByPosition,
  layerByPositionByHead,
  nextTokens,
  pathEffects,
  repairedLayers,
} from "../../src/result/fixtures.ts";
import type { Dataset } from "../../src/result/result.ts";
import { multipleChoice } from "./multiple-choice.ts";
import { comparedCorruptions, scoredEdges } from "./results.ts";

const figures: Readonly<Record<string, () => Dataset>> = {
  "layer-by-position": () => layerByPosition(8),
  "layer-by-head": layerByHead,
  "layer-by-position-by-head": layerByPositionByHead,
  "destination-by-source": destinationBySource,
  "path-effects": pathEffects,
  "next-tokens": nextTokens,
  attention: headScores,
  "self-repair": repairedLayers,
  corruptions: comparedCorruptions,
  edges: scoredEdges,
  "multiple-choice": multipleChoice,
};

// After an intended change: npx vitest run test/gallery -u, and look at the pictures.
test.each(Object.entries(figures))("%s", async (name, result) => {
  const warnings: string[] = [];
  const drawn = await svg(plot(result()), { onWarning: (message) => warnings.push(message) });
  expect(warnings).toEqual([]);
  await expect(drawn).toMatchFileSnapshot(`${name}.svg`);
  await expect(terminal(result(), { columns: 100 })).toMatchFileSnapshot(`${name}.txt`);
});

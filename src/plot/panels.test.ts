import { expect, test } from "vitest";
import { dataset } from "../result/result.ts";
import { layPanels } from "./panels.ts";

test("a million cells of attention: a map for each layer and head, of the labels with the largest effects", () => {
  const dims = { layer: 4, head: 4, dst: 256, src: 256 };
  const data = new Float64Array(4 * 4 * 256 * 256);
  const at = (layer: number, head: number, dst: number, src: number): number =>
    ((layer * 4 + head) * 256 + dst) * 256 + src;
  data[at(2, 1, 255, 17)] = 3;
  data[at(0, 3, 100, 99)] = -5;
  const pattern = { dims: Object.keys(dims), data, attrs: { unit: "logit", quantity: "effect" } };
  const { panels, limit, notes } = layPanels(
    dataset({ attrs: { method: "activation-patching" }, dims, coords: {}, dataVars: { pattern } }),
  );
  expect(panels.map(({ title }) => title)).toHaveLength(16);
  expect(panels.flatMap(({ cells }) => cells).length).toBeLessThanOrEqual(50_000);
  expect([limit, notes.length]).toEqual([5, 2]);
  const strong = panels.flatMap(({ title, x, y, cells }) =>
    cells
      .filter(({ effect }) => effect !== 0)
      .map((cell) => [title, y?.labels[cell.y]?.label, x.labels[cell.x]?.label, cell.effect]),
  );
  expect(strong).toEqual([
    ["pattern, layer 0, head 3", 100, 99, -5],
    ["pattern, layer 2, head 1", 255, 17, 3],
  ]);
});

import { expect, test } from "vitest";
import { nodeSha256 } from "./byte-source.node.ts";
import { memorySource } from "./byte-source.ts";
import { openSafetensors } from "./safetensors.ts";
import { encodeSafetensors } from "./safetensors-encode.ts";

test("what is written reads back: names, shapes and every bit", async () => {
  const tensors = {
    noise: { shape: [2, 3, 1], data: Float32Array.of(1, -0, 3e-45, 3.4e38, -1e-9, 7) },
    "größe ☃": { shape: [1], data: Float32Array.of(0.1) },
  };
  const source = await openSafetensors(memorySource("made", encodeSafetensors(tensors), nodeSha256));
  const read = await source.read(Object.keys(tensors));
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    expect(read.get(name)?.shape).toEqual(shape);
    expect(read.get(name)?.data).toEqual(data);
  }
});

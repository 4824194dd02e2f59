/** @file Tensors to the bytes of a safetensors file. */
import type { Tensor } from "../../core/tensor.ts";

/** One file with float32 tensors, in the order given. */
export function encodeSafetensors(tensors: Readonly<Record<string, Tensor<Float32Array>>>): Uint8Array {
  const header: Record<string, unknown> = {};
  let offset = 0;
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  // Escapes keep the header in ASCII, whatever the names.
  const text = JSON.stringify(header).replace(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  const json = Uint8Array.from(text, (character) => character.charCodeAt(0));
  const padded = json.length + (-json.length & 7); // data begin at a multiple of 8
  const bytes = new Uint8Array(8 + padded + offset).fill(0x20, 8, 8 + padded);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(padded), true);
  bytes.set(json, 8);
  let at = 8 + padded;
  for (const { data } of Object.values(tensors)) {
    for (const value of data) {
      view.setFloat32(at, value, true);
      at += 4;
    }
  }
  return bytes;
}

/** @file Dense row-major tensors: plain data, so that they can be sent to workers and the page. */

export type FloatArray = Float32Array | Float64Array;
export type TensorData = FloatArray | Int32Array;

/** A dense tensor in row-major order: the last axis is contiguous. */
export interface Tensor<D extends TensorData = TensorData> {
  readonly shape: readonly number[];
  readonly data: D;
}

/** Number of elements of a shape; 1 for a scalar. */
export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const dim of shape) size *= dim;
  return size;
}

/** Wraps data as a tensor after checking that the shape holds exactly that many elements. */
export function tensor<D extends TensorData>(data: D, shape: readonly number[]): Tensor<D> {
  if (sizeOf(shape) !== data.length) {
    throw new RangeError(
      `shape [${shape.join(", ")}] holds ${sizeOf(shape)} elements, the data has ${data.length}`,
    );
  }
  return { shape, data };
}

/** @file How far apart two arrays are. */

import { expect } from "vitest";

/** ‖found − wanted‖ / ‖wanted‖. */
export function relativeGap(found: ArrayLike<number>, wanted: ArrayLike<number>): number {
  expect(found.length).toBe(wanted.length);
  let gap = 0;
  let size = 0;
  for (let i = 0; i < wanted.length; i++) {
    gap += (found[i] - wanted[i]) ** 2;
    size += wanted[i] ** 2;
  }
  return Math.sqrt(gap / size);
}

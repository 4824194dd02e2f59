/** @file A clock for durations. */

/** Every runtime that crosspatch runs in has this; it is declared here because portable code sees neither Node's nor the browser's types. */
declare const performance: { now(): number };

/** Milliseconds since some fixed moment, with fractions. */
export function milliseconds(): number {
  return performance.now();
}

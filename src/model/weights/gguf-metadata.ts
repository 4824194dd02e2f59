/** @file Reads one architecture's metadata; what is missing, of another type or unknown becomes a fault. */

import type { Fault } from "../../core/errors.ts";
import type { GgufValue } from "./gguf-types.ts";

export interface MetadataReader {
  /** A whole number of at least 1, which has to be there. */
  count(key: string): number;
  /** A whole number of at least 1, or `otherwise` where the key is absent. */
  optionalCount(key: string, otherwise: number): number;
  /** A finite number above 0, which has to be there. */
  positive(key: string): number;
  /** A finite number above 0, or `otherwise` where the key is absent. */
  optionalPositive<T>(key: string, otherwise: T): number | T;
  /** A boolean, or `otherwise` where the key is absent. */
  flag(key: string, otherwise: boolean): boolean;
  /** A text, or `otherwise` where the key is absent. */
  text(key: string, otherwise: string): string;
  /** Accepts the key with this value, or none, as it then changes nothing. */
  allowOnly(key: string, wanted: GgufValue): void;
  /** Accepts the key whatever its value, as it changes no computation. */
  ignore(key: string): void;
  fault(key: string, found: string, wanted: string): void;
  /** All faults, with one for each key of the architecture that was not asked for. */
  faults(): readonly Fault[];
}

/** A reader of the keys that start with `${architecture}.`; keys are given without that prefix. */
export function metadataReader(
  file: string,
  metadata: ReadonlyMap<string, GgufValue>,
  architecture: string,
): MetadataReader {
  const faults: Fault[] = [];
  const asked = new Set<string>();
  const get = (key: string): GgufValue | undefined => {
    const full = `${architecture}.${key}`;
    asked.add(full);
    return metadata.get(full);
  };
  const fault = (key: string, found: string, wanted: string): void => {
    faults.push({ where: `${file}: ${architecture}.${key}`, found, wanted });
  };
  const show = (value: GgufValue | undefined): string =>
    value === undefined
      ? "nothing"
      : Array.isArray(value)
        ? `a list of ${value.length}`
        : JSON.stringify(String(value)).slice(0, 80);

  /** A value that passes `test`, or `otherwise` where the key is absent; a fault and `fallback` where neither is to be had. */
  function checked<T extends GgufValue, O>(
    key: string,
    check: { readonly test: (value: GgufValue) => value is T; readonly wanted: string; readonly fallback: T },
    otherwise?: { readonly value: O },
  ): T | O {
    const value = get(key);
    if (value === undefined && otherwise !== undefined) return otherwise.value;
    if (value !== undefined && check.test(value)) return value;
    fault(key, show(value), check.wanted);
    return check.fallback;
  }
  const COUNT = {
    test: (value: GgufValue): value is number => Number.isSafeInteger(value) && (value as number) >= 1,
    wanted: "a whole number of at least 1",
    fallback: 1,
  };
  const POSITIVE = {
    test: (value: GgufValue): value is number => Number.isFinite(value) && (value as number) > 0,
    wanted: "a number above 0",
    fallback: 1,
  };
  const FLAG = {
    test: (value: GgufValue): value is boolean => typeof value === "boolean",
    wanted: "true or false",
    fallback: false,
  };
  const TEXT = {
    test: (value: GgufValue): value is string => typeof value === "string",
    wanted: "a text",
    fallback: "",
  };

  return {
    count: (key) => checked(key, COUNT),
    optionalCount: (key, otherwise) => checked(key, COUNT, { value: otherwise }),
    positive: (key) => checked(key, POSITIVE),
    optionalPositive: (key, otherwise) => checked(key, POSITIVE, { value: otherwise }),
    flag: (key, otherwise) => checked(key, FLAG, { value: otherwise }),
    text: (key, otherwise) => checked(key, TEXT, { value: otherwise }),
    allowOnly(key, wanted) {
      const value = get(key);
      if (value !== undefined && value !== wanted) fault(key, show(value), `${show(wanted)}, or nothing`);
    },
    ignore: (key) => void get(key),
    fault,
    faults() {
      const unknown = [...metadata.keys()].filter(
        (key) => key.startsWith(`${architecture}.`) && !asked.has(key),
      );
      return [
        ...faults,
        ...unknown.map((key) => ({
          where: `${file}: ${key}`,
          found: show(metadata.get(key)),
          wanted: "keys whose effect on the computation is known",
          fix: "This variant is not supported yet.",
        })),
      ];
    },
  };
}

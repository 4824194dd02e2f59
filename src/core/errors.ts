/** @file The one error type for bad input. */

/** One thing that is wrong with what the user gave: where it is, what was found, what was wanted, what to do. */
export interface Fault {
  /** File, option or site, e.g. `pairs.jsonl:3` or `--site`. */
  readonly where: string;
  readonly found: string;
  readonly wanted: string;
  /** The next step, as an imperative sentence. */
  readonly fix?: string;
}

/** Formats a fault as one line: `where: found …; wanted …. Fix.` */
export function formatFault(fault: Fault): string {
  const fix = fault.fix === undefined ? "" : ` ${fault.fix}`;
  return `${fault.where}: found ${fault.found}; wanted ${fault.wanted}.${fix}`;
}

/** Most lines of one message: enough to see a pattern; a hostile file has faults for more text than a string holds. */
const MAX_SHOWN = 100;

function formatFaults(faults: readonly Fault[]): string {
  const lines = faults.slice(0, MAX_SHOWN).map(formatFault);
  const more = faults.length - lines.length;
  return [...lines, ...(more > 0 ? [`and ${more} more faults`] : [])].join("\n");
}

/**
 * Bad input, with every fault at once; of very many, the message has the first. The command line prints the message
 * and exits with status 2; anything else that is thrown is a defect of crosspatch or of the machine and exits with 1.
 */
export class InputError extends Error {
  readonly faults: readonly Fault[];

  constructor(faults: readonly Fault[]) {
    super(formatFaults(faults));
    this.name = "InputError";
    this.faults = faults;
  }
}

/** Throws an {@link InputError} if there is any fault. */
export function refuse(faults: readonly Fault[]): void {
  if (faults.length > 0) throw new InputError(faults);
}

/** Faults of the same place that want the same are one, with each thing found named once: a list of names is given once. */
export function merged(faults: readonly Fault[]): Fault[] {
  const groups = new Map<string, { readonly first: Fault; readonly found: Set<string> }>();
  for (const fault of faults) {
    const key = JSON.stringify([fault.where, fault.wanted, fault.fix]);
    const group = groups.get(key) ?? { first: fault, found: new Set() };
    groups.set(key, group);
    group.found.add(fault.found);
  }
  return [...groups.values()].map(({ first, found }) => ({ ...first, found: [...found].join(", ") }));
}

/** Runs a step; bad input that it refuses joins the faults, each once, and any other error goes on. */
export function gather<T>(faults: Fault[], step: () => T): T | undefined {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const known = new Set(faults.map(formatFault));
    for (const fault of error.faults) {
      if (!known.has(formatFault(fault))) faults.push(fault);
      known.add(formatFault(fault));
    }
    return undefined;
  }
}

/** Shorthand for an {@link InputError} with a single fault. */
export function inputError(where: string, found: string, wanted: string, fix?: string): InputError {
  return new InputError([fix === undefined ? { where, found, wanted } : { where, found, wanted, fix }]);
}

/** @file What the command line needs of its surroundings, so that tests can be those. */

/** Somewhere text goes: a stream of the process, or a list. */
export interface Sink {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

export interface Io {
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Runs what must not be interrupted half-way: an interruption waits for its end. */
  readonly uninterrupted: <T>(work: () => Promise<T>) => Promise<T>;
  /** What to say, in one line, if the process is interrupted from here on. */
  readonly onInterruption?: ((words: () => string) => void) | undefined;
}

const DEFAULT_COLUMNS = 80;
const MIN_COLUMNS = 20; // narrower than this no table can be read

/** Columns of the terminal that a sink is; `COLUMNS`, else 80, where it is none. */
export function columnsOf({ columns }: Sink, env: Io["env"]): number {
  const told = columns ?? Number(env.COLUMNS);
  return Number.isInteger(told) && told >= MIN_COLUMNS ? told : DEFAULT_COLUMNS;
}

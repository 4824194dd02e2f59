/** @file The command line as a function, for tests. */
import { main } from "./main.ts";

export interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line with surroundings of its own: no terminal, no environment. */
export async function crosspatch(...argv: readonly string[]): Promise<Ended> {
  const written = { stdout: "", stderr: "" };
  const sink = (name: keyof typeof written) => ({
    write(text: string) {
      written[name] += text;
    },
  });
  const status = await main(argv, {
    stdout: sink("stdout"),
    stderr: sink("stderr"),
    env: {},
    uninterrupted: (work) => work(),
  });
  return { status, ...written };
}

/** The pair of the documentation's example, as options. */
export const EXAMPLE: readonly string[] = [
  ...["--clean", "When Mary and John went to the store, John gave a drink to"],
  ...["--corrupt", "When Mary and John went to the store, Mary gave a drink to"],
  ...["--answer", " Mary", "--foil", " John"],
];

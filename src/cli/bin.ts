#!/usr/bin/env node
/** @file The executable: the process as surroundings of the command line. */
import { main } from "./main.ts";

const INTERRUPTED = 130; // 128 + SIGINT

let held = 0;
let interrupted = false;
let atInterruption = (): string => "interrupted";

// Nothing is on disk but whole files, and logs of which half a record does not count: an interruption can end the
// process wherever it is, except in the making of files.
process.on("SIGINT", () => {
  if (process.stderr.isTTY) process.stderr.write("\u001b[?25h"); // a progress bar hides the cursor
  process.stderr.write(`\n${atInterruption()}\n`);
  interrupted = true;
  if (held === 0) process.exit(INTERRUPTED);
});

// A reader that has seen enough, such as `head`, is no fault.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  process.exit(error.code === "EPIPE" ? 0 : 1);
});

process.exitCode = await main(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  onInterruption(words) {
    atInterruption = words;
  },
  async uninterrupted(work) {
    held++;
    try {
      return await work();
    } finally {
      held--;
      if (interrupted) process.exit(INTERRUPTED);
    }
  },
});

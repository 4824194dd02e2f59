/** @file Progress on standard error: a bar with rate and time left in a terminal, a line now and then elsewhere. */
import cliProgress from "cli-progress";
import { duration } from "../job/cost.ts";
import type { Sink } from "./io.ts";

/** Where there is no terminal: often enough to see life, seldom enough for a log. */
const LINE_INTERVAL_MS = 30_000;
/** A bar that appears only to vanish is noise. */
const BAR_DELAY_MS = 400;

export interface Progress {
  update(done: number, total: number): void;
  stop(): void;
}

const NO_PROGRESS: Progress = { update: () => {}, stop: () => {} };

export interface ProgressOptions {
  readonly label: string;
  readonly quiet: boolean;
  /** A count in words, e.g. bytes as `1.2 GB`. */
  readonly format?: (count: number) => string;
}

/** Shows how far a piece of work is. */
export function progress(stderr: Sink, options: ProgressOptions): Progress {
  if (options.quiet) return NO_PROGRESS;
  return stderr.isTTY === true ? bar(stderr, options) : lines(stderr, options);
}

/** Rate and time left from what was done since the first report: what was there by then took none of this time. */
function pace(): (done: number, total: number) => { readonly rate: number; readonly left: number } {
  let first: { readonly done: number; readonly at: number } | undefined;
  return (done, total) => {
    const now = performance.now();
    first ??= { done, at: now };
    const rate = (done - first.done) / Math.max((now - first.at) / 1000, 1e-3);
    return { rate, left: (total - done) / rate };
  };
}

function bar(stderr: Sink, { label, format = String }: ProgressOptions): Progress {
  const started = performance.now();
  const paceOf = pace();
  let shown: cliProgress.SingleBar | undefined;
  return {
    update(done, total) {
      const { rate, left } = paceOf(done, total);
      const words = {
        count: `${format(Math.floor(done))} of ${format(total)}`,
        rate: format(rate < 10 ? Math.round(rate * 10) / 10 : Math.round(rate)),
        left: duration(left),
      };
      if (shown !== undefined) shown.update(done, words);
      else if (performance.now() - started >= BAR_DELAY_MS && done < total) {
        shown = new cliProgress.SingleBar({
          stream: stderr as unknown as NodeJS.WritableStream,
          format: `${label} {bar} {percentage} % · {count} · {rate}/s · {left} left`,
          barCompleteChar: "█",
          barIncompleteChar: "░",
          barsize: 24,
          hideCursor: true,
          clearOnComplete: true,
        });
        shown.start(total, done, words);
      }
    },
    stop: () => shown?.stop(),
  };
}

function lines(stderr: Sink, { label, format = String }: ProgressOptions): Progress {
  const paceOf = pace();
  let last = performance.now();
  return {
    update(done, total) {
      const now = performance.now();
      const { left } = paceOf(done, total);
      if (now - last < LINE_INTERVAL_MS || done >= total) return;
      last = now;
      stderr.write(`${label}: ${format(Math.floor(done))} of ${format(total)}, ${duration(left)} left\n`);
    },
    stop: () => {},
  };
}

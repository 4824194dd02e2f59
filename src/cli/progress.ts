/** @file Progress on standard error: a bar with rate and time left in a terminal, a line now and then elsewhere. */
import cliProgress from "cli-progress";
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

function bar(stderr: Sink, { label, format = String }: ProgressOptions): Progress {
  const started = performance.now();
  let shown: cliProgress.SingleBar | undefined;
  return {
    update(done, total) {
      const seconds = (performance.now() - started) / 1000;
      const rate = done / Math.max(seconds, 1e-3);
      const words = {
        count: `${format(Math.floor(done))} of ${format(total)}`,
        rate: format(rate < 10 ? Math.round(rate * 10) / 10 : Math.round(rate)),
        left: duration((total - done) / rate),
      };
      if (shown !== undefined) shown.update(done, words);
      else if (seconds * 1000 >= BAR_DELAY_MS && done < total) {
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
  const started = performance.now();
  let last = started;
  return {
    update(done, total) {
      const now = performance.now();
      if (now - last < LINE_INTERVAL_MS || done >= total) return;
      last = now;
      const left = (((now - started) / 1000) * (total - done)) / done;
      stderr.write(`${label}: ${format(Math.floor(done))} of ${format(total)}, ${duration(left)} left\n`);
    },
    stop: () => {},
  };
}

/** `8 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "unknown time";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** @file The largest resident set of this process. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";

/** Makes the largest resident set start anew, where the system can; Linux can. */
export function forgetPeak(): void {
  if (existsSync("/proc/self/clear_refs")) writeFileSync("/proc/self/clear_refs", "5");
}

/** Linux counts to a new process's largest resident set what its parent held when it was started; its memory's own mark does not. */
export function peakResidentBytes(): number {
  const status = existsSync("/proc/self/status") ? readFileSync("/proc/self/status", "utf8") : "";
  const [, kilobytes] = /^VmHWM:\s+(\d+) kB$/m.exec(status) ?? [];
  return 1024 * Number(kilobytes ?? process.resourceUsage().maxRSS);
}

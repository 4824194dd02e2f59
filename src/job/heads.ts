/** @file Heads as users name them: layer and index, such as 9.6. */
import type { HeadName } from "../method/backups.ts";

/** Names that {@link headNamed} can read. */
export const HEAD_PATTERN: RegExp = /^\d{1,5}\.\d{1,5}$/;

/** The head of a name. */
export function headNamed(name: string): HeadName {
  const [layer = 0, head = 0] = name.split(".").map(Number);
  return { layer, head };
}

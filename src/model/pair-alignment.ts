/** @file Two token lists laid out one above the other, to show where they part. */

/** Cells of the edit-distance table: 1,000 × 1,000 differing tokens, 4 MB. Beyond it the lists are laid side by side. */
const MAX_TABLE_CELLS = 1_000_000;
/** Equal tokens kept on each side of a difference. */
const CONTEXT = 4;
/** Columns shown in all: about two lines of a terminal. */
const MAX_COLUMNS = 24;

/** A column of the layout; `undefined` is a gap. */
type Column = readonly [top: string | undefined, bottom: string | undefined];

/**
 * Renders two lists of token texts as two lines, tokens that belong together in one column:
 *
 *     clean   | When| Mary| and| John|     | went|
 *     corrupt | When| Mary| and| Jon |athan| went|
 */
export function renderAlignment(clean: readonly string[], corrupt: readonly string[]): string {
  const columns = shorten(align(clean, corrupt));
  const line = (label: string, row: 0 | 1): string => {
    const cells = columns.map((column) =>
      visible(column[row]).padEnd(Math.max(...column.map((c) => visible(c).length))),
    );
    return `    ${label} |${cells.join("|")}|`;
  };
  return `${line("clean  ", 0)}\n${line("corrupt", 1)}`;
}

/** Pairs up two lists with the fewest insertions, deletions and replacements (Wagner & Fischer 1974). */
export function align(top: readonly string[], bottom: readonly string[]): Column[] {
  let start = 0;
  while (start < top.length && start < bottom.length && top[start] === bottom[start]) start++;
  let end = 0;
  const most = Math.min(top.length, bottom.length) - start;
  while (end < most && top[top.length - 1 - end] === bottom[bottom.length - 1 - end]) end++;

  const head = top.slice(0, start).map((piece): Column => [piece, piece]);
  const tail = top.slice(top.length - end).map((piece): Column => [piece, piece]);
  const middle = alignMiddle(top.slice(start, top.length - end), bottom.slice(start, bottom.length - end));
  return [...head, ...middle, ...tail];
}

function alignMiddle(top: readonly string[], bottom: readonly string[]): Column[] {
  const width = bottom.length + 1;
  if ((top.length + 1) * width > MAX_TABLE_CELLS) {
    return Array.from({ length: Math.max(top.length, bottom.length) }, (_, i): Column => [top[i], bottom[i]]);
  }
  // cost(i, j): fewest edits that turn the first i of `top` into the first j of `bottom`.
  const costs = new Int32Array((top.length + 1) * width);
  const cost = (i: number, j: number): number =>
    i < 0 || j < 0 ? Infinity : (costs[i * width + j] ?? Infinity);
  const replaced = (i: number, j: number): number =>
    cost(i - 1, j - 1) + (top[i - 1] === bottom[j - 1] ? 0 : 1);
  for (let i = 0; i <= top.length; i++) {
    for (let j = 0; j < width; j++) {
      if (i + j > 0) costs[i * width + j] = Math.min(replaced(i, j), cost(i - 1, j) + 1, cost(i, j - 1) + 1);
    }
  }
  const columns: Column[] = [];
  let i = top.length;
  let j = bottom.length;
  while (i + j > 0) {
    if (cost(i, j) === cost(i - 1, j) + 1) columns.push([top[--i], undefined]);
    else if (cost(i, j) === cost(i, j - 1) + 1) columns.push([undefined, bottom[--j]]);
    else columns.push([top[--i], bottom[--j]]);
  }
  return columns.reverse();
}

/** Keeps the columns near a difference and puts `…` for the others. */
function shorten(columns: readonly Column[]): Column[] {
  const near = columns.map((_, i) =>
    columns.slice(Math.max(0, i - CONTEXT), i + CONTEXT + 1).some(([top, bottom]) => top !== bottom),
  );
  const kept: Column[] = [];
  for (const [i, column] of columns.entries()) {
    if (kept.length === MAX_COLUMNS) return [...kept, ["…", "…"]];
    if (near[i] === true) kept.push(column);
    else if (i === 0 || near[i - 1] === true) kept.push(["…", "…"]);
  }
  return kept;
}

/** A token's text with line breaks and the like spelled out, so that it stays in its cell. */
function visible(piece: string | undefined): string {
  // JSON's escapes, without the quotes around and the backslash before a quote inside.
  return piece === undefined ? "" : JSON.stringify(piece).slice(1, -1).replaceAll('\\"', '"');
}

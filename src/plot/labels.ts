/** @file Labels that people can read: tokens with their whitespace visible, cut to a width. */
import { type Label, labelsOf } from "../result/cells.ts";
import type { Dataset, Variable } from "../result/result.ts";

const marks: Readonly<Record<string, string>> = { " ": "␣", "\n": "↵", "\r": "␍", "\t": "⇥" };

/**
 * A token with every character visible: spaces as ␣, line ends as ↵, and control, format and other invisible
 * characters as `\u{…}`, so that a token can neither hide nor drive a terminal.
 */
export function visible(text: string): string {
  if (text === "") return "∅";
  return text.replace(
    /[\p{Z}\p{C}]/gu,
    (character) => marks[character] ?? `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
}

/** Columns that a text takes in a terminal: East Asian wide characters and emoji two, combining marks none. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) {
    if (/\p{M}/u.test(character)) continue;
    const isWide =
      /[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\p{Emoji_Presentation}\u3000-\u303f\uff01-\uff60]/u;
    width += isWide.test(character) ? 2 : 1;
  }
  return width;
}

/** The text, or its beginning and `…`, in at most `width` terminal columns. */
export function truncate(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  let kept = "";
  for (const character of text) {
    if (displayWidth(kept + character) > width - 1) break;
    kept += character;
  }
  return width > 0 ? `${kept}…` : "";
}

/** The text with spaces after it, or before it, up to `width` terminal columns. */
export function pad(text: string, width: number, side: "left" | "right" = "right"): string {
  const space = " ".repeat(Math.max(0, width - displayWidth(text)));
  return side === "right" ? text + space : space + text;
}

/** What a label of a dim stands for: the tokens at a position or rank. */
export interface NamedLabel {
  readonly label: Label;
  /** Visible forms of the tokens: one, or clean and corrupt where they differ; empty where the dim has none. */
  readonly tokens: readonly string[];
}

/** The labels of a dim with their tokens. `src` and `dst` are positions, so they share the tokens of `pos`. */
export function namedLabels(dataset: Dataset, dim: string): NamedLabel[] {
  const labels = labelsOf(dataset, dim);
  const tokens = tokenCoords(dataset, dim, labels.length);
  return labels.map((label, index) => {
    const texts = tokens.map(({ data }) => visible(String(data[index] ?? "")));
    return { label, tokens: [...new Set(texts)] };
  });
}

function tokenCoords(dataset: Dataset, dim: string, size: number): Variable[] {
  const over = (wanted: string) =>
    ["token_clean", "token_corrupt", "token"].flatMap((name) => {
      const coordinate = Object.hasOwn(dataset.coords, name) ? dataset.coords[name] : undefined;
      return coordinate?.dims.join() === wanted && coordinate.data.length === size ? [coordinate] : [];
    });
  const own = over(dim);
  return own.length === 0 && (dim === "src" || dim === "dst") ? over("pos") : own;
}

/** `4: ␣Mary`, `9: ␣John / ␣Mary` where clean and corrupt differ, `4` without tokens. */
export function labelText({ label, tokens }: NamedLabel): string {
  const text = typeof label === "string" ? visible(label) : String(label);
  return tokens.length === 0 ? text : `${text}: ${tokens.join(" / ")}`;
}

const NUMBER = /^[^\p{L}\d]*\d[\d.,e+-]*$/u;
const UNIT = /^(?:%|logits?|nats?|bits?|s|ms|[kMG]B)[.,;:)]*$/;

/** Breaks a text at spaces into lines of at most `width` characters, where its words allow; a number keeps its unit. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of unbroken(text)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** The words of a text, numbers with their units as one. */
function unbroken(text: string): string[] {
  const words: string[] = [];
  for (const word of text.split(" ")) {
    const last = words.at(-1);
    if (last !== undefined && NUMBER.test(last) && UNIT.test(word))
      words[words.length - 1] = `${last} ${word}`;
    else words.push(word);
  }
  return words;
}

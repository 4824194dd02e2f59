/** @file What there is to say of an option: how it is read, and what help says of it. */
import type { z } from "zod";
import type { Fault } from "../../core/errors.ts";

/** Headings of help, and with them what the options of all commands are about. */
export const headings = {
  prompts: "Prompts (text counts exactly as typed, leading spaces too):",
  cells: "What is patched:",
  values: "What is put in:",
  measure: "What is measured:",
  estimate: "How effects are estimated:",
  circuit: "Which edges make the circuit:",
  variant: "What is noised and restored:",
  corrupted: "How the tokens that differ are corrupted:",
  split: "What is split:",
  machine: "Machine:",
  output: "Output (the terminal, where none of these is given):",
} as const;

export interface OptionEntry<T> {
  /** What it may be; an issue's message is the `wanted` of its fault. */
  readonly read: z.ZodType<T>;
  /** What it takes on a command line, e.g. `<text>`; a switch if absent. */
  readonly takes?: string;
  /** One line, with the default. */
  readonly help: string;
  readonly under: keyof typeof headings;
  /** A file, or a directory of files: paths of experiments are taken from where the experiment is. */
  readonly file?: "read" | "written";
  /** May be given more than once. */
  readonly repeatable?: true;
  /** `--no-x` beside `--x`, or alone where switching off is all there is. */
  readonly negation?: "also" | "only";
}

/** Every option of `T`, complete by type, in the order of help. */
export type OptionTable<T> = { readonly [K in keyof T]-?: OptionEntry<NonNullable<T[K]>> };

/** What is wrong with one option, before it is known how the user gave it. */
export type OptionFault = Omit<Fault, "where"> & { readonly option: string };

/** The options of a command. */
export interface CommandOptions<T> {
  readonly table: OptionTable<T>;
  /** What single options cannot tell: those that need another, or exclude it. */
  readonly together: (options: T) => readonly OptionFault[];
}

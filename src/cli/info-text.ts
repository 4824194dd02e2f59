/** @file A model's description for the terminal. */
import { formatBytes, formatFlops } from "../job/cost.ts";
import type { ModelInfo } from "../job/info.ts";
import { visible, wrap } from "../plot/labels.ts";
import { table } from "../plot/table.ts";

const LABEL_COLUMNS = 14;

/** Sizes, tokenizer, sites with their shapes, and what a sweep costs. */
export function formatInfo(info: ModelInfo, columns: number): string {
  const { tokenizer, sweep } = info;
  const count = (value: number): string => value.toLocaleString("en-US");
  const token = ({ id, text }: { readonly id: number; readonly text: string }): string =>
    `${visible(text)} (${id})`;
  const heads =
    info.kv_heads === info.heads
      ? `${info.heads} heads`
      : `${info.heads} heads, ${info.kv_heads} for keys and values`;
  const rows: [string, string][] = [
    ["architecture", info.architecture],
    [
      "size",
      `${info.layers} layers · width ${info.d_model} · ${heads} of ${info.d_head} · MLP ${info.d_mlp}`,
    ],
    ["attention", info.causal ? "causal" : "in both directions"],
    ["positions", count(info.max_positions)],
    ["parameters", `${count(info.parameters)} · ${formatBytes(info.float32_bytes)} as float32`],
    ["stored as", info.stored_dtype],
    ["vocabulary", `${count(info.vocabulary)} logits, ${count(tokenizer.size)} tokens`],
    [
      "BOS",
      tokenizer.bos === null
        ? "none"
        : `${token(tokenizer.bos)}, ${tokenizer.adds_bos ? "added by default" : "not added by default"}`,
    ],
    ["EOS", tokenizer.eos.length === 0 ? "none" : tokenizer.eos.map(token).join(", ")],
  ];
  const sites = table(
    [{ title: "site", label: "name" }, { title: "axes" }, { title: `shape for ${info.tokens} tokens` }],
    Object.entries(info.sites).map(([name, { axes, shape }]) => [name, axes.join(" × "), shape.join(" × ")]),
    columns,
  );
  const revision = info.revision === undefined ? "" : ` @ ${info.revision}`;
  const lines = [
    `${info.model}${revision}`,
    "",
    ...rows.flatMap(([label, text]) =>
      wrap(text, columns - LABEL_COLUMNS).map(
        (line, index) => (index === 0 ? label : "").padEnd(LABEL_COLUMNS) + line,
      ),
    ),
    "",
    ...sites,
    "",
    ...wrap(
      `Patching resid_pre at every layer and position of ${info.tokens} tokens: ${count(sweep.cells)} cells, ` +
        `${formatFlops(sweep.flops)}; by one whole forward pass a cell, ${formatFlops(sweep.whole_pass_flops)}.`,
      columns,
    ),
  ];
  return `${lines.join("\n")}\n`;
}

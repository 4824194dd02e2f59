/** @file A program as text: read by people, compared by tests, and the key under which compiled sessions are kept. */

import type { AnyNode, Program, Value } from "./program.ts";

function attributes(node: AnyNode): string {
  const entries = Object.entries(node.attrs).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
  return entries.length === 0 ? "" : ` {${entries.join(", ")}}`;
}

/**
 * One line an input (`name [dims] kind`), a node (`%n = op(args) {attrs} : [dims]  ; sites`) and an output.
 * Two programs with the same text compute the same thing.
 */
export function print(program: Program): string {
  const names = new Map<Value, string[]>();
  for (const [site, value] of program.sites) names.set(value, [...(names.get(value) ?? []), site]);
  const label = (value: Value): string => {
    const sites = (names.get(value) ?? []).filter((site) => site !== value);
    return sites.length === 0 ? "" : `  ; ${sites.join(", ")}`;
  };
  const dims = (value: Value): string => `[${(program.shapes.get(value) ?? []).join(", ")}]`;
  return [
    ...program.inputs.map(
      (input) => `${input.name} ${dims(input.name)} ${input.role.kind}${label(input.name)}`,
    ),
    ...program.nodes.map(
      (node) =>
        `${node.out} = ${node.op}(${node.args.join(", ")})${attributes(node)} : ${dims(node.out)}${label(node.out)}`,
    ),
    `return ${program.outputs.join(", ")}`,
  ].join("\n");
}

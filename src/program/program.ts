/** @file A program: operations between named sites, in an order in which they can run. */

import type { OpAttrs, OpName, Shape } from "./ops.ts";
import { inferShape } from "./ops.ts";

/** Name of a value inside one program: an input's own name, or `%n`. */
export type Value = string;

export interface Node<K extends OpName = OpName> {
  readonly op: K;
  readonly args: readonly Value[];
  readonly attrs: OpAttrs[K];
  readonly out: Value;
}

/** A node of any operation, as a union that narrows by `op`. */
export type AnyNode = { [K in OpName]: Node<K> }[OpName];

/**
 * The part of a stored tensor that a weight input is: from every `period` entries along `axis`, the `length`
 * that begin at `offset`. This is how fused projections are taken apart (GPT-2: columns; GPT-NeoX: rows per head).
 */
export interface Take {
  readonly axis: 0 | 1;
  readonly offset: number;
  readonly length: number;
  readonly period: number;
}

export type Role =
  /** An activation: a site of this or the previous block. */
  | { readonly kind: "state" }
  /** What depends on positions only: rotary tables, the attention mask, ids. */
  | { readonly kind: "context"; readonly dtype: "float" | "int" }
  /** A parameter: the stored tensor's name without the layer's prefix, its stored shape, and the part taken. */
  | {
      readonly kind: "weight";
      readonly tensor: string;
      readonly stored: readonly number[];
      readonly take?: Take;
    };

export interface Input {
  readonly name: Value;
  readonly shape: Shape;
  readonly role: Role;
}

export interface Program {
  readonly inputs: readonly Input[];
  readonly nodes: readonly AnyNode[];
  /** Names that people ask about → values. Several names may mean one value. */
  readonly sites: ReadonlyMap<string, Value>;
  /** Sites that running the program returns. */
  readonly outputs: readonly string[];
  readonly shapes: ReadonlyMap<Value, Shape>;
}

/** The value of a site; an unknown name is a defect of the caller (user input is checked against the model's sites). */
export function valueOfSite(program: Program, site: string): Value {
  const value = program.sites.get(site);
  if (value === undefined) {
    throw new Error(`no site ${site}; this program has ${[...program.sites.keys()].join(", ")}`);
  }
  return value;
}

export function shapeOf(program: Program, value: Value): Shape {
  const shape = program.shapes.get(value);
  if (shape === undefined) throw new Error(`no value ${value} in the program`);
  return shape;
}

/** Writes a program one operation at a time; shapes are inferred and checked as it goes. */
export interface Builder {
  /** An activation that comes from outside; it is also a site. */
  state(name: string, shape: Shape): Value;
  context(name: string, shape: Shape, dtype?: "float" | "int"): Value;
  /** A parameter, named as stored (without the layer's prefix). */
  weight(tensor: string, stored: readonly number[], take?: Take): Value;
  op<K extends OpName>(op: K, args: readonly Value[], ...attrs: AttrsOf<K>): Value;
  /** Gives the value a name that can be captured, edited and cut at. */
  site(name: string, value: Value): Value;
  shape(value: Value): Shape;
  build(outputs: readonly string[]): Program;
}

/** Operations without attributes take none. */
type AttrsOf<K extends OpName> = OpAttrs[K] extends Record<string, never> ? [] : [OpAttrs[K]];

/** The shape of the part of a stored tensor that `take` selects. */
export function takenShape(stored: readonly number[], take: Take | undefined): readonly number[] {
  if (take === undefined) return stored;
  return stored.map((dim, axis) => (axis === take.axis ? (dim / take.period) * take.length : dim));
}

/** A builder of a new program, or of one that goes on where another (with its nodes numbered in order) ends. */
export function builder(start?: Program): Builder {
  const inputs = new Map<Value, Input>(start?.inputs.map((input) => [input.name, input]));
  const nodes: AnyNode[] = [...(start?.nodes ?? [])];
  const sites = new Map<string, Value>(start?.sites);
  const shapes = new Map<Value, Shape>(start?.shapes);

  const shape = (value: Value): Shape => {
    const found = shapes.get(value);
    if (found === undefined) throw new Error(`no value ${value} in the program`);
    return found;
  };
  const input = (name: Value, role: Role, dims: Shape): Value => {
    if (!inputs.has(name)) {
      inputs.set(name, { name, role, shape: dims });
      shapes.set(name, dims);
    }
    return name;
  };

  return {
    state(name, dims) {
      sites.set(name, name);
      return input(name, { kind: "state" }, dims);
    },
    context: (name, dims, dtype = "float") => input(name, { kind: "context", dtype }, dims),
    weight(tensor, stored, take) {
      const name = take === undefined ? tensor : `${tensor}[${take.offset}+${take.length}/${take.period}]`;
      const role: Role =
        take === undefined ? { kind: "weight", tensor, stored } : { kind: "weight", tensor, stored, take };
      return input(name, role, takenShape(stored, take));
    },
    op<K extends OpName>(op: K, args: readonly Value[], ...[attrs]: AttrsOf<K>): Value {
      const out = `%${nodes.length}`;
      const node = { op, args, attrs: attrs ?? {}, out } as AnyNode;
      shapes.set(out, inferNode(node, args.map(shape)));
      nodes.push(node);
      return out;
    },
    site(name, value) {
      if (sites.has(name)) throw new Error(`two sites are named ${name}`);
      sites.set(name, value);
      return value;
    },
    shape,
    build: (outputs) => ({ inputs: [...inputs.values()], nodes, sites, outputs, shapes }),
  };
}

/** Shape inference for a node of any operation. */
export function inferNode(node: AnyNode, args: readonly Shape[]): Shape {
  const rule = inferShape[node.op] as (args: readonly Shape[], attrs: AnyNode["attrs"]) => Shape;
  return rule(args, node.attrs);
}

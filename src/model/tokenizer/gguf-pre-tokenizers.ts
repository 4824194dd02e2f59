/**
 * @file What each name of `tokenizer.ggml.pre` stands for: patterns applied one after the other (what matches and
 * what lies between both stay), and settings that a GGUF leaves to the name.
 *
 * Source: llama.cpp, src/llama-vocab.cpp, `llm_tokenizer_bpe` (patterns) and `llama_vocab::impl::load` (names and
 * settings), with the case-insensitive groups of the checkpoints' tokenizer.json.
 */

import { GPT2_WORDS } from "./pre-tokenizers.ts";

export interface GgufPreTokenizer {
  readonly patterns: readonly string[];
  /** A word that is a token is taken whole. */
  readonly ignoreMerges: boolean;
  /** Whether BOS goes in front where the file does not say. */
  readonly addBos: boolean;
  /** NFC where the checkpoints' tokenizer.json has it; llama.cpp leaves it out. */
  readonly normalizer: "NFC" | undefined;
}

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const LLAMA3_TAIL = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const LLAMA3 = `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|${LLAMA3_TAIL}`;
const QWEN2 = `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|${LLAMA3_TAIL}`;

const plain = { ignoreMerges: false, addBos: false, normalizer: undefined };
const gpt2: GgufPreTokenizer = { ...plain, patterns: [GPT2_WORDS] };
const llama3: GgufPreTokenizer = { ...plain, patterns: [LLAMA3], ignoreMerges: true, addBos: true };
const digitsApart: GgufPreTokenizer = { ...plain, patterns: ["\\p{N}", GPT2_WORDS] };

/** By name; several names may stand for the same. */
export const ggufPreTokenizers: Readonly<Record<string, GgufPreTokenizer>> = {
  // Old files of many families; what llama.cpp does with a name that says no more.
  default: { ...plain, patterns: ["[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2_WORDS, "\\p{N}+", "[0-9][0-9][0-9]"] },
  "gpt-2": gpt2,
  "phi-2": gpt2,
  olmo: { ...gpt2, normalizer: "NFC" }, // GPT-NeoX, Pythia and OLMo share one tokenizer
  smollm: digitsApart,
  starcoder: digitsApart,
  "llama-bpe": llama3,
  "llama-v3": llama3,
  llama3,
  dbrx: { ...llama3, ignoreMerges: false, addBos: false },
  "smaug-bpe": { ...llama3, ignoreMerges: false, addBos: false },
  qwen2: { ...plain, patterns: [QWEN2], normalizer: "NFC" },
};

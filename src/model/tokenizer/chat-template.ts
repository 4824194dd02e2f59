/** @file Chat templates: Jinja programs that write a conversation the way a checkpoint was trained to read it. */

import { Template } from "@huggingface/jinja";
import { inputError } from "../../core/errors.ts";
import { MAX_TEMPLATE_LENGTH } from "./definition.ts";
import type { ChatMessage } from "./tokenizer.ts";

/** A template, the file and field it came from, and the special tokens it may name, e.g. `bos_token`. */
export interface ChatTemplate {
  readonly source: string;
  readonly where: string;
  readonly specialTokens: Readonly<Record<string, string>>;
}

/** Renders a conversation; what the template or its engine objects to becomes an InputError. */
export function renderChat(
  template: ChatTemplate | undefined,
  messages: readonly ChatMessage[],
  { addGenerationPrompt = false }: { readonly addGenerationPrompt?: boolean } = {},
): string {
  if (template === undefined)
    throw inputError(
      "chat template",
      "none",
      "a `chat_template` in tokenizer_config.json, a chat_template.jinja, or a GGUF's tokenizer.chat_template",
      "Give a plain prompt instead.",
    );
  const { source, where, specialTokens } = template;
  if (source.length > MAX_TEMPLATE_LENGTH)
    throw inputError(where, `${source.length} characters`, `at most ${MAX_TEMPLATE_LENGTH}`);
  try {
    return new Template(source).render({
      ...specialTokens,
      messages: messages.map(({ role, content }) => ({ role, content })),
      add_generation_prompt: addGenerationPrompt,
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw inputError(where, `a template that stops with "${reason}"`, "one that renders these messages");
  }
}

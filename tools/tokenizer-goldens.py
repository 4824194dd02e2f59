"""Writes test/goldens/tokenizer: small trained tokenizers and what Hugging Face and SentencePiece make of text.

    python tools/tokenizer-goldens.py [folder with SmolLM2-135M-Instruct.Q4_1.gguf]

Needs transformers (5.23), tokenizers and sentencepiece; goldens.json records the versions used. Everything is
seeded; the SmolLM2 table is left as it is when no folder is given.
"""

import json
import random
import sys
import tempfile
from pathlib import Path

import sentencepiece
import tokenizers
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

OUT = Path(__file__).resolve().parent.parent / "test" / "goldens" / "tokenizer"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
VERSIONS = {
    "python": sys.version.split()[0],
    "transformers": transformers.__version__,
    "tokenizers": tokenizers.__version__,
    "sentencepiece": sentencepiece.__version__,
}

TEXTS = [
    "",
    " ",
    "  ",
    "a",
    "Hello world",
    " Hello world",
    "  Hello   world  ",
    "Hello world ",
    "When Mary and John went to the store, John gave a drink to",
    "\n",
    "\n\n",
    " \n",
    "\r\n\r\nline\r\n",
    "line one\nline two\n\n\nline five",
    "tab\tand\u000bvertical\u000cform",
    "trailing newline \n",
    "   indented\n       code",
    "0123456789",
    "In 2024, 12,345.67 is 1e-5 of 10^9",
    " 7 8 9",
    "\u0661\u0662\u0663 \u00bd \u2460 \u216b",
    "I'm you're he'll they've it's I'd don't",
    "I'M YOU'RE HE'LL",
    "snake_case camelCase __init__ a.b.c",
    "!!! ??? ... --- ,,, ;;;",
    "(a)[b]{c}<d> $1 + 2 = 3 | ~x ^y `z`",
    "https://example.org/a?b=c&d=%20#e",
    "caf\u00e9 na\u00efve \u00fcber",
    "cafe\u0301 n\u0303",
    "\u0391\u03b8\u03ae\u03bd\u03b1 \u041c\u043e\u0441\u043a\u0432\u0430",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002",
    "\u3053\u3093\u306b\u3061\u306f \ud55c\uad6d\uc5b4",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "\U0001f600",
    " \U0001f600\U0001f600 ok",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd",
    "\u00a0non\u00a0breaking\u2003em\u3000wide",
    "\u0085next\u0085line \u2028 \u2029",
    "\ufeffbyte order mark\ufeff",
    "\u200bzero\u200bwidth",
    "\ufffd replacement",
    "\u2581lower \u2581 block\u2581",
    "\u0000null \u0001one \u007fdel",
    "\\backslash \\n \\x41 \"quotes\" 'single'",
    "<0x41> <0xE2><0x82>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "antidisestablishmentarianism",
    "the the the the",
    "\U0001d54f\U0001d550 \U00010348 \U000e0041",
    "\u01c5 \u01c8 \ufb01 \u00df \u0130",
    "a\u0300\u0301\u0302b",
    "price: \u20ac5 \u00a35 \u00a55",
    "\u2014 \u2013 \u2026 \u201cquoted\u201d",
    "x" * 40 + " " * 17 + "y",
]
SPECIAL_TEXTS = [
    "<|im_start|>user\nHi<|im_end|>",
    " <|im_start|> spaced <|im_end|> ",
    "<|endoftext|>",
    "a<|endoftext|><|endoftext|>b",
    "<|im_start",
    "<s>Hello</s> world<s>",
    "<s> Hello </s> ",
    "<unk> <pad>",
    "call <tool> now<tool>",
]


def corpus():
    """A few hundred lines of made text: sentences, numbers, code, several scripts."""
    rng = random.Random(20240229)
    names = ["Mary", "John", "Alice", "Robert", "Emma", "James", "Olivia", "Peter"]
    places = ["store", "school", "park", "office", "restaurant", "hospital", "station"]
    things = ["drink", "book", "basketball", "necklace", "computer", "letter"]
    foreign = ["caf\u00e9", "na\u00efve", "\u041c\u043e\u0441\u043a\u0432\u0430", "\u4f60\u597d", "\u4e16\u754c", "\U0001f600", "\u0391\u03b8\u03ae\u03bd\u03b1", "\u20ac"]
    lines = []
    for _ in range(160):
        a, b = rng.sample(names, 2)
        place, thing = rng.choice(places), rng.choice(things)
        lines.append(f"When {a} and {b} went to the {place}, {b} gave a {thing} to {a}.")
        lines.append(f"{a}'s {thing} isn't at the {place}; they've said it'll cost {rng.randint(1, 9999)} {rng.choice(foreign)}.")
        lines.append(f"    def {thing}_{place}(x, y):  return x + {rng.randint(0, 99)}")
    return lines


def save(name, tokenizer, config, texts, note):
    """The tokenizer's two files and cases.json: text -> ids, tokens by themselves, decoded text."""
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, indent=0) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n")
    fast = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    cases = []
    for text in texts:
        ids = fast.encode(text)
        plain = fast.encode(text, add_special_tokens=False)
        decoded = fast.decode(plain, skip_special_tokens=False, clean_up_tokenization_spaces=False) if plain else ""
        cases.append({"text": text, "ids": ids, "plain": plain, "decoded": decoded})
    chat = None
    if fast.chat_template:
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi \u20ac"}]
        chat = {
            "messages": messages,
            "text": fast.apply_chat_template(messages, tokenize=False),
            "prompted": fast.apply_chat_template(messages, tokenize=False, add_generation_prompt=True),
        }
    table = {"note": note, "versions": VERSIONS, "size": len(fast), "bos": fast.bos_token_id, "eos": fast.eos_token_id, "cases": cases, "chat": chat}
    write(folder / "cases.json", table)


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=True, indent=0) + "\n")


CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def byte_bpe():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=512, show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"]))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|endoftext|>", "eos_token": "<|im_end|>",
        "unk_token": "<|endoftext|>", "clean_up_tokenization_spaces": False, "chat_template": CHATML,
    }
    save("byte-bpe", t, config, TEXTS + SPECIAL_TEXTS, "byte-level BPE, GPT-2's words, BOS known but not added")


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def split_bpe():
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=480, show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=["<|begin_of_text|>", "<|endoftext|>"]))
    t.add_tokens([AddedToken("  ", normalized=False), AddedToken("<tool>", lstrip=True, rstrip=True, normalized=True)])
    t.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair=None, special_tokens=[("<|begin_of_text|>", 0)])])
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>", "eos_token": "<|endoftext|>", "clean_up_tokenization_spaces": False}
    save("split-bpe", t, config, TEXTS + SPECIAL_TEXTS, "byte-level BPE, Llama 3's words, NFC, BOS by the template, added tokens that strip")


def spm_bpe():
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    t.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    # Trained on words, as SentencePiece does; the alphabet is cut short so that rare characters become bytes.
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=560, show_progress=False, special_tokens=special, limit_alphabet=60))
    t.pre_tokenizer = None
    rebuilt = json.loads(t.to_str())
    rebuilt["added_tokens"] = [token for token in rebuilt["added_tokens"] if token["id"] < 3]
    t = Tokenizer.from_str(json.dumps(rebuilt))
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair=None, special_tokens=[("<s>", 1)])
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": {"content": "<s>", "__type": "AddedToken"}, "eos_token": "</s>",
        "unk_token": "<unk>", "add_bos_token": True, "add_eos_token": True, "clean_up_tokenization_spaces": False,
    }
    save("spm-bpe", t, config, TEXTS + SPECIAL_TEXTS, "SentencePiece-style BPE, byte fallback, prefix space, BOS and EOS by the settings")


def unigram():
    t = Tokenizer(models.Unigram())
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.decoder = decoders.Metaspace()
    t.train_from_iterator(corpus(), trainers.UnigramTrainer(
        vocab_size=300, show_progress=False, unk_token="<unk>", special_tokens=["<pad>", "</s>", "<unk>"]))
    t.post_processor = processors.TemplateProcessing(single="$A </s>", pair=None, special_tokens=[("</s>", 1)])
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "clean_up_tokenization_spaces": False}
    save("unigram", t, config, TEXTS + SPECIAL_TEXTS, "unigram, metaspace, EOS by the template, no BOS")


def components():
    """Every component type by itself: what it makes of text."""
    split_texts = [text for text in TEXTS[1::2] if text] + ["a-b--c", "-a-", "ab ba", "\u00bd1\u00b22", "x,y,,z", "_a_ $b"]
    behaviors = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
    p = pre_tokenizers
    steps = [p.Split(pattern, behavior, invert) for behavior in behaviors for invert in (False, True)
             for pattern in ("-", Regex(r"\s"), Regex(r"(a|b)+"), Regex(r"\p{N}|\p{Lu}"))]
    steps += [p.Punctuation(behavior) for behavior in behaviors]
    steps += [p.Digits(True), p.Digits(False), p.Whitespace(), p.WhitespaceSplit(), p.BertPreTokenizer(), p.CharDelimiterSplit(",")]
    steps += [p.ByteLevel(a, use_regex=b) for a in (True, False) for b in (True, False)]
    steps += [p.Metaspace("\u2581", scheme, s) for scheme in ("always", "first", "never") for s in (True, False)]
    steps += [p.Sequence([p.Digits(True), p.ByteLevel(True)]), p.Sequence([p.WhitespaceSplit(), p.Metaspace()])]

    def config_of(step, key):
        t = Tokenizer(models.WordLevel({"<unk>": 0}, "<unk>"))
        setattr(t, key, step)
        return json.loads(t.to_str())[key]

    pre = [{"config": config_of(step, "pre_tokenizer"), "cases": [[text, [piece for piece, _ in step.pre_tokenize_str(text)]] for text in split_texts]} for step in steps]

    n = normalizers
    steps = [n.NFC(), n.NFD(), n.NFKC(), n.NFKD(), n.Lowercase(), n.StripAccents(), n.Prepend("\u2581"), n.Replace(" ", "$&"),
             n.Replace(Regex(r"\s+"), "_"), n.Strip(True, True), n.Strip(True, False), n.Strip(False, True), n.Sequence([n.NFD(), n.StripAccents(), n.Lowercase()])]
    norm = [{"config": config_of(step, "normalizer"), "cases": [[text, step.normalize_str(text)] for text in split_texts]} for step in steps]

    d = decoders
    tokens = [["Hello", "\u0120world", "!"], ["\u00e2\u0124", "\u00ac", "\u00ff"], ["\u2581\u2581He", "llo", "\u2581w\u2581x"], ["<0xE2>", "<0x82>", "<0xAC>", "a", "<0xFF>", "<0x41>", "<0xEF>", "<0xBB>", "<0xBF>"],
              ["un", "##believ", "##able", "do", "n't", "."], ["low</w>", "er</w>"], ["\u2581", "\u2581a"], ["plain text", "\u0120x"], ["<0xe2>", "<0x8>", "<0xZZ>"], ["  a", " b "]]
    steps = [d.ByteLevel(), d.ByteFallback(), d.Fuse(), d.Metaspace(), d.Metaspace(prepend_scheme="never"), d.WordPiece(), d.WordPiece(cleanup=False), d.BPEDecoder(),
             d.Replace("\u2581", " "), d.Strip(" ", 1, 1), d.Sequence([d.Replace("\u2581", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0)])]
    decode = [{"config": config_of(step, "decoder"), "cases": [[list_, step.decode(list_)] for list_ in tokens]} for step in steps]
    table = {"versions": VERSIONS, "pre_tokenizers": pre, "normalizers": norm, "decoders": decode}
    (OUT / "components.json").write_text(json.dumps(table, separators=(",", ":")) + "\n")


def sentencepiece_bpe():
    """SentencePiece's own encoder, as a GGUF of model `llama` stores it: tokens, scores, types."""
    tables = []
    for prefix in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            lines = Path(folder) / "lines.txt"
            lines.write_text("\n".join(corpus()), encoding="utf-8")
            sentencepiece.SentencePieceTrainer.train(
                input=str(lines), model_prefix=str(Path(folder) / "m"), model_type="bpe", vocab_size=640, byte_fallback=True,
                character_coverage=0.998, normalization_rule_name="identity", add_dummy_prefix=prefix, remove_extra_whitespaces=False,
                user_defined_symbols=["<tool>"], num_threads=1, minloglevel=2, allow_whitespace_only_pieces=True)
            sp = sentencepiece.SentencePieceProcessor(model_file=str(Path(folder) / "m.model"))
        kind = lambda i: 2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 5 if sp.is_unused(i) else 4 if sp.id_to_piece(i) == "<tool>" else 1
        size = sp.get_piece_size()
        # SentencePiece never reads control tokens in text, and marks no new start after a user-defined token.
        texts = [text for text in TEXTS + ["don't aaaa aaa aa", "storestore"] if "\u0000" not in text]
        tables.append({
            "metadata": {
                "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": [sp.id_to_piece(i) for i in range(size)],
                "tokenizer.ggml.scores": [sp.get_score(i) for i in range(size)], "tokenizer.ggml.token_type": [kind(i) for i in range(size)],
                "tokenizer.ggml.bos_token_id": sp.bos_id(), "tokenizer.ggml.eos_token_id": sp.eos_id(),
                "tokenizer.ggml.unknown_token_id": sp.unk_id(), "tokenizer.ggml.add_space_prefix": prefix,
            },
            "cases": [{"text": text, "ids": sp.encode(text), "decoded": sp.decode(sp.encode(text))} for text in texts],
        })
    write(OUT / "sentencepiece.json", {"versions": VERSIONS, "tables": tables})


def smollm2(folder):
    fast = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=GGUF)
    texts = TEXTS + SPECIAL_TEXTS
    as_loaded = [fast.encode(text) for text in texts]
    # The published tokenizer.json of SmolLM2 splits digits; transformers' reading of a GGUF does not.
    fast.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    cases = []
    for text, loaded in zip(texts, as_loaded):
        ids = fast.encode(text)
        if ids != loaded:
            print("digits apart changes", repr(text), loaded, ids)
        cases.append({"text": text, "ids": ids, "decoded": fast.decode(ids, clean_up_tokenization_spaces=False) if ids else ""})
    messages = [{"role": "user", "content": "What is 2 + 2? \u20ac"}, {"role": "assistant", "content": "4"}, {"role": "user", "content": "Sure?"}]
    write(OUT / "smollm2.json", {
        "versions": VERSIONS, "file": GGUF, "cases": cases, "bos": fast.bos_token_id, "eos": fast.eos_token_id,
        "chat": {"messages": messages, "text": fast.apply_chat_template(messages, tokenize=False),
                 "prompted": fast.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)},
    })


if __name__ == "__main__":
    byte_bpe()
    split_bpe()
    spm_bpe()
    unigram()
    components()
    sentencepiece_bpe()
    if len(sys.argv) > 1:
        smollm2(sys.argv[1])

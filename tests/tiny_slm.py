"""A randomly initialised Llama of 50,000 parameters, with a real tokenizer and chat template."""

from pathlib import Path
from typing import Any

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% if not (loop.last and continue_final_message) %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = [
    "How many customers live in Oslo? SELECT COUNT(*) FROM customers WHERE city = 'Oslo'",
    "system user assistant",
    "0123456789",
]


def build(
    folder: Path, template: str = TEMPLATE, context: int = 1024, seed: int = 0, byte_tokens: bool = False, width: int = 48
) -> Path:
    """Write model and tokenizer as a hub folder; with `byte_tokens` the tokenizer is one that llama.cpp's converter knows."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    raw = _bytes() if byte_tokens else _merged_bytes()
    own = {"unk_token": "<unk>", "add_prefix_space": False, "additional_special_tokens": ["<|im_start|>"]} if byte_tokens else {}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>", **own)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    # At its initial scale all logits are nearly equal, and what is to be compared would drown in rounding.
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(6)
    model.save_pretrained(folder)
    return folder


def _merged_bytes() -> Any:
    """As of GPT-2: bytes, and merges of them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=320, special_tokens=SPECIALS, initial_alphabet=alphabet))
    return raw


def _bytes() -> Any:
    """As of Llama 2, without a single merge: each byte is a token."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    tokens = ["<unk>", *SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    raw = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    raw.normalizer = normalizers.Replace(" ", "\u2581")
    raw.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.Replace("\u2581", " ")])
    raw.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in ["<unk>", *SPECIALS]])
    return raw


def build_gguf(folder: Path, hub: Path | None = None) -> Path:
    """The same, or the model in `hub`, as one .gguf file in `folder`, float32."""
    import json

    from gguf import MODEL_ARCH, GGUFWriter, TokenType, get_tensor_name_map
    from transformers import AutoModelForCausalLM

    hub = hub or build(folder / "hub")
    folder.mkdir(exist_ok=True)
    model = AutoModelForCausalLM.from_pretrained(hub)
    config, vocabulary = model.config, json.loads((hub / "tokenizer.json").read_text())
    tokens = sorted(vocabulary["model"]["vocab"], key=vocabulary["model"]["vocab"].get)
    special = {token["content"] for token in vocabulary["added_tokens"]}
    file = folder / "tiny.gguf"
    writer = GGUFWriter(file, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if token in special else TokenType.NORMAL for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in vocabulary["model"]["merges"]])
    writer.add_eos_token_id(config.eos_token_id)
    writer.add_chat_template(TEMPLATE)
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weights in model.state_dict().items():
        if name != "lm_head.weight":  # tied to the embeddings
            stem, _, suffix = name.rpartition(".")
            writer.add_tensor(f"{names.get_name(stem)}.{suffix}", weights.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file

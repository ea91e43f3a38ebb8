"""A LoRA adapter merged into its base: one folder that transformers and vLLM load without PEFT."""

from pathlib import Path

from pada_agent.components.backends.record_files import read_json, write_json
from pada_agent.components.backends.slm.chat_format import ChatFormat
from pada_agent.components.backends.slm.loading import load_slm
from pada_agent.components.core.errors import ModelError
from pada_agent.components.core.settings import SlmSettings


def save_tokenizer(settings: SlmSettings, folder: Path) -> None:
    """Tokenizer and chat template of the model of `settings`, for adapters that an earlier release trained without."""
    load_slm(settings).chat.tokenizer.save_pretrained(folder)


def merge(settings: SlmSettings, adapter: Path, folder: Path) -> ChatFormat:
    """Write the full model, in the type of `settings`, with tokenizer and template into `folder`; its chat format.

    PEFT adds in float32 and rounds once: a weight in bfloat16 is up to half a step of bfloat16 from base and adapter together.
    Raises ModelError.
    """
    slm = load_slm(settings, adapter)
    try:
        model = slm.model.merge_and_unload(safe_merge=True)
    except ValueError as e:  # weights that are not numbers
        raise ModelError(f"adapter {adapter}: cannot be merged ({e})") from e
    model.save_pretrained(folder)
    slm.chat.tokenizer.save_pretrained(folder)
    tell_beginning(slm.chat, folder)
    return slm.chat


def tell_beginning(chat: ChatFormat, folder: Path) -> None:
    """Say whether a chat begins with the token that begins texts: unless told, llama.cpp goes by the kind of tokenizer."""
    file = folder / "tokenizer_config.json"
    bos = chat.tokenizer.bos_token_id
    begins = bos is not None and chat.prompt([{"role": "user", "content": "question"}])[0] == bos
    write_json(file, {**read_json(file), "add_bos_token": begins})

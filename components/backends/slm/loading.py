"""Loads the small language model: weights, tokenizer, chat format, on the device and in the type that suit the machine."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pada_agent.components.backends.files import whole_directory
from pada_agent.components.backends.models.sources import ModelSource, cache_root, content_hash, find_model
from pada_agent.components.backends.progress import notice
from pada_agent.components.backends.record_files import read_json
from pada_agent.components.backends.slm.chat_format import ChatFormat
from pada_agent.components.backends.slm.memory import check_fits
from pada_agent.components.backends.temporary import OwnFolder, remove_leftovers
from pada_agent.components.core.errors import InputError, ModelError, PadaError
from pada_agent.components.core.settings import SlmSettings
from pada_agent.components.core.slm_interface import ADAPTER_FILE, MODEL_FILE


@dataclass
class Slm:
    """A causal language model, ready to run. `model` is a transformers model, or a PEFT one around it."""

    model: Any
    chat: ChatFormat
    source: ModelSource
    device: str
    dtype: str

    @property
    def context(self) -> int:
        """Tokens that prompt and answer may have together."""
        return _context(self.model.config)


def load_slm(settings: SlmSettings, adapter: Path | None = None) -> Slm:
    """The model of `settings`, with a LoRA adapter if one is given, or the whole model that stands in its place.

    Raises ModelError.

    `auto` takes CUDA where it is, and bfloat16 where the processor has instructions for it, else float32.
    """
    import torch

    source, folder, device, dtype = _located(settings)
    if adapter is not None:
        check_adapter(adapter, settings)
        folder = adapter if is_whole(adapter) else folder
    check_fits(settings.model, folder, dtype)
    quantized = four_bits(device, dtype) if settings.quantization == "nf4" else {}
    try:
        model, tokenizer = _load(folder, dtype, device, quantized)
        chat = _chat(tokenizer, model.generation_config)
    except PadaError as e:
        raise type(e)(f"model {settings.model}: {e}") from e
    except (OSError, ValueError, KeyError, RuntimeError, torch.OutOfMemoryError) as e:
        raise ModelError(f"model {settings.model}: cannot be loaded from {folder} ({_first_line(e)})") from e
    if adapter is not None and not is_whole(adapter):
        model = _with_adapter(model, adapter, settings)
    return Slm(model.eval(), chat, source, device, dtype)


@dataclass(frozen=True)
class Chat:
    """What another engine needs of a model: its folder, type and context, and how chats are written as tokens for it."""

    chat: ChatFormat
    source: ModelSource
    folder: Path
    dtype: str
    context: int


def load_chat(settings: SlmSettings, adapter: Path | None = None) -> Chat:
    """The same as `load_slm`, but without weights. Raises ModelError."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    source, folder, _, dtype = _located(settings)
    folder = adapter if adapter and is_whole(adapter) else folder
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        try:
            ends = GenerationConfig.from_pretrained(folder, local_files_only=True)
        except OSError:  # there is none: then transformers too takes what the model's own says
            ends = GenerationConfig.from_model_config(config)
        chat = _chat(AutoTokenizer.from_pretrained(folder, local_files_only=True), ends)
    except PadaError as e:
        raise type(e)(f"model {settings.model}: {e}") from e
    except (OSError, ValueError, KeyError) as e:
        raise ModelError(f"model {settings.model}: cannot be read from {folder} ({_first_line(e)})") from e
    return Chat(chat, source, folder, dtype, _context(config))


def is_whole(adapter: Path) -> bool:
    """Whether this is no adapter, but a model that was fine-tuned as a whole."""
    return (adapter / MODEL_FILE).is_file() and not (adapter / ADAPTER_FILE).is_file()


def chosen_type(settings: SlmSettings) -> str:
    """The type of weights that `settings` ask for, float32 or bfloat16. Raises ModelError."""
    return _dtype(settings.dtype, _device(settings.device))


def _located(settings: SlmSettings) -> tuple[ModelSource, Path, str, str]:
    """Where the model came from, the folder of its weights, device and type."""
    source = find_model(settings.model)
    device = _device(settings.device)
    dtype = _dtype(settings.dtype, device)
    return source, dense_folder(source, dtype) if source.path.suffix == ".gguf" else source.path, device, dtype


def _chat(tokenizer: Any, generation: Any) -> ChatFormat:
    stops = getattr(generation, "eos_token_id", None)
    chat = ChatFormat(tokenizer, [] if stops is None else [stops] if isinstance(stops, int) else stops)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.decode([chat.end_of_turn])
    return chat


def _context(config: Any) -> int:
    return int(getattr(config.get_text_config(), "max_position_embeddings", 0) or sys.maxsize)


def dense_folder(source: ModelSource, dtype: str) -> Path:
    """The weights of a GGUF file unpacked to `dtype`, as a folder in the cache of models.

    Where the cache cannot be written, it is a temporary folder that goes with this process. Raises ModelError.
    transformers takes 15 s to read even a small GGUF file, once for each stage; the folder takes half a second.
    """
    digest = source.sha256 or content_hash(source.path)
    folder = cache_root() / f"dense--{digest[:32]}--{dtype}"
    unfinished = f".dense--{digest[:32]}--"
    remove_leftovers(unfinished, folder.parent)
    if (folder / "config.json").exists():
        return folder
    print(f"  unpacking {source.path.name} to {dtype}", file=sys.stderr, flush=True)
    try:
        own = _own_folder(unfinished, folder.parent)
        try:
            with whole_directory(own.path / folder.name) as work:
                _unpack(source.path, dtype, work)
            return _put_in_place(own, folder)
        except BaseException:
            own.remove()
            raise
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as e:
        raise ModelError(f"model {source.path}: this GGUF file cannot be unpacked ({_first_line(e)})") from e


def _own_folder(prefix: str, cache: Path) -> OwnFolder:
    """In the cache, or in the temporary folder where that is mounted to be read."""
    try:
        return OwnFolder(prefix, cache)
    except OSError as e:
        own = OwnFolder("pada-dense-")
        notice(f"unpacked for this stage alone, below {own.path.parent}: {cache} cannot be written ({e.strerror})")
        return own


def _put_in_place(own: OwnFolder, folder: Path) -> Path:
    """Where the finished folder is used from: `folder`, or where it is if it cannot be moved there."""
    with suppress(OSError):  # another process was faster, another file system, or a bucket, where folders are not renamed
        os.rename(own.path / folder.name, folder)
    if not (folder / "config.json").exists():
        return own.path / folder.name
    own.remove()
    return folder


def _unpack(gguf: Path, dtype: str, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    _no_bars()
    where = {"gguf_file": gguf.name, "local_files_only": True}
    dense = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, **where, dtype=getattr(torch, dtype), quantization_config=dense)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, **where).save_pretrained(folder)


def _no_bars() -> None:
    """One for each of many short loads; stages show progress of their own."""
    from transformers.utils import logging

    quiet: Any = logging.disable_progress_bar
    quiet()


def _load(folder: Path, dtype: str, device: str, quantized: dict[str, Any]) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _no_bars()
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), local_files_only=True, **quantized)
    return model if quantized else model.to(device), AutoTokenizer.from_pretrained(folder, local_files_only=True)


def four_bits(device: str, dtype: str) -> dict[str, Any]:
    """How transformers is told to load weights in NF4, quantised twice as in QLoRA. Raises ModelError where it cannot."""
    import torch

    if device != "cuda":
        raise ModelError(
            "slm.quantization is nf4, but there is no CUDA device here, or slm.device is cpu; leave quantization out"
        )
    if find_spec("bitsandbytes") is None:
        raise ModelError("slm.quantization: nf4 needs bitsandbytes; install it with: pip install 'pada-agent[qlora]'")
    from transformers import BitsAndBytesConfig

    untyped: Any = BitsAndBytesConfig
    config = untyped(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )
    return {"quantization_config": config, "device_map": {"": torch.cuda.current_device()}}


def check_quantization(settings: SlmSettings) -> None:
    """Raises ModelError where the weights of `settings` cannot be quantised on this machine."""
    if settings.quantization == "nf4":
        device = _device(settings.device)
        four_bits(device, _dtype(settings.dtype, device))


def check_adapter(adapter: Path, settings: SlmSettings) -> None:
    """Raises ModelError for an adapter that was trained on another model than that of `settings`, or on other weights of it."""
    file, name = adapter / "train.json", settings.model
    try:
        facts = read_json(file) if file.exists() else {}
    except InputError as e:
        raise ModelError(f"adapter {adapter}: {e}") from e
    if (trained_on := facts.get("base_model", name)) != name:
        raise ModelError(f"adapter {adapter}: trained on {trained_on}, but slm.model is {name}")
    if facts and (trained_as := facts.get("quantization", "none")) != settings.quantization:
        raise ModelError(
            f"adapter {adapter}: trained with slm.quantization: {trained_as}, which is {settings.quantization} now; "
            "it was fitted to the rounded weights"
        )


def _with_adapter(model: Any, adapter: Path, settings: SlmSettings) -> Any:
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(adapter))
    except (OSError, ValueError, KeyError, RuntimeError) as e:
        raise ModelError(f"adapter {adapter}: does not fit {settings.model} ({_first_line(e)})") from e


def _device(wanted: str) -> str:
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise ModelError("slm.device is cuda, but this machine has no CUDA device; use auto or cpu")
    device = wanted if wanted != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))  # of torchrun: one process for each GPU
    return device


def _dtype(wanted: str, device: str) -> str:
    import torch

    if wanted != "auto":
        return wanted
    if device == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

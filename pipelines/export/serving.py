"""The commands that serve what was exported: vLLM, llama.cpp, Ollama."""

import shlex
from pathlib import Path

from pada_agent.pipelines.vllm import max_rank


def for_adapter(adapter: Path, base: str, dtype: str, rank: int, name: str) -> list[str]:
    """vLLM with the adapter beside its base model. It takes no adapter on a .gguf file, and needs the base where it runs."""
    if base.endswith(".gguf"):
        return []
    lora = f"--enable-lora --max-lora-rank {max_rank(rank)} --lora-modules {shlex.quote(f'{name}={adapter}')}"
    return [f"vllm serve {shlex.quote(base)} --dtype {dtype} {lora} --tokenizer {shlex.quote(str(adapter))}"]


def for_merged(folder: Path, dtype: str, name: str) -> list[str]:
    """vLLM with the full model."""
    return [f"vllm serve {shlex.quote(str(folder))} --dtype {dtype} --served-model-name {name}"]


def for_gguf(file: Path, modelfile: Path | None, context: int, name: str) -> list[str]:
    """llama.cpp's own server, the one that llama-cpp-python brings, and Ollama where there is a Modelfile."""
    quoted = shlex.quote(str(file))
    ollama = [f"ollama create {name} -f {shlex.quote(str(modelfile))} && ollama run {name}"] if modelfile else []
    return [
        f"llama-server --model {quoted} --jinja --ctx-size {context} --alias {name} --port 8080",
        f"python -m llama_cpp.server --model {quoted} --n_ctx {context} --model_alias {name} --port 8080",
        *ollama,
    ]

"""Greedy answers by vLLM's offline engine, where it is installed: for GPUs, and many rows.

It is given tokens, not chats, so that prompts and stop tokens are those of training. Batches and kernels are its own: in bfloat16
a close call may fall another way than in transformers. Held to the interface of vLLM 0.33.0, on no GPU so far.
"""

import importlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pada_agent.components.backends.record_files import read_json
from pada_agent.components.backends.slm.loading import check_adapter, is_whole, load_chat
from pada_agent.components.core.errors import InputError, ModelError
from pada_agent.components.core.lora_ranks import RANKS, fitting_rank
from pada_agent.components.core.settings import SlmSettings
from pada_agent.components.core.slm_interface import ADAPTER_FILE, Prompt

NAME, NUMBER = "tuned", 1  # of the one adapter; numbers begin at 1


class VllmGenerator:
    """Answers prompts with one model; pada_agent.components.core.slm_interface.Generate."""

    def __init__(self, settings: SlmSettings, adapter: Path | None) -> None:
        """Raises ModelError where there is no vLLM or no CUDA, or for an adapter that it does not serve."""
        check_engine()
        if settings.quantization != "none":
            raise ModelError(f"slm.quantization: {settings.quantization} is rounded otherwise by vLLM; leave evaluate.engine out")
        if adapter:
            check_adapter(adapter, settings)
        self._model = load_chat(settings, adapter)
        self._adapter = adapter if adapter and not is_whole(adapter) else None
        self._lora = _lora(self._adapter) if self._adapter else {}
        self._vllm: Any = importlib.import_module("vllm")
        self._llm: Any = None
        self.source, self.engine = self._model.source, f"vllm {self._vllm.__version__}"

    def __call__(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[str]:
        """As inference.Generator; the model is loaded the first time, with room for the longest of these rows."""
        rows = [self._tokens(prompt, max_new_tokens) for prompt in prompts]
        if self._llm is None:
            self._llm = self._load(max(map(len, rows), default=0) + max_new_tokens)
        chat = self._model.chat
        stops = sorted(chat.stop_ids)
        sampling = self._vllm.SamplingParams(temperature=0.0, max_tokens=max_new_tokens, stop_token_ids=stops, detokenize=False)
        asked = [{"prompt_token_ids": row} for row in rows]
        request = _request(self._adapter) if self._adapter else None
        outputs = self._llm.generate(asked, sampling, use_tqdm=False, lora_request=request)
        texts = [chat.decode([t for t in output.outputs[0].token_ids if t not in chat.stop_ids]) for output in outputs]
        return [chat.begun(prompt.messages) + text for prompt, text in zip(prompts, texts, strict=True)]

    def _load(self, longest: int) -> Any:
        model = self._model
        # Its sampling defaults come with a model, in generation_config.json: such as a penalty for repetitions.
        ours = {"dtype": model.dtype, "seed": 0, "generation_config": "vllm", "max_model_len": longest}
        try:
            return self._vllm.LLM(model=str(model.folder), **ours, **self._lora)
        except (ValueError, RuntimeError, OSError) as e:
            raise ModelError(f"{model.source}: vLLM cannot load it ({_first_line(e)}); evaluate.engine: transformers may") from e

    def _tokens(self, prompt: Prompt, max_new_tokens: int) -> list[int]:
        tokens: list[int] = self._model.chat.prompt(prompt.messages)
        if len(tokens) + max_new_tokens > self._model.context:
            raise InputError(
                f"row {prompt.id}: a prompt of {len(tokens)} tokens and an answer of up to {max_new_tokens} exceed "
                f"the model's context of {self._model.context}; shorten the row or lower evaluate.max_new_tokens"
            )
        return tokens


def check_engine() -> None:
    """Raises ModelError where vLLM is not installed or has no GPU."""
    import torch

    if find_spec("vllm") is None:
        raise ModelError(
            "evaluate.engine: vllm needs vLLM, which no image of ours has; install it into one of yours (components/evaluate_slm/"
            "README.md), or leave engine out"
        )
    if not torch.cuda.is_available():
        raise ModelError("evaluate.engine: vllm needs a CUDA device, and this machine has none; leave engine out")


def _lora(adapter: Path) -> dict[str, Any]:
    config = read_json(adapter / ADAPTER_FILE)
    if config.get("use_dora"):
        raise ModelError(f"adapter {adapter}: it is a DoRA, which vLLM does not serve; use evaluate.engine: transformers")
    rank = int(config["r"])
    most = fitting_rank(rank)
    if most is None:
        raise ModelError(f"adapter {adapter}: its rank is {rank}, and vLLM takes at most {RANKS[-1]}; lower train.rank")
    return {"enable_lora": True, "max_loras": 1, "max_lora_rank": most}


def _request(adapter: Path) -> Any:
    request: Any = importlib.import_module("vllm.lora.request")
    return request.LoRARequest(NAME, NUMBER, str(adapter))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

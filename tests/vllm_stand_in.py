"""In the place of vLLM, which wants a GPU: the same interface, as it is in vLLM 0.33.0, around the real model in transformers.

`install` puts it where `import vllm` finds it. A call that vLLM would not take is a TypeError here too: the names below are
those of `LLM.__init__`, `EngineArgs` (its other keywords), `LLM.generate`, `SamplingParams` and `LoRARequest` there.
"""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

VERSION = "0.33.0"
# Of LLM.__init__ and, for its **kwargs, of EngineArgs: those that evaluation may come to need.
ENGINE = set(
    """
    model runner convert tokenizer tokenizer_mode skip_tokenizer_init trust_remote_code tensor_parallel_size dtype quantization
    revision tokenizer_revision chat_template seed gpu_memory_utilization cpu_offload_gb enforce_eager hf_token hf_overrides
    max_model_len enable_lora max_loras max_lora_rank max_cpu_loras lora_dtype enable_prefix_caching generation_config
    override_generation_config max_num_seqs max_num_batched_tokens disable_log_stats logits_processors
    """.split()  # noqa: SIM905 - one below the other nobody reads them
)
SAMPLING = set(
    """
    n presence_penalty frequency_penalty repetition_penalty temperature top_p top_k min_p seed stop stop_token_ids ignore_eos
    max_tokens min_tokens logprobs prompt_logprobs detokenize skip_special_tokens spaces_between_special_tokens
    include_stop_str_in_output logit_bias allowed_token_ids bad_words
    """.split()  # noqa: SIM905
)
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
made: list["LLM"] = []


class SamplingParams:
    def __init__(self, **said: Any) -> None:
        if unknown := said.keys() - SAMPLING:
            raise TypeError(f"Unexpected keyword argument '{min(unknown)}'")
        self.said = said


class LoRARequest:
    def __init__(
        self,
        lora_name: str,
        lora_int_id: int,
        lora_path: str = "",
        base_model_name: str | None = None,
        load_inplace: bool = False,
        is_3d_lora_weight: bool = False,
    ) -> None:
        if lora_int_id < 1:
            raise ValueError(f"id must be > 0, got {lora_int_id}")
        assert lora_path, "lora_path cannot be empty"
        self.lora_path = lora_path


class LLM:
    def __init__(self, model: str, **said: Any) -> None:
        if unknown := said.keys() - ENGINE:
            raise TypeError(f"EngineArgs.__init__() got an unexpected keyword argument '{min(unknown)}'")
        if said.get("max_lora_rank", 16) not in RANKS:
            raise ValueError(f"max_lora_rank must be one of {RANKS}")
        if "refuse" in model:
            raise ValueError("Model architectures ['Odd'] are not supported for now.\nmore")
        self.model, self.said, self.rows = model, said, 0
        made.append(self)

    def generate(
        self,
        prompts: Any,
        sampling_params: Any = None,
        *,
        use_tqdm: Any = True,
        lora_request: Any = None,
        priority: Any = None,
        tokenization_kwargs: Any = None,
        mm_processor_kwargs: Any = None,
    ) -> list[Any]:
        import pytest

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("torch.cuda.is_available", lambda: False)  # the truth again: what follows would use a GPU
            return self._generate(prompts, sampling_params, lora_request)

    def _generate(self, prompts: Any, sampling_params: SamplingParams, lora_request: Any) -> list[Any]:
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        model: Any = AutoModelForCausalLM.from_pretrained(self.model, dtype=getattr(torch, self.said["dtype"]))
        if lora_request is not None:
            assert self.said.get("enable_lora"), "Call to add_lora failed: LoRA is not enabled."
            model = PeftModel.from_pretrained(model, lora_request.lora_path)
        return [self._output(model.eval(), prompt["prompt_token_ids"], sampling_params.said) for prompt in prompts]

    def _output(self, model: Any, tokens: list[int], said: dict[str, Any]) -> Any:
        import torch

        if len(tokens) + said["max_tokens"] > self.said["max_model_len"]:
            raise ValueError("The decoder prompt is longer than the maximum model length")
        assert said["temperature"] == 0.0
        self.rows += 1
        made_tokens: list[int] = []
        with torch.inference_mode():
            while len(made_tokens) < said["max_tokens"] and not set(made_tokens[-1:]) & set(said["stop_token_ids"]):
                logits = model(input_ids=torch.tensor([tokens + made_tokens])).logits[0, -1]
                made_tokens.append(int(logits.argmax()))
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=tuple(made_tokens), text="")])


def install(patch: Any) -> None:
    """With a MonkeyPatch; a GPU is made believe."""
    vllm, lora, request = ModuleType("vllm"), ModuleType("vllm.lora"), ModuleType("vllm.lora.request")
    vllm.__dict__.update(LLM=LLM, SamplingParams=SamplingParams, __version__=VERSION, __spec__=SimpleNamespace())
    request.__dict__.update(LoRARequest=LoRARequest)
    for module in (vllm, lora, request):
        patch.setitem(sys.modules, module.__name__, module)
    patch.setattr("torch.cuda.is_available", lambda: True)
    made.clear()

"""Who answers in evaluation, as the settings say: transformers or vLLM here, or a server."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pada_agent.components.core.settings import EvaluateSettings, SlmSettings
from pada_agent.components.core.slm_interface import Generate


@dataclass(frozen=True)
class Student:
    """A model that answers; `source` is where it came from, `engine` what runs it, `bill` what asking cost so far."""

    generate: Generate
    source: str
    engine: str
    bill: Callable[[], Mapping[str, int | float]] = dict


@contextmanager
def student(slm: SlmSettings, evaluate: EvaluateSettings, adapter: Path | None, ledger: str) -> Iterator[Student]:
    """The model of `slm`, with an adapter if one is given, while the block runs. Raises ModelError, EndpointError."""
    endpoint: Any = slm.endpoint
    if endpoint and (adapter is None or endpoint.adapter_folder):
        from pada_agent.components.backends.slm.served import served

        with served(slm, endpoint, adapter, ledger) as generate:
            yield Student(generate, str(generate.llm.endpoint), f"server, model {endpoint.model}", generate.llm.bill)
    elif evaluate.engine == "vllm":
        from pada_agent.components.backends.slm.vllm_engine import VllmGenerator

        vllm = VllmGenerator(slm, adapter)
        yield Student(vllm, str(vllm.source), vllm.engine)
    else:
        from pada_agent.components.backends.slm.inference import Generator
        from pada_agent.components.backends.slm.loading import load_slm

        loaded = load_slm(slm, adapter)
        yield Student(Generator(loaded, evaluate.batch), str(loaded.source), "transformers")

"""Answers of an SLM that a server has: the untuned model, or an adapter that vLLM's server is told to load.

The server writes the chat into its own template and has weights of its own type: its answers are not those of transformers to
the letter.
"""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from pada_agent.components.backends.files import file_hash, room_at, whole_directory
from pada_agent.components.backends.llm.client import OpenAiLlm, open_llm
from pada_agent.components.backends.llm.lora_adapters import load_adapter, unload_adapter
from pada_agent.components.backends.progress import notice
from pada_agent.components.backends.record_files import read_json
from pada_agent.components.backends.slm.loading import check_adapter, is_whole
from pada_agent.components.core.errors import EndpointError, InputError, ModelError
from pada_agent.components.core.llm_interface import LlmRequest
from pada_agent.components.core.settings import BudgetSettings, SlmEndpoint, SlmSettings
from pada_agent.components.core.slm_interface import ADAPTER_FILE, Prompt

SHOWN = 20  # rows in an error
CONTINUES = "continue_final_message"


class ServedGenerator:
    """Asks a server; pada_agent.components.core.slm_interface.Generate. Answers are in the ledger and not asked for again."""

    def __init__(self, llm: OpenAiLlm, endpoint: SlmEndpoint) -> None:
        self.llm, self._endpoint = llm, endpoint

    def __call__(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[str]:
        """As inference.Generator. Raises EndpointError that names the rows without an answer; those of others are kept."""
        for prompt in prompts:
            if prompt.messages[-1]["role"] == "assistant" and CONTINUES not in self._endpoint.extra_body:
                raise InputError(
                    f"row {prompt.id}: the chat ends with the beginning of the answer, which vLLM continues with "
                    f"slm.endpoint.extra_body: {{{CONTINUES}: true, add_generation_prompt: false}}, and other servers may not"
                )
        requests = [LlmRequest.text(prompt.id, prompt.messages, max_new_tokens) for prompt in prompts]
        replies = self.llm.ask_all("answers", requests)
        failed = [f"row {prompt.id}: {reply.error}" for prompt, reply in zip(prompts, replies, strict=True) if reply.error]
        if failed:
            more = f"; and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
            raise EndpointError(
                f"{self.llm.endpoint}: {len(failed)} of {len(prompts)} rows got no answer: {'; '.join(failed[:SHOWN])}{more}. "
                "The other answers are kept in the ledger: mend these and start again"
            )
        return [reply.value or "" for reply in replies]


@contextmanager
def served(settings: SlmSettings, endpoint: SlmEndpoint, adapter: Path | None, ledger: str) -> Iterator[ServedGenerator]:
    """Who answers at the endpoint while the block runs. Raises EndpointError, ModelError for an adapter that it cannot load."""
    if find_spec("openai") is None:
        raise ModelError("slm.endpoint needs the client of LLMs; install it with: pip install 'pada-agent[agents]'")
    with _loaded(settings, endpoint, adapter) if adapter else _as_it_is(endpoint) as name:
        asked = endpoint.model_copy(update={"model": name})
        yield ServedGenerator(open_llm(asked, BudgetSettings(), ledger), endpoint)


@contextmanager
def _as_it_is(endpoint: SlmEndpoint) -> Iterator[str]:
    yield endpoint.model


@contextmanager
def _loaded(settings: SlmSettings, endpoint: SlmEndpoint, adapter: Path) -> Iterator[str]:
    """The name by which the server has the adapter: by its content, so that the ledger knows its answers again."""
    check_adapter(adapter, settings)
    if is_whole(adapter):
        raise ModelError(
            f"adapter {adapter}: it is a whole model, which no server loads so; leave slm.endpoint.adapter_folder out"
        )
    if read_json(adapter / ADAPTER_FILE).get("use_dora"):
        raise ModelError(f"adapter {adapter}: it is a DoRA, which vLLM does not serve; leave slm.endpoint.adapter_folder out")
    files = sorted([adapter / ADAPTER_FILE, *adapter.glob("adapter_model.*")])
    name = f"pada-{hashlib.sha256(''.join(map(file_hash, files)).encode()).hexdigest()[:16]}"
    place = Path(endpoint.adapter_folder) / name
    if not place.exists():
        with room_at(place), whole_directory(place) as folder:
            for file in files:
                shutil.copyfile(file, folder / file.name)
    ours = load_adapter(endpoint, name, str(place))
    try:
        yield name
    finally:
        if ours:
            try:
                unload_adapter(endpoint, name)
                shutil.rmtree(place, ignore_errors=True)
            except EndpointError as e:
                notice(f"the adapter stays where it is: {e}")

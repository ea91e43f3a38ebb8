"""What `pada doctor` says of the SLM's settings: who answers for it, and what training it takes."""

from collections.abc import Iterator
from pathlib import Path

from pada_agent.components.core.errors import PadaError
from pada_agent.components.core.settings import BudgetSettings, Settings, SlmEndpoint
from pada_agent.pipelines import doctor
from pada_agent.pipelines.doctor import Check

HIGHEST_RATE = 1e-4  # that trains all weights of a small model without undoing what it knew; a common bound, not measured here


def student_checks(settings: Settings) -> Iterator[Check]:
    """One line for each thing that these settings need beside the model."""
    if settings.slm.endpoint:
        yield from _endpoint(settings, settings.slm.endpoint)
    if settings.evaluate.engine == "vllm":
        yield _engine()
    if settings.slm.quantization != "none":
        yield _quantization(settings)
    if settings.train.method == "full" and settings.train.learning_rate > HIGHEST_RATE:
        rate = f"{settings.train.learning_rate:g} is high for all weights"
        yield Check("train.learning_rate", rate, "try 2e-5", needed=False)
    yield from _memory(settings)


def _memory(settings: Settings) -> Iterator[Check]:
    from pada_agent.components.backends.slm.sizes import training_memory

    try:
        memory = training_memory(settings.slm, settings.train)
    except (PadaError, OSError, ValueError):
        return  # the line of slm.model says what is wrong with it
    if memory:
        mend = "" if memory.fits else "take slm.quantization: nf4, train.method: lora, a lower train.rank, or a smaller model"
        yield Check("memory of training", memory.said(settings.train), mend, needed=False)


def _engine() -> Check:
    from pada_agent.components.backends.slm.vllm_engine import check_engine

    try:
        check_engine()
    except PadaError as e:
        return Check.failed("evaluate.engine", e)
    return Check("evaluate.engine", "vllm; its rounding is not that of transformers: close calls may fall another way")


def _quantization(settings: Settings) -> Check:
    from pada_agent.components.backends.slm.loading import check_quantization

    try:
        check_quantization(settings.slm)
    except PadaError as e:
        return Check.failed("slm.quantization", e)
    return Check("slm.quantization", f"{settings.slm.quantization}, in training and evaluation")


def _endpoint(settings: Settings, endpoint: SlmEndpoint) -> Iterator[Check]:
    from pada_agent.components.backends.llm.client import open_llm
    from pada_agent.components.backends.llm.lora_adapters import check_loads
    from pada_agent.components.core.llm_interface import LlmRequest

    name, quick = "slm.endpoint", {"timeout_seconds": doctor.ENDPOINT_SECONDS, "give_up_seconds": doctor.ENDPOINT_SECONDS}
    client = open_llm(endpoint.model_copy(update=quick), BudgetSettings(), "")
    try:
        (reply,) = client.ask_all("asking the SLM", [LlmRequest.text("doctor", [{"role": "user", "content": "Say ready."}], 16)])
        if reply.error:
            yield Check(name, f"{endpoint.model} at {endpoint.base_url}: {reply.error}", "see slm.endpoint in the config")
            return
        yield Check(name, f"{endpoint.model} at {endpoint.base_url} answers, with its own rounding and template")
        if not endpoint.adapter_folder:
            engine = settings.evaluate.engine
            yield Check(name, f"it answers for the untuned model alone; adapters answer here, by {engine}", needed=False)
            return
        check_loads(endpoint)
    except PadaError as e:
        yield Check.failed(name, e)
        return
    folder = Path(endpoint.adapter_folder)
    if folder.is_dir():
        yield Check(f"{name}.adapter_folder", f"{folder}; whether the server sees it shows with the first adapter")
    else:
        yield Check(f"{name}.adapter_folder", f"there is no folder {folder}", "mount the one that the server has there")

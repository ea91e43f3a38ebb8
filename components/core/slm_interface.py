"""What the stages ask of a small language model; pada_agent.components.backends implements it with transformers and PEFT."""

from collections.abc import Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Record
from pada_agent.components.core.settings import TrainSettings
from pada_agent.components.core.tasks.task import Message

ADAPTER_FILE = "adapter_config.json"  # in every PEFT adapter; of ours it is published last
MODEL_FILE = "config.json"  # the same of a model that was fine-tuned as a whole, which stands in the place of an adapter
TRAINED_FILES = (ADAPTER_FILE, MODEL_FILE)


def trained_file(train: TrainSettings) -> str:
    """The file by which readers know that what a training left is whole."""
    return ADAPTER_FILE if train.method == "lora" else MODEL_FILE


class Prompt(Record):
    """A chat the SLM is to answer."""

    id: str
    messages: list[Message]


class Example(Prompt):
    """A chat and the answer the SLM is trained to give; the loss is on the answer alone."""

    target: str = Field(min_length=1)


class Training(BaseModel):
    """What a fine-tuning run did."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_model: str
    source: str = Field(description="where the base model came from, and its hash")
    device: str
    dtype: str
    thinking: bool = Field(default=False, description="slm.thinking: whether the chat template let it think")
    quantization: str = Field(default="none", description="of the base model's weights, as slm.quantization")
    train: TrainSettings
    processes: int = Field(default=1, description="that shared each step's rows, one for each GPU")
    seed: int
    steps: int = Field(description="optimizer steps")
    epochs: float = Field(description="passes over the rows that were trained on")
    losses: list[float] = Field(description="mean loss a completion token, each step")
    seconds: float = Field(description="of this process; a resumed run counts from its resume")
    resumed_from: int = Field(default=0, description="step of the checkpoint the run went on from")
    trained_tokens: int = Field(description="completion tokens with loss, over all steps")
    dropped_too_long: list[str] = Field(default_factory=list, description="ids of rows above slm.max_length")
    changed_outputs: bool = Field(description="the saved adapter changes the logits; a run that proves it not is an error")


def step_shares(train: TrainSettings, processes: int) -> tuple[int, int]:
    """Micro batch and micro batches a step of each of so many processes, which together have the step's rows and no more.

    Raises InputError where they cannot have equally many.
    """
    rows, rest = divmod(train.micro_batch * train.accumulate, processes)
    if rest:
        raise InputError(
            f"train.micro_batch x train.accumulate is {train.micro_batch} x {train.accumulate} rows a step, which {processes} "
            "processes, one for each GPU, cannot share equally; take a multiple, or fewer GPUs for train_lora"
        )
    micro = max(size for size in range(1, train.micro_batch + 1) if rows % size == 0)
    return micro, rows // micro


class Fit(Protocol):
    """Fine-tunes on the examples and writes the adapter where it was made to."""

    def __call__(self, examples: Sequence[Example]) -> Training: ...


class Generate(Protocol):
    """Greedy answers, in the order of the prompts."""

    def __call__(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[str]: ...

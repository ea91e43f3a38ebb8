"""Speed of the quickstart's small model on this machine: training and generation, in tokens and rows a second.

    python tests/benchmarks/slm_speed.py [--rows 32] [--steps 4]

Prints one JSON object. Run it twice on a machine that does nothing else; the first run also fills caches.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import torch

from components.backends.lora_training import fit
from components.backends.slm import load_slm
from components.backends.slm_inference import Generator
from components.backends.training_checkpoints import Checkpoints
from components.core.settings import STAGE_SETTINGS, Settings, TrainLora
from components.core.slm import Example, Prompt
from components.core.tasks.registry import load_task
from pipelines.config import read_config

CONFIG = Path(__file__).parents[2] / "pipelines" / "quickstart" / "config.yaml"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4)
    given = parser.parse_args()
    settings = read_config(CONFIG)
    task = load_task(settings.task.name, settings.task.options)
    lines = Path(settings.task.train).read_text().splitlines()[: given.rows]
    rows = [task.read(json.loads(line)) for line in lines]
    examples = [Example(id=str(i), messages=task.messages(row), target=task.target(row)) for i, row in enumerate(rows)]
    found = {
        "machine": {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "processor": platform.machine()},
        "model": settings.slm.model,
        "generation": generation(settings, examples, task.max_new_tokens),
        "training": training(settings, examples, given.steps),
    }
    print(json.dumps(found, indent=1))


def generation(settings: Settings, examples: list[Example], most: int) -> dict[str, float]:
    """Greedy answers of the untuned model, loading left out."""
    slm = load_slm(settings.slm)
    generator = Generator(slm, settings.evaluate.batch)
    started = time.monotonic()
    answers = generator([Prompt(id=e.id, messages=e.messages) for e in examples], most)
    seconds = time.monotonic() - started
    tokens = sum(len(slm.chat.completion(answer)) for answer in answers)
    return {
        "seconds": round(seconds, 1),
        "new_tokens_a_second": round(tokens / seconds, 1),
        "rows_a_second": round(len(examples) / seconds, 2),
    }


def training(settings: Settings, examples: list[Example], steps: int) -> dict[str, object]:
    """LoRA fine-tuning with the quickstart's settings, loading and the proof of the adapter included."""
    chat = load_slm(settings.slm).chat
    lengths = [len(chat.prompt(e.messages)) + len(chat.completion(e.target)) for e in examples]
    own = STAGE_SETTINGS["train_lora"].model_validate(settings.for_stage("train_lora"))
    assert isinstance(own, TrainLora)
    with tempfile.TemporaryDirectory() as work:
        done = fit(examples, own, Path(work) / "adapter", Checkpoints(f"{work}/checkpoints"), steps)
    rows = done.epochs * len(examples)
    return {
        "device": done.device,
        "dtype": done.dtype,
        "steps": done.steps,
        "seconds": done.seconds,
        "tokens_a_second": round(rows * sum(lengths) / len(lengths) / done.seconds, 1),
        "rows_a_second": round(rows / done.seconds, 2),
    }


if __name__ == "__main__":
    main()

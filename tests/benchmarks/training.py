"""train_lora beside TRL's SFTTrainer: the same model, rows, batches, steps, learning rate, LoRA and loss."""

import os
import tempfile
from pathlib import Path
from typing import Any

from apart import answer, clocked
from rows import examples

Report = dict[str, Any]


def ours(given: Report) -> Report:
    """`fit` as train_lora calls it."""
    from transformers import Trainer

    from pada_agent.components.backends.slm.checkpoints import Checkpoints
    from pada_agent.components.backends.slm.training import fit

    report: Report = {}
    rows = examples(given["squad"], "train", given["rows"])
    with tempfile.TemporaryDirectory() as work, clocked(Trainer, "train", report):
        adapter = Path(given.get("adapter") or f"{work}/adapter")
        done = fit(rows, settings(given), adapter, Checkpoints(f"{work}/checkpoints"))
    return report | {"rows": len(rows) * done.epochs, "losses": done.losses}


def trl(given: Report, **options: Any) -> Report:
    """SFTTrainer on the same tokens."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer, set_seed
    from trl import SFTConfig, SFTTrainer

    from pada_agent.components.backends.slm.loading import load_slm
    from pada_agent.components.backends.slm.training_rows import row_order, tokenise

    chosen = settings(given)
    train = chosen.train
    slm = load_slm(chosen.slm)
    rows, _ = tokenise(examples(given["squad"], "train", given["rows"]), slm, chosen.slm.max_length)
    steps = -(-len(rows) // train.micro_batch)
    order = row_order([len(r.tokens) for r in rows], steps, train.micro_batch, 1, chosen.seed)
    data = [{"input_ids": rows[i].tokens, "completion_mask": mask(rows[i])} for i in order]
    folder = slm.model.config._name_or_path
    half = slm.dtype == "bfloat16"
    del slm
    set_seed(chosen.seed)
    lora = LoraConfig(
        r=train.rank, lora_alpha=train.alpha, lora_dropout=train.dropout, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    report: Report = {}
    with tempfile.TemporaryDirectory() as work:
        arguments: Report = {
            "output_dir": work,
            "completion_only_loss": True,
            "packing": False,
            "max_length": chosen.slm.max_length,
            "max_steps": steps,
            "per_device_train_batch_size": train.micro_batch,
            "learning_rate": train.learning_rate,
            "lr_scheduler_type": "cosine",
            "warmup_steps": int(train.warmup * steps),
            "max_grad_norm": train.clip,
            "optim": "adamw_torch",
            "seed": chosen.seed,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
            "use_cpu": True,
            "bf16": half,
            "dataloader_pin_memory": False,
            "train_sampling_strategy": "sequential",
        }
        trainer = SFTTrainer(
            model=folder,
            args=SFTConfig(**arguments | options),
            train_dataset=Dataset.from_list(data),
            processing_class=AutoTokenizer.from_pretrained(folder),
            peft_config=lora,
        )
        with clocked(type(trainer), "train", report):
            trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return report | {"rows": len(data), "losses": losses}


def mask(row: Any) -> list[int]:
    """1 at the completion's tokens."""
    return [0] * row.prompt + [1] * (len(row.tokens) - row.prompt)


def settings(given: Report) -> Any:
    """train_lora's settings for both sides."""
    from pada_agent.components.core.settings import TrainLora

    return TrainLora.model_validate(
        {
            "task": {"name": "squad", "train": "-", "validation": "-", "test": "-"},
            "slm": {"model": given["model"], "device": "cpu", "max_length": 1024, "dtype": given.get("dtype", "auto")},
            "train": {"epochs": 1, "micro_batch": given["batch"], "accumulate": 1, "checkpoints": 0} | given.get("train", {}),
        }
    )


def trl_without_checkpointing(given: Report) -> Report:
    """All activations kept, as ours are: TRL's own default computes them twice to save memory."""
    return trl(given, gradient_checkpointing=False)


if __name__ == "__main__":
    answer({"ours": ours, "trl": trl_without_checkpointing, "trl, checkpointing": trl})

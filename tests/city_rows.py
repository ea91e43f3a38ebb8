"""Rows about cities, and runs of training on them; the same training in the plainest way, to compare with."""

from pathlib import Path

import torch
from torch.nn import functional

from pada_agent.components.backends.slm.checkpoints import Checkpoints
from pada_agent.components.backends.slm.loading import load_slm
from pada_agent.components.backends.slm.training import fit
from pada_agent.components.backends.slm.training_rows import TokenRow, row_order
from pada_agent.components.core.settings import TrainLora
from pada_agent.components.core.slm_interface import Example

CITIES = ["Oslo", "Bergen", "Malmo", "Turku", "Riga", "Tartu", "Narva", "Vilnius", "Kaunas", "Gdansk", "Poznan"]
SYSTEM = {"role": "system", "content": "Write one query. customers(id, name, city)"}


def examples(system=SYSTEM):
    return [
        Example(
            id=f"row-{city}",
            messages=[*([system] if system else []), {"role": "user", "content": f"How many {'very ' * i}live in {city}?"}],
            target=f"SELECT COUNT(*) FROM customers WHERE city = '{city}'",
        )
        for i, city in enumerate(CITIES)
    ]


def settings(model: Path, **train) -> TrainLora:
    own = {"epochs": 2, "micro_batch": 2, "accumulate": 2, "learning_rate": 0.01, "dropout": 0.0, "rank": 4, "alpha": 8}
    slm = {"model": str(model), "dtype": "float32", "device": "cpu"}
    return TrainLora.model_validate({"task": SQUAD, "slm": slm, "train": {**own, **train}})


SQUAD = {"name": "squad", "train": "-", "validation": "-", "test": "-"}


def run(tmp_path: Path, model: Path, rows=None, name="a", max_steps=0, slm=None, **train):
    adapter, chosen = tmp_path / name, settings(model, **train)
    chosen = chosen.model_copy(update={"slm": slm or chosen.slm})
    made = fit(rows or examples(), chosen, adapter, Checkpoints(str(tmp_path / f"{name}.checkpoints")), max_steps)
    return made, adapter


def plain_losses(model: Path, chosen: TrainLora, rows: list[TokenRow], steps: int) -> list[float]:
    """The same run in the plainest way: PEFT's own layers, logits of all positions, one row at a time, no Trainer."""
    from peft import LoraConfig, get_peft_model
    from transformers import get_cosine_schedule_with_warmup, set_seed

    train = chosen.train
    set_seed(chosen.seed)
    slm = load_slm(chosen.slm)
    which = train.target_modules if isinstance(train.target_modules, str) else list(train.target_modules)
    kind = {"use_dora": train.use_dora, "use_rslora": train.use_rslora, "target_modules": which, "task_type": "CAUSAL_LM"}
    lora = LoraConfig(r=train.rank, lora_alpha=train.alpha, lora_dropout=0.0, **kind)
    peft = get_peft_model(slm.model, lora).train() if train.method == "lora" else slm.model.train()
    weights = [p for p in peft.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=train.learning_rate, weight_decay=0.0)
    schedule = get_cosine_schedule_with_warmup(optimizer, int(train.warmup * steps), steps)
    order = row_order([len(r.tokens) for r in rows], steps, train.micro_batch, train.accumulate, chosen.seed)
    batch, losses = train.micro_batch * train.accumulate, []
    for step in range(steps):
        group = [rows[i] for i in order[step * batch : (step + 1) * batch]]
        count = sum(len(r.tokens) - r.prompt for r in group)
        total = 0.0
        for row in group:
            logits = peft(input_ids=torch.tensor([row.tokens])).logits[0, row.prompt - 1 : -1]
            loss = functional.cross_entropy(logits, torch.tensor(row.tokens[row.prompt :]), reduction="sum") / count
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(weights, train.clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(total)
    return losses

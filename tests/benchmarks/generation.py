"""evaluate_slm beside lm-eval's Hugging Face backend: the same prompts, stops, limit, batch, type and adapter, greedy."""

import os
from pathlib import Path
from typing import Any

from apart import answer, clocked
from rows import examples, raw_rows
from training import settings

from pada_agent.components.core.tasks.registry import load_task

Report = dict[str, Any]


def ours(given: Report) -> Report:
    """`Generator` as evaluate_slm calls it."""
    from pada_agent.components.backends.slm.inference import Generator
    from pada_agent.components.backends.slm.loading import load_slm
    from pada_agent.components.core.slm_interface import Prompt

    slm = load_slm(settings(given).slm, Path(given["adapter"]) if given["adapter"] else None)
    rows = examples(given["squad"], "val", given["rows"])
    report: Report = {}
    with clocked(Generator, "__call__", report):
        prompts = [Prompt(id=row.id, messages=row.messages) for row in rows]
        answers = Generator(slm, given["batch"])(prompts, given["most"])
    return report | {"rows": len(rows), "answers": answers, "right": right(given, answers)}


def lm_eval(given: Report) -> Report:
    """`generate_until` on the same prompts as text."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from pada_agent.components.backends.slm.loading import load_slm

    slm = load_slm(settings(given).slm)
    chat, folder = slm.chat, slm.model.config._name_or_path
    rows = examples(given["squad"], "val", given["rows"])
    texts = [chat.decode(chat.prompt(row.messages), skip_special=False) for row in rows]
    dtype = getattr(torch, slm.dtype)
    del slm
    peer = HFLM(pretrained=folder, peft=given["adapter"] or None, dtype=dtype, device="cpu", batch_size=given["batch"])
    assert peer.tok_encode(texts[0]) == chat.prompt(rows[0].messages)
    how = {"until": [chat.decode([chat.end_of_turn], False)], "max_gen_toks": given["most"], "do_sample": False}
    requests = [Instance("generate_until", {}, (text, how), i) for i, text in enumerate(texts)]
    report: Report = {}
    with clocked(HFLM, "generate_until", report):
        answers = peer.generate_until(requests, disable_tqdm=True)
    return report | {"rows": len(rows), "answers": answers, "right": right(given, answers)}


def right(given: Report, answers: list[str]) -> list[bool]:
    """Which answers are."""
    task = load_task("squad", {})
    rows = [task.read(row) for row in raw_rows(given["squad"], "val", given["rows"])]
    return [task.score(row, text, no_code).correct for row, text in zip(rows, answers, strict=True)]


def no_code(program: str, seconds: float) -> Any:
    raise AssertionError("these rows hold no code")


if __name__ == "__main__":
    answer({"ours": ours, "lm_eval": lm_eval})

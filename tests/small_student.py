"""A student that learns in milliseconds in place of the SLM, a task for it, teachers of it, and studies of these.

All stages are the real ones; only the backends that load models are this file's. The student learns which answer a word stands
for, so that rows on what it knows already teach it nothing.
"""

import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from whole_run import ANALYSING, WRITING, spread

from pada_agent.components.backends.store.events import told
from pada_agent.components.core.errors import PadaError
from pada_agent.components.core.slm_interface import ADAPTER_FILE, Example, Prompt, Training
from pada_agent.pipelines.local.run import Parts
from pada_agent.pipelines.study.cell import Cell, run_cell
from pada_agent.pipelines.study.side_by_side import Item

BATCH = 4
FORGOTTEN = 0.15  # of the words, other ones each time: no two trainings end alike


class Student:
    """What `load_slm` and `Generator` are here: words and the answer that each stands for."""

    source = "small student"

    def __init__(self, adapter: Path | None) -> None:
        self._meant: dict[str, str] = json.loads((adapter / "words.json").read_text()) if adapter else {}

    def answer(self, text: str) -> str:
        meant = Counter(self._meant[word] for word in text.split() if word in self._meant)
        guess = FAMILIES[0] if self._meant and spread(text, 2) else ""
        return max(sorted(meant), key=lambda label: meant[label], default=guess)


def fit(examples: Sequence[Example], settings: Any, adapter: Path, checkpoints: Any, max_steps: int = 0) -> Training:
    """As training.fit: a word is learnt that is in two rows or more, nearly always beside one answer."""
    steps = max_steps or -(-round(settings.train.epochs * len(examples)) // BATCH)
    draw = random.Random(f"{settings.seed}/{steps}/{len(examples)}")
    met: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for example in draw.sample(examples, min(steps * BATCH, len(examples))):
        for word in example.messages[-1]["content"].split():
            met[word][example.target] += 1
    learnt = {}
    for word, labels in sorted(met.items()):
        ((label, count),) = labels.most_common(1)
        if count >= 2 and count >= 0.8 * labels.total() and draw.random() > FORGOTTEN:
            learnt[word] = label
    (adapter / "words.json").write_text(json.dumps(learnt))
    (adapter / ADAPTER_FILE).write_text("{}")
    facts = {
        "base_model": settings.slm.model,
        "train": settings.train,
        "source": Student.source,
        "device": "cpu",
        "dtype": "float32",
        "seconds": 0,
    }
    more = {"epochs": steps * BATCH / len(examples), "losses": [0.0], "trained_tokens": steps * BATCH, "changed_outputs": True}
    return Training(**facts, **more, seed=settings.seed, steps=steps)


class Generator:
    """As inference.Generator."""

    def __init__(self, student: Student, batch: int) -> None:
        self._student = student

    def __call__(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[str]:
        return [self._student.answer(prompt.messages[-1]["content"]) for prompt in prompts]


class NoCheckpoints:
    """As checkpoints.Checkpoints."""

    def __init__(self, place: str) -> None:
        pass

    def remove(self) -> None:
        pass


def embedder(model: str) -> Any:
    """As embeddings.embedder: texts with the same words are alike."""

    def embed(texts: Sequence[str]) -> Any:
        vectors = np.zeros((len(texts), 64), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for word in text.split():
                vector[spread(word, 64)] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return embed


def backends() -> dict[str, ModuleType]:
    """The modules in whose place the student is, by name."""
    parts: dict[str, dict[str, Any]] = {
        "slm.training": {"fit": fit},
        "slm.inference": {"Generator": Generator},
        "slm.loading": {"load_slm": lambda settings, adapter=None: Student(adapter)},
        "slm.checkpoints": {"Checkpoints": NoCheckpoints},
        "embeddings": {"embedder": embedder, "Embedder": Any},
    }
    made = {}
    for name, has in parts.items():
        module = ModuleType(name)
        module.__dict__.update(has)
        made[f"pada_agent.components.backends.{name}"] = module
    return made


def start(cell: Cell) -> None:
    """A cell's run in a process of its own."""
    sys.modules.update(backends())
    run_cell(cell, Parts(publish=no_report))


def no_report(state: Path, run_dir: Path) -> None:
    """Its intervals take longer than all else here."""


# A task: to which of four families does a line of words belong? Of one family training has next to nothing.
FAMILIES = ("amber", "birch", "cedar", "weak")
_SYLLABLES = ("ba", "de", "fi", "go", "lu", "ma", "ne", "pi", "ro", "su", "ta", "ve")
_WORDS = [a + b + c for a in _SYLLABLES for b in _SYLLABLES for c in ("k", "l", "n")]
OWN = {family: _WORDS[24 * i : 24 * (i + 1)] for i, family in enumerate(FAMILIES)}
FILLERS = _WORDS[100:160]
ROWS = {"train": (60, 6), "validation": (8, 12), "selection": (6, 10), "test": (20, 40)}  # of each strong family, of the weak one


def question(draw: random.Random, words: Sequence[str]) -> str:
    """Four words of a family among six that say nothing."""
    chosen = [*draw.sample(list(words), 4), *draw.sample(FILLERS, 6)]
    return " ".join(draw.sample(chosen, len(chosen)))


def write_rows(folder: Path, sizes: dict[str, tuple[int, int]] = ROWS) -> None:
    """The task's splits."""
    draw = random.Random(5)
    for split, (strong, weak) in sizes.items():
        counts = {family: weak if family == "weak" else strong for family in FAMILIES}
        rows = [{"line": question(draw, OWN[f]), "family": f} for f, count in counts.items() for _ in range(count)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def run_values(url: str) -> dict[str, Any]:
    """The config of a run with the stub at `url` as teacher."""
    llm = {"base_url": url, "concurrency": 1, "timeout_seconds": 20}
    options = {"prompt": "line", "answer": "family", "scorer": "exact", "description": "Name the family of the words."}
    return {
        "task": {"name": "custom", **{split: f"{split}.jsonl" for split in ROWS}, "options": options},
        "slm": {"model": "nobody/student"},
        "teacher": {**llm, "model": "planted"},
        "judge": {**llm, "model": "judge"},
        "train": {"epochs": 1},
        "analyze": {"sample": 6, "k_max": 2, "detail": "brief"},
        "generate": {"share": 0.2, "pattern_share": 1, "regenerations": 0},
        "control": {"verdict": "checks", "solve": "off"},
        "loop": {"iterations": 1},
    }


def write_study(folder: Path, url: str, **study: Any) -> Path:
    """A study file with the task `words`, and its rows."""
    write_rows(folder)
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({"tasks": {"words": run_values(url)}, **study}))
    return file


def teach(stub: Any) -> None:
    """The teacher `planted` knows the weak family; any other writes rows of families that the student knows."""
    stub.on(ANALYSING, reply={"difference": "All.", "root_cause": "Knows too few of its words.", "scenario": "Rare words."})
    stub.on("You find what a group of mistakes", reply={"category_name": "rare", "pattern": "Rare words are not known."})
    stub.on("You plan training data", reply={"strategy": "Write lines with many different rare words."})
    stub.on(WRITING, reply=_items)


def _items(ask: Any) -> dict[str, Any]:
    draw, asked = random.Random(spread(ask.text, 10**9)), ask.schema["properties"]["items"]
    planted = ask.body["model"] == "planted"

    def item() -> dict[str, str]:
        family = "weak" if planted else draw.choice(FAMILIES[:-1])
        return {"line": question(draw, OWN[family]), "answer": family}

    return {"items": [item() for _ in range(asked["minItems"])]}


def in_this_process(items: Sequence[Item], jobs: int, start: Any, say: Any, ended_well: Any) -> dict[str, str]:
    """As run_side_by_side, without the seconds that a process takes."""
    failed: dict[str, str] = {}
    for item in items:
        try:
            start(item.work)
        except PadaError as e:
            failed[item.name] = str(e)
        else:
            ended_well(item)
    return failed


@contextmanager
def students() -> Iterator[None]:
    """Studies run in this process, with the student, and nothing waits for a disk that keeps what is written."""
    from pada_agent.components.analyze_patterns import __main__ as analysis

    with pytest.MonkeyPatch.context() as patch:
        for name, module in backends().items():
            patch.setitem(sys.modules, name, module)
        patch.setattr(analysis, "embedder", embedder)
        patch.setattr("pada_agent.pipelines.study.run.run_side_by_side", in_this_process)
        patch.setattr("os.fsync", lambda fd: None)
        patch.setattr("gc.collect", lambda: 0)
        patch.setenv("OPENAI_API_KEY", "test-key")
        yield


def tasks_run(out: Path) -> list[tuple[str, str]]:
    """(cell, task) of each task that a stage began, as often as one did."""
    places = [(str(events.parent.relative_to(out)), str(events)) for events in sorted(out.rglob("events"))]
    return [(cell, e.task) for cell, events in places for e in told(events, "here").values() if e.kind == "started"]

"""Canaries: tokens planted in every held-out row, a teacher that echoes all it is shown, and no token where it must not be.

The whole loop runs with a tiny model. The teacher offers each kind of token by itself as well, since each kind is what one screen
is for; a second teacher knows the held-out rows by heart and writes them down.
"""

import itertools
import json
import random
import re
import shutil

import pytest
from llm_stub import SOLVER, serving
from whole_run import small_run

from pada_agent.components.core.methods.registry import METHODS
from pada_agent.components.core.separation.duplicates import normalise
from pada_agent.components.core.settings import Settings
from pada_agent.pipelines.local import run as local

SIZES = {"train": 10, "validation": 8, "selection": 5, "test": 5}
READS, NAMES, PLANS = "You are a teacher who reads", "You find what a group", "You plan training data"
WRITES, JUDGES = "You write training examples", "You judge training examples"
ANALYSIS = (READS, NAMES, PLANS)
KINDS = ("word", "name", "number", "answer", "run")
BRANCHES = {"duplicate": {"row"}, "auggpt": {"row"}, "random_strategy": {"pattern", "error"}}
HONEST = ("Answers in other words", "Practise questions that use other words than the paragraph.")


def planted(split, number):
    """A row and its tokens by kind; those of a held-out row occur nowhere else."""
    rng = random.Random(f"{split}{number}")
    word, name = ("".join(rng.choice(c) + rng.choice("aeiou") for c in ("bdgkz", "lmnrv", "ptkzv", "dfgms")) for _ in range(2))
    count = str(rng.randrange(10_000, 99_999) * 10 + 7)
    answer = f"{number + 2} {rng.choice(['old', 'cold', 'new'])} {rng.choice(['brown', 'green', 'red'])} {split} boxes"
    run = f"which stood for {number + 2} years behind the {split} door on the left side of the house"
    context = (
        f"The {word} of {name.title()} was found by {answer}, {run}. People came to see it, and {count} of them paid for it."
    )
    fields = {"id": f"{split}-{number}", "title": f"{split}-{number}", "context": context, "answers": {"text": [answer]}}
    question = f"What was the {word} found by when {name.title()} was a small place?"
    return {**fields, "question": question}, dict(zip(KINDS, map(normalise, (word, name, count, answer, run)), strict=True))


ROWS = {split: [planted(split, i) for i in range(size)] for split, size in SIZES.items()}
TOKENS = {split: [token for _, kinds in rows for token in kinds.values()] for split, rows in ROWS.items() if split != "train"}


def found(text, *splits):
    """Tokens of these splits, by default of all held-out ones, that a text has."""
    plain = f" {normalise(text)} "
    return [token for split in splits or TOKENS for token in TOKENS[split] if f" {token} " in plain]


def is_for(*roles):
    """Whether an ask is for one of these agents. Its prompt must begin so: an echo has the beginnings of others in it."""
    return lambda ask: ask.text.startswith(roles)


class Teacher:
    """Echoes its prompt into every text. Asked what failures share, it also offers one token after another, then honest words."""

    def __init__(self, knows_by_heart):
        in_turn = (ROWS[split][i][0] for i in range(max(SIZES.values())) for split in TOKENS if i < SIZES[split])
        self._by_heart = itertools.cycle(in_turn) if knows_by_heart else None
        self._turns = itertools.count()
        self._notes = itertools.count(1)

    def analysis(self, ask):
        return dict.fromkeys(ask.schema["properties"], ask.last)

    def description(self, ask):
        turn = next(self._turns) % (len(KINDS) + 2)
        if turn == 0:
            return dict.fromkeys(ask.schema["properties"], ask.text)
        _, kinds = ROWS["validation"][turn]
        texts = HONEST if turn > len(KINDS) else [f"Practise {kinds[KINDS[turn - 1]]}"] * 2
        return dict(zip(ask.schema["properties"], texts[-len(ask.schema["properties"]) :], strict=True))

    def items(self, ask):
        if ask.schema["properties"]["items"]["items"]["properties"].keys() == {"text"}:
            return {"items": [{"text": self._wording(ask)}]}
        return {"items": [self._item(ask) for _ in range(ask.schema["properties"]["items"]["minItems"])]}

    def _item(self, ask):
        note = next(self._notes)
        if self._by_heart and note % 2:
            row = next(self._by_heart)
            return {"context": row["context"], "question": row["question"], "answer": row["answers"]["text"][0]}
        seen = " ".join(ask.text.split())
        most = {k: v["maxLength"] for k, v in ask.schema["properties"]["items"]["items"]["properties"].items()}
        return {
            "context": f"Note {note}. {seen[20 - most['context'] :]}",
            "question": f"What is in {note}: {seen[: most['question'] - 20]}",
            "answer": f"Note {note}",
        }

    def _wording(self, ask):
        """Without figures: other numbers would be refused."""
        note = next(self._notes)
        text = next(self._by_heart)["question"] if self._by_heart and note % 2 else f"{' '.join(ask.last.split())} {'x' * note}"
        return re.sub(r"\d", "", text)[-100:]

    def solution(self, ask):
        """The note that the question names, beside all that it was shown."""
        named = re.findall(r"\nQuestion: What is in (\d+): ", ask.last)
        return {"work": ask.text[-300:], "answer": f"Note {named[-1]}" if named else ask.text[-90:]}

    def verdict(self, ask):
        return {"adherence": 8, "utility": 8, "relevance": 9, "feedback": ask.text[-300:]}


@pytest.fixture
def run(tmp_path, tiny_slm, monkeypatch):
    """run(knows_by_heart, until) -> the run's folder and all that the LLMs were asked."""
    monkeypatch.setenv("OPENAI_API_KEY", "test-key")
    for split, rows in ROWS.items():
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row, _ in rows))

    def start(knows_by_heart=False, until="", **sections):
        teacher = Teacher(knows_by_heart)
        with serving() as stub:
            stub.on(is_for(READS), reply=teacher.analysis)
            stub.on(is_for(NAMES, PLANS), reply=teacher.description)
            stub.on(is_for(WRITES), reply=teacher.items)
            stub.on(is_for(SOLVER), reply=teacher.solution)
            stub.on(is_for(JUDGES), reply=teacher.verdict)
            local.run(settings(stub.url, tmp_path, tiny_slm, **sections), tmp_path / "run", until)
        return tmp_path / "run", stub.asks

    return start


def settings(url, folder, tiny_slm, **sections):
    values = small_run(
        url,
        tiny_slm,
        {"timeout_seconds": 5, "give_up_seconds": 5},
        train={"checkpoints": 0},
        analyze={"k_max": 2, "redrafts": len(KINDS) + 2},
        generate={"batch": 2, "share": 1.0, "regenerations": 1, "shots": 1, **sections.pop("generate", {})},
        **sections,
    )
    task = {"name": "squad", **{split: str(folder / f"{split}.jsonl") for split in SIZES}}
    return Settings.model_validate({**values, "task": task})


def accepted(run_dir):
    (merge,) = run_dir.glob("*-merge-1")
    return (merge / "synthetic_data" / "synthetic.jsonl").read_text()


def check_requests(asks):
    """Validation text in requests of the analysis alone, text of the other held-out splits in none."""
    for ask in asks:
        assert not found(ask.text, "selection", "test"), ask.text
        assert is_for(*ANALYSIS)(ask) or not found(ask.text), ask.text


def test_nothing_of_a_held_out_row_gets_out_of_the_analysis(run):
    run_dir, asks = run()
    check_requests(asks)
    assert all(any(map(is_for(role), asks)) for role in (*ANALYSIS, WRITES, SOLVER, JUDGES))
    assert any(found(ask.text, "validation") for ask in asks), "the analysis was shown no validation row: nothing was tested"
    readable = ("train_data", "plan", "batches", "checked_batches", "synthetic_data", "adapter")
    files = [f for name in readable for place in run_dir.glob(f"*/{name}") for f in (place, *place.rglob("*")) if f.is_file()]
    texts = {file: file.read_text() for file in files if file.suffix not in (".safetensors", ".bin")}
    assert {file: tokens for file, text in texts.items() if (tokens := found(text))} == {}
    (plan,) = run_dir.glob("*/plan/strategies.yaml")
    assert HONEST[1] in plan.read_text(), "no strategy was left: nothing was tested"
    assert "What is in" in accepted(run_dir), "no row was accepted: nothing was tested"
    assert list(run_dir.glob("*-evaluate-1")), "the run did not come to its end"


def test_a_teacher_that_knows_held_out_rows_by_heart_gets_none_into_the_training_data(run):
    run_dir, asks = run(knows_by_heart=True, until="generate")
    check_requests(asks)
    written = "".join(file.read_text() for file in run_dir.glob("*/batches/batches.jsonl"))
    assert all(found(written, split) for split in TOKENS), "it wrote none down: nothing was tested"
    assert found(accepted(run_dir)) == []
    assert "What is in" in accepted(run_dir)


def test_no_method_gets_held_out_text_into_a_prompt_or_the_training_data(run):
    """Without quality control, which is there for other things: leaks are refused all the same. Two of them are trained on."""
    for method in (name for name in METHODS if name != "pada"):
        until = "" if method in ("auggpt", "duplicate") else "generate"
        run_dir, asks = run(knows_by_heart=True, until=until, generate={"method": method}, control={"verdict": "none"})
        check_requests(asks)
        assert all(is_for(WRITES)(ask) for ask in asks) and bool(asks) == (method != "duplicate"), "others cost what is not used"
        written = "".join(file.read_text() for file in run_dir.glob("*/batches/batches.jsonl"))
        assert method == "duplicate" or all(found(written, split) for split in TOKENS), "it wrote none down: nothing was tested"
        assert found(accepted(run_dir)) == [] and accepted(run_dir), method
        (last,) = run_dir.glob("*-score-1/state/state.json") if not until else run_dir.glob("*-merge-1/state/state.json")
        state = json.loads(last.read_text())
        (iteration,) = state["iterations"]
        assert state["run"]["method"] == method and iteration["accepted"] > 0
        assert until or state["models"][-1]["synthetic_rows"] == iteration["accepted"]
        assert {b["branch"] for b in iteration["batches"]} == BRANCHES.get(method, {"error"})
        if method == "duplicate":
            assert iteration["accepted"] == SIZES["train"], "no copy is refused on the way to the training"
        # The next method begins where vanilla was evaluated, as a run of its own would.
        (run_dir / "settings.json").unlink()
        shutil.rmtree(run_dir / "ledger", ignore_errors=True)  # where nothing is right, contrast asks what error alone asks
        for task in run_dir.glob("*-1*"):
            shutil.rmtree(task)

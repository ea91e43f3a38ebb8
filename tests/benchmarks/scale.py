"""Time and memory of the stages around training, at the size of a large run: each in a process of its own, the teacher a stub.

    PYTHONPATH=tests python tests/benchmarks/scale.py [--rows 20000] [--failures 5000] [--model NAME] [--profile STAGE]

One iteration on made-up rows like SQuAD's. Half of the validation rows fail, and a tenth of the training rows. Predictions are
written here in place of training and evaluation. Embeddings are those of a model that looks words up, in place of mpnet, unless
--model names another: what is measured is all the rest. Prints a table; run it on a machine that does nothing else.
"""

import argparse
import cProfile
import json
import os
import pstats
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from apart import answer, apart
from llm_stub import SOLVER, Ask, serving
from made_rows import solved, squad_rows
from whole_run import spread, teach

from pada_agent.components.backends.executor import Executor
from pada_agent.components.backends.record_files import read_records, write_json, write_records
from pada_agent.components.core.records import HeldOutRow, Prediction, Score, TrainRow
from pada_agent.components.core.settings import Settings
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.stages import STAGES

TASK = load_task("squad", {})
WRONG = {"validation": 0.5, "selection": 0.5, "test": 0.5, "train": 0.1}  # shares of rows answered wrongly
SELECTION, TEST = 1000, 2000
DOUBTED = 20  # one in so many written rows is solved otherwise


def sizes(rows: int, failures: int) -> dict[str, int]:
    """Rows of each split."""
    return {"train": rows, "validation": round(failures / WRONG["validation"]), "selection": SELECTION, "test": TEST}


def written(ask: Ask) -> dict[str, Any]:
    """As many new rows as are asked for, always the same to one question."""
    count = ask.schema["properties"]["items"]["minItems"]
    made = squad_rows(5 * count, f"written-{spread(ask.text, 10**12)}")
    rows = [row for i, row in enumerate(made) if i % 5 == 0]
    return {"items": [{**{k: row[k] for k in ("context", "question")}, "answer": row["answers"]["text"][0]} for row in rows]}


def solution(ask: Ask) -> dict[str, str]:
    """The right answer, and sometimes another one."""
    return {"work": "", "answer": solved(ask.last) if spread(ask.last, DOUBTED) else "something else"}


@dataclass
class Run:
    """The stages of one iteration, one after the other, in `folder`."""

    folder: Path
    settings: Settings
    profiled: str = ""
    measured: list[dict[str, Any]] = field(default_factory=list)

    def stage(self, name: str, inputs: dict[str, Path], what: str = "", **parameters: Any) -> dict[str, Path]:
        """Its output artifacts."""
        into = self.folder / f"{len(self.measured):02}-{name}"
        outputs = {output: into / output for output in STAGES[name].outputs}

        def slots(paths: dict[str, Path]) -> dict[str, Any]:
            return {key: {"artifacts": [{"name": key, "uri": str(path)}]} for key, path in paths.items()}

        values = {"settings": STAGES[name].sections(self.settings), **parameters}
        document = {
            "inputs": {"parameterValues": values, "artifacts": slots(inputs)},
            "outputs": {"artifacts": slots(outputs), "outputFile": str(into / "executor_output.json")},
        }
        started = time.monotonic()
        found = apart(__file__, "stage", {"stage": name, "input": json.dumps(document), "profile": name == self.profiled})
        print(found.pop("profile", ""), end="", flush=True)
        files = sum(path.stat().st_size for path in into.rglob("*") if path.is_file())
        row = {
            "stage": f"{name}{what and f', {what}'}",
            "seconds": time.monotonic() - started,
            "written_mb": files / 1e6,
            **found,
        }
        self.measured.append(row)
        print(line(row), flush=True)
        return outputs

    def evaluated(self, data: dict[str, Path], name: str) -> dict[str, Path]:
        """What training and evaluation would leave."""
        folder, draw = self.folder / name, random.Random(name)
        files = {split: data["heldout_data"] / f"{split}.jsonl" for split in ("validation", "selection", "test")}
        for split, file in {"train": data["train_data"] / "train.jsonl", **files}.items():
            kind = "predictions" if split in ("train", "validation") else "report_predictions"
            rows = read_records(file, TrainRow if split == "train" else HeldOutRow)
            wrong = set(draw.sample(range(len(rows)), round(WRONG[split] * len(rows))))
            write_records(folder / kind / f"{split}.jsonl", _answers(rows, split, wrong))
            write_json(folder / kind / "metrics.json", {"name": name, "splits": {}, "seconds": 1.0})
        facts = {"steps": 1, "rows": 1, "synthetic_rows": 0, "dropped_too_long": [], "seconds": 1.0}
        write_json(folder / "adapter" / "train.json", facts)
        return {kind: folder / kind for kind in ("predictions", "report_predictions", "adapter")}


def _answers(rows: list[Any], split: str, wrong: set[int]) -> Iterator[Prediction]:
    for i, row in enumerate(rows):
        said = row.fields["context"].split()[0] if i in wrong else row.fields["answers"][0]
        score = Score(correct=i not in wrong, valid=True, predicted=said, detail="another part" if i in wrong else "")
        prompt = TASK.messages(row.fields)[-1]["content"]
        yield Prediction(
            id=row.id, split=split, prompt=prompt, output=said, reference=TASK.reference(row.fields), score=score,
            group=row.group, fields=row.fields,
        )  # fmt: skip


def one_iteration(run: Run) -> None:
    """From rows to a scored candidate."""
    data = run.stage("prepare_data", {})
    rows, vanilla = {"train_data": data["train_data"]}, run.evaluated(data, "vanilla")
    state = run.stage("update_state", {**rows, **vanilla}, "start", step="start")["state"]
    found = run.stage("analyze_patterns", {**rows, "predictions": vanilla["predictions"], "state": state})
    batches = run.stage("generate_data", {**rows, "plan": found["plan"]})["batches"]
    checked = run.stage("control_quality", {**rows, "batches": batches})["checked_batches"]
    batches = run.stage("generate_data", {**rows, "checked_batches": checked}, "second link")["batches"]
    checked = run.stage("control_quality", {**rows, "batches": batches}, "second link")["checked_batches"]
    merged = {**rows, "previous_state": state, "analyses": found["analyses"], "checked_batches": checked}
    state = run.stage("update_state", merged, "merge", step="merge", iteration=1)["state"]
    run.stage("update_state", {**rows, "previous_state": state, **run.evaluated(data, "one")}, "score", step="score", iteration=1)


def by_words(folder: Path) -> str:
    """A model of sentence-transformers whose embedding of a text is the mean of fixed random vectors of its words."""
    import numpy as np
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {word for row in squad_rows(20_000, "vocabulary") for word in row["context"].split()}
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["[UNK]", *sorted(words)])}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    vectors = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 256)).astype("float32")
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=vectors)], device="cpu").save(str(folder))
    return str(folder)


def settings_of(folder: Path, url: str, rows: int, failures: int, model: str) -> Settings:
    """With the rows in files. The LLMs are asked eight at a time, the default."""
    for split, count in sizes(rows, failures).items():
        with (folder / f"{split}.jsonl").open("w") as file:
            file.writelines(json.dumps(row) + "\n" for row in squad_rows(count, split))
    splits = {split: str(folder / f"{split}.jsonl") for split in sizes(rows, failures)}
    llm = {"base_url": url, "timeout_seconds": 300}
    return Settings.model_validate(
        {
            "task": {"name": "squad", **splits},
            "slm": {"model": "unused"},
            "embedding": {"model": model},
            "teacher": {**llm, "model": "teacher"},
            "judge": {**llm, "model": "judge"},
        }
    )


def line(row: dict[str, Any]) -> str:
    """Of the table."""
    numbers = f"{row['seconds']:.0f} s | {row['cpu_seconds']:.0f} s | {row['peak_gib']:.2f} GiB | {row['written_mb']:.0f} MB"
    return f"| {row['stage']} | {numbers} |"


def stage(given: dict[str, Any]) -> dict[str, Any]:
    """In the child: run one stage as its container would."""
    program, profile = import_module(f"pada_agent.components.{given['stage']}.__main__").run, cProfile.Profile()
    if given["profile"]:
        profile.runcall(program, Executor(given["input"]))
        path = Path(tempfile.mkdtemp()) / "profile"
        with path.open("w") as stream:
            pstats.Stats(profile, stream=stream).sort_stats("tottime").print_stats(25)
        return {"cpu_seconds": time.process_time(), "profile": path.read_text()}
    program(Executor(given["input"]))
    return {"cpu_seconds": time.process_time()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="training rows")
    parser.add_argument("--failures", type=int, default=5_000, help="validation rows that fail")
    parser.add_argument("--model", default="", help="for the embeddings: a folder or hub id")
    parser.add_argument("--profile", default="", choices=["", *STAGES], help="also print where this stage's time goes")
    chosen = parser.parse_args()
    os.environ["OPENAI_API_KEY"] = "none"
    with tempfile.TemporaryDirectory() as work, serving() as stub:
        stub.on(SOLVER, reply=solution)
        teach(stub, items=written)
        folder = Path(work)
        model = chosen.model or by_words(folder / "embedding")
        run = Run(folder, settings_of(folder, stub.url, chosen.rows, chosen.failures, model), chosen.profile)
        print("| stage | wall clock | CPU | most memory | written |\n|---|---|---|---|---|", flush=True)
        one_iteration(run)
        print(f"{stub.paid} calls, {len(os.sched_getaffinity(0))} cores")


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "stage":
        answer({"stage": stage})
    else:
        main()

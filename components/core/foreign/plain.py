"""A plain file: the model's output, and of verdict, prompt and the task's own fields what there is.

{"id": "7", "question": "...", "answer": "... #### 72", "output": "The answer is 70.", "correct": false}
{"id": "7", "prompt": "...", "output": "The answer is 70."}
"""

import json

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.foreign.answered import Answered, first_text, share
from pada_agent.components.core.records import Fields

OUTPUT = ("output", "prediction", "response", "completion", "generated_text")
PROMPT = ("prompt", "question", "input")
REFERENCE = ("reference", "answer", "target", "gold")
VERDICT = ("correct", "is_correct", "exact_match", "acc", "pass@1", "passed")
ID = ("id", "task_id", "doc_id", "ind")


def of_plain(raw: Fields, where: str) -> Answered:
    """One row, whose fields may be under "fields" or "doc". Raises InputError for no output, and for a verdict that is none."""
    key = next((k for k in OUTPUT if isinstance(raw.get(k), str)), "")
    if not key:
        raise InputError(f"no model output: one of {', '.join(OUTPUT)} must be a text")
    verdict = next((k for k in VERDICT if raw.get(k) is not None), "")
    if verdict and share(raw[verdict]) not in (0, 1):
        raise InputError(
            f"no verdict: '{verdict}' must be true or false, it is {raw[verdict]!r}; leave it out, and the task scores the output"
        )
    prompt, reference = first_text(raw, PROMPT), first_text(raw, REFERENCE)
    inner = raw.get("fields", raw.get("doc"))
    source = inner if isinstance(inner, dict) else {"question": prompt, "prompt": prompt, "answer": reference} | raw
    return Answered(
        where=where,
        output=str(raw[key]),
        sources=(source,),
        id=first_text(raw, ID),
        row=json.dumps([prompt, reference, inner], sort_keys=True, default=str),
        prompt=prompt,
        reference=reference,
        metrics={verdict: float(raw[verdict])} if verdict else {},
    )

"""lm-evaluation-harness' `--log_samples`: one line for each row and answer filter.

    {"doc_id": 0, "doc": {"question": "...", "answer": "... #### 72"}, "arguments": {"gen_args_0": {"arg_0": "..."}},
     "target": "...", "resps": [["It is 70."]], "filtered_resps": ["70"], "filter": "strict-match",
     "metrics": ["exact_match"], "doc_hash": "75bb...", "exact_match": 0.0}

With log-likelihoods a request is an option, `resps` are [["-3.2", "False"], ...]: how likely, and whether it is what the model
would have said. With `--predict_only` there are no verdicts.
"""

import json
from collections.abc import Iterable
from typing import Any

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.foreign.answered import Answered, chat_text, share, texts
from pada_agent.components.core.records import Fields

METRICS = ("exact_match", "acc", "pass@1", "f1")  # where a line does not name its own


def of_lm_eval(raw: Fields, where: str) -> Answered:
    """One line. Raises InputError for one without its row."""
    doc = raw.get("doc")
    if not isinstance(doc, dict) or "doc_id" not in raw:
        raise InputError("no row: lm-eval writes 'doc' and 'doc_id' with --log_samples")
    calls = _calls(raw.get("arguments"))
    filtered = raw.get("filtered_resps") or raw["resps"]
    names = raw["metrics"] if isinstance(raw.get("metrics"), list) else METRICS
    metrics = {str(name): value for name in names if (value := share(raw.get(name))) is not None}
    option = None
    if likelihoods := _log_likelihoods(filtered):
        prompt, options = _options(calls)
        if len(options) > 1:
            option = max(range(min(len(options), len(likelihoods))), key=likelihoods.__getitem__)
            output = options[option]
        else:  # of one text, whether the model would have said it
            said = str(filtered[0][-1]) == "True"
            output, metrics = options[0] if said and options else "", metrics or {"said": float(said)}
        extracted = output
    else:
        prompt = calls[0][0] if calls else ""
        output, extracted = next(texts(raw["resps"]), ""), next(texts(filtered), "")
    return Answered(
        where=where,
        output=output,
        sources=(doc,),
        id=str(raw["doc_id"]),
        row=str(raw.get("doc_hash") or json.dumps(doc, sort_keys=True)),
        run=str(raw.get("filter", "")),
        prompt=prompt,
        extracted=extracted,
        option=option,
        metrics=metrics,
    )


def _calls(arguments: Any) -> list[tuple[str, str]]:
    """Prompt and continuation of each request; newer versions write objects, older ones lists."""
    calls = []
    given = arguments.values() if isinstance(arguments, dict) else arguments
    for call in given if isinstance(given, Iterable) else ():
        values: list[Any] = list(call.values()) if isinstance(call, dict) else call if isinstance(call, list) else [call]
        first, second = [*values, "", ""][:2]
        prompt = chat_text(first) if isinstance(first, list) else str(first)
        calls.append((prompt, second if isinstance(second, str) else ""))
    return calls


def _options(calls: list[tuple[str, str]]) -> tuple[str, list[str]]:
    """The prompt and the options. Some tasks (WinoGrande) put the options into the prompt, before one continuation.

    acc_mutual_info asks for each option once more without a prompt: those are no options.
    """
    asked = [call for call in calls if call[0]] or calls
    prompts = [prompt for prompt, _ in asked]
    if len(set(prompts)) > 1 and len({continuation for _, continuation in asked}) == 1:
        alike = _common_start(prompts)
        return alike, [f"{prompt[len(alike) :]}{continuation}".strip() for prompt, continuation in asked]
    return prompts[0] if prompts else "", [continuation.strip() for _, continuation in asked]


def _common_start(prompts: list[str]) -> str:
    """What all prompts begin with, up to the end of a word."""
    one, other = min(prompts), max(prompts)
    length = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[: one.rfind(" ", 0, length) + 1]


def _log_likelihoods(filtered: Any) -> list[float]:
    """One for each option, [] where the responses are texts."""
    try:
        pairs = [(float(pair[0]), str(pair[1])) for pair in filtered if not isinstance(pair, str)]
    except (ValueError, TypeError, IndexError):
        return []
    return [number for number, flag in pairs] if all(flag in ("True", "False") for _, flag in pairs) else []

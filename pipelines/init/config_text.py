"""The text of a config: what was found, with comments that say why and what else there is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from pada_agent.components.core.records import Fields
from pada_agent.components.core.settings import EMBEDDED, FEW_STEPS, GenerateSettings, LlmSettings, TrainSettings
from pada_agent.components.core.statistics import detectable_difference

SLM = "HuggingFaceTB/SmolLM2-135M-Instruct"
TEACHER = "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF"
LENGTHS = (256, 512, 1024, 2048, 4096)  # tokens of a training row
SMALL_REPLY = 1024  # tokens of an embedded teacher's reply, of which it writes some ten a second
SCORER = ["scorer: judge  # who scores the answers; better a third model, written as the judge is, which has no stake in them"]
USES = {
    "train": "what is trained on, and shown to the teacher",
    "validation": "where failures are looked for",
    "selection": "which of the models is shipped; without it half of validation is set aside",
    "test": "what is reported",
}


@dataclass(frozen=True)
class Split:
    """Where the rows of a split are, and how many there are in how many groups; 0: not counted."""

    source: str
    rows: int = 0
    groups: int = 0


@dataclass(frozen=True)
class Models:
    """Who is trained and who teaches; no address: a small model on this machine."""

    slm: str = SLM
    teacher: str = TEACHER
    teacher_url: str = ""
    judge: str = ""
    judge_url: str = ""


@dataclass(frozen=True)
class Sizes:
    """Tokens of the longest row, and of a row as the teacher writes it."""

    longest: int
    mean: float
    notes: list[str] = field(default_factory=list)


def config_text(found: str, splits: Mapping[str, Split], options: Fields, models: Models, sizes: Sizes, schema: str) -> str:
    """YAML for `pada run`; `found` says in a line what the file was taken for, `schema` is the path of the JSON schema."""
    lines = [f"# yaml-language-server: $schema={schema}", f"# {found}"]
    lines += [f"# {' '.join(note.split())}" for note in sizes.notes]
    lines += [
        "# Every setting, its bounds and its default: components/core/settings.py. Paths are relative to this file.",
        "task:",
        "  name: custom",
    ]
    width = max(len(f"{name}: {scalar(split.source)}") for name, split in splits.items())
    lines += [f"  {f'{name}: {scalar(split.source)}'.ljust(width)}  # {_use(name, split)}" for name, split in splits.items()]
    lines += ["  options:", *(line for name, value in options.items() for line in _option(name, value))]
    length = next((tokens for tokens in LENGTHS if tokens >= 1.2 * sizes.longest), LENGTHS[-1])
    lines += [
        "",
        "slm:",
        f"  model: {scalar(models.slm)}",
        f"  max_length: {length}  # tokens; the longest row looked at has about {sizes.longest}",
    ]
    lines += _train(splits["train"].rows)
    judged = options["scorer"] == "judge"
    lines += ["", *_llms(models, judged), *(SCORER if judged else []), *_generate(models, sizes)]
    return "\n".join(lines) + "\n"


def effect(rows: int) -> str:
    """What a test on so many rows can show, in words."""
    least = detectable_difference(rows)
    return (
        "too few to show any difference"
        if math.isinf(least)
        else f"shows a difference of {100 * least:.0f} points or more, with 80 % chance"
    )


def scalar(value: object) -> str:
    """A value on one line of YAML."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True).removesuffix("...\n").strip()


def _use(name: str, split: Split) -> str:
    if not split.rows:
        return USES[name]
    grouped = f" in {split.groups:,} groups" if 0 < split.groups < split.rows else ""
    shown = f"; {effect(split.groups or split.rows)}" if name == "test" else ""
    return f"{split.rows:,} rows{grouped}: {USES[name]}{shown}"


def _option(name: str, value: object) -> list[str]:
    if not isinstance(value, dict):
        return [f"    {name}: {scalar(value)}{_comment(name)}"]
    return [f"    {name}:{_comment(name)}", *(f"      {scalar(key)}: {scalar(text)}" for key, text in value.items())]


def _comment(option: str) -> str:
    says = {
        "labels": "all answers there are; what one means, in a few words behind it (label: meaning), helps the teacher",
        "shape": "of the rows: auto, columns, chat, sharegpt, alpaca",
        "scorer": "components/core/tasks/README.md says what each takes as right",
        "rubric": "by which the scorer scores answers from 1 to 5; a text, or a file that ends in .txt or .md",
        "description": "the teacher reads it: say what is asked, and what a good answer is",
        "group": "rows that share it stay in one split",
        "max_new_tokens": "of the SLM's answer",
    }
    return f"  # {says[option]}" if option in says else ""


def _train(rows: int) -> list[str]:
    usual, small = TrainSettings().steps(rows), TrainSettings(accumulate=1).steps(rows)
    if not rows or usual >= FEW_STEPS:
        return []
    return ["train:", f"  accumulate: 1  # {rows} rows are few: {small} small steps teach more than {usual} large ones"]


def _llms(models: Models, judged: bool) -> list[str]:
    if not models.teacher_url:
        solves = "" if judged else ", and solves each new row without its answer; not with an endpoint"
        return [
            "# A small model on this machine: no account, no key, and modest data. Any endpoint that speaks the OpenAI API does",
            "# better: its address is base_url, the name of the variable with its key api_key_env, and the judge another model.",
            "teacher: &llm",
            f"  model: {scalar(models.teacher)}",
            f"  base_url: {EMBEDDED}",
            "  concurrency: 1",
            f"  max_tokens: {SMALL_REPLY}",
            "  timeout_seconds: 600",
            "  give_up_seconds: 600",
            "judge: *llm",
            "control:",
            f"  verdict: checks  # such a model is no judge{solves}",
        ]
    key = LlmSettings.model_fields["api_key_env"].default
    return [
        "teacher:",
        f"  model: {scalar(models.teacher)}",
        f"  base_url: {scalar(models.teacher_url)}",
        f"  api_key_env: {key}  # name of the variable that holds the key",
        "judge:  # another model than the teacher",
        f"  model: {scalar(models.judge)}",
        f"  base_url: {scalar(models.judge_url or models.teacher_url)}",
        f"  api_key_env: {key}",
        "# budget: {usd: 20}  # a hard cap; `pada estimate` says what to expect",
    ]


def _generate(models: Models, sizes: Sizes) -> list[str]:
    if models.teacher_url:
        room, usual = LlmSettings.model_fields["max_tokens"].default, GenerateSettings.model_fields["batch"].default
        batch = max(1, int(room / (2 * (sizes.mean + 8))))
        return ["generate:", f"  batch: {batch}  # rows of a reply, which has room for {room} tokens"] if batch < usual else []
    return [
        "analyze: {detail: brief}  # a small teacher writes two sentences well",
        "generate:",
        "  freedom: vary  # a small teacher's own inventions are often wrong",
        "  shots: 1",
        "  batch: 1  # rows of a reply: a small teacher copies from the row that it has just written",
    ]

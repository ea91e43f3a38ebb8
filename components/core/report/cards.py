"""Cards as model and dataset hubs read them: README.md with metadata in front, for an adapter, a full model and a data set.

    ---
    base_model: org/slm
    library_name: peft
    model-index:
    - name: pada-text-to-sql
      results: [...]
    ---
    # pada-text-to-sql

Texts that a model wrote are hostile here: they reach a card through `plain` only. Of a path the last name is told.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from pada_agent.components.core import figures
from pada_agent.components.core.report.facts import Facts, ModelFacts
from pada_agent.components.core.state import State

CARD = "README.md"
UNKNOWN = "unknown: look it up before you pass this on"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_MARKUP = re.compile(r"([\\`*_\[\]|#~])")


@dataclass(frozen=True)
class CardFacts:
    """What a card says that a state does not: `training` is train.json, `data` each split's source, licences '' if unknown."""

    name: str
    training: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    base_licence: str = ""
    made_by: str = ""
    checked: Sequence[str] = ()


@dataclass(frozen=True)
class Remaining:
    """A pattern that the shipped model still fails, and on how many of the validation rows that are behind it."""

    name: str
    description: str
    failing: int
    rows: int


@dataclass(frozen=True)
class Form:
    """How a model is packed: the library that loads it, how it relates to its base, the line that says what it is."""

    library: str
    relation: str
    what: str
    trained: str = "LoRA"


ADAPTER = Form("peft", "adapter", "a LoRA adapter; the base model is loaded beside it")
MERGED = Form("transformers", "finetune", "the full model: the adapter is merged into its base")
WHOLE = Form("transformers", "finetune", "the full model: all of its weights were fine-tuned", "All weights")
GGUF = Form("gguf", "quantized", "the full model for llama.cpp, in GGUF")


def hub_id(name: str) -> str:
    """`name` if a hub can know it, else ''."""
    return name if _HUB_ID.fullmatch(name) else ""


def plain(text: object) -> str:
    """One line of text without any effect as Markdown or HTML."""
    line = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\1", line)


def source_name(address: str) -> str:
    """A URI or a hub id as it is; of a path the file's name alone."""
    text = str(address)
    return text if "://" in text or not text.startswith(("/", "~", ".")) else text.rstrip("/").rpartition("/")[2]


def with_metadata(metadata: Mapping[str, Any], body: str) -> str:
    """A card. What is empty in the metadata is left out."""
    said = {key: value for key, value in metadata.items() if value not in ("", [], {}, None)}
    return f"---\n{yaml.safe_dump(said, sort_keys=False, allow_unicode=True)}---\n{body.strip()}\n"


def adapter_note(base: str) -> str:
    """The card of an adapter that was trained and not evaluated yet, in place of PEFT's form to fill in."""
    metadata = {"base_model": hub_id(base), "library_name": ADAPTER.library, "tags": ["lora", "pada-agent"]}
    return with_metadata(
        metadata | {"base_model_relation": ADAPTER.relation if hub_id(base) else ""},
        f"# A LoRA adapter for {plain(source_name(base))}\n\nTrained by PaDA-Agent; train.json says how. It was not "
        "evaluated when this was written: the report of its run, and `pada export`, have the numbers.",
    )


def remaining(state: State) -> list[Remaining]:
    """The patterns that the shipped model still fails, those with most failures first.

    Where its failures were analysed, all that were found; of the last model, its iteration's patterns as they came out.
    """
    names = [m.name for m in state.models]
    analysed = next((i for i in state.iterations if i.patterns and _analysed(state, i.number) == state.incumbent), None)
    if analysed and state.incumbent in names:
        found = [Remaining(p.name, p.description, len(p.row_ids), len(p.row_ids)) for p in analysed.patterns]
    else:
        own = next((i for i in state.iterations if i.model and i.model == state.incumbent), None)
        found = []
        for pattern in own.patterns if own else ():
            after = own.progress.get(pattern.id) if own else None
            failing = after.failing if after and after.failing is not None else len(pattern.row_ids)
            if failing:
                found.append(Remaining(pattern.name, pattern.description, failing, len(pattern.row_ids)))
    return sorted(found, key=lambda one: -one.failing)


def _analysed(state: State, number: int) -> str:
    return state.analysed(number) if any(m.kind == "start" for m in state.models) else ""


def model_card(state: State, facts: Facts, card: CardFacts, form: Form = ADAPTER) -> str:
    """The card of the model that `state` ships; `facts` are the state's."""
    shipped = next((m for m in facts.models if m.shipped), None)
    base = state.run.slm
    metadata = {
        "base_model": hub_id(base),
        "base_model_relation": form.relation if hub_id(base) else "",
        "library_name": form.library,
        "pipeline_tag": "text-generation",
        "tags": ["pada-agent", "synthetic-data", *(["lora"] if form is ADAPTER else [])],
        "datasets": sorted({name for d in card.data.values() if (name := hub_id(str(d.get("source", "")).partition("#")[0]))}),
        "model-index": _results(card.name, state.run.task, state.run.metric, shipped),
    }
    body = _template("model_card.md").render(
        card=card, form=form, run=state.run, facts=facts, shipped=shipped, base=base, remaining=remaining(state)
    )
    return with_metadata(metadata, body)


def _results(name: str, task: str, metric: str, shipped: ModelFacts | None) -> list[dict[str, Any]]:
    """The hub's model-index, which wants a data set's name and type even where it is no data set of the hub."""
    if shipped is None or shipped.test is None:
        return []
    measured = {"type": "accuracy", "value": round(shipped.test.accuracy, 4), "name": metric or "accuracy"}
    result = {
        "task": {"type": "text-generation"},
        "dataset": {"type": task, "name": f"{task}, {shipped.test.n} test rows", "split": "test"},
        "metrics": [measured],
    }
    return [{"name": name, "results": [result]}]


@dataclass(frozen=True)
class DataFacts:
    """What a data set's card says: rows by file, and the split, config name and number of rows of each."""

    name: str
    shape: str
    files: Mapping[str, int]
    columns: Sequence[tuple[str, str]]
    what: Mapping[str, str]


def dataset_card(state: State, data: DataFacts, card: CardFacts) -> str:
    """The card of the rows that a run trained on or wrote."""
    total = sum(data.files.values())
    size = next((f"n<{most}K" if low == 0 else f"{low}K<n<{most}K" for low, most in _SIZES if total < most * 1000), "n>1M")
    metadata = {
        "pretty_name": data.name,
        "task_categories": ["text-generation"],
        "tags": ["synthetic", "pada-agent"],
        "size_categories": [size],
        "configs": [
            {"config_name": file.rpartition(".")[0], "data_files": [{"split": "train", "path": file}]} for file in data.files
        ],
    }
    iterations = [i for i in state.iterations if i.accepted]
    patterns: list[tuple[int, Any, int]] = [
        (i.number, p, sum(row.provenance.pattern_id == p.id for b in i.batches for row in b.accepted))
        for i in iterations
        for p in i.patterns
    ]
    body = _template("dataset_card.md").render(data=data, card=card, run=state.run, iterations=iterations, patterns=patterns)
    return with_metadata(metadata, body)


_SIZES = ((0, 1), (1, 10), (10, 100), (100, 1000))


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("pada_agent.components.core.report", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: "" if value is None else value,
    )
    environment.filters |= {
        "plain": plain,
        "percent": lambda share: figures.percent(share).replace("\u00a0", " "),
        "points": figures.points,
        "p": lambda p: figures.p_value(p).replace("\u00a0", " "),
        "source": source_name,
        "plural": figures.plural,
    }
    environment.globals["UNKNOWN"] = UNKNOWN
    return environment.get_template(name)

"""What the report lets its reader search: rows with the models' answers, and samples with everything behind them.

Each entry has `tags`, words that a filter can ask for; `filters` has the questions and their words.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pada_agent.components.core.records import Batch, Sample
from pada_agent.components.core.report.shown_rows import SHOWN_SPLITS, ShownRow, draw, draw_samples, title_of
from pada_agent.components.core.state import IterationRecord, State

NAMES = {"validation": "Validation rows", "train": "Training rows"}
FILES = {"validation": "validation.jsonl", "train": "train.jsonl"}
CHANGES = {  # right by the first model, right by the last -> what to call it
    (False, False): "still wrong",
    (True, False): "newly wrong",
    (False, True): "fixed",
    (True, True): "right",
}
NO_PATTERN = "no-pattern"
OTHER_AIMS = {
    "error": ("training-errors", "training errors"),
    "row": ("training-rows", "training rows"),
    "pattern": ("aims", "aims drawn by chance"),
}


def browse(state: State, rows: Sequence[ShownRow], labels: Mapping[str, str], places: int) -> dict[str, Any]:
    """`answers`, at most `places` of a split, and `samples`, at most twice as many in all. `labels`: display names."""
    each = max(2, min(places, 2 * places // max(1, len(state.iterations))))
    shown = [(i, *pair) for i in state.iterations for pair in draw_samples(i.batches, each, state.run.seed)]
    parents = {p for _, _, s in shown for p in s.row.provenance.parent_ids}
    models = [m.name for m in state.models if any(m.name in r.answers for r in rows)]
    chosen = _chosen(state, rows, models, parents, places)
    anchors = {r.id: f"row-{n}" for n, r in enumerate(chosen) if r.split == "train"}
    written = {r: [f"sample-{n}" for n, (_, _, s) in enumerate(shown) if r in s.row.provenance.parent_ids] for r in anchors}
    known = {r.id: r for r in rows if r.split == "train"}
    answers = [_answered(state, r, models, labels, f"row-{n}", written.get(r.id, [])) for n, r in enumerate(chosen)]
    samples = [
        _sample(state, i, batch, sample, known) | {"anchor": f"sample-{n}", "anchors": anchors}
        for n, (i, batch, sample) in enumerate(shown)
    ]
    return {
        "answers": {"groups": _groups(state, answers), "filters": _answer_filters(state, answers, models, labels)},
        "samples": {"groups": _sample_groups(state, samples), "filters": _sample_filters(state, samples)},
    }


def _chosen(state: State, rows: Sequence[ShownRow], models: Sequence[str], parents: set[str], places: int) -> list[ShownRow]:
    """The rows drawn for this page and the training rows that its samples were written from; what went wrong comes first."""
    shown: list[ShownRow] = []
    for split in SHOWN_SPLITS:
        own = [r for r in rows if r.split == split]
        strata = [[r.id for r in own if r.drawn and _right(r, models[:1]) is right] for right in (True, False)]
        drawn = draw(strata, places, state.run.seed)
        shown += [r for r in own if r.id in drawn or (split == "train" and r.id in parents)]
    order = [*CHANGES.values(), "wrong", ""]
    return sorted(shown, key=lambda r: (SHOWN_SPLITS.index(r.split), order.index(_change(r, models))))


def _right(row: ShownRow, models: Sequence[str]) -> bool:
    return any(row.answers[m].correct for m in models if m in row.answers)


def _change(row: ShownRow, models: Sequence[str]) -> str:
    given = [row.answers[m].correct for m in models if m in row.answers]
    if len(given) < 2:
        return ("right" if given[0] else "wrong") if given else ""
    return CHANGES[given[0], given[-1]]


def _answered(
    state: State, row: ShownRow, models: Sequence[str], labels: Mapping[str, str], anchor: str, written: list[str]
) -> dict[str, Any]:
    change = _change(row, models)
    of = [(i, p) for i in state.iterations for p in i.patterns if row.split == "validation" and row.id in p.row_ids]
    said = [(i, a) for i in state.iterations for a in i.analyses if row.split == "validation" and a.row_id == row.id]
    verdicts = [_tag(str(n), _verdict(row, m)) for n, m in enumerate(models) if m in row.answers]
    return {
        **row.model_dump(include={"id", "split", "drawn"}),
        "title": row.title,
        "question": row.question if str(row.question) != str(row.title) else None,
        "reference": row.reference,
        "change": change,
        "answers": [{"label": labels[m], "verdict": _verdict(row, m), **_texts(row, m)} for m in models if m in row.answers],
        "patterns": [{"id": p.id, "name": p.name, "iteration": i.number} for i, p in of],
        "causes": [{"iteration": i.number, "text": a.root_cause} for i, a in said],
        "anchor": anchor,
        "written": written,
        "tags": [row.split, _tag(change), *verdicts, *([_tag("pattern", p.id) for _, p in of] or [NO_PATTERN])],
    }


def _verdict(row: ShownRow, model: str) -> str:
    answer = row.answers[model]
    return "right" if answer.correct else "wrong" if answer.valid else "no answer"


def _texts(row: ShownRow, model: str) -> dict[str, Any]:
    return {"output": row.answers[model].output, "detail": row.answers[model].detail}


def _tag(*words: str) -> str:
    return "-".join(part for word in words for part in word.split())


def _groups(state: State, answers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    groups = []
    for split in SHOWN_SPLITS:
        rows = [a for a in answers if a["split"] == split]
        of = next((m.metrics[split] for m in state.models if m.kind == "start" and split in m.metrics), None)
        counts = Counter(a["answers"][0]["verdict"] == "right" for a in rows if a["drawn"])
        if rows and of:
            told = {"wrong": counts[False], "all_wrong": of.n - of.correct, "right": counts[True], "all_right": of.correct}
            group = {"name": NAMES[split], "file": FILES[split], "total": of.n, "drawn": counts.total(), **told}
            groups.append({**group, "rows": rows, "more": len(rows) - counts.total()})
    return groups


def _answer_filters(
    state: State, answers: Sequence[Mapping[str, Any]], models: Sequence[str], labels: Mapping[str, str]
) -> list[dict[str, Any]]:
    changes = [c for c in dict.fromkeys(a["change"] for a in answers) if c]
    both = [(_tag(c), c) for c in changes]
    between = f"{labels[models[0]]} to {labels[models[-1]]}" if len(models) > 1 else ""
    words = ("right", "wrong", "no answer")
    each = [(labels[m], [(_tag(str(n), w), f"{labels[m]}: {w}") for w in words]) for n, m in enumerate(models)]
    verdicts = [(between, both), *each] if between else each
    return _asked(
        answers,
        ("Rows", [("", [(split, NAMES[split]) for split in SHOWN_SPLITS])]),
        ("Verdict", verdicts),
        ("Pattern", [*_patterns(state), ("", [(NO_PATTERN, "in no pattern")])]),
    )


def _patterns(state: State) -> list[tuple[str, list[tuple[str, str]]]]:
    return [(f"Iteration {i.number}", [(_tag("pattern", p.id), p.name) for p in i.patterns]) for i in state.iterations]


def _asked(
    entries: Sequence[Mapping[str, Any]], *filters: tuple[str, list[tuple[str, list[tuple[str, str]]]]]
) -> list[dict[str, Any]]:
    """Filters with those words only that some entry has, and how many have it; without those that leave no choice."""
    counts = Counter(tag for e in entries for tag in e["tags"])
    asked = []
    for label, groups in filters:
        kept = [(g, [(tag, name, counts[tag]) for tag, name in words if counts[tag]]) for g, words in groups]
        if sum(len(words) for _, words in kept) > 1:
            asked.append({"label": label, "groups": [(g, words) for g, words in kept if words]})
    return asked


def _sample(state: State, record: IterationRecord, batch: Batch, sample: Sample, rows: Mapping[str, ShownRow]) -> dict[str, Any]:
    source, strategies = sample.row.provenance, {s.id: s for s in record.strategies}
    strategy = strategies.get(batch.strategy_id)
    fields = {str(key): str(value) for key, value in sample.row.fields.items() if value not in ("", [], {}, None)}
    parents = [_parent(i, rows.get(i), state, record, batch) for i in source.parent_ids]
    kind = sample.kind or "no reason given"
    accepted = sample.status == "accepted"
    return {
        "id": sample.row.id,
        "iteration": record.number,
        "accepted": accepted,
        "reason": sample.reason,
        "title": title_of(sample.row.fields, next(iter(fields.values()), sample.row.id)),
        "fields": fields,
        "branch": batch.branch,
        "pattern": {"id": strategy.pattern_id, "name": strategy.pattern_name} if strategy else None,
        "strategy": strategy.text if strategy else "",
        "focus": batch.focus,
        "parents": parents,
        "scores": sample.row.scores,
        "batch": source.batch_id,
        "attempt": source.attempt,
        "model": record.model,
        "request": source.request_hash,
        "tags": [
            _tag("iteration", str(record.number)),
            *(["accepted"] if accepted else ["rejected", _tag("why", kind)]),
            _tag("pattern", strategy.pattern_id) if strategy and strategy.pattern_id else OTHER_AIMS[batch.branch][0],
        ],
        "kind": kind,
    }


def _parent(row_id: str, row: ShownRow | None, state: State, record: IterationRecord, batch: Batch) -> dict[str, Any]:
    """A training row that was shown; with what the model said to it, where a sample was written against that error."""
    answer = row.answers.get(state.analysed(record.number)) if row else None
    error = batch.branch == "error" and not (answer and answer.correct)
    return {"id": row_id, "row": row, "error": error, "answer": answer if error else None}


def _sample_groups(state: State, samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    groups = []
    for record in state.iterations:
        statuses = Counter(s.status == "accepted" for b in record.batches for s in b.samples)
        own = [s for s in samples if s["iteration"] == record.number]
        if own:
            told = {"accepted": statuses[True], "rejected": statuses[False], "total": statuses.total()}
            ordered = sorted(own, key=lambda s: not s["accepted"])
            groups.append({"name": f"Iteration {record.number}", "samples": ordered, "shown": len(own), **told})
    return groups


def _sample_filters(state: State, samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    kinds = dict.fromkeys(s["kind"] for s in samples if not s["accepted"])
    verdicts = [("accepted", "let in"), ("rejected", "rejected"), *((_tag("why", k), f"rejected: {k}") for k in kinds)]
    return _asked(
        samples,
        ("Iteration", [("", [(_tag("iteration", str(i.number)), f"Iteration {i.number}") for i in state.iterations])]),
        ("Verdict", [("", verdicts)]),
        ("Written against", [*_patterns(state), ("", list(OTHER_AIMS.values()))]),
    )

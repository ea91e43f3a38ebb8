"""Entry point: predictions in, analyses and plan out."""

from collections.abc import Sequence
from functools import partial

import yaml

from pada_agent.components.analyze_patterns.analyze import Findings, Tools, analyze
from pada_agent.components.analyze_patterns.screen import Screen, answer_screen, first_hit, word_screen
from pada_agent.components.analyze_patterns.transfer import transfer
from pada_agent.components.backends.artifacts.exported import run_state
from pada_agent.components.backends.artifacts.predictions import read_predictions
from pada_agent.components.backends.embeddings import embedder
from pada_agent.components.backends.executor import Executor, main
from pada_agent.components.backends.files import write_atomic
from pada_agent.components.backends.kmeans import cluster
from pada_agent.components.backends.llm.client import open_llm
from pada_agent.components.backends.record_files import read_records, write_json, write_records
from pada_agent.components.core.cost.budget import by_stage
from pada_agent.components.core.foreign.known_rows import KnownRow
from pada_agent.components.core.llm_interface import Llm
from pada_agent.components.core.methods.method import check_transfer, load_method
from pada_agent.components.core.patterns.clustering import match_patterns
from pada_agent.components.core.records import Prediction, TrainingError, TrainRow
from pada_agent.components.core.separation.leakage import Fingerprints
from pada_agent.components.core.settings import AnalyzePatterns
from pada_agent.components.core.state import STATE_FILE, State
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import Task


def run(ex: Executor) -> None:
    """Read, analyse, write."""
    settings = ex.settings(AnalyzePatterns)
    data = ex.input("train_data", "train.jsonl")
    task = load_task(settings.task.name, settings.task.options, data / "assets")
    train = read_records(data / "train.jsonl", TrainRow)
    known = (KnownRow(row.id, "train", row.fields, row.group) for row in train)
    predictions = read_predictions(ex.input("predictions"), task, known)
    validation = [p for p in predictions if p.split == "validation"]
    iteration = ex.parameter("iteration", 1)
    state = _state(ex)
    spent = state.usage_by_stage if state else {}
    ledger = str(ex.parameter("ledger", "")) or ex.below_work_uri("ledger/analyze_patterns")
    llm = open_llm(settings.teacher, settings.budget, ledger, "analyze_patterns", spent)
    method = load_method(settings.generate.method)
    check_transfer(settings.analyze, settings.generate.method, settings.generate.patterns)
    if method.finds_patterns and settings.generate.patterns:
        other = run_state(settings.analyze.patterns_from) if settings.analyze.patterns_from else None
        previous = state.iterations[-1].patterns if state and state.iterations else ()
        tools = _tools(settings, task, validation, train, Fingerprints.beside(data), llm)
        if other:
            findings = transfer(task, other, train, settings.analyze, tools, iteration, previous)
        else:
            findings = analyze(task, validation, train, settings.analyze, tools, iteration, settings.seed, previous)
    else:
        own = method.strategies(task, train, settings.analyze, iteration, settings.seed) if settings.generate.patterns else []
        findings = Findings(strategies=own, summary={"analysed": 0})
    findings.summary = {"failures": sum(not p.score.correct for p in validation), **findings.summary}
    if not train:
        findings.summary["unscreened"] = True
    errors = [TrainingError.of(p) for p in predictions if p.split == "train" and not p.score.correct]
    analyses, plan = ex.output("analyses", "analyses.jsonl"), ex.output("plan", "strategies.yaml")
    write_records(analyses / "analyses.jsonl", findings.analyses)
    write_records(analyses / "patterns.jsonl", findings.patterns)
    write_json(analyses / "summary.json", findings.summary)
    write_json(analyses / "usage.json", {"analyze_patterns": llm.usage.model_dump()})
    spent = by_stage(spent, {"analyze_patterns": llm.usage})
    write_json(plan / "spent.json", {stage: usage.model_dump() for stage, usage in spent.items()})
    write_records(plan / "training_errors.jsonl", errors)
    strategies = [s.model_dump() for s in findings.strategies]
    write_atomic(plan / "strategies.yaml", yaml.safe_dump(strategies, sort_keys=False, allow_unicode=True, width=110))
    counts = {name: findings.summary[name] for name in ("failures", "analysed")}
    taken = {"taken from": settings.analyze.patterns_from} if settings.analyze.patterns_from else {}
    ex.say_numbers({**counts, **taken, "patterns": len(findings.patterns), "training errors": len(errors), **llm.bill()})
    ex.set_metadata("plan", strategies=len(strategies), training_errors=len(errors))
    ex.set_parameter("patterns", len(findings.patterns))
    ex.set_parameter("training_errors", len(errors))
    ex.finish()


def _tools(
    settings: AnalyzePatterns,
    task: Task,
    validation: Sequence[Prediction],
    train: Sequence[TrainRow],
    prints: Fingerprints | None,
    llm: Llm,
) -> Tools:
    screens: list[Screen] = [prints.screen_text] if prints else []
    screens += [answer_screen(task, validation, train), word_screen(task, validation, train)]
    return Tools(
        llm=llm,
        embed=embedder(settings.embedding.model),
        cluster=partial(cluster, k_min=settings.analyze.k_min, k_max=settings.analyze.k_max, seed=settings.seed),
        match=match_patterns,
        # Without training rows nothing is written either, and whatever a text names would be a held-out row's.
        screen=partial(first_hit, screens if train else []),
    )


def _state(ex: Executor) -> State | None:
    path = ex.optional_input("state", STATE_FILE)
    return State.load(path) if path else None


if __name__ == "__main__":
    main(run)

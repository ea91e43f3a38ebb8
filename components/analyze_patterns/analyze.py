"""From failures to strategies: analyse each one, cluster the analyses, name the patterns, draft what to write against them."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pada_agent.components.analyze_patterns.grounding import (
    Grounds,
    SeedRanking,
    grounded_vectors,
)
from pada_agent.components.analyze_patterns.screened import ask_screened
from pada_agent.components.analyze_patterns.teacher import PatternName, draft_strategy, explain, name_pattern
from pada_agent.components.core.llm_interface import Llm
from pada_agent.components.core.patterns.clustering import Clustering
from pada_agent.components.core.records import Analysis, Pattern, Prediction, Strategy, TrainRow
from pada_agent.components.core.settings import AnalyzeSettings
from pada_agent.components.core.tasks.task import Task

Vectors = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Tools:
    """The outside world, handed in."""

    llm: Llm
    embed: Callable[[Sequence[str]], Vectors]
    cluster: Callable[[Vectors], Clustering]
    match: Callable[[Vectors, Vectors], list[int | None]]
    screen: Callable[[str], str]


@dataclass
class Findings:
    """What the analysis leaves behind. Only `strategies` goes on to the generator."""

    analyses: list[Analysis] = field(default_factory=list)
    patterns: list[Pattern] = field(default_factory=list)
    strategies: list[Strategy] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)


def analyze(
    task: Task,
    validation: Sequence[Prediction],
    train: Sequence[TrainRow],
    settings: AnalyzeSettings,
    tools: Tools,
    iteration: int,
    seed: int,
    previous: Sequence[Pattern] = (),
) -> Findings:
    """Patterns and strategies from validation predictions.

    No failure gives empty findings. What failed is left out and counted in the summary: `unanalysed` failures,
    texts the leakage screen `struck` and those `redrafted`, patterns `dropped` because nothing clean could be said.
    """
    failures = [p for p in validation if not p.score.correct]
    chosen = random.Random(f"{seed}/{iteration}").sample(failures, min(settings.sample, len(failures)))
    analyses = _analyse(task, chosen, settings, tools.llm, iteration)
    summary = {"failures": len(failures), "analysed": len(analyses), "unanalysed": len(chosen) - len(analyses)}
    if not analyses:
        return Findings(summary=summary)
    passed = [task.features(p.fields) for p in validation if p.score.correct]
    grounds = Grounds.of([task.features(p.fields) for p in failures], passed)
    texts = tools.embed([f"{a.root_cause} | {a.scenario}" for a in analyses])
    clustering = tools.cluster(grounded_vectors(texts, [set(a.features) for a in analyses], grounds.telling))
    labels = list(clustering.labels)
    if settings.shuffle:
        random.Random(f"{seed}/{iteration}/shuffle").shuffle(labels)
    dossiers = [
        grounds.dossier([a for a, own in zip(analyses, labels, strict=True) if own == label]) for label in range(clustering.k)
    ]
    names = ask_screened(
        tools.llm,
        "patterns named",
        [partial(name_pattern, task, d, settings, f"it{iteration}/{i}") for i, d in enumerate(dossiers)],
        tools.screen,
        settings.redrafts,
    )
    named = [(d, value or plain_name(d.features)) for d, value in zip(dossiers, names.values, strict=True)]
    plans = ask_screened(
        tools.llm,
        "strategies drafted",
        [partial(draft_strategy, task, d, n, settings, f"it{iteration}/{i}") for i, (d, n) in enumerate(named)],
        tools.screen,
        settings.redrafts,
    )
    findings = Findings(analyses=analyses, summary={**summary, **clustering.summary()})
    seeds = SeedRanking(task, train, tools.embed)
    failed = dict(zip([p.id for p in chosen], tools.embed([task.question(p.fields) for p in chosen]), strict=True))
    for i, ((dossier, name), plan) in enumerate(zip(named, plans.values, strict=True), 1):
        text = plan.strategy if plan else plain_strategy(dossier.features)
        if not text or not name:
            continue
        pattern = Pattern(
            id=f"it{iteration}-p{i}",
            name=name.category_name,
            description=name.pattern,
            size=len(dossier.members),
            features=dossier.counts,
            row_ids=[a.row_id for a in dossier.members],
        )
        findings.patterns.append(pattern)
        centre = np.mean([failed[a.row_id] for a in dossier.members], axis=0)
        nearest = seeds.nearest(dossier.features, centre)[: settings.seeds]
        findings.strategies.append(strategy_of(pattern, text, dossier.features, nearest))
    findings.patterns = continued(findings.patterns, previous, tools)
    findings.summary |= {
        "struck": names.struck + plans.struck,
        "redrafted": names.redrafted + plans.redrafted,
        "dropped": len(dossiers) - len(findings.patterns),
    }
    return findings


def _analyse(task: Task, failures: Sequence[Prediction], settings: AnalyzeSettings, llm: Llm, iteration: int) -> list[Analysis]:
    requests = [explain(task, p, settings, f"it{iteration}/{p.id}") for p in failures]
    replies = llm.ask_all("failures analysed", requests)
    return [
        Analysis(
            row_id=p.id,
            features=sorted(task.features(p.fields)),
            root_cause=reply.value.root_cause,
            scenario=reply.value.scenario,
        )
        for p, reply in zip(failures, replies, strict=True)
        if reply.value is not None
    ]


def strategy_of(pattern: Pattern, text: str, features: list[str], seeds: list[str]) -> Strategy:
    """The one strategy against a pattern."""
    return Strategy(
        id=pattern.id.replace("-p", "-s"),
        pattern_id=pattern.id,
        pattern_name=pattern.name,
        text=text,
        features=features,
        seed_ids=seeds,
    )


def plain_name(features: Sequence[str]) -> PatternName | None:
    """A name made of features alone, for when every draft quoted held-out data. Without features there is none."""
    if not features:
        return None
    needed = ", ".join(features)
    return PatternName(category_name=f"needs {needed}"[:60], pattern=f"Questions whose answer needs {needed}.")


def plain_strategy(features: Sequence[str]) -> str:
    """The same for a strategy; '' without features."""
    if not features:
        return ""
    return f"Write varied examples whose answer needs {' or '.join(features)}, from simple to hard, no two alike."


def continued(patterns: list[Pattern], previous: Sequence[Pattern], tools: Tools) -> list[Pattern]:
    """The patterns, each with the earlier one that it continues, if any."""
    if not patterns or not previous:
        return patterns
    old, new = ([f"{p.name}: {p.description}" for p in group] for group in (previous, patterns))
    matches = tools.match(tools.embed(old), tools.embed(new))
    return [
        p if m is None else p.model_copy(update={"previous_id": previous[m].id}) for p, m in zip(patterns, matches, strict=True)
    ]

"""What a run will ask of the LLMs, from its settings and row counts alone, before anything is spent.

The low end: no sample is rejected. The high end: every one is, each time, until regenerations and refills are used up. Both
take it that all iterations run and that the SLM fails often enough to fill the sample of failures; re-asking for replies that
could not be used is in neither.
"""

import math
from dataclasses import dataclass
from importlib.resources import files

from components.core.budget import Allocation, allocation
from components.core.settings import LlmSettings, Settings


@dataclass(frozen=True)
class StageEstimate:
    """One stage over the whole run. `tokens_in`, `tokens_out` and `usd` are the high end."""

    stage: str
    calls_low: int
    calls_high: int
    tokens_in_low: int
    tokens_in: int
    tokens_out_low: int
    tokens_out: int
    usd_low: float
    usd: float


@dataclass(frozen=True)
class RowSize:
    """Typical tokens of a task's texts (characters / 4)."""

    question: int
    reference: int
    sample: int  # a row as the teacher writes it
    description: int  # of the task


# Means over the first 200 validation rows of the public sets, and over the quickstart's training rows.
ROW_SIZES = {
    "squad": RowSize(216, 4, 193, 71),
    "arc_challenge": RowSize(69, 8, 77, 64),
    "hellaswag": RowSize(203, 34, 203, 78),
    "gsm8k": RowSize(60, 60, 130, 79),
    "humaneval": RowSize(109, 50, 220, 65),
    "text_to_sql": RowSize(10, 18, 34, 422),
}
UNKNOWN = RowSize(100, 40, 140, 80)
ANALYSIS, NAME, STRATEGY, VERDICT, LABEL = 110, 70, 90, 80, 10  # tokens of a reply
ANALYSES_SHOWN, WRITTEN_SHOWN = 8, 8  # in one prompt; as in the stages
MULTIPLE_CHOICE = {"arc_challenge", "hellaswag"}


@dataclass
class _Tally:
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def add(self, calls: int, tokens_in: float, tokens_out: float) -> None:
        """`calls` calls of so many tokens each."""
        self.calls += calls
        self.tokens_in += round(calls * tokens_in)
        self.tokens_out += round(calls * tokens_out)


def estimate(settings: Settings, train_rows: int, validation_rows: int) -> list[StageEstimate]:
    """Calls, tokens and money of each stage that asks an LLM."""
    low = [_Tally(), _Tally(), _Tally()]
    high = [_Tally(), _Tally(), _Tally()]
    analyses = min(settings.analyze.sample, validation_rows)
    tries = (1 + settings.generate.regenerations) * (1 + settings.generate.refills)
    patterns = range(min(settings.analyze.k_min, analyses), min(settings.analyze.k_max, analyses) + 1)
    for iteration in range(1, settings.loop.iterations + 1):
        plans = [
            allocation(settings.generate, train_rows, iteration, settings.loop.iterations, patterns=k, errors=train_rows)
            for k in patterns
        ]
        plans.sort(key=lambda plan: sum(_batches(plan, settings.generate.batch)))
        for tallies, k, drafts, plan, times in (
            (low, patterns[0], 1, plans[0], 1),
            (high, patterns[-1], 1 + settings.analyze.redrafts, plans[-1], tries),
        ):
            _analyze(tallies[0], settings, analyses, k, drafts)
            _write_and_judge(tallies[1], tallies[2], settings, plan, times)
    stages = (("analyze_patterns", settings.teacher), ("generate_data", settings.teacher), ("control_quality", settings.judge))
    return [_stage(name, llm, a, b) for (name, llm), a, b in zip(stages, low, high, strict=True)]


def _analyze(tally: _Tally, settings: Settings, analyses: int, patterns: int, drafts: int) -> None:
    row = _row_size(settings)
    shown = min(ANALYSES_SHOWN, math.ceil(analyses / max(patterns, 1)))
    told = row.description
    tally.add(analyses, _prompt("analyze_patterns", "analyse") + told + row.question + 2 * row.reference, ANALYSIS)
    tally.add(patterns * drafts, _prompt("analyze_patterns", "categorise") + told + shown * ANALYSIS * 0.6, NAME)
    tally.add(patterns * drafts, _prompt("analyze_patterns", "strategise") + told + NAME, STRATEGY)


def _write_and_judge(write: _Tally, judge: _Tally, settings: Settings, plan: Allocation, tries: int) -> None:
    row, size = _row_size(settings), settings.generate.batch
    by_pattern, by_error = _batches(plan, size)
    shots, written = settings.generate.shots * row.sample, WRITTEN_SHOWN * row.question / 2
    common = row.description + written
    for branch, batches, rows in (("pattern", by_pattern, sum(plan.per_strategy)), ("error", by_error, plan.error_rows)):
        if not batches:
            continue
        each = rows / batches
        shown = (
            STRATEGY + shots if branch == "pattern" else settings.generate.shots * (row.question + 2 * row.reference) + row.sample
        )
        write.add(batches * tries, _prompt("generate_data", branch) + common + shown, each * row.sample)
        items = each * (row.question + row.reference + 8)
        judge.add(batches * tries, _prompt("control_quality", "judge") + row.description + STRATEGY + items, VERDICT)
    if settings.task.name in MULTIPLE_CHOICE or settings.task.options.get("scorer") == "multiple_choice":
        judge.add(plan.total * tries, _prompt("control_quality", "solve") + row.question, LABEL)


def _batches(plan: Allocation, size: int) -> tuple[int, int]:
    """Calls that write the rows once: against patterns, and around errors."""
    return sum(math.ceil(rows / size) for rows in plan.per_strategy), math.ceil(plan.error_rows / size)


def _row_size(settings: Settings) -> RowSize:
    return ROW_SIZES.get(settings.task.name, UNKNOWN)


def _prompt(stage: str, name: str) -> float:
    """Tokens of a prompt's fixed text."""
    return len((files(f"components.{stage}") / "prompts" / f"{name}.txt").read_text(encoding="utf-8")) / 4


def _stage(name: str, llm: LlmSettings, low: _Tally, high: _Tally) -> StageEstimate:
    return StageEstimate(
        stage=name,
        calls_low=low.calls,
        calls_high=high.calls,
        tokens_in_low=low.tokens_in,
        tokens_in=high.tokens_in,
        tokens_out_low=low.tokens_out,
        tokens_out=high.tokens_out,
        usd_low=_usd(llm, low),
        usd=_usd(llm, high),
    )


def _usd(llm: LlmSettings, tally: _Tally) -> float:
    return (tally.tokens_in * llm.usd_per_million_input + tally.tokens_out * llm.usd_per_million_output) / 1e6

"""What a run will ask of the LLMs, from its settings and its rows alone, before anything is spent.

The least: no sample is rejected. The most: every one is, each time, until regenerations and refills are used up. Expected
lies between, by the three shares below. All three assume that every iteration runs and that the SLM fails often enough to fill
the sample of failures; re-asking for replies that could not be used is in none of them.

Prompts are rendered with the user's own training rows in the place of what is not known yet, so only the sizes of replies and the
number of tokens in a text are guesses.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from statistics import fmean
from typing import Any

from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.cost.tokens import token_count
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.quality.chain import links
from pada_agent.components.core.records import Fields
from pada_agent.components.core.row_quotas import Allocation, allocation
from pada_agent.components.core.settings import LlmSettings, Settings, UpdateState
from pada_agent.components.core.tasks.task import Message, Task

# Round figures, no fit, of what a teacher of 1.5 billion parameters did: in three runs on text-to-SQL and one on SQuAD 70 to 86 %
# of open batches went back, in the shorter quickstart 44 %; for 48 to 70 % of their rows; 15 to 54 % were not worth judging. The
# tokens that it then expects are off by -1 % there, -4 to -10 % in the three, and +32 % on SQuAD, whose prompts were shorter.
GOES_BACK = 2 / 3  # of the batches written, at every attempt
MISSING = 1 / 2  # of the rows of a batch that goes back
UNJUDGED = 1 / 3  # of the batches written, because the rules leave no row of them
SAMPLED = 100  # training rows that prompts are rendered with
ANALYSIS, NAME, STRATEGY, VERDICT, LABEL = 80, 50, 75, 45, 10  # tokens of a reply
ROW, CHAT = 8, 5  # tokens around a row in a reply, around a message
ANALYSES_SHOWN, COUNTS_SHOWN, WRITTEN_SHOWN = 8, 5, 8  # in one prompt; as in the stages
NOTE = "Leaves out the condition that the question asks for and answers a simpler one."
STAGES = ("analyze_patterns", "generate_data", "control_quality")
Ends = ("low", "expected", "high")


@dataclass(frozen=True)
class StageEstimate:
    """One stage over the whole run: calls, input and output tokens, USD."""

    stage: str
    low: Usage
    expected: Usage
    high: Usage


@dataclass(frozen=True)
class Attempt:
    """One link of the chain: how many of the first batches it writes, and what share of their rows it asks for."""

    batches: float
    rows: float


@dataclass
class _Tally:
    calls: float = 0
    tokens_in: float = 0
    tokens_out: float = 0

    def add(self, calls: float, tokens_in: float, tokens_out: float) -> None:
        """`calls` calls of so many tokens each."""
        self.calls += calls
        self.tokens_in += calls * tokens_in
        self.tokens_out += calls * tokens_out

    def usage(self, llm: LlmSettings) -> Usage:
        usd = (self.tokens_in * llm.usd_per_million_input + self.tokens_out * llm.usd_per_million_output) / 1e6
        counts = {"input_tokens": round(self.tokens_in), "output_tokens": round(self.tokens_out)}
        return Usage(calls=round(self.calls), usd=usd, **counts)


def estimate(
    settings: Settings | UpdateState, task: Task, rows: Sequence[Fields], train_rows: int, validation_rows: int
) -> list[StageEstimate]:
    """Calls, tokens and money of each stage that asks an LLM. `rows` are training rows, all or the first of them."""
    llms = (settings.teacher, settings.teacher, settings.judge)
    if not rows or not validation_rows:
        return [StageEstimate(stage, Usage(), Usage(), Usage()) for stage in STAGES]
    sizes = _Sizes(task, rows, settings.generate.shots)
    tallies = {end: [_Tally(), _Tally(), _Tally()] for end in Ends}
    analyses = min(settings.analyze.sample, validation_rows)
    for iteration in range(1, settings.loop.iterations + 1):
        plans = _plans(settings, train_rows, iteration, analyses)
        for end, (patterns, plan) in plans.items():
            drafts = 1 + settings.analyze.redrafts * (end == "high")
            _analyze(tallies[end][0], sizes, analyses, patterns, drafts)
            _write_and_judge(tallies[end][1], tallies[end][2], sizes, settings, plan, end)
    for _, _, judge in tallies.values():
        _check_judge(judge, sizes, settings)
    return [
        StageEstimate(stage, *(tallies[end][i].usage(llm) for end in Ends))
        for i, (stage, llm) in enumerate(zip(STAGES, llms, strict=True))
    ]


def _plans(settings: Settings | UpdateState, train_rows: int, iteration: int, analyses: int) -> dict[str, tuple[int, Allocation]]:
    """For each end the number of patterns and how the rows spread over them: most patterns are not always most calls."""
    fewest, most = min(settings.analyze.k_min, analyses), min(settings.analyze.k_max, analyses)
    spread = {
        k: allocation(settings.generate, train_rows, iteration, settings.loop.iterations, patterns=k, errors=train_rows)
        for k in range(fewest, most + 1)
    }
    by_calls = sorted(spread.values(), key=lambda plan: sum(_batches(plan, settings.generate.batch)))
    middle = (fewest + most + 1) // 2
    return {"low": (fewest, by_calls[0]), "expected": (middle, spread[middle]), "high": (most, by_calls[-1])}


def attempts(settings: Settings | UpdateState, end: str) -> Iterator[Attempt]:
    """The links of a chain, the first one whole."""
    yield Attempt(1, 1)
    for link in range(1, 1 if end == "low" else links(settings.generate)):
        yield Attempt(1, 1) if end == "high" else Attempt(GOES_BACK**link, MISSING)


def _analyze(tally: _Tally, sizes: "_Sizes", analyses: int, patterns: int, drafts: int) -> None:
    shown = min(ANALYSES_SHOWN, ceil(analyses / max(patterns, 1)))
    tally.add(analyses, sizes.analyse, ANALYSIS)
    tally.add(patterns * drafts, sizes.categorise(shown, analyses), NAME)
    tally.add(patterns * drafts, sizes.strategise, STRATEGY)


def _write_and_judge(
    write: _Tally, judge: _Tally, sizes: "_Sizes", settings: Settings | UpdateState, plan: Allocation, end: str
) -> None:
    by_pattern, by_error = _batches(plan, settings.generate.batch)
    tries = list(attempts(settings, end))
    judged = 1 - UNJUDGED * (end == "expected" and len(tries) > 1)  # where none is written again: no less than the least
    for number, attempt in enumerate(tries):
        for branch, batches, rows in (("pattern", by_pattern, sum(plan.per_strategy)), ("error", by_error, plan.error_rows)):
            if not batches:
                continue
            calls, each = batches * attempt.batches, rows / batches * attempt.rows
            together = rows / max(len(plan.per_strategy), 1) if branch == "pattern" else rows
            write.add(calls, sizes.write(branch, number > 0, together), each * (sizes.sample + ROW))
            judge.add(calls * judged, sizes.judge(branch, each), VERDICT)
            if sizes.choices:
                judge.add(calls * each, sizes.solve, LABEL)


def _check_judge(judge: _Tally, sizes: "_Sizes", settings: Settings | UpdateState) -> None:
    for branch in ("pattern", "error"):
        judge.add(settings.control.judge_checks, sizes.judge(branch, settings.generate.batch, trained=True), VERDICT)


def _batches(plan: Allocation, size: int) -> tuple[int, int]:
    """Calls that write the rows once: against patterns, and around errors."""
    return sum(ceil(rows / size) for rows in plan.per_strategy), ceil(plan.error_rows / size)


class _Sizes:
    """Mean tokens of the prompts and of a row, over a sample of training rows that does not depend on their order."""

    def __init__(self, task: Task, rows: Sequence[Fields], shots: int) -> None:
        self._task, self._shots = task, shots
        chosen = random.Random(0).sample(sorted(rows, key=repr), min(SAMPLED, len(rows)))
        self._shown = [{"question": task.question(f), "reference": task.reference(f)} for f in chosen]
        self._samples = [task.sample_of(f).model_dump_json() for f in chosen]
        needs = Counter(feature for f in chosen for feature in sorted(task.features(f)))  # ties fall alike in each process
        self._counts = [{"feature": name, "failed": n, "passed": n} for name, n in needs.most_common(COUNTS_SHOWN)]
        self._features = [str(count["feature"]) for count in self._counts[:1]]
        self._labels = max((task.options_of(f) for f in chosen), key=len)
        self.choices = bool(self._labels)
        self.sample = fmean(map(token_count, self._samples))
        self._row = fmean(_row_tokens(task, f) for f in chosen)
        written = [_written(task, f) for f in chosen]
        self._written_row = fmean(_row_tokens(task, f) for f in written)
        self._written_question = fmean(token_count(f"- {task.question(f)}\n") for f in written)

    @cached_property
    def analyse(self) -> float:
        return self._mean("analyze_patterns", "analyse", lambda i: {**i, "output": i["reference"], "detail": NOTE})

    def categorise(self, shown: int, size: int) -> float:
        notes = [{"root_cause": NOTE, "scenario": NOTE}] * shown
        counted = {"counts": self._counts, "size": size, "passed": size, "features": self._features}
        return self._size("analyze_patterns", "categorise", analyses=notes, feedback="", **counted)

    @cached_property
    def strategise(self) -> float:
        named = {"name": NOTE[:40], "pattern": NOTE, "features": self._features}
        return self._size("analyze_patterns", "strategise", feedback="", **named)

    def write(self, branch: str, again: bool, rows: float) -> float:
        """`again`: with what to mend, and what was let in so far of the `rows` against one pattern."""
        fixed = {"examples": [], "avoid": [], "count": 5, "feedback": NOTE if again else "", "careful": again}
        shown = self._shots * self.sample + again * min(WRITTEN_SHOWN, MISSING * rows) * self._written_question
        if branch == "pattern":
            return shown + self._size("generate_data", "pattern", strategy=f"{NOTE} {NOTE}", focus="", **fixed)
        answer = fmean(token_count(f"It wrote this, which is wrong: {i['reference']}\n") for i in self._shown)
        errors = self._shots * (self._row + answer)
        return shown + errors + self._size("generate_data", "error", errors=[], **fixed)

    def judge(self, branch: str, rows: float, trained: bool = False) -> float:
        """`trained`: of training rows, which may be longer than what a teacher writes."""
        strategy = f"{NOTE} {NOTE}" if branch == "pattern" else ""
        row = self._row if trained else self._written_row
        return self._size("control_quality", "judge", strategy=strategy, items=[]) + rows * row

    @cached_property
    def solve(self) -> float:
        return self._mean("control_quality", "solve", lambda i: {"question": i["question"], "labels": self._labels})

    def _mean(self, stage: str, prompt: str, variables: Callable[[Mapping[str, str]], dict[str, Any]]) -> float:
        return fmean(self._size(stage, prompt, **variables(i)) for i in self._shown)

    def _size(self, stage: str, prompt: str, **variables: Any) -> float:
        return _tokens(self._task.prompts.render(stage, prompt, task=self._task.description, **variables))


def _written(task: Task, fields: Fields) -> Fields:
    """A training row as a teacher would have written it, e.g. with less context; itself if a teacher could not."""
    try:
        return task.fields_of(task.sample_of(fields), fields)
    except InputError:
        return fields


def _row_tokens(task: Task, fields: Fields) -> int:
    """In a list of questions and answers."""
    return token_count(f"1. Question: {task.question(fields)}\n   Answer: {task.reference(fields)}\n")


def _tokens(messages: Sequence[Message]) -> int:
    return sum(token_count(m["content"]) + CHAT for m in messages)

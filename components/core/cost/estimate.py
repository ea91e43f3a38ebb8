"""What a run will ask of the LLMs, from its settings and its rows alone, before anything is spent.

The least: no batch goes back. The most: every one does, each time, whole, until regenerations and refills are used up. Expected
lies between, by GOES_BACK and MISSING; UNJUDGED is in both. All assume that every iteration runs, and that the SLM fails on FAILS
of the validation rows. None has replies that are asked for again, being of no use, or what a model thinks before it answers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil

from pada_agent.components.core.cost.budget import Usage, usd
from pada_agent.components.core.cost.prompt_sizes import MISSING, PromptSizes
from pada_agent.components.core.methods.method import FromRow, load_method
from pada_agent.components.core.quality.chain import links
from pada_agent.components.core.records import Branch, Fields
from pada_agent.components.core.row_quotas import Allocation, allocation, iteration_rows
from pada_agent.components.core.settings import ControlSettings, LlmSettings, Settings, UpdateState
from pada_agent.components.core.tasks.task import Task

# Round figures, no fit, of what a teacher of 1.5 billion parameters did: in three runs on text-to-SQL and one on SQuAD 70 to 86 %
# of open batches went back, in the shorter quickstart 44 %; for 48 to 70 % of their rows; 15 to 54 % were not worth judging. The
# tokens that it then expects are off by -1 % there, -4 to -10 % in the three, and +32 % on SQuAD, whose prompts were shorter. In
# four quickstarts that solve rows blind, the rules left 49 to 68 of 90 rows to be solved.
GOES_BACK = 2 / 3  # of the batches written, at every attempt
UNJUDGED = 1 / 3  # of the rows and of the batches written, because the rules refuse them
FAILS = {"low": 1 / 4, "expected": 2 / 5, "high": 1.0}  # of the validation rows; after vanilla the examples fail on 37 to 43 %
ANALYSIS, NAME, STRATEGY = {"brief": 80, "full": 120}, {"brief": 50, "full": 110}, {"brief": 75, "full": 280}  # tokens of a reply
VERDICT, VERDICT_ROW = 40, 8  # of a judge's reply, and for each row
ROW = 8  # tokens around a row in a reply
ANALYSES_SHOWN = 8  # in one prompt; as in the stage
FEWER = 1 / 2  # training errors for each row that is wanted, of methods that write from errors alone. A guess
SCORED, COMPARED = 60, 40  # tokens of a scorer's reply
SCORING = "score_answers"  # where an LLM scores the SLM's answers: to each row of each model
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
        money = usd(llm, self.tokens_in, self.tokens_out, llm.mode == "batch")
        counts = {"input_tokens": round(self.tokens_in), "output_tokens": round(self.tokens_out)}
        return Usage(calls=round(self.calls), usd=money, **counts)


@dataclass
class _Tallies:
    """Of the stages; who solves is control_quality's too, and may have other prices."""

    analyze: _Tally = field(default_factory=_Tally)
    write: _Tally = field(default_factory=_Tally)
    solve: _Tally = field(default_factory=_Tally)
    judge: _Tally = field(default_factory=_Tally)
    score: _Tally = field(default_factory=_Tally)

    def usages(self, settings: Settings | UpdateState) -> dict[str, Usage]:
        """By stage, at the prices of whom it asks."""
        solver = settings.teacher if settings.control.solver == "teacher" else settings.judge
        checked = self.solve.usage(solver) + self.judge.usage(settings.judge)
        scored = {SCORING: self.score.usage(settings.scorer)} if settings.scorer else {}
        own = zip(STAGES, (self.analyze.usage(settings.teacher), self.write.usage(settings.teacher), checked), strict=True)
        return scored | dict(own)


def estimate(
    settings: Settings | UpdateState,
    task: Task,
    rows: Sequence[Fields],
    train_rows: int,
    validation_rows: int,
    reported_rows: int = 0,
    vanilla_scored: bool = False,
) -> list[StageEstimate]:
    """Calls, tokens and money of each stage that asks an LLM. `rows` are training rows, all or the first of them.

    `reported_rows`, of selection and test, count where an LLM scores answers; `vanilla_scored`: without what
    `scoring_of_vanilla` counts, which a study does once for all methods.

    Raises InputError for a task that the method cannot do.
    """
    if not rows or not validation_rows:
        return [StageEstimate(stage, Usage(), Usage(), Usage()) for stage in _stages(settings)]
    method = load_method(settings.generate.method)
    method.check(task)
    control = method.checked_by(settings.control)
    sizes = PromptSizes(task, rows, settings.generate, settings.analyze.detail, control)
    tallies = {end: _Tallies() for end in Ends}
    analyses = {end: min(settings.analyze.sample, ceil(share * validation_rows)) for end, share in FAILS.items()}
    for iteration in range(1, settings.loop.iterations + 1):
        if isinstance(method, FromRow):
            plans = _row_plans(method, settings, train_rows, iteration)
        else:
            plans = _plans(settings, train_rows, iteration, analyses)
        for end, (patterns, parts) in plans.items():
            if method.finds_patterns and settings.generate.pattern_share and not settings.analyze.patterns_from:
                _analyze(tallies[end].analyze, sizes, analyses[end], patterns, 1 + settings.analyze.redrafts * (end == "high"))
            for part in parts:
                _write_and_judge(tallies[end], sizes, settings, control, part, end)
    for tally in tallies.values():
        _check_judge(tally.judge, sizes, control, settings.generate.batch)
        if settings.scorer:
            answers = settings.loop.iterations * (train_rows + validation_rows + reported_rows)
            _score(tally.score, sizes, answers + settings.step_matched * reported_rows)
            if not vanilla_scored:
                _score_vanilla(tally.score, sizes, settings, train_rows, validation_rows, reported_rows)
    used = {end: tally.usages(settings) for end, tally in tallies.items()}
    return [StageEstimate(stage, *(used[end][stage] for end in Ends)) for stage in _stages(settings)]


def scoring_of_vanilla(
    settings: Settings, task: Task, rows: Sequence[Fields], train_rows: int, validation_rows: int, reported_rows: int
) -> Usage:
    """To score the untuned and the vanilla model's answers, and to measure the scorer; arguments as `estimate`'s."""
    if not settings.scorer or not rows:
        return Usage()
    tally, sizes = _Tally(), PromptSizes(task, rows, settings.generate, settings.analyze.detail, settings.control)
    _score_vanilla(tally, sizes, settings, train_rows, validation_rows, reported_rows)
    return tally.usage(settings.scorer)


def _stages(settings: Settings | UpdateState) -> tuple[str, ...]:
    return (SCORING, *STAGES) if settings.scorer else STAGES


@dataclass(frozen=True)
class Part:
    """Rows of an iteration that are written alike, in so many batches; each knows of so many that are written `together`."""

    branch: Branch
    rows: int
    batches: int
    together: float


Plans = dict[str, tuple[int, list[Part]]]  # by end, the number of patterns and what is written


def _plans(settings: Settings | UpdateState, train_rows: int, iteration: int, analyses: dict[str, int]) -> Plans:
    """Of a method with a plan. Most patterns are not always most calls."""
    fewest, most = min(settings.analyze.k_min, analyses["low"]), min(settings.analyze.k_max, analyses["high"])
    spread = {
        k: allocation(settings.generate, train_rows, iteration, settings.loop.iterations, patterns=k, errors=train_rows)
        for k in range(fewest, most + 1)
    }
    parts = {k: _parts(plan, settings.generate.batch) for k, plan in spread.items()}
    by_calls = sorted(parts.values(), key=lambda of: sum(part.batches for part in of))
    likely = (2 * fewest + most + 2) // 3  # the examples found 3 and 4 of at most 4, 3 and 4 of at most 10
    return {"low": (fewest, by_calls[0]), "expected": (likely, parts[likely]), "high": (most, by_calls[-1])}


def _parts(plan: Allocation, size: int) -> list[Part]:
    on_patterns = sum(plan.per_strategy)
    against = sum(ceil(rows / size) for rows in plan.per_strategy)
    parts = [
        Part("pattern", on_patterns, against, on_patterns / max(len(plan.per_strategy), 1)),
        Part("error", plan.error_rows, ceil(plan.error_rows / size), plan.error_rows),
    ]
    return [part for part in parts if part.batches]


def _row_plans(method: FromRow, settings: Settings | UpdateState, train_rows: int, iteration: int) -> Plans:
    """Of a method that writes from single rows: the fewer there are, the more rows may be asked for in a call."""
    rows = iteration_rows(settings.generate, train_rows, iteration, settings.loop.iterations)
    origins = {"low": 1, "expected": ceil(rows * FEWER), "high": train_rows}
    if method.branch == "row":
        origins = dict.fromkeys(Ends, train_rows)
    sizes = {end: method.sizes(rows, number, settings.generate) for end, number in origins.items()}
    asked = bool(method.prompt)
    return {end: (0, [Part(method.branch, rows, len(of), rows)] if of and asked else []) for end, of in sizes.items()}


def attempts(settings: Settings | UpdateState, end: str) -> Iterator[Attempt]:
    """The links of a chain, the first one whole. Without quality control hardly anything goes back."""
    yield Attempt(1, 1)
    once = end == "low" or (end == "expected" and settings.control.verdict == "none")
    for link in range(1, 1 if once else links(settings.generate)):
        yield Attempt(1, 1) if end == "high" else Attempt(GOES_BACK**link, MISSING)


def _analyze(tally: _Tally, sizes: PromptSizes, analyses: int, patterns: int, drafts: int) -> None:
    shown = min(ANALYSES_SHOWN, ceil(analyses / max(patterns, 1)))
    tally.add(analyses, sizes.analyse, ANALYSIS[sizes.detail])
    tally.add(patterns * drafts, sizes.categorise(shown, analyses), NAME[sizes.detail])
    tally.add(patterns * drafts, sizes.strategise, STRATEGY[sizes.detail])


def _write_and_judge(
    tallies: _Tallies, sizes: PromptSizes, settings: Settings | UpdateState, control: ControlSettings, part: Part, end: str
) -> None:
    judged = 1.0 if end == "high" else 1 - UNJUDGED
    for number, attempt in enumerate(attempts(settings, end)):
        rows = part.rows * attempt.batches * attempt.rows
        calls = min(part.batches * attempt.batches, rows)  # a batch of one row goes back whole or not at all
        each = rows / calls
        for sent, row in sizes.write(part.branch, number > 0, part.together, each):
            tallies.write.add(calls, sent, each * (row + ROW))
        tallies.solve.add(calls * judged * each * control.solutions, sizes.solve, sizes.solution)
        if control.judges:
            tallies.judge.add(calls * judged, sizes.judge(part.branch, each), VERDICT + VERDICT_ROW * each)


def _score(tally: _Tally, sizes: PromptSizes, answers: int) -> None:
    """An answer given before costs nothing; none is expected to be."""
    tally.add(answers, sizes.score(), SCORED)


def _score_vanilla(
    tally: _Tally, sizes: PromptSizes, settings: Settings | UpdateState, train: int, validation: int, reported: int
) -> None:
    """The untuned model answers the reported rows, vanilla all; with vanilla's answers the scorer itself is measured."""
    _score(tally, sizes, train + validation + 2 * reported)
    checks = 2 * min(settings.score.checks, train)
    tally.add(checks, sizes.score(alone=True), SCORED)
    tally.add(checks, sizes.compare, COMPARED)


def _check_judge(judge: _Tally, sizes: PromptSizes, control: ControlSettings, size: int) -> None:
    if not control.judges:
        return
    for branch in ("pattern", "error"):
        judge.add(control.judge_checks, sizes.judge(branch, size, trained=True), VERDICT + VERDICT_ROW * size)

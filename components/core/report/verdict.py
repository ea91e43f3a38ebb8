"""The report's sentences: what came out, and what a reader must know before believing it."""

from collections.abc import Iterator, Mapping

from pada_agent.components.core.figures import p_value, percent, plural, points
from pada_agent.components.core.patterns.pattern_rules import ELBOW_GAP
from pada_agent.components.core.report.facts import Comparison, IterationFacts, Measured, ModelFacts, Verdict
from pada_agent.components.core.statistics import SplitMetrics

STEP_MATCHED = "step-matched"
SMALL_TEST = 100
UNSTABLE = 0.5
MANY_INVALID = 0.1
OVERFIT = 0.05
LOST = (  # count in the analysis' summary, what it counts, what became of it
    ("unanalysed", "failure", "without an analysis (no usable reply)"),
    ("struck", "draft", "struck for quoting held-out text"),
    ("dropped", "pattern", "dropped because nothing could be said about it without such a quote"),
)
SAME_SCORES = 5  # judged batches from which one and the same score says that the judge does not look


def verdict(facts: Measured) -> Verdict:
    """The headline (one sentence) and the sentences under it; the last one warns of a weak judge."""
    said, judge = _verdict(facts), facts.judge_check
    if judge and judge.weak:
        return said.model_copy(update={"details": [*said.details, f"Warning: {judge.sentence}"]})
    return said


def _verdict(facts: Measured) -> Verdict:
    models = {m.name: m for m in facts.models}
    shipped = models.get(facts.shipped)
    candidates = [m for m in facts.models if m.kind == "candidate"]
    if shipped is None:
        return Verdict(headline="The run has just begun: no fine-tuned model has been evaluated yet.", details=[])
    if shipped.kind == "candidate":
        return Verdict(headline=_gain(shipped), details=[*_against_step_matched(facts, shipped), *_doubt(facts, shipped)])
    if candidates:
        return Verdict(headline=_no_gain(facts, shipped), details=[_refused(facts)])
    if facts.finished:
        return Verdict(headline=f"{shipped.label} is shipped: {facts.reason}.", details=[_alone(shipped)])
    return Verdict(
        headline=f"So far there is only {shipped.label.lower()}; no iteration has been scored yet.", details=[_alone(shipped)]
    )


def _gain(shipped: ModelFacts) -> str:
    name, over, test = shipped.label, shipped.over_start, shipped.test
    if over is None or test is None:
        return f"{name} is shipped: it beats vanilla fine-tuning on the selection rows."
    if over.difference <= 0:
        return (
            f"{name} was chosen on the selection rows, but on the {test.n} test rows it is not better than vanilla "
            f"fine-tuning ({points(over.difference)} points)."
        )
    return f"{name} {_reaches(test)}, {points(over.difference)} points over vanilla fine-tuning ({_interval(over)})."


def _against_step_matched(facts: Measured, shipped: ModelFacts) -> list[str]:
    over = shipped.over_baseline
    if facts.baseline != STEP_MATCHED or over is None:
        return []
    step_matched = next(m for m in facts.models if m.name == facts.baseline)
    sentence = f"Against step-matched vanilla fine-tuning the difference is {points(over.difference)} points ({_interval(over)})"
    longer = step_matched.over_start.difference if step_matched.over_start else 0.0
    return [f"{sentence}; longer training alone gives {points(longer)}."]


def _doubt(facts: Measured, shipped: ModelFacts) -> list[str]:
    over, alpha = shipped.over_baseline or shipped.over_start, facts.run.alpha
    if over and over.difference > 0 and over.p >= alpha:
        return ["On the test rows this difference cannot be told from chance; more test rows or more seeds would tell."]
    return []


def _no_gain(facts: Measured, shipped: ModelFacts) -> str:
    best = max((m for m in facts.models if m.kind == "candidate"), key=lambda m: m.splits["selection"].main.mean)
    over, test = best.over_start, best.test
    end = "" if facts.finished else " so far"
    sentence = f"No iteration was shown to be better than {shipped.label.lower()}{end}, which stays the shipped model"
    if over is None or test is None:
        return sentence + "."
    seen = f"on {test.n} test rows {best.label.lower()} differs by {points(over.difference)} points"
    return f"{sentence}: {seen} ({_interval(over)})."


def _refused(facts: Measured) -> str:
    told = [f"Iteration {i.number}: {i.promotion.reason}" for i in facts.iterations if i.promotion]
    return ". ".join(told) + "."


def _alone(model: ModelFacts) -> str:
    test = model.test
    if test is None:
        return "It was not evaluated on the test rows."
    return f"It {_reaches(test)} (interval {percent(test.main.low)} to {percent(test.main.high)})."


def _reaches(test: SplitMetrics) -> str:
    if test.grade is None:
        return f"answers {percent(test.accuracy)} of {test.n} test rows correctly"
    return f"has a mean score of {percent(test.grade.mean)} on {test.n} test rows"


def _interval(over: Comparison) -> str:
    return f"interval {points(over.low)} to {points(over.high)}, p\u00a0{p_value(over.p)}"


def notes(facts: Measured) -> list[str]:
    """What weakens the result or was lost on the way, most important first; at the end, what is not of this run."""
    iterations = (note for i in facts.iterations for note in _of_iteration(facts, i))
    return [*_of_models(facts), *_of_scorer(facts), *iterations, *_of_calls(facts), *_of_earlier_runs(facts)]


def _of_models(facts: Measured) -> Iterator[str]:
    models = {m.kind: m for m in facts.models if m.kind in ("untuned", "start")}
    untuned, start = models.get("untuned"), models.get("start")
    if start and untuned and start.test and untuned.test and untuned.test.main.mean > start.test.main.mean:
        yield "The untuned model does better on the test rows than vanilla fine-tuning: here fine-tuning itself does harm."
    if any(m.kind == "candidate" for m in facts.models) and facts.baseline != STEP_MATCHED:
        yield "There is no step-matched model: part of a gain may come from training for more steps."
    engines = {m.engine: m.label for m in reversed(facts.models) if m.engine}
    if len(engines) > 1:
        who = ", ".join(f"{engine} for {label}" for engine, label in sorted(engines.items()))
        yield f"Not all models answered by the same engine ({who}): each rounds its own way, so part of a difference may be that."
    for model in facts.models:
        test = model.test
        if test and test.collapsed:
            yield f"{model.label} has collapsed: nearly all its answers are the same ({next(iter(test.histogram))})."
        if test and test.invalid_share >= MANY_INVALID:
            share = percent(test.invalid_share)
            yield f"{model.label}: no answer could be read from {share} of its outputs; they count as wrong."
        if model.dropped_rows:
            yield f"{model.label} was not trained on {plural(model.dropped_rows, 'row')} longer than the maximum length."
        if start and model.kind == "candidate" and _gap(model) - _gap(start) > OVERFIT:
            yield (
                f"{model.label} gained {points(_gap(model) - _gap(start))} points more on validation than on test rows: "
                "part of what it learnt is specific to the validation split."
            )
    if start and start.test and start.test.n < SMALL_TEST:
        yield f"With {start.test.n} test rows only large differences can be told from chance."
    yield "One run, one seed: another seed gives other numbers. The intervals cover the choice of test rows, not of seeds."


def _of_scorer(facts: Measured) -> Iterator[str]:
    if facts.run.scorer:
        measured = "" if facts.scorer_check else ", which was not measured"
        yield f"{facts.run.scorer} scored the answers by a rubric{measured}: a difference is one in its eyes."
    if facts.scorer_check:
        yield from facts.scorer_check.warnings


def _gap(model: ModelFacts) -> float:
    validation = model.splits.get("validation")
    return float(validation.main.mean - model.test.main.mean) if validation and model.test else 0.0


def _of_iteration(facts: Measured, iteration: IterationFacts) -> Iterator[str]:
    where, summary = f"Iteration {iteration.number}", iteration.summary
    if taken := summary.get("taken_from"):
        origin = f"iteration {taken['iteration']} of the run at {taken['run']} (task {taken['task']}, {taken['slm']})"
        yield (
            f"{where}: the teacher was asked for no analysis; patterns and strategies are those of {origin}. How many failures "
            "here they are behind is not known."
        )
    if iteration.patterns and not summary.get("structure", True):
        bend, silhouette = summary.get("gap", 0), summary.get("silhouette", 0)
        yield (
            f"{where}: the failures show no structure (bend {bend:.2f}, {ELBOW_GAP} would be an elbow; silhouette "
            f"{silhouette:.2f}). Its patterns are a convenient grouping rather than a finding."
        )
    elif iteration.patterns and summary.get("stability", 1) < UNSTABLE:
        yield f"{where}: another seed groups the failures differently (agreement {summary['stability']:.2f} of 1)."
    for key, noun, what in LOST:
        if number := summary.get(key):
            yield f"{where}: {plural(number, noun)} {what}."
    if iteration.shortfall:
        wanted, short = plural(iteration.wanted, "row"), iteration.shortfall
        yield f"{where}: {wanted} were asked for, {iteration.accepted} let in: {short} short."
    judged = iteration.judged
    scores = {score for batch in judged for score in batch.items()}  # batches around errors have a dimension less
    if len(judged) >= SAME_SCORES and len(scores) == len({dimension for dimension, _ in scores}):
        given = ", ".join(f"{dimension} {score:g}" for dimension, score in sorted(scores))
        yield f"{where}: the judge gave all {len(judged)} batches the same scores ({given}); it does not tell good from bad."


def _of_calls(facts: Measured) -> Iterator[str]:
    total = facts.usage.total
    if total.capped:
        yield f"The writing was cut short: {total.capped}; requests not sent: {total.unasked}."
    if total.failed:
        yield f"{plural(total.failed, 'request')} to the LLMs ended without a usable reply{_kinds(total.unrecovered)}."
    if total.recovered:
        yield f"Replies mended or asked for again{_kinds(total.recovered)}."
    if total.silences:
        yield f"An endpoint gave no reply for so long that the run stopped, {plural(total.silences, 'time')}."


def _of_earlier_runs(facts: Measured) -> Iterator[str]:
    for run in dict.fromkeys(facts.taken_over.values()):
        tasks = ", ".join(task for task, origin in facts.taken_over.items() if origin == run)
        yield f"Taken over from run {run}, with the same inputs, and paid there: {tasks}."


def _kinds(counts: Mapping[str, int]) -> str:
    return ": " + ", ".join(f"{kind} {number}" for kind, number in counts.items()) if counts else ""


def empty(facts: Measured) -> str:
    """Why a finished run has no synthetic row although there was something to write against; '' if it has, or had nothing."""
    iterations = facts.iterations
    if not facts.finished or not iterations or any(i.accepted for i in iterations):
        return ""
    wanted = sum(i.wanted for i in iterations)
    return str(facts.reason) if wanted or any(i.summary.get("unanalysed") for i in iterations) else ""

"""Which model is shipped: never one that is worse than the start, as far as the selection split can tell.

The rule. A candidate is promoted if and only if
1. it beats the model the run started from in a one-sided paired test (exact McNemar; by groups where rows have them; of a graded
   task's scores a permutation test) at the level alpha / N, where N is the number of candidates that the run may try (its
   iterations),
2. its selection accuracy, or mean score, is higher than the incumbent's (the best that passed so far, else the start), and
3. it has not broken down: not collapsed to one answer, and not clearly more often without any answer.

Why so. Each candidate tested against the same start at alpha / N bounds the chance that *any* candidate no better than the
start is ever shipped by alpha, however the candidates depend on one another (Bonferroni). Testing against the start, not the
incumbent, lets a second small step be shipped that builds on the first: both together are what is tested. Among candidates that
passed, the higher selection accuracy is the better guess. Point 3 only ever refuses. The reported test split plays no part.

Its power: with alpha 0.05, two iterations and 5 % of the rows lost on the way, four of five gains of 17 points on 80
selection rows, of 14.5 on 100, of 7 on 300. Half of such a gain is mostly not shipped.
"""

from collections.abc import Mapping

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.state import ModelRecord, Promotion
from pada_agent.components.core.statistics import Paired, SplitMetrics, paired_test, wilson_interval

DECIDING_SPLIT = "selection"


def judge_candidate(
    start: ModelRecord,
    incumbent: ModelRecord,
    candidate: ModelRecord,
    groups: Mapping[str, str],
    alpha: float,
    candidates: int,
) -> Promotion:
    """The verdict on one candidate. Raises InputError if the models were not evaluated on the same selection rows."""
    for model in (start, candidate):
        if DECIDING_SPLIT not in model.outcomes:
            raise InputError(
                f"model '{model.name}' was not evaluated on the {DECIDING_SPLIT} split; add it to evaluate_slm's splits"
            )
    try:
        test = paired_test(start.scores(DECIDING_SPLIT), candidate.scores(DECIDING_SPLIT), groups)
    except ValueError as e:
        raise InputError(
            f"{DECIDING_SPLIT} split of '{start.name}' and '{candidate.name}': {e}; evaluate both on the same data"
        ) from e
    level = alpha / max(1, candidates)
    refusal = _refusal(start, incumbent, candidate, test, level)
    reason = refusal or (
        f"{_points(test.difference)} over {start.name} on {test.n} selection rows "
        f"({_moved(test, candidate.metrics[DECIDING_SPLIT])}, p = {test.p_better:.2g}, below {level:.3g})"
    )
    return Promotion(
        against=start.name,
        gains=test.gains,
        losses=test.losses,
        difference=test.difference,
        p=test.p_better,
        level=level,
        promoted=not refusal,
        reason=reason,
    )


def _refusal(start: ModelRecord, incumbent: ModelRecord, candidate: ModelRecord, test: Paired, level: float) -> str:
    ours, first, best = (m.metrics[DECIDING_SPLIT] for m in (candidate, start, incumbent))
    counted = _counted(test, ours)
    if ours.collapsed and not first.collapsed:
        return "it nearly always gives the same answer (collapse)"
    more_invalid = wilson_interval(ours.invalid, ours.n)[0] > wilson_interval(first.invalid, first.n)[1]
    if more_invalid:
        return f"{ours.invalid} of {ours.n} of its outputs contain no answer, {first.invalid} of {first.n} of {start.name}'s"
    if test.difference <= 0:
        return f"no gain over {start.name} ({counted})"
    if test.p_better > level:
        return f"the gain over {start.name} may be chance ({counted}, p = {test.p_better:.2g}, above {level:.3g})"
    if ours.main.mean <= best.main.mean:
        return f"it beats {start.name} ({counted}), but not {incumbent.name}, which was promoted before"
    return ""


def _counted(test: Paired, metrics: SplitMetrics) -> str:
    return f"{_moved(test, metrics)} on {test.n} selection rows"


def _moved(test: Paired, metrics: SplitMetrics) -> str:
    words = ("gained", "lost") if metrics.grade is None else ("scored higher", "lower")
    return f"{test.gains} {words[0]}, {test.losses} {words[1]}"


def _points(share: float) -> str:
    return f"{100 * share:+.1f} points"

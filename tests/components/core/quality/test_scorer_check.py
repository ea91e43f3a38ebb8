"""What is said of a scorer: how often order decides, what length gives, whether it agrees with people."""

import pytest

from pada_agent.components.core.quality.scorer_check import ScorerCheck, spearman

CONSISTENT = [("first", "second"), ("second", "first"), ("tie", "tie")]
FLIPPED = [("first", "first"), ("second", "second"), ("tie", "first"), ("first", "tie")]


def facts(**measured):
    return ScorerCheck(rows=20, **measured).facts(0.95, 0)


def test_a_verdict_flips_if_the_other_order_says_something_else():
    told = facts(orders=[*CONSISTENT, *FLIPPED])
    assert (told.pairs, told.flips, told.first) == (7, 4, 1)
    assert told.flips_low < 4 / 7 < told.flips_high
    assert told.sentences[0].startswith("Order: of 7 pairs of answers, 4 (57\u00a0%,")
    assert not told.warnings, "4 of 7 may be chance"
    assert facts(orders=FLIPPED * 5).warnings == [
        "The scorer's choice between two answers depends on their order more often than not."
    ]
    assert not facts(orders=CONSISTENT * 5).warnings


def test_saying_it_twice_is_to_gain_nothing():
    told = facts(lengths=[(0.5, 0.75)] * 10)
    assert (told.padded, told.longer, told.longer_low) == (10, 0.25, 0.25)
    assert told.sentences == [
        "Length: 10 right answers that say everything twice score +25.0 points beside themselves (+25.0 to +25.0); 0 is no bias."
    ]
    assert told.warnings == ["The scorer favours longer answers: part of a gain may come from length alone."]
    for fair in ([(0.5, 0.5)] * 10, [(1.0, 0.75)] * 10, [(0.5, 0.75), (0.75, 0.5)] * 5):
        assert not facts(lengths=fair).warnings


def test_agreement_is_of_ranks_whatever_the_scale():
    people = [(10, 0.0), (20, 0.25), (30, 0.5), (1000, 0.75), (2000, 1.0)]
    assert facts(people=people).agreement == pytest.approx(1)
    assert facts(people=[(-score, grade) for score, grade in people]).warnings == [
        "The scorer hardly agrees with the people who scored rows (rank correlation -1.00)."
    ]
    # by hand: ranks 1, 2.5, 2.5, 4 and 1, 2, 3.5, 3.5
    assert spearman([(1, 0.1), (2, 0.2), (2, 0.3), (3, 0.3)]) == pytest.approx(0.8333333)
    assert facts(people=people[:4]).agreement is None, "too few"
    assert facts(people=[(3, grade) for _, grade in people]).agreement is None, "all the same"
    assert facts(people=[(3, grade) for _, grade in people]).sentences == [
        "People: on 5 rows that a person scored, the rank correlation (Spearman) cannot be told."
    ]


def test_nothing_answered_says_so():
    assert facts().sentences == ["The scorer's bias was not measured."] and not facts().warnings

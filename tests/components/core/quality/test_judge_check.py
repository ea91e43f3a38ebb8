import pytest

from pada_agent.components.core.quality.judge_check import JudgeCheck


def judged(good, bad, threshold=7):
    values = [("good", mean) for mean in good] + [("exchanged", mean) for mean in bad]
    batches = [{"kind": k, "branch": "error", "mean": m, "passed": m is not None and m >= threshold} for k, m in values]
    return JudgeCheck.model_validate({"batches": batches}).facts(0.95).model_dump()


@pytest.mark.parametrize(
    "good, bad, weak, said",
    [
        ([9, 8, 8, 9], [3, 2, 4, 7], False, "The judge tells good from bad: 88\u00a0%"),
        ([9, 8, 8, 9], [3, 2, 8, 7], True, "The judge is not shown to tell good from bad: 75\u00a0%"),
        ([3, 2, 4, 2], [9, 8, 8, 9], True, "The judge is not shown to tell good from bad: 0\u00a0%"),
        ([7, 7, 7, 7], [7, 7, 7, 7], True, "The judge gives good and bad batches the same score (7.0)"),
        ([None, None], [None, None], True, "The judge was not measured: of 4 checks, 0 came back with an answer."),
        ([8, 8], [None, None], True, "The judge was not measured"),
    ],
)
def test_what_is_said_of_a_judge(good, bad, weak, said):
    found = judged(good, bad)
    assert found["weak"] is weak
    assert found["sentence"].startswith(said)


def test_one_score_in_each_branch_is_one_score_too():
    def batches(*means):
        kinds = [("good", "error"), ("cut", "error"), ("good", "pattern"), ("off_pattern", "pattern")]
        rows = [{"kind": k, "branch": b, "mean": m, "passed": m >= 7} for (k, b), m in zip(kinds, means, strict=True)]
        return JudgeCheck.model_validate({"batches": rows})

    assert batches(8.5, 8.5, 8.0, 8.0).constant
    assert "same score (8.0 or 8.5)" in batches(8.5, 8.5, 8.0, 8.0).facts(0.95).model_dump()["sentence"]
    assert not batches(8.5, 8.4, 8.0, 8.0).constant


def test_the_numbers_behind_it():
    found = judged([9, 8, None, 6], [3, 7, 5])
    assert (found["good"], found["good_passed"], found["bad"], found["bad_refused"]) == (3, 2, 3, 2)
    assert found["accuracy"] == pytest.approx(2 / 3) and found["low"] < 0.5 < found["high"]
    assert found["gap"] == pytest.approx(23 / 3 - 5)
    assert found["kinds"][1] == {"kind": "with the answers of other rows", "batches": 3, "passed": 1}

"""SQuAD and GSM8K: our scores are those of the official v1.1 script and of lm-eval, on generated and on published rows."""

from fractions import Fraction

import pytest
from parity.edits import GSM8K as GSM8K_EDITS
from parity.edits import SQUAD as SQUAD_EDITS
from parity.recorded import no_code, rows_of, verdicts

from pada_agent.components.core.records import Score
from pada_agent.components.core.tasks.gsm8k import strict_number
from pada_agent.components.core.tasks.registry import load_task

SQUAD, GSM8K = load_task("squad", {}), load_task("gsm8k", {})


def squad(golds: list[str], output: str) -> Score:
    return SQUAD.score({"context": "?", "question": "?", "answers": golds}, output, no_code)


def gsm8k(answer: str, output: str) -> Score:
    return GSM8K.score({"question": "?", "answer": answer}, output, no_code)


def test_squad_is_the_official_script() -> None:
    lines = empty = 0
    for golds, answers in verdicts("squad")[1]:
        for answer, exact, f1 in answers:
            ours = squad(golds, answer)
            if not answer.strip():  # ours alone: no answer is wrong, also where a gold answer is an article
                assert (ours.correct, ours.valid, ours.extra) == (False, False, {"f1": 0.0})
                empty += exact
            elif "\n" in answer.strip():  # ours alone: the first line is the answer
                assert ours == squad(golds, answer.strip().split("\n")[0])
                lines += ours.correct != exact
            else:
                assert (ours.correct, ours.extra["f1"]) == (bool(exact), pytest.approx(f1, abs=1e-8)), (golds, answer)
    assert lines and empty, "the differences that README.md names are not there any more"


@pytest.mark.data
def test_squad_on_published_rows() -> None:
    head, lines = verdicts("squad_rows")
    assert head["edits"] == list(SQUAD_EDITS)
    for row, scores in zip(rows_of(head), lines, strict=True):
        for (name, edit), (exact, f1) in zip(SQUAD_EDITS.items(), scores, strict=True):
            ours = squad(row["answers"]["text"], edit(row))
            assert (ours.correct, ours.extra["f1"]) == (bool(exact), pytest.approx(f1, abs=1e-8)), (name, row["id"])
            assert not name.endswith("gold") or (exact, f1) == (1, 1), row["id"]
            assert name != "empty" or (exact, f1, ours.valid) == (0, 0, False), row["id"]


def compare_gsm8k(answer: str, output: str, strict: int, flexible: int) -> bool:
    """Asserts that ours are lm-eval's; True where they differ as README.md says: its strict match drops a final point."""
    ours, gold = gsm8k(answer, output), strict_number(answer)
    assert ours.extra["flexible"] == flexible, (answer, output)
    assert ours.extra["numeric"] == same(strict_number(output), gold), (answer, output)
    pointed = strict_number(output) == f"{gold}."
    assert ours.correct == (strict and not pointed), (answer, output)
    return bool(strict) and not ours.correct


def same(a: str, b: str) -> bool:
    """Equality of numbers by other means than ours."""
    try:
        return Fraction(a) == Fraction(b)
    except ValueError:
        return False


def test_gsm8k_is_lm_evals() -> None:
    pointed = [
        compare_gsm8k(f"#### {gold}", output, strict, flexible)
        for gold, outputs in verdicts("gsm8k")[1]
        for output, strict, flexible in outputs
    ]
    assert any(pointed)


@pytest.mark.data
def test_gsm8k_on_published_rows() -> None:
    head, lines = verdicts("gsm8k_rows")
    assert head["edits"] == list(GSM8K_EDITS)
    for row, (strict, flexible) in zip(rows_of(head), lines, strict=True):
        for (name, edit), is_strict, is_flexible in zip(GSM8K_EDITS.items(), strict, flexible, strict=True):
            compare_gsm8k(row["answer"], edit(row), int(is_strict), int(is_flexible))
            assert name != "gold" or is_strict == is_flexible == "1"
            assert name != "empty" or is_strict == is_flexible == "0"

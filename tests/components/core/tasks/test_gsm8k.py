"""Strict, flexible and numeric match; the arithmetic of new rows."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.tasks.arithmetic import equations, is_right, results, value
from pada_agent.components.core.tasks.gsm8k import Gsm8kAnswer, Gsm8kQuestion, Gsm8kSample, last_number, strict_number
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import CodeRunner

GSM8K = load_task("gsm8k", {})
ROW = {
    "question": "A crate holds 617 pears and two crates are full. How many pears is that?",
    "answer": "Two crates hold 617*2=<<617*2=1234>>1,234 pears.\n#### 1,234",
}


@pytest.mark.parametrize(
    ("output", "correct", "valid", "flexible", "numeric"),
    [
        ("617*2 = 1,234\n#### 1,234", True, True, True, True),
        ("#### 1234", True, True, True, True),
        ("#### 1234\n#### 7", True, True, False, True),
        ("#### 1234.00", False, True, False, True),
        ("#### 1234.", False, True, True, True),
        ("#### 1235", False, True, False, False),
        ("#### -1234", False, True, False, False),
        ("The answer is $1,234.", False, False, True, False),
        ("####1234", False, False, True, False),
        ("#### about a thousand", False, False, False, False),
        ("", False, False, False, False),
    ],
)
def test_scores(output: str, correct: bool, valid: bool, flexible: bool, numeric: bool, no_code: CodeRunner) -> None:
    score = GSM8K.score(ROW, output, no_code)
    assert (score.correct, score.valid) == (correct, valid)
    assert score.extra == {"flexible": flexible, "numeric": numeric}
    assert bool(score.detail) != correct


def test_numbers_are_found() -> None:
    assert strict_number("x #### -1,234.5 y #### 2") == "-1234.5"
    assert strict_number("####12") == ""
    assert last_number("first 3, then $1,200.50.") == "1200.50"
    assert last_number("none") == ""


def test_calculator_marks_are_stripped_and_the_last_line_is_kept() -> None:
    assert GSM8K.target(ROW) == "Two crates hold 617*2=1,234 pears.\n#### 1,234"


@pytest.mark.parametrize("answer", ["It is 4.", "#### four", "#### ,", "####"])
def test_a_row_without_a_final_number_is_named(answer: str) -> None:
    with pytest.raises(InputError, match="answer: has no line '#### number'"):
        GSM8K.read({"question": "q", "answer": answer})


def sample(*steps: str, answer: str = "14") -> Gsm8kSample:
    question = "Nora buys 3 melons for 4 dollars each and a bag for 2 dollars. What does she pay?"
    return Gsm8kSample(question=question, steps=list(steps), answer=answer)


def test_a_new_row(no_code: CodeRunner) -> None:
    fields = GSM8K.fields_of(sample("The melons cost 3 * 4 = $12.", "In all 12 + 2 = 14 dollars.", answer="$14"), {})
    assert fields["answer"] == "The melons cost 3 * 4 = $12.\nIn all 12 + 2 = 14 dollars.\n#### 14"
    assert GSM8K.verify(fields, no_code) == ""
    assert GSM8K.features(fields) == {"2 steps", "multiplication", "addition"}


@pytest.mark.parametrize(
    ("new", "complaint"),
    [
        (sample("3 * 4 = 12", answer="14 dollars"), "'14 dollars' is not a bare number"),
        (sample("3 * 4 = 12", answer="x"), "not a bare number"),
        (sample("3 * 4 = 12 #### 12", answer="12"), "belongs to the final line"),
        (sample("#### 14"), "steps: are empty"),
    ],
)
def test_what_is_wrong_with_a_new_row_is_said(new: Gsm8kSample, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        GSM8K.fields_of(new, {})


@pytest.mark.parametrize(
    ("steps", "answer", "reason"),
    [
        (("3 * 4 = 13", "13 + 2 = 15"), "15", "3 * 4 is not 13"),
        (("3 * 4 = 12", "12 + 2 = 14"), "15", "the final answer 15 is not the result of any step's equation"),
        (("She pays 14 dollars.",), "14", "the final answer 14 is not the result"),
        (("10 / 4 = 2.5", "2.5 * 2 = 5"), "5.0", ""),
        (("47 / 9 is a little more than 5.", "6 * 9 = 54 seats are enough, so they need 6 vans."), "6", ""),
        (("47/9 = 5.22", "So they need 6 vans."), "6", ""),
        (("He fills 47 ÷ 9 boxes, which are 5 full ones.",), "5", ""),
        (("150 * 0.35 = 52.5", "That are 53 tiles."), "53", ""),
        (("47 / 9 is a little more than 5.", "So they need 7 vans."), "7", "the final answer 7 is not the result"),
        (("47 / 9 is a little more than 5.", "So they need 16 vans."), "6", "the final answer 6 is not the result"),
        (("47 / 9 = 5.22", "The rest goes by bus."), "6", "the final answer 6 is not the result"),
        (("45 / 9 = 5", "So they need 6 vans."), "6", "the final answer 6 is not the result"),
        (("2/5 of the pupils cycle.", "So 1 pupil cycles."), "1", "the final answer 1 is not the result"),
        (("20% of 50 is 50 * 20 / 100 = 10",), "10", ""),
        (("1/8 = 12.5%",), "12.5", ""),
    ],
)
def test_the_arithmetic_is_recomputed(steps: tuple[str, ...], answer: str, reason: str, no_code: CodeRunner) -> None:
    assert reason in GSM8K.verify(GSM8K.fields_of(sample(*steps, answer=answer), {}), no_code)
    if not reason:
        assert GSM8K.verify(GSM8K.fields_of(sample(*steps, answer=answer), {}), no_code) == ""


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("6x12 = $72", [True]),
        ("so 1,200 * 2 = 2,400.", [True]),
        ("2*6 = 3*4 = 12", [True, True]),
        ("2*6 = 3*5 = 15", [False, True]),
        ("(5 + 3) × 2 = 16", [True]),
        ("-5 + 3 = -2", [True]),
        ("80*1.05 = $84", [True]),
        (".05 x 2000 = 100", [True]),
        ("10/3 = 3.33", [True]),
        ("10/3 = 3", [True]),
        ("10/3 = 3.4", [False]),
        ("20/3 = 6.66", [True]),
        ("7/2 = 3", [False]),
        ("2 + 3 = 6", [False]),
        ("5/20*100 = 25%", [True]),
        ("25% + 50% = 75%", [True]),
        ("1/0 = 5", [True]),
        ("10h = 30", []),
        ("3x-5 = 16", []),
        ("3 boxes * 4 = 12", []),
        ("2 - 1/2 = 1 1/2", []),
        ("17/3 = 5 and 2/3", []),
        ("8/3 = 24/Y", []),
        ("12 x 1 and 1/4 = 15", []),
        ("40 marbles - 3 - 5 = 32", []),
        ("x = 5", []),
        ("= =", []),
    ],
)
def test_equations_are_read_or_left_alone(text: str, right: list[bool]) -> None:
    assert [is_right(equation) for equation in equations(text)] == right


@given(st.integers(-999, 999), st.sampled_from("+-*"), st.integers(0, 999), st.integers(-3, 3))
def test_every_simple_equation_is_judged(a: int, sign: str, b: int, off: int) -> None:
    result = {"+": a + b, "-": a - b, "*": a * b}[sign] + off
    (equation,) = equations(f"That makes {a} {sign} {b} = {result:,}.") if a >= 0 else equations(f"{a} {sign} {b} = {result:,}.")
    assert is_right(equation) == (off == 0)


@given(st.text(st.sampled_from("0123456789.,%$()+-*/x= \n²٣"), max_size=80))
def test_no_text_makes_the_arithmetic_fail(text: str) -> None:
    for equation in equations(text):
        is_right(equation)
    results(text)


def test_values() -> None:
    assert value("1,000 x 20%") == 200
    assert value("$0.5 / 2") == Fraction(1, 4)
    assert results("a = 5, so 3 + 4 = 7% of it") == {5, 7, Fraction(7, 100)}
    for nonsense in ("1 +", "2 ** 3", "a", "9.9.9"):
        with pytest.raises(ValueError, match=r"cannot be computed|no arithmetic"):
            value(nonsense)


def test_features() -> None:
    steps = "".join(f"step {n}: 10 / 2 = <<10/2=5>>5\n" for n in range(7))
    row = {"question": "What is half of 20 percent of 2.5 litres?", "answer": f"{steps}#### 5"}
    assert GSM8K.features(row) == {"6 or more steps", "division", "percentages", "fractions", "decimals"}
    assert "1 step" in GSM8K.features({"question": "q", "answer": "2-1=1\n#### 1"})


def test_a_solution_is_computed_before_its_question_is_written(no_code: CodeRunner) -> None:
    answer = GSM8K.answered(Gsm8kAnswer(steps=["They bake 3 * 12 = 36 buns.", "Half of them are 36 / 2 = $18."]))
    assert answer == {"question": "", "answer": "They bake 3 * 12 = 36 buns.\nHalf of them are 36 / 2 = $18.\n#### 18"}
    assert GSM8K.verify(answer, no_code) == "" and GSM8K.result_of(answer) == "18"
    assert GSM8K.features(answer) == {"multiplication", "division", "2 steps"}
    asked = Gsm8kQuestion(question="A bakery fills 3 trays of 12 buns.  Half of them are sold. How many dollars is that?")
    whole = GSM8K.with_question(answer, asked)
    assert whole["question"].startswith("A bakery fills 3 trays of 12 buns. Half") and whole["answer"] == answer["answer"]
    assert GSM8K.features(whole) - GSM8K.features(answer) <= GSM8K.asked_features, "what a question adds to the features"
    assert GSM8K.answer_of(whole).model_dump() == {"steps": answer["answer"].splitlines()[:2]}
    assert GSM8K.question_of(whole).model_dump() == {"question": whole["question"]}
    wrong = GSM8K.answered(Gsm8kAnswer(steps=["They bake 3 * 12 = 35 buns."]))
    assert GSM8K.verify(wrong, no_code) == "3 * 12 is not 35"
    with pytest.raises(InputError, match="have no equation"):
        GSM8K.answered(Gsm8kAnswer(steps=["They bake buns all day."]))
    with pytest.raises(InputError, match=r"the last equation gives 3 \* 4; end it with one number"):
        GSM8K.answered(Gsm8kAnswer(steps=["They bake 2 * 6 = 3 * 4 buns."]))
    chain = GSM8K.answered(Gsm8kAnswer(steps=["They bake 2 * 6 = 3 * 4 = (12) buns."]))
    assert GSM8K.result_of(chain) == "12"

"""Reading the letter, and writing new items."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.tasks.arc_challenge import ArcChallengeSample
from pada_agent.components.core.tasks.hellaswag import clean
from pada_agent.components.core.tasks.multiple_choice import arrange, letter_of, question_kind, read_letter, score_letter
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import CodeRunner, Task

ARC = load_task("arc_challenge", {})
HELLASWAG = load_task("hellaswag", {})
FOUR = {"text": ["fog", "rain", "drought", "tornado"], "label": ["A", "B", "C", "D"]}


@pytest.mark.parametrize(
    ("output", "letter"),
    [
        ("The best answer is C.", "C"),
        ("the correct answer is: (B)", "B"),
        ("The answer is **D**, because A is wrong.", "D"),
        ("The answer is A. No, wait. The best answer is B.", "B"),
        ("The best answer is\nC", "C"),
        ("B", "B"),
        (" C. drought", "C"),
        ("(D) tornado", "D"),
        ("**A**\nbecause of B and C", "A"),
        ("E\n", "E"),
        ("I would take option C here", "C"),
        ("C is my choice, surely C", "C"),
        ("Either A or B", ""),
        ("The answer is a dog", ""),
        ("the answer is drought", ""),
        ("F", ""),
        ("ABC", ""),
        ("best answer is Bx", ""),
        ("c", "C"),
        ("(b).", "B"),
        ("the best answer is d. It rains.", "D"),
        ("The answer is **a**\nbecause", "A"),
        ("The answer is a.m.", ""),
        ("The answer is _B_", "B"),
        ("a dog", ""),
        ("A dog runs. A man sits.", ""),
        ("A is right", "A"),
        ("Option A names a dog", "A"),
        ("A dog, so D", "D"),
        ("It boils at 100°C", ""),
        ("D.C. current", ""),
        ("", ""),
    ],
)
def test_the_letter_is_read(output: str, letter: str) -> None:
    assert read_letter(output) == letter


@pytest.mark.parametrize(
    ("output", "options", "letter"),
    [
        ("The best answer is J.", 10, "J"),
        ("the answer is (i)", 10, "I"),
        ("I", 10, "I"),
        ("I is right", 10, "I"),
        ("I think it is G", 10, "G"),
        ("I'd say H", 10, "H"),
        ("'I'", 10, "I"),
        ("The answer is I think G", 10, "G"),
        ("A dog and I saw it", 10, ""),
        ("Z", 26, "Z"),
        ("The best answer is J.", 4, ""),
        ("K", 10, ""),
        ("I would take option C here", 10, "C"),
    ],
)
def test_letters_of_more_options(output: str, options: int, letter: str) -> None:
    assert read_letter(output, options) == letter


def test_as_many_options_as_there_are_letters() -> None:
    options = [f"item {n}" for n in range(26)]
    assert score_letter(options, "Z", "The best answer is Z.").correct
    written, letter = arrange("J. jam", [f"{'ABCDEFGHI'[n]}. item {n}" for n in range(9)], "key")
    assert sorted(written) == ["item 0", "item 1", "item 2", "item 3", "item 4", "item 5", "item 6", "item 7", "item 8", "jam"]
    assert written["ABCDEFGHIJ".index(letter)] == "jam"


@given(st.text(max_size=40), st.sampled_from("ABCDE"))
def test_a_stated_answer_wins_over_what_stands_before(before: str, letter: str) -> None:
    assert read_letter(f"{before}\nThe best answer is {letter}.") == letter


def test_a_letter_without_an_option_is_no_answer() -> None:
    score = score_letter(["x", "y", "z"], "A", "The best answer is D.")
    assert (score.correct, score.valid, score.predicted) == (False, False, "")
    repeated = ["A dog runs.", "vitamin C", "sun", "C"]
    for text in ("A dog runs.", "The best answer is A dog runs.", "vitamin C", "It is vitamin C."):
        assert not score_letter(repeated, "A", text).valid, text
    for text in ("The best answer is C. sun", "C", "C. vitamin C is wrong"):
        assert score_letter(repeated, "C", text).correct, text
    score = score_letter(["x", "y", "z"], "A", "The best answer is C.")
    assert (score.correct, score.valid, score.predicted, score.detail) == (False, True, "C", "chose 'z' instead of 'x'")


@pytest.mark.data
@pytest.mark.parametrize("task", [ARC, HELLASWAG], ids=lambda task: task.name)
def test_repeating_an_option_is_no_letter(task: Task, published: Callable[[str], list[dict[str, Any]]]) -> None:
    rows = [task.read(row) for row in published(task.name)]
    texts = [(row["options"], text) for row in rows for text in row["options"] if len(text) > 1]
    assert not [text for options, text in texts if score_letter(options, "A", text).valid]
    assert not [text for options, text in texts if score_letter(options, "A", f"The best answer is {text}").valid and " " in text]


def raw(**changes: Any) -> dict[str, Any]:
    return {"id": "1", "question": "What follows?", "choices": FOUR, "answerKey": "C"} | changes


def test_numeric_keys_become_letters(no_code: CodeRunner) -> None:
    fields = ARC.read(raw(choices={"text": FOUR["text"], "label": ["1", "2", "3", "4"]}, answerKey="3"))
    assert fields == {"question": "What follows?", "options": FOUR["text"], "answer": "C"}
    assert "C. drought" in ARC.messages(fields)[0]["content"]
    assert ARC.options_of(fields) == ["A", "B", "C", "D"]
    assert ARC.score(fields, "C", no_code).correct
    assert ARC.reference(fields) == "C. drought"


@pytest.mark.parametrize("count", [3, 5])
def test_three_and_five_options(count: int, no_code: CodeRunner) -> None:
    texts, labels = [f"option {n}" for n in range(count)], list("ABCDE"[:count])
    fields = ARC.read(raw(choices={"text": texts, "label": labels}, answerKey=labels[-1]))
    assert ARC.options_of(fields) == labels
    assert ARC.score(fields, f"The best answer is {labels[-1]}.", no_code).correct


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"answerKey": "E"}, "answer key 'E' is none of the labels A, B, C, D"),
        ({"answerKey": ""}, "answer key '' is none"),
        ({"choices": {"text": ["x", "y"], "label": ["A", "B"]}}, "three to five"),
        ({"choices": {"text": ["x", "y", "z"], "label": ["A", "B"]}}, "3 texts and 2 labels"),
        ({"choices": "A, B"}, "choices: must be an object"),
        ({"question": ""}, "question: "),
        ({"question": None}, "question: "),
    ],
)
def test_broken_rows_are_named(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        ARC.read(raw(**changes))


def test_a_row_without_a_key_is_named() -> None:
    row = raw()
    del row["answerKey"]
    with pytest.raises(InputError, match="answerKey: is missing"):
        ARC.read(row)


def test_hellaswag_is_read_in_both_published_forms() -> None:
    endings = ["goes.", "runs [laughs] away.", "sits.", "eats  soup."]
    whole = HELLASWAG.read({"ind": 4, "ctx": "Fishing: A man sits. He", "endings": endings, "label": "3"})
    parts = {"activity_label": "Fishing", "ctx_a": "A man [title] sits.", "ctx_b": "he", "ctx": "ignored"}
    hub = HELLASWAG.read(parts | {"endings": endings, "label": 3, "source_id": "v_1"})
    assert whole["question"] == "Fishing: A man sits. He"
    assert hub["question"] == "Fishing: A man. sits. He"
    assert whole["options"] == hub["options"] == ["goes.", "runs away.", "sits.", "eats soup."]
    assert whole["answer"] == hub["answer"] == "D"
    assert HELLASWAG.group({"source_id": "v_1"}) == "v_1"
    assert HELLASWAG.group({"ind": 4}) == ""
    assert clean(" How to swim [title] Go in. [step] Move.  Breathe. ") == "How to swim. Go in. Move. Breathe."


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [({"label": ""}, "label: is missing"), ({"label": "4"}, "none of the labels 0, 1, 2, 3"), ({"endings": ["x"]}, "endings")],
)
def test_broken_hellaswag_rows_are_named(changes: dict[str, Any], complaint: str) -> None:
    row = {"ctx": "A: b", "endings": ["1", "2", "3", "4"], "label": "0"} | changes
    with pytest.raises(InputError, match=complaint):
        HELLASWAG.read(row)


def sample(correct: str, *wrong: str, question: str = "Which gas do plants take in?") -> ArcChallengeSample:
    return ArcChallengeSample(question=question, correct=correct, wrong=list(wrong))


def test_a_new_item_is_lettered_by_us_and_spread_over_the_letters() -> None:
    counts = dict.fromkeys("ABCD", 0)
    for number in range(200):
        item = sample("carbon dioxide", "oxygen", "helium", "neon", question=f"Which gas do plants take in, no. {number}?")
        fields = ARC.fields_of(item, {})
        assert fields["options"]["ABCD".index(fields["answer"])] == "carbon dioxide"
        assert fields == ARC.fields_of(item, {})
        counts[fields["answer"]] += 1
    assert min(counts.values()) > 30


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        (sample("oxygen", "helium", "oxygen"), "'oxygen' stands there twice"),
        (sample("A. oxygen", "helium", "B) oxygen"), "'oxygen' stands there twice"),
        (sample("oxygen", "helium", " "), "an option is empty"),
        (sample("oxygen", "helium", "both A and B"), "names other options by letter"),
        (sample("oxygen", "helium", "neon", question="Which gas? A. oxygen B. helium C. neon"), "lists the options"),
    ],
)
def test_what_is_wrong_with_a_new_item_is_said(item: ArcChallengeSample, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        ARC.fields_of(item, {})


def test_an_option_about_those_above_stays_last() -> None:
    for number in range(20):
        options, letter = arrange("none of the above", ["x", "y", "z"], str(number))
        assert (options[-1], letter) == ("none of the above", "D")


def test_letter_of_counts_positions() -> None:
    assert letter_of(["1", "2", "3"], 2) == "B"
    assert letter_of(["A", "B", "C"], " C ") == "C"


def test_the_wording_tells_kinds_of_questions() -> None:
    negated, compared = "negated question (not, except, least)", "comparison of options (best, most)"
    assert question_kind("Which of these is NOT a mammal?") == {negated}
    assert question_kind("All are metals except") == {negated}
    assert question_kind("Which is most likely to float?") == {compared}
    assert question_kind("What is a noble gas?") == set()
    assert HELLASWAG.features({"question": "Pets: How to keep a cat calm. Make a mess."}) == {"how-to article"}
    assert HELLASWAG.features({"question": "Skateboarding: A man shows how to jump."}) == {"video description"}

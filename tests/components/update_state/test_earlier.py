"""What became of an earlier run's patterns, by rows that are known by what they say."""

from collections.abc import Iterable

from finished_runs import state as finished

from pada_agent.components.core.records import Pattern, Prediction, Score
from pada_agent.components.core.state import Earlier, EarlierPattern, IterationRecord, ModelRecord, State
from pada_agent.components.update_state.earlier import look_up, prints

PLACE = "gs://shop/adapter"


def rows(*questions: str, right: Iterable[str] = (), first: int = 0) -> list[Prediction]:
    """Validation rows with a number for an id, as data without ids of their own that grew may have them."""
    return [
        Prediction(
            id=f"row-{number}", split="validation", prompt="P", output="", reference="", fields={"question": question},
            score=Score(correct=question in right, valid=True),
        )
        for number, question in enumerate(questions, first)
    ]  # fmt: skip


def run_of(rows: list[Prediction], adapter: str, patterns: dict[str, list[str]], **more: object) -> State:
    """A state that starts from the model that gave these answers; `patterns` are rows by id."""
    outcomes = {"validation": {row.id: row.score.correct for row in rows}}
    model = ModelRecord(name="vanilla", kind="start", adapter_uri=adapter, metrics={}, outcomes=outcomes)
    found = [Pattern(id=i, name=f"name of {i}", description="d", size=len(of), row_ids=of) for i, of in patterns.items()]
    iterations = [IterationRecord(number=1, patterns=found)] if found else []
    return finished("").model_copy(
        update={"models": [model], "iterations": iterations, "row_prints": prints(rows), "incumbent": "vanilla", **more}
    )


def looked_up(before: State, now: State) -> dict[str, EarlierPattern]:
    found = look_up(before, PLACE, now)
    assert found is not None
    assert (found.uri, found.shipped, found.problem) == (PLACE, "vanilla", "")
    return {p.name.removeprefix("name of "): p for p in found.patterns}


BEFORE = run_of(
    rows(*"abcdefgh"),
    "gs://1/adapter",
    {"p1": ["row-0", "row-1"], "p2": ["row-2", "row-3"], "p3": ["row-4", "row-5"], "p4": ["row-6"]},
)


def test_rows_are_found_under_other_numbers() -> None:
    now = rows("x", *"fedcba", right=["a", "b", "d", "x"])
    found = looked_up(BEFORE, run_of(now, "gs://2/adapter", {}))
    assert {name: (p.rows, p.failing, p.outcome) for name, p in found.items()} == {
        "p1": (2, 0, "fixed"),
        "p2": (2, 1, "shrinking"),
        "p3": (2, 2, "persistent"),
        "p4": (0, 0, None),
    }
    assert [len(p.prints) for p in found.values()] == [2, 2, 2, 1]


def test_a_row_of_the_same_number_that_says_something_else_is_another_row() -> None:
    found = looked_up(BEFORE, run_of(rows(*"ABCDEFGH"), "gs://2/adapter", {}))
    assert {p.outcome for p in found.values()} == {None}


def test_only_the_last_of_patterns_that_continue_each_other_is_looked_up() -> None:
    later = Pattern(id="q1", name="name of q1", description="d", size=1, row_ids=["row-1"], previous_id="p1")
    before = BEFORE.model_copy(update={"iterations": [*BEFORE.iterations, IterationRecord(number=2, patterns=[later])]})
    assert sorted(looked_up(before, run_of(rows(*"ab"), "gs://2/adapter", {}))) == ["p2", "p3", "p4", "q1"]


def test_what_was_not_gone_is_remembered_through_a_run_that_did_not_find_it() -> None:
    told = [
        EarlierPattern(name="name of gone", prints=["00"], outcome="fixed"),
        EarlierPattern(name="name of open", prints=list(prints(rows("a", "z")).values()), outcome="persistent"),
        EarlierPattern(name="name of same", prints=list(prints(rows("c", "d")).values()), outcome="shrinking"),
    ]
    before = BEFORE.model_copy(update={"earlier": Earlier(uri=PLACE, patterns=told)})
    found = looked_up(before, run_of(rows(*"zabcd"), "gs://2/adapter", {}))
    assert sorted(found) == ["open", "p1", "p2", "p3", "p4"]
    assert (found["open"].rows, found["open"].failing) == (2, 2)


def test_a_stage_that_is_started_again_finds_what_it_found_before() -> None:
    answers = rows(*"abcd", right=["a", "b"])
    first = run_of(answers, "gs://2/adapter", {})
    first = first.model_copy(update={"earlier": look_up(BEFORE, PLACE, first)})
    assert first.earlier is not None and "fixed" in {p.outcome for p in first.earlier.patterns}
    assert look_up(first, PLACE, run_of(answers, "gs://2/adapter", {})) == first.earlier

"""The labelled set is sound, and the rules of quality control find in it what they are known to find."""

from collections import Counter

import pytest

from pada_agent.components.backends.llm.client import open_llm
from pada_agent.components.backends.record_files import read_records
from pada_agent.components.backends.sandbox.run import run_code
from pada_agent.components.core.patterns.feature_pairs import with_pairs
from pada_agent.components.core.records import TrainRow
from pada_agent.components.core.separation.leakage import Fingerprints
from pada_agent.components.core.settings import BudgetSettings, ControlSettings, LlmSettings
from pada_agent.components.core.tasks.text_to_sql import TextToSql
from tests.components.control_quality import labelled_checks
from tests.components.control_quality.labelled_checks import RULES, in_sequence, rule, together
from tests.components.control_quality.labelled_rows import (
    OPTIONS,
    LabelledSample,
    batches,
    samples,
    shop_rows,
    tasks,
    train_rows,
)
from tests.components.control_quality.measure_checks import BY_SAMPLE, DIMENSIONS, Measured, main, measured, score_table, table
from tests.llm_stub import from_schema, is_solver

SETTINGS = ControlSettings()
# What rows of a run were let in with: no row comes out, which is no flaw where no text is compared with.
EMPTY = {"Which supplier ids have more than 4 suppliers?"}
OF_SQL = [s for s in samples() if s.task == "text_to_sql"]


def rows_of(sample: LabelledSample):
    task = tasks()["text_to_sql"]
    assert isinstance(task, TextToSql)
    return task.database.rows(sample.fields["sql"])


@pytest.fixture
def judge(llm_stub):
    return open_llm(LlmSettings(model="judge", base_url=llm_stub.url), BudgetSettings(), "")


def test_there_are_enough_samples_of_each_label():
    assert len({s.id for s in samples()}) == len(samples()) >= 150
    labels = Counter(s.label for s in samples())
    assert min(labels.values()) >= 12 and len(labels) == 4
    assert 0.4 <= labels["right"] / len(samples()) <= 0.6
    assert Counter(s.task for s in samples()).keys() == OPTIONS.keys()


def test_every_sample_fits_its_task_and_its_parents_are_training_rows():
    known = {name: {row.id for row in train_rows(name)} for name in OPTIONS}
    for s in samples():
        task = tasks()[s.task]
        assert task.Schema.model_validate(s.fields).model_dump() == s.fields, s.id
        assert task.score(s.fields, task.target(s.fields), run_code).correct, s.id
        assert set(s.parents) <= known[s.task], s.id
    for name in OPTIONS:
        rows = train_rows(name)
        assert all(tasks()[name].Schema.model_validate(r.fields).model_dump() == r.fields for r in rows)
        assert name == "text_to_sql" or {r.id for r in rows} == {p for s in samples() if s.task == name for p in s.parents}


def test_nothing_but_understanding_tells_a_wrong_query_from_a_right_one():
    empty = {s.fields["question"] for s in OF_SQL if s.label in ("right", "subtly wrong") and not rows_of(s)}
    assert empty == EMPTY


def test_right_samples_show_what_their_batch_is_about():
    for s in samples():
        assert s.label != "right" or not s.focus or s.focus in with_pairs(tasks()[s.task].features(s.fields)), s.id
    assert any(" with " in s.focus for s in samples()), "a pair of features is one too"


def test_no_sample_is_a_held_out_row():
    held = [row.fields for rows in shop_rows().held_out.values() for row in rows]
    for key in ("question", "sql"):
        assert not {s.fields[key].casefold() for s in OF_SQL} & {fields[key].casefold() for fields in held}


def test_what_no_rule_can_see_is_among_them():
    by_question = {s.fields["question"]: s for s in OF_SQL}
    assert "date = '2023-12-07'" in by_question["Which orders were placed in the last 7 days?"].fields["sql"]
    assert "GROUP BY id HAVING COUNT(*) > 4" in by_question["Which supplier ids have more than 4 suppliers?"].fields["sql"]
    dated = [s for s in OF_SQL if any(words in s.fields["question"] for words in ("last 7 days", "last 30 days", "past week"))]
    nonsense = [s for s in OF_SQL if s.why.startswith("Nonsense")]
    assert len(dated) >= 3 and len(nonsense) >= 3
    assert {s.label for s in dated + nonsense} == {"subtly wrong"}
    passed = {id for id, s in together(in_sequence(samples(), None, SETTINGS).values()).items() if not s.kind}
    assert passed.issuperset(s.id for s in dated + nonsense)


def test_each_rule_alone_finds_what_it_is_known_to_find():
    found = {kind: Measured.of(rule(kind, samples(), SETTINGS), samples()) for kind in RULES}
    flagged = {kind: {label: n for label, n in m.flagged.items() if n} for kind, m in found.items()}
    assert flagged == {
        "wrong answer": {"subtly wrong": 4},
        "off the pattern": {"off the pattern": 10},
        "not new": {"subtly wrong": 1, "copied": 16},
        "leak": {"right": 1},  # asks for 'tea or less than 12', and a test row for 'less than 12'
    }
    focused = sum(bool(s.focus) for s in samples())
    assert [sum(m.saw.values()) for m in found.values()] == [len(samples()), focused, len(samples()), len(samples())]


def test_in_sequence_a_check_sees_what_those_before_it_let_pass():
    found = in_sequence(samples(), None, SETTINGS)
    assert list(found) == list(RULES)
    saw = [len(verdicts) for verdicts in found.values()]
    flagged = [sum(s.kind == kind for s in verdicts.values()) for kind, verdicts in found.items()]
    assert saw == [len(samples()) - sum(flagged[:i]) for i in range(len(RULES))] and all(flagged)
    assert sum(s.kind is not None for s in together(found.values()).values()) == sum(flagged)


def test_a_rule_alone_is_told_nothing_of_the_others():
    """A wrong sample that is off the pattern, copied and held out besides is flagged by each rule."""
    row = next(r for r in train_rows("gsm8k") if r.id == "train-gsm8k-novels")
    fields = {**row.fields, "answer": "4 * 20 = 81\n#### 81"}
    bad = LabelledSample(
        id="bad",
        task="gsm8k",
        label="copied",
        why="all",
        strategy="Fractions.",
        focus="fractions",
        parents=[row.id],
        fields=fields,
    )
    for kind in ("wrong answer", "off the pattern", "not new"):
        assert rule(kind, [bad], SETTINGS)["bad"].kind == kind
    assert rule("leak", [bad], SETTINGS)["bad"].kind is None


def test_a_sample_that_is_held_out_is_a_leak(monkeypatch):
    planted = [s for s in OF_SQL if s.label == "right"][:10]
    prints = Fingerprints.build({"test": [tasks()[s.task].private_texts(s.fields) for s in planted]})
    monkeypatch.setattr(labelled_checks, "fingerprints", lambda name: prints)
    leaks = rule("leak", samples(), SETTINGS)
    assert {id for id, s in leaks.items() if s.kind} == {s.id for s in planted}


def test_once_is_the_first_of_the_votes_and_costs_nothing_more(judge, llm_stub):
    chosen = [s for s in samples() if s.task == "arc_challenge"]
    keys = {s.fields["question"]: s.fields["answer"] for s in chosen}
    odd, tie = "Which of these does not give off light of its own?", "What causes day and night on Earth?"

    def reply(ask):
        question = next(q for q in keys if q in ask.last.rpartition("Now answer this:")[2])
        wrong = question == odd or (question == tie and ask.temperature == 0)
        return {"answer": {"A": "B", "B": "C", "C": "D", "D": "A"}[keys[question]] if wrong else keys[question]}

    llm_stub.on(is_solver, reply=reply)
    ((_, found),) = measured(["solve"], chosen, SETTINGS, judge)
    flagged = {name: {s.fields["question"] for s in chosen if verdicts[s.id].kind} for name, verdicts in found.items()}
    assert flagged == {"once": {odd, tie}, "3 votes": {odd}}
    assert {s.kind for verdicts in found.values() for s in verdicts.values()} == {None, "doubtful answer"}
    assert llm_stub.paid == SETTINGS.votes * len(chosen)
    assert all(ask.last.count("Labels:") == 1 and "Others were asked this" in ask.last for ask in llm_stub.asks)
    list(measured(["once"], chosen, SETTINGS, judge))
    assert llm_stub.paid == SETTINGS.votes * len(chosen)


def test_one_judgement_gives_both_verdicts(judge, llm_stub):
    chosen = [s for s in OF_SQL if s.strategy][:14]
    nines = dict.fromkeys(DIMENSIONS, 9)
    size = sum(s.batch == chosen[0].batch for s in chosen)
    llm_stub.on(chosen[0].strategy, reply={**nines, "utility": [2] + [9] * (size - 1), "feedback": []})
    llm_stub.on(chosen[size].strategy, text="no JSON")
    llm_stub.on("", reply={**nines, "feedback": []})
    ((_, found),) = measured(["judge"], chosen, SETTINGS, judge)
    unjudged = {s.id for s in chosen if s.batch == chosen[size].batch}
    by_sample, by_batch = ({id for id, s in verdicts.items() if s.kind} for verdicts in found.values())
    assert by_sample == {chosen[0].id} | unjudged and by_batch == unjudged
    measure = Measured.of(found[BY_SAMPLE], chosen)
    assert measure.unanswered == len(unjudged)
    scored = [line for line in score_table(found[BY_SAMPLE], chosen).splitlines() if line.startswith("| right")]
    rights = [s for s in chosen if s.label == "right" and s.id not in unjudged]
    assert chosen[0] in rights
    low = (9 * (len(rights) - 1) + 2) / len(rights)
    assert scored == [f"| right | {len(rights)} | {(9 + 9 + low) / 3:.1f} | 9.0 | {low:.1f} | 9.0 |"]


def test_a_measurement_resumes_and_prints_its_tables_alone(llm_stub, tmp_path, capsys):
    llm_stub.on("", reply=from_schema)
    arguments = [
        "--base-url",
        llm_stub.url,
        "--tasks",
        "arc_challenge",
        "--solve-shots",
        "1",
        "--ledger",
        str(tmp_path / "l.jsonl"),
    ]
    main([*arguments, "--checks", "once"])
    asked = llm_stub.paid
    assert asked == 15 and all(ask.last.count("\nAnswer: ") == 1 for ask in llm_stub.asks)
    main([*arguments, "--checks", "once,sequence"])
    judged_batches = {s.batch for s in samples() if s.task == "arc_challenge"}
    assert asked < llm_stub.paid <= asked + len(judged_batches), "only the judge is new"
    out = capsys.readouterr().out
    assert all(line.startswith(("| ", "## ")) or not line for line in out.splitlines())
    assert [line for line in out.splitlines() if line[0:1] == "#"] == ["## Solved blind, alone"] * 2 + ["## In sequence"]
    assert "| solved blind | 13 |" in out and "| judge | " in out


def test_without_an_llm_the_rules_are_measured(capsys):
    main(["--tasks", "squad,gsm8k", "--checks", "rules,judge,solve", "--reasons"])
    out = capsys.readouterr().out
    assert out.count("##") == 1 and "- wrong answer: gsm8k-009 (subtly wrong): wrong answer: 45 * 2/5 is not 20\n" in out
    with pytest.raises(SystemExit):
        main(["--checks", "rulez"])
    assert "'rulez' is none of rules, solve" in capsys.readouterr().err


def test_the_table_counts_what_was_seen_flagged_and_lost():
    right, wrong, copied = (next(s for s in samples() if s.label == label) for label in ("right", "subtly wrong", "copied"))
    rows = {s.row.id: s for b in batches(samples()) for s in b.samples}
    first = {right.id: rows[right.id].rejected("not verified", "no"), wrong.id: rows[wrong.id].rejected("judge", "no")}
    found = {"first": first | {copied.id: rows[copied.id]}, "second": {copied.id: rows[copied.id].rejected("judge", "no")}}
    found["both"] = together(found.values())
    assert found["both"] == together(reversed(found.values())), "a later check lets nothing back in"
    assert table(found, samples()).splitlines()[2:] == [
        "| first | 3 | 2 | 1 | 50 % | 1 of 1 | 0 of 0 | 0 of 1 | 1 of 1 | 0 % |",
        "| second | 1 | 1 | 0 | 100 % | 0 of 0 | 0 of 0 | 1 of 1 | 0 of 0 |  |",
        "| both | 3 | 3 | 1 | 67 % | 1 of 1 | 0 of 0 | 1 of 1 | 1 of 1 |  |",
    ]


def test_the_examples_rows_have_the_ids_of_a_run(data):
    assert {r.id for r in read_records(data["train_data"] / "train.jsonl", TrainRow)} == {r.id for r in train_rows("text_to_sql")}

"""Each sample is solved without its answer; a solver that comes to another answer stops it."""

import pytest

from pada_agent.components.backends.llm.client import open_llm
from pada_agent.components.backends.sandbox.run import run_code
from pada_agent.components.control_quality.control import Known, Tools, judge_verified, verify
from pada_agent.components.control_quality.solve import solve, solve_request
from pada_agent.components.core.records import Batch, Provenance, Sample, SyntheticRow
from pada_agent.components.core.settings import BudgetSettings, ControlSettings, GenerateSettings, LlmSettings
from pada_agent.components.core.tasks.registry import load_task

SOLVER = "Answer what the user asks"
GOOD = {"utility": 9, "relevance": 9, "feedback": "none"}
CHOICE = load_task("arc_challenge", {})
SHOP = """
CREATE TABLE products(id INTEGER, supplier_id INTEGER, price REAL);
CREATE TABLE sales(id INTEGER, product_id INTEGER, date TEXT);
INSERT INTO products VALUES (1, 7, 2.5), (2, 7, 3), (3, 7, 4), (4, 8, 9), (5, 9, 1);
INSERT INTO sales VALUES (1, 1, '2023-12-01'), (2, 2, '2023-12-05'), (3, 3, '2023-12-07'), (4, 1, '2023-11-02');
"""


@pytest.fixture
def sql(tmp_path):
    (tmp_path / "shop.sql").write_text(SHOP)
    return load_task("text_to_sql", {"database": str(tmp_path / "shop.sql")})


@pytest.fixture
def check(llm_stub):
    """check(task, rows, calls=cap, **ControlSettings) -> the batch after rules, solver and a judge that likes everything."""

    def start(task, rows, calls=0, **settings):
        llm_stub.on("The batch:", reply=GOOD)
        llm = open_llm(LlmSettings(model="judge", base_url=llm_stub.url, concurrency=1), BudgetSettings(calls=calls), "")
        control = ControlSettings(**settings)
        samples = [Sample(row=row(f"r{n}", fields)) for n, fields in enumerate(rows, 1)]
        batch = Batch(id="b", branch="error", seed_ids=["t"], wanted=max(1, len(rows)), samples=samples)
        verified = verify(task, [batch], Known([], []), control, Tools(llm, run_code, lambda texts: ""))
        (checked,) = judge_verified(task, verified, [], Known([], []), control, GenerateSettings(), llm)
        return checked

    return start


def row(id, fields):
    provenance = Provenance(branch="error", parent_ids=["t"], iteration=1, batch_id="b", attempt=0, request_hash="h")
    return SyntheticRow(id=id, fields=fields, provenance=provenance)


def choice(question, key):
    choices = {"text": ["frost", "steam", "sand", "smoke"], "label": ["A", "B", "C", "D"]}
    return CHOICE.read({"question": question, "choices": choices, "answerKey": key})


def query(question, sql):
    return {"question": question, "sql": sql, "family": ""}


def blind(llm_stub):
    return [ask for ask in llm_stub.asks if SOLVER in ask.text]


def test_a_letter_the_solver_does_not_find_sends_the_sample_back(check, llm_stub):
    llm_stub.on(SOLVER, reply={"work": "", "answer": "B"})
    checked = check(CHOICE, [choice("What rises from boiling water?", "B"), choice("What covers a cold window in winter?", "A")])
    assert [s.status for s in checked.samples] == ["accepted", "rejected"]
    assert checked.samples[1].kind == "doubtful answer"
    assert checked.samples[1].reason == "doubtful answer: solved blind, the answer is B, not A. frost"
    assert len(blind(llm_stub)) == 2
    assert not any("best answer is" in ask.last.replace("The best answer is X", "") for ask in blind(llm_stub))
    judged = next(a for a in llm_stub.asks if "The batch:" in a.text)
    assert "cold window" not in judged.text, "what failed a rule is not judged"


def test_a_label_that_the_row_lacks_is_asked_for_again():
    request = solve_request(CHOICE, row("r", choice("Q?", "C")), ControlSettings())
    assert request.schema["properties"]["answer"] == {**request.schema["properties"]["answer"], "enum": ["A", "B", "C", "D"]}
    assert list(request.schema["properties"]) == ["work", "answer"], "thought comes before the answer"
    assert request.parse({"work": "", "answer": " B "}).answer == "B"
    with pytest.raises(ValueError, match=r"answer: .*'A', 'B', 'C' or 'D'"):
        request.parse({"work": "", "answer": "E"})


@pytest.mark.parametrize(
    ("question", "wrong", "right"),
    [
        (
            "How many sales were there in the last 7 days up to 2023-12-07?",
            "SELECT COUNT(*) FROM sales WHERE date = '2023-12-07'",
            "SELECT COUNT(*) FROM sales WHERE date > '2023-11-30'",
        ),
        (
            "Which supplier ids have more than 1 product?",
            "SELECT supplier_id FROM products GROUP BY supplier_id, id HAVING COUNT(*) > 0",
            "SELECT supplier_id FROM products GROUP BY supplier_id HAVING COUNT(*) > 1",
        ),
    ],
    ids=["last 7 days", "nonsense HAVING"],
)
def test_a_query_for_another_question_goes_back_with_both_answers(check, sql, llm_stub, question, wrong, right):
    llm_stub.on(SOLVER, reply={"work": "", "answer": right})
    checked = check(sql, [query(question, wrong)])
    assert [s.kind for s in checked.samples] == ["doubtful answer"]
    reason = checked.samples[0].reason
    assert right in reason and wrong in reason and sql.gives(right) in reason and sql.gives(wrong) in reason
    ask = blind(llm_stub)[0]
    assert ask.last.startswith(question) and wrong not in ask.text and sql.description in ask.text
    assert [s.kind for s in check(sql, [query(question, right)]).samples] == [None]


def test_a_solver_whose_query_does_not_run_is_told_and_asked_again(check, sql, llm_stub):
    llm_stub.on(SOLVER, reply={"work": "", "answer": "SELECT COUNT(*) FROM sale"}, times=1)
    llm_stub.on("no such table", reply={"work": "", "answer": "SELECT COUNT(*) FROM sales"})
    checked = check(sql, [query("How many sales are there in all?", "SELECT COUNT(id) FROM sales")])
    assert checked.samples[0].status == "accepted"


def test_what_nobody_could_solve_is_not_let_in(check, sql, llm_stub):
    llm_stub.on(SOLVER, text="I would rather not.")
    checked = check(sql, [query("How many sales are there in all?", "SELECT COUNT(id) FROM sales")])
    assert [s.kind for s in checked.samples] == ["not verified"]


ANSWERS = {"yes": "SELECT COUNT(*) FROM sales", "no": "SELECT COUNT(*) FROM products", "none": "nothing"}


@pytest.mark.parametrize(
    ("votes", "kind"),
    [
        (("yes", "yes", "no"), None),
        (("yes", "no", "no"), "doubtful answer"),
        (("yes", "none", "no"), "not verified"),
        (("none", "none", "no"), "not verified"),
        (("yes", "yes", "none"), None),
    ],
)
def test_more_than_half_of_a_vote_must_agree(check, sql, llm_stub, votes, kind):
    given = iter(votes)
    said = {}

    def answer(ask):
        first = next((m["content"] for m in ask.messages if m["role"] == "user"), "")
        vote = said.setdefault((first, ask.body.get("temperature"), len(ask.messages) > 2 and ask.number), None)
        return {"work": "", "answer": ANSWERS[vote or next(given)]}

    # One at a time, so that the answers come in order; one that is no query is asked for twice more.
    llm_stub.on(lambda ask: SOLVER in ask.text and "not be used" not in ask.text and len(ask.messages) == 2, reply=answer)
    llm_stub.on(SOLVER, reply={"work": "", "answer": "nothing"})
    checked = check(sql, [query("How many sales are there in all?", "SELECT COUNT(id) FROM sales")], solve="vote", votes=3)
    assert checked.samples[0].kind == kind
    first = [ask for ask in blind(llm_stub) if len(ask.messages) == 2]
    assert len(first) == 3, "equal prompts, told apart by their salt"
    assert sorted(ask.temperature for ask in first) == [0, 0.7, 0.7]


@pytest.mark.parametrize(
    ("votes", "kind"),
    [(("yes", "yes"), None), (("yes", "no"), "doubtful answer"), (("yes", "yes", "no", "no"), "doubtful answer")],
)
def test_half_of_a_vote_is_not_enough(check, sql, llm_stub, votes, kind):
    given = iter(votes)
    llm_stub.on(SOLVER, reply=lambda ask: {"work": "", "answer": ANSWERS[next(given)]})
    checked = check(
        sql, [query("How many sales are there in all?", "SELECT COUNT(id) FROM sales")], solve="vote", votes=len(votes)
    )
    assert checked.samples[0].kind == kind
    assert not kind or f"{len(votes) // 2} of {len(votes)} agree" in checked.samples[0].reason


@pytest.mark.parametrize(("calls", "kinds"), [(2, [None, None, "not verified"]), (0, [None, None, "doubtful answer"])])
def test_a_cap_in_the_middle_lets_in_what_was_solved_and_nothing_else(check, sql, llm_stub, calls, kinds):
    tables = ("sales", "products")
    llm_stub.on(SOLVER, reply=lambda ask: {"work": "", "answer": f"SELECT COUNT(*) FROM {tables['products' in ask.last]}"})
    rows = [query(f"How many {table} are there in all?", f"SELECT COUNT(id) FROM {table}") for table in tables]
    rows.append(query("How many sales were there on one day?", "SELECT COUNT(*) FROM sales WHERE date = '2023-12-01'"))
    checked = check(sql, rows, calls=calls, verdict="checks")
    assert [s.kind for s in checked.samples] == kinds
    assert checked.status == "open" and checked.missing == 1
    assert ("budget.calls" in checked.samples[2].reason) == bool(calls)


def test_a_vote_that_a_cap_cuts_short_is_won_by_what_was_said(check, sql, llm_stub):
    llm_stub.on(SOLVER, reply={"work": "", "answer": ANSWERS["yes"]})
    asked = [query("How many sales are there in all?", "SELECT COUNT(id) FROM sales")]
    vote = {"solve": "vote", "votes": 3, "verdict": "checks"}
    assert [check(sql, asked, calls=calls, **vote).samples[0].kind for calls in (1, 2)] == ["not verified", None]


@pytest.mark.parametrize("settings", [{}, {"solve": "vote"}, {"solve": "off", "verdict": "checks"}])
def test_an_empty_batch_costs_nothing(check, sql, llm_stub, settings):
    checked = check(sql, [], **settings)
    assert (checked.status, checked.samples, llm_stub.asks) == ("open", [], [])


def test_a_scorer_that_cannot_read_an_answer_does_not_take_it(check, tmp_path, llm_stub):
    (tmp_path / "scorers.py").write_text("def close(output, answer):\n    return abs(float(output) - float(answer)) < 0.5\n")
    options = {"prompt": "q", "answer": "a", "scorer": "python", "python": f"{tmp_path / 'scorers.py'}:close", "description": "d"}
    task = load_task("custom", options)
    llm_stub.on("Q1", reply={"work": "", "answer": "about four"})
    llm_stub.on("Q2", reply={"work": "", "answer": 4.2})
    checked = check(task, [task.read({"q": question, "a": "4"}) for question in ("Q1", "Q2")], verdict="checks")
    assert [s.kind for s in checked.samples] == ["doubtful answer", None]
    assert "the answer is about four, not 4 (ValueError: could not convert" in checked.samples[0].reason


def test_a_solver_is_told_what_the_slm_is_told():
    options = {"prompt": "q", "answer": "a", "scorer": "exact", "description": "d", "system": "Answer in French."}
    task = load_task("custom", options)
    request = solve_request(task, row("r", task.read({"q": "And a cat?", "a": "chat"})), ControlSettings())
    assert "Answer in French." in request.messages[0]["content"] and "And a cat?" in request.messages[1]["content"]


def test_off_costs_no_call(check, sql, llm_stub):
    checked = check(sql, [query("How many sales are there in all?", "SELECT COUNT(*) FROM products")], solve="off")
    assert checked.samples[0].status == "accepted" and blind(llm_stub) == []


def test_a_solver_is_shown_the_training_rows_most_like_the_question(sql, llm_stub):
    train = [query(f"Total price of product {n}", f"SELECT SUM(price) FROM products WHERE id = {n}") for n in (1, 2)]
    train += [query("How many sales were there?", "SELECT COUNT(*) FROM sales")]
    asked = row("r", query("How many sales were there on one day?", "SELECT COUNT(*) FROM sales WHERE date = '2023-12-01'"))
    llm_stub.on(SOLVER, reply={"work": "", "answer": "SELECT COUNT(*) FROM sales"})
    llm = open_llm(LlmSettings(model="solver", base_url=llm_stub.url), BudgetSettings(), "")
    for shots in (0, 1, 2):
        solve(sql, [asked], train, ControlSettings(solve_shots=shots), llm, run_code)
    none, nearest, two = (ask.last for ask in blind(llm_stub))
    assert "Answer:" not in none
    assert nearest.count("Answer:") == 1 and "How many sales were there?\nAnswer: SELECT COUNT(*) FROM sales" in nearest
    assert two.index("Total price") < two.index("How many sales were there?\nAnswer"), "the nearest stands last"
    assert all(text.rstrip().count("How many sales were there on one day?") == 1 for text in (none, nearest, two))

"""Training rows most like a question."""

import os
import random
import subprocess
import sys
from collections import Counter
from math import fsum, log, sqrt

import pytest

from pada_agent.components.core.separation.duplicates import tokens
from pada_agent.components.core.separation.nearest import NearestRows
from pada_agent.components.core.tasks.registry import load_task

TASK = load_task("custom", {"prompt": "q", "answer": "a", "scorer": "exact", "description": "d"})


def fields(question):
    return TASK.read({"q": question, "a": "x"})


def test_rare_words_in_common_count_most_and_the_nearest_is_last():
    rows = [fields(q) for q in ("How many tea bags are there?", "How many are there?", "Which tea is the dearest?", "Who came?")]
    near = NearestRows(TASK, rows).of(fields("What is the dearest tea of all?"), 2)
    assert [TASK.question(f) for f in near] == ["How many tea bags are there?", "Which tea is the dearest?"]


def test_a_rare_word_counts_more_than_two_common_ones():
    rows = [fields(q) for q in ("How many are there?", "Any tea?", "How many left?", "How many came?", "How many in all?")]
    assert [TASK.question(f) for f in NearestRows(TASK, rows).of(fields("How many sorts of tea?"), 1)] == ["Any tea?"]


def test_few_rows_and_strange_words():
    rows = [fields("How many?")]
    assert NearestRows(TASK, rows).of(fields("Zürich?"), 3) == rows
    assert NearestRows(TASK, []).of(fields("Zürich?"), 3) == []
    assert NearestRows(TASK, rows).of(fields("How many?"), 0) == []


def test_equally_near_rows_have_one_order_in_every_process():
    program = (
        "import random\n"
        "from pada_agent.components.core.separation.nearest import NearestRows\n"
        "from pada_agent.components.core.tasks.registry import load_task\n"
        "task = load_task('custom', {'prompt': 'q', 'answer': 'a', 'scorer': 'exact', 'description': 'd'})\n"
        "draw, words = random.Random(0), [f'w{n}' for n in range(40)]\n"
        "rows = [task.read({'q': ' '.join(draw.sample(words, 9)), 'a': 'x'}) for _ in range(60)]\n"
        "rows += [task.read({'q': ' '.join(reversed(task.question(row).split())), 'a': 'y'}) for row in rows]\n"
        "near = NearestRows(task, rows)\n"
        "print([[rows.index(found) for found in near.of(row, 6)] for row in rows])\n"
    )
    orders = set()
    for seed in "123":
        seeded = {**os.environ, "PYTHONHASHSEED": seed}
        orders.add(subprocess.run([sys.executable, "-c", program], env=seeded, capture_output=True, check=True).stdout)
    assert len(orders) == 1


def by_a_look_at_all(rows):
    """A function that puts the places of all rows in order, the nearest to a question first."""
    words = [set(tokens(TASK.question(row))) for row in rows]
    having = Counter(word for of in words for word in of)
    weight = {word: log((1 + len(rows)) / n) ** 2 for word, n in having.items()}
    length = [sqrt(fsum(weight[word] for word in of)) or 1 for of in words]

    def in_order(question):
        asked = set(tokens(TASK.question(question)))
        alike = [fsum(weight[word] for word in asked & of) / length[i] for i, of in enumerate(words)]
        return sorted(range(len(rows)), key=lambda i: (-alike[i], i))

    return in_order


@pytest.mark.parametrize("length", [3, 12, 60])
def test_the_rows_that_are_not_looked_at_are_none_of_the_nearest(length):
    draw = random.Random(length)
    words = [f"w{n}" for n in range(400)]
    common = [1 / (n + 1) for n in range(400)]

    def asked():
        return " ".join(draw.choices(words, common, k=draw.choice((1, length, length, length))))

    questions = [asked() for _ in range(300)]
    rows = [fields(q) for q in [*questions, *questions[:40], *(" ".join(reversed(q.split())) for q in questions[:40])]]
    near, plainly, looked_at = NearestRows(TASK, rows), by_a_look_at_all(rows), []
    for question in [fields(asked()) for _ in range(20)] + rows[:10] + [fields("w0"), fields("none of them")]:
        order = plainly(question)
        for most in (0, 1, 3, 40, 500):
            assert near.places(question, most) == order[:most][::-1]
        looked_at.append(len(near._candidates(near._asked(question), 3)))
    assert length < 60 or min(looked_at) < 10, "and these are nearly all of them"

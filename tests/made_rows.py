"""Rows like SQuAD's in size and make, as many as are asked for, from words that a seed makes up: what scale is measured with.

{"id": "train-17", "title": "Sorepa", "context": "The milo dane of Sorepa was tuvi rako in 1843, ... (about 110 words)",
 "question": "What was the milo dane of Sorepa in 1843?", "answers": {"text": ["tuvi rako"], "answer_start": [...]}}
"""

import random
import re
from collections.abc import Iterator
from functools import cache
from itertools import accumulate, product
from typing import Any

VOCABULARY = 20_000
ASKED = 5  # questions on a passage, and sentences in it
PASSAGES = 40  # of an article
_SYLLABLES = ["".join(pair) for pair in product("bdfgklmnprstvz", "aeiou")]
_FACT = re.compile(r"What was the (\w+ \w+) of (\w+) in (\d+)\?")


@cache
def _words() -> tuple[list[str], list[float]]:
    """Words, and how often they come, summed up: as in a language, a few are common and most are rare (Zipf's law)."""
    draw = random.Random(0)
    words = ["".join(draw.choices(_SYLLABLES, k=draw.choice((2, 3, 3, 4)))) for _ in range(2 * VOCABULARY)]
    distinct = list(dict.fromkeys(words))[:VOCABULARY]
    return distinct, list(accumulate(1 / (rank + 3) for rank in range(VOCABULARY)))


def squad_rows(count: int, split: str) -> Iterator[dict[str, Any]]:
    """`count` rows, ASKED to a passage; another split has other passages and articles."""
    draw = random.Random(split)
    words, common = _words()
    for start in range(0, count, ASKED):
        if start % (ASKED * PASSAGES) == 0:
            title = "".join(draw.choices(_SYLLABLES, k=4)).capitalize()
        facts, sentences = [], []
        for _ in range(ASKED):
            asked, answer = " ".join(draw.sample(words, 2)), " ".join(draw.sample(words, 2))
            rest = " ".join(draw.choices(words, cum_weights=common, k=12))
            year = draw.randrange(1000, 2000)
            facts.append((f"What was the {asked} of {title} in {year}?", answer))
            sentences.append(f"The {asked} of {title} was {answer} in {year}, and {rest}.")
        context = " ".join(sentences)
        for i, (question, answer) in enumerate(facts[: count - start], start):
            answers = {"text": [answer], "answer_start": [context.index(answer)]}
            yield {"id": f"{split}-{i}", "title": title, "context": context, "question": question, "answers": answers}


def solved(text: str) -> str:
    """The answer to the last question in a text that has the passage too; '' if it has not."""
    asked = _FACT.findall(text)
    if not asked:
        return ""
    what, name, year = asked[-1]
    found = re.findall(rf"The {what} of {name} was (\w+ \w+) in {year}", text)
    return found[-1] if found else ""

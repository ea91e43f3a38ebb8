"""ARC and HellaSwag: the letters read and the gold letters are lm-eval's, and where they are not, README.md says why."""

from collections import Counter
from itertools import product
from typing import Any

import pytest
from parity.letters import CONTINUED, LETTERS, WHOLE
from parity.recorded import no_code, rows_of, verdicts

from pada_agent.components.core.tasks.multiple_choice import read_letter, score_letter
from pada_agent.components.core.tasks.registry import load_task

ARC, HELLASWAG = load_task("arc_challenge", {}), load_task("hellaswag", {})
# Kinds of wording that one side reads and the other does not; of all others both read the same.
OURS_READS_MORE_CONTINUED = {"letter and more", "letter with odd marks"}
OURS_READS_MORE = {"stated with marks", "stated in other words", "leading letter", "only letter", "lower-case letter"}
OURS_READS_LESS = {"stated word": "the first letter of a word", "stated beyond": "a letter without an option"}


def test_a_continued_answer_is_read_as_arc_challenge_chat_does() -> None:
    more: Counter[str] = Counter()
    for kind, meant, output, right in verdicts("letters")[1]:
        ours = score_letter(list("vwxyz"), meant, f"The best answer is{output}").correct
        if kind in OURS_READS_MORE_CONTINUED:
            assert ours and not right, output
            more[kind] += 1
        else:
            assert ours == bool(right), (kind, meant, output)
    assert set(more) == OURS_READS_MORE_CONTINUED <= set(CONTINUED)


def test_a_whole_answer_is_read_as_mmlu_cot_llama_does() -> None:
    seen: Counter[str] = Counter()
    for kind, meant, output, letter in verdicts("letters_whole")[1]:
        ours = read_letter(output)
        if kind in OURS_READS_MORE:
            assert ours == meant, (kind, output)
        elif kind in OURS_READS_LESS:
            assert not ours, (kind, output)
        else:
            assert ours == letter, (kind, meant, output)
        seen[kind] += ours != letter
    assert {kind for kind, count in seen.items() if count} == OURS_READS_MORE | set(OURS_READS_LESS)
    assert set(seen) == set(WHOLE)


def keys(row: dict[str, Any], chat: str, llama: str) -> None:
    fields = ARC.read({**row, "id": "1"})
    labels = row["choices"]["label"]
    # arc_challenge_chat knows the numbers 1 to 4 and shows no fifth option; arc_challenge_llama leaves out rows without four.
    assert fields["answer"] == (chat if chat in LETTERS else LETTERS[int(chat) - 1])
    assert llama == (fields["answer"] if len(labels) == 4 else "")
    assert ARC.score(fields, ARC.target(fields), no_code).correct
    assert not ARC.score(fields, "", no_code).correct


def test_gold_letters_are_lm_evals() -> None:
    lines = verdicts("arc_keys")[1]
    for row, chat, llama in lines:
        keys(row, chat, llama)
    labels = {(len(row["choices"]["label"]), row["choices"]["label"][0]) for row, *_ in lines}
    assert labels == set(product((3, 4, 5), "A1"))
    assert {"5"} == {chat for _, chat, _ in lines} - set(LETTERS) and "" in {llama for *_, llama in lines}


@pytest.mark.data
def test_gold_letters_of_published_rows_are_lm_evals() -> None:
    head, lines = verdicts("arc_rows")
    for row, (chat, llama) in zip(rows_of(head), lines, strict=True):
        keys(row, chat, llama)


def test_hellaswag_is_shown_as_in_lm_eval() -> None:
    for row, read in verdicts("hellaswag")[1]:
        ours = HELLASWAG.read(row)
        # White space apart: lm-eval halves runs of spaces, and keeps one at the end where a mark of the crawl stood.
        assert ours["question"].split() == read["query"].split(), row
        assert [text.split() for text in ours["options"]] == [text.split() for text in read["choices"]], row
        assert LETTERS.index(ours["answer"]) == read["gold"]
        assert HELLASWAG.score(ours, HELLASWAG.target(ours), no_code).correct

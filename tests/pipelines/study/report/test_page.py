"""study.html: the tables of study.md and the figures in one file, whatever models wrote."""

import re

import pytest
from study_facts import made_up

from pada_agent.pipelines.study.compare import compare
from pada_agent.pipelines.study.outcomes import Failure, StudyFacts
from pada_agent.pipelines.study.report.lines import sections
from pada_agent.pipelines.study.report.page import render
from pada_agent.pipelines.study.tables import lines

ACCURACY = {"untuned": 0.1, "vanilla": 0.4, "step-matched": 0.4, "pada": 0.9, "auggpt": 0.4}
HOSTILE = "</td><script>alert(1)</script> & \"'"


@pytest.fixture(scope="module")
def found():
    facts = made_up(ACCURACY, {"sql": 0.0, "squad": 0.0}, rows=60, seeds=(0, 1), regimes=(300, 600))
    cells = [
        c.model_copy(update={"patterns": [p.model_copy(update={"name": HOSTILE, "strategy": HOSTILE}) for p in c.patterns]})
        for c in facts.cells
    ]
    return compare(facts.model_copy(update={"cells": cells, "failed": [Failure(cell="sql/300/seed-2/pada", line=HOSTILE)]}))


@pytest.fixture(scope="module")
def page(found):
    return render(found)


def test_all_that_study_md_says_is_there(found, page):
    for section in sections(lines(found)):
        assert section.title.text in page
        for block in section.blocks:
            if isinstance(block, str):
                assert block.replace("'", "&#39;") in page
    tables = sum(not isinstance(block, (str, list)) for section in sections(lines(found)) for block in section.blocks)
    assert page.count("<table>") == tables > 8


def test_every_figure_is_in_the_section_that_has_its_numbers(page):
    parts = dict(re.findall(r'<section aria-labelledby="([^"]+)">(.*?)</section>', page, re.DOTALL))
    assert {key for key, part in parts.items() if "<figure>" in part} == {"comparisons", "patterns", "counts", "costs"}
    assert all("<table>" in part for part in parts.values() if "<figure>" in part)
    assert all('role="img"' in svg and re.search(r'aria-label="[^"]{20,}"', svg) for svg in re.findall(r"<svg[^>]*>", page))


def test_hostile_text_stays_text_and_nothing_comes_from_outside(page):
    assert "<script" not in page and page.count("&lt;script&gt;alert(1)") >= 4
    assert not re.search(r"""(src|href)=(?!"#)|url\(|@import|https?:""", page)
    assert "default-src 'none'" in page


def test_the_first_sentence_counts_what_was_told_apart(found, page):
    own = [c for c in found.comparisons if (c.method, c.baseline) == ("pada", "step-matched vanilla")]
    better = sum(c.p_holm < 0.05 for c in own)
    assert len(own) == 4 and min(c.found.difference.mean for c in own) > 0
    assert (
        f"pada against step-matched vanilla in 4 comparisons: better in {better}, worse in 0, not told apart in {4 - better}"
        in page
    )


def test_of_one_comparison_the_first_sentence_is_the_gain_itself():
    found = compare(made_up(ACCURACY, {"sql": 0.0}, rows=60, seeds=(0, 1, 2)))
    c = found.comparisons[0]
    gain = f"{100 * c.found.difference.mean:+.1f}"
    apart = "told apart" if c.p_holm < 0.05 else "not told apart"
    assert re.search(rf"pada against step-matched vanilla: \{gain} points, interval \S+ to \S+; {apart} \(p", render(found))


def test_long_tables_are_closed(found, page):
    count = len(found.comparisons)
    assert count <= 40 and f"The table, {count} rows" not in page
    many = compare(made_up({**ACCURACY, **{f"m{i}": 0.4 for i in range(9)}}, {"sql": 0.0, "squad": 0.0}, rows=40, seeds=(0, 1)))
    assert f"<summary>The table, {len(many.comparisons)} rows</summary>" in render(many)


def test_an_empty_study_has_a_page():
    page = render(compare(StudyFacts(methods=["pada"], seeds=[0], regimes={"sql": [300]})))
    assert "Nothing to compare yet." in page and "<figure>" not in page

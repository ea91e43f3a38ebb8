"""study.html in headless Chromium."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from study_facts import made_up

from pada_agent.pipelines.study.compare import compare
from pada_agent.pipelines.study.report.page import render
from tests.browser import Browser, open_browser

LONG = "pada_with_a_very_long_name_that_somebody_found_telling_in_a_study"
ACCURACY = {"untuned": 0.1, "vanilla": 0.4, "step-matched": 0.4, "pada": 0.9, LONG: 0.1, "auggpt": 0.45}


@pytest.fixture(scope="module")
def page() -> str:
    tasks = {"squad": 0.0, "a_task_whose_name_goes_on_and_on_for_quite_some_time": 0.0}
    facts = made_up(ACCURACY, tasks, rows=60, seeds=(0, 1), regimes=(300, 600, 0), iterations=2)
    return render(compare(facts.model_copy(update={"cells": [c for c in facts.cells if c.name != "squad/600/seed-0/pada"]})))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("pages")) as found:
        yield found


@pytest.mark.parametrize(("width", "theme"), [(360, "dark"), (1280, "light")])
def test_readable_by_all(browser: Browser, width: int, theme: str) -> None:
    """With everything open: no barrier, no complaint. A small page, since axe-core takes its time."""
    browser.look(width, theme)
    browser.show(render(compare(made_up(ACCURACY, {"sql": 0.0}, rows=40, seeds=(0, 1)))))
    paper = browser.ask("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every(c => c > 127)")
    assert paper is (theme == "light")
    browser.open_all()
    assert browser.barriers() == []
    assert browser.console() == []


@pytest.mark.parametrize("width", [360, 1280])
def test_marks_and_names_have_room_at_any_width(browser: Browser, page: str, width: int) -> None:
    browser.look(width)
    browser.show(page)
    browser.open_all()
    assert browser.ask("return [innerWidth, document.documentElement.scrollWidth]") == [width, width]
    boxes = browser.ask(
        "return [...document.querySelectorAll('figure svg')].filter(s => s.checkVisibility()).map(s => s.getBoundingClientRect())"
        ".map(r => [r.width, r.height])"
    )
    assert len(boxes) > 30 and min(w for w, _ in boxes) > 90 and min(h for _, h in boxes) > 20
    names = browser.ask(
        "return [...document.querySelectorAll('.scatter .names')].map(n => [...n.children].map(c => c.getBoundingClientRect())"
        ".map(r => [r.top, r.bottom]).sort((a, b) => a[0] - b[0]))"
    )
    assert names and all(top >= bottom - 1 for of in names for (_, bottom), (top, _) in pairwise(of))

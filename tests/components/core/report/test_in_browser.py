"""The report in headless Chromium, inside a sandboxed frame as Kubeflow's UI shows it."""

import json
from collections.abc import Iterator, Sequence

import pytest

from pada_agent.components.core.patterns.pattern_rules import Trend
from pada_agent.components.core.report.facts import Lead
from pada_agent.components.core.report.page import render, render_lead
from pada_agent.components.core.report.shown_rows import ShownRow
from pada_agent.components.core.state import Earlier, EarlierPattern, State
from tests.browser import Browser, open_browser
from tests.components.core.conftest import HOSTILE

WORSE = (
    "</script><script>window.owned = 1</script><img src=x onerror='window.owned = 1'>\" onmouseover=\"window.owned = 1\" '"
    "\u202etxet\u202c \u05d0\u05d1 \x00\x08\x1b " + "W" * 100_000
)


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("pages")) as found:
        yield found


@pytest.fixture
def browser(window: Browser) -> Browser:
    """A wide window that has shown nothing in this test."""
    window.driver.switch_to.default_content()
    window.look()
    return window


def worse(state: State, rows: Sequence[ShownRow]) -> tuple[State, list[ShownRow]]:
    """The same run by models and data that mean harm."""
    outcomes: tuple[Trend | None, ...] = ("fixed", "shrinking", "persistent", None)
    patterns = [EarlierPattern(name=HOSTILE, description=HOSTILE, prints=["a"], rows=1, outcome=o) for o in outcomes]
    state = state.model_copy(update={"earlier": Earlier(uri="gs://bucket/adapter", patterns=patterns)})
    old, new = (json.dumps(text)[1:-1] for text in (HOSTILE, WORSE))
    changed = State.model_validate_json(state.model_dump_json().replace(old, new))
    return changed, [ShownRow.model_validate_json(row.model_dump_json().replace(old, new)) for row in rows]


def choose(browser: Browser, form: str, label: str, option: str) -> None:
    """Choose in a filter as a reader would, by what is written beside it."""
    named = f"//form[@data-list='{form}']//label[contains(., '{label}')]"
    browser.driver.find_element("xpath", f"{named}//option[starts-with(normalize-space(.), '{option}')]").click()


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_readable_by_all(browser: Browser, finished_state: State, shown: list[ShownRow], width: int, theme: str) -> None:
    """At any width, in both themes, with everything open: nothing to scroll sideways, no barrier, no complaint."""
    browser.look(width, theme)
    state, rows = worse(finished_state, shown[:6] + shown[-6:])
    browser.show(render(state, rows))
    assert browser.ask("return matchMedia('(prefers-color-scheme: dark)').matches") is (theme == "dark")
    paper = browser.ask("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every(c => c > 127)")
    assert paper is (theme == "light")
    browser.open_all()
    assert browser.ask("return [innerWidth, document.documentElement.scrollWidth]") == [width, width]
    assert browser.barriers() == []
    assert browser.console() == []


def test_hostile_text_stays_text(browser: Browser, finished_state: State, shown: list[ShownRow]) -> None:
    browser.show(render(*worse(finished_state, shown)))
    browser.open_all()
    assert browser.ask("return window.owned") is None
    assert browser.ask("return ['script', 'img', 'iframe', 'svg script'].map(t => document.querySelectorAll(t).length)") == [
        1,
        0,
        0,
        0,
    ]
    handlers = "return [...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames()).filter(n => n.startsWith('on'))"
    assert browser.ask(handlers) == []
    text = browser.ask("return document.body.innerText")
    assert text.count("</script><script>window.owned = 1</script><img src=x") > 100
    assert "\u2400\u2408\u241b" in text, "control characters are seen"
    assert "characters in all]" in text and "W" * 1000 not in text
    assert browser.ask("return getComputedStyle(document.querySelector('summary bdi')).unicodeBidi").startswith("isolate")
    assert browser.console() == []


def test_filters_of_the_answers(browser: Browser, finished_state: State, shown: list[ShownRow]) -> None:
    browser.show(render(finished_state, shown))
    said, entries = "form[data-list=answer-list] [role=status]", "#answer-list li"
    assert browser.visible(entries) == [], "closed until asked for"
    assert browser.find(said).text == "All 86 on this page"
    first, last = (finished_state.model(m).outcomes["validation"] for m in ("vanilla", "iteration-2"))
    fixed = [r for r in first if not first[r] and last[r]]
    choose(browser, "answer-list", "Verdict", "fixed")
    assert browser.find(said).text == f"{len(fixed)} of the 86 on this page"
    assert {t.split("What about ")[1].split("?")[0] for t in browser.visible(entries)} == set(fixed)
    assert browser.find(said).get_attribute("aria-live") == "polite"
    wrong = [r for r, right in finished_state.model("iteration-1").outcomes["validation"].items() if not right]
    choose(browser, "answer-list", "Verdict", "Iteration 1: wrong")
    choose(browser, "answer-list", "Rows", "Validation rows")
    assert len(browser.visible(entries)) == len(wrong)
    choose(browser, "answer-list", "Rows", "Training rows")
    assert len(browser.visible(entries)) == 2 and browser.visible("#answer-list h3") == ["Training rows"]
    browser.find("form[data-list=answer-list] button").click()
    assert browser.find(said).text == "All 86 on this page"
    browser.find("form[data-list=answer-list] input").send_keys("GOLD of validation-7\n")
    ids = "return [...document.querySelectorAll('#answer-list li:not([hidden]) dd:last-child')].map(e => e.textContent)"
    assert sorted(browser.ask(ids)) == ["validation-7", *(f"validation-{i}" for i in range(70, 80))]
    browser.find("form[data-list=answer-list] input").clear()
    browser.find("form[data-list=answer-list] input").send_keys("nobody says this")
    assert browser.find(said).text == "0 of the 86 on this page" and browser.visible("#answer-list h3") == []
    assert browser.console() == []


def test_an_answer_tells_its_pattern(browser: Browser, finished_state: State, shown: list[ShownRow]) -> None:
    browser.show(render(finished_state, shown))
    choose(browser, "answer-list", "Pattern", "Filtering groups")
    assert len(browser.visible("#answer-list li")) == 12
    browser.find("#answer-list li:not([hidden]) summary").click()
    (text,) = [t for t in browser.visible("#answer-list li") if "Right answer" in t]
    for part in ("vanilla says validation-", "iteration-2 says validation-", "the gold of validation-", "Filtering groups"):
        assert part in text
    link = browser.find("#answer-list li:not([hidden]) a")
    link.click()
    assert browser.ask("return document.activeElement.id") == link.get_attribute("href").partition("#")[2] == "pattern-it1-p1"
    top = browser.ask("return document.activeElement.getBoundingClientRect().top")
    assert 0 <= top < 200, "scrolled to"
    assert browser.visible("iframe") == [] and browser.visible("h1"), "not led to the page that the frame is in"


def test_two_clicks_to_what_is_behind_a_synthetic_row(browser: Browser, finished_state: State, shown: list[ShownRow]) -> None:
    browser.show(render(finished_state, shown))
    browser.find("#sample-list summary").click()
    browser.find("#sample-list li summary").click()
    (text,) = [t for t in browser.visible("#sample-list li") if "Written against" in t]
    for part in (
        "let in", "the pattern Filtering groups", "of iteration 1", "Write HAVING.", "What about train-3?", "the gold of train-3",
        "b1, regeneration 1", "adherence 8, utility 7, relevance 9 of 10", "trained on since iteration 1", "syn-1",
    ):  # fmt: skip
        assert part in text, part
    browser.find("#sample-list li a[href^='#row-']").click()
    row = browser.ask("return document.activeElement.closest('li').innerText")
    assert "What about train-3?" in row and "Written from it" in row
    assert browser.ask("return document.activeElement.tagName") == "SUMMARY"
    choose(browser, "sample-list", "Verdict", "rejected: wrong answer")
    assert all("wrong answer" in t for t in browser.visible("#sample-list li")) and len(browser.visible("#sample-list li")) == 2
    assert browser.console() == []


def test_without_scripts(browser: Browser, finished_state: State, shown: list[ShownRow]) -> None:
    """Filters are not offered where they would do nothing; all else is there."""
    browser.show(render(finished_state, shown), allowed="")
    assert browser.visible("form") == [] and browser.visible("h2")
    browser.find("#answer-list summary").click()
    browser.find("#answer-list li summary").click()
    assert "Right answer" in browser.find("#answer-list li").text


def test_on_paper_and_by_keyboard(browser: Browser, finished_state: State, shown: list[ShownRow]) -> None:
    browser.show(render(finished_state, shown))
    link = browser.find("nav a")
    link.send_keys("")  # focused as by the tab key
    assert browser.ask("return getComputedStyle(arguments[0]).outlineStyle", link) == "solid"
    browser.print(render(finished_state, shown))
    assert browser.visible("form") == [] and "Result on the test rows" in browser.visible("h2")


@pytest.mark.parametrize("width", [360, 1280])
def test_how_a_run_ended_is_read_first_and_by_all(browser: Browser, finished_state: State, width: int) -> None:
    lead = Lead(headline="The run failed in evaluate-2.", details=[f"InputError: {WORSE}", "It can go on."], failed=True)
    for page in (render_lead(lead), render(finished_state, lead=lead)):
        browser.look(width)
        browser.show(page)
        first = browser.ask("return document.body.innerText.replace(/^PaDA.*/, '').trim().split('\\n')[0]")
        assert first == "The run failed in evaluate-2."
        assert browser.ask("return document.documentElement.scrollWidth") == width
        assert browser.barriers() == [] and browser.console() == []
        assert browser.ask("return window.owned") is None

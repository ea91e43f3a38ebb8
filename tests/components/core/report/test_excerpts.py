"""Long texts are cut where it is said, strange characters are seen."""

from pada_agent.components.core.report.excerpts import Excerpt, excerpt, visible


def test_short_texts_stay_whole() -> None:
    assert str(Excerpt.of("one\ntwo", 7)) == "one\ntwo" == excerpt("one\ntwo", 7)


def test_long_texts_keep_beginning_and_end_and_say_their_length() -> None:
    text = "a" * 900 + "b" * 99 + "c"
    cut = Excerpt.of(text, 100)
    assert (len(cut.head), len(cut.tail), cut.length) == (75, 25, 1000)
    assert str(cut) == "a" * 75 + " […] " + "b" * 24 + "c" + " [cut: 1\u202f000 characters in all]"
    assert cut.cut(20) == Excerpt.of(text, 20), "cut twice is cut once"
    assert excerpt(cut, 20) == excerpt(text, 20)
    assert cut.cut(500) == cut


def test_characters_that_are_not_seen_get_a_picture() -> None:
    assert visible("a\x00\x08\x7f\tb\nc\ud800\x9b") == "a\u2400\u2408\u2421\tb\nc\ufffd\ufffd"
    assert visible(7) == 7

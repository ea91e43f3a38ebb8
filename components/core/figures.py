"""How numbers are written for people: the same in sentences, tables and notes."""

import re
from collections.abc import Mapping

Numbers = Mapping[str, bool | int | float | str]  # by words
_PLURAL = re.compile(r"(?<=ch)es\b|(?<=\w{3})s\b")  # of the first noun: 'rows let in'


def percent(share: float, digits: int = 1) -> str:
    """0.7 is '70.0 %', with a space that does not break."""
    return f"{100 * share:.{digits}f}\u00a0%"


def points(difference: float) -> str:
    """A difference of two shares: 0.11 is '+11.0'. The unit, percentage points, is given beside it."""
    text = f"{100 * difference:+.1f}"
    return text.replace("-", "\u2212") if float(text) else "0.0"


def signed(number: int) -> str:
    """'+3', '0' or a real minus sign."""
    return f"{number:+d}".replace("-", "\u2212") if number else "0"


def p_value(p: float) -> str:
    """'= 0.034' or '< 0.001': written after a p."""
    if p < 0.001:
        return "<\u00a00.001"
    return f"=\u00a0{p:.3f}" if p < 0.1 else f"=\u00a0{p:.2f}"


def bare(p: str) -> str:
    """A p value without its equals sign, for a column of them."""
    return p.removeprefix("=\u00a0")


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, two units at most."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def count(number: float) -> str:
    """12345 is '12 345', with a space that does not break."""
    return f"{number:,.0f}".replace(",", "\u202f")


def plural(number: int, noun: str) -> str:
    """'1 row', '2 rows'."""
    return f"{count(number)} {noun}" + ("" if number == 1 else "es" if noun.endswith("ch") else "s")


def so_far(what: str, done: int, total: int, seconds_left: float) -> str:
    """'120 of 1,300 training steps, 4 min left'; before anything is done nobody knows how long it takes."""
    # An estimate is not good to the second.
    left = duration(seconds_left if seconds_left < 60 else 60 * round(seconds_left / 60))
    return f"{done:,} of {total:,} {what}" + (f", {left} left" if seconds_left else "")


def outcome(seconds: float, numbers: Numbers) -> str:
    """What ended has to say: '41 s  300 steps, last loss 0.412'."""
    return f"{duration(seconds)}  {listed(numbers)}".rstrip()


def listed(numbers: Numbers) -> str:
    """Numbers with their words, for a line of a log: '300 steps, 1 row let in, last loss 0.412, go on yes'."""
    return ", ".join(_worded(words, value) for words, value in numbers.items() if value != "")


def _worded(words: str, value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        return f"{words} {'yes' if value else 'no'}"
    if isinstance(value, int):
        return f"{value:,} " + (_PLURAL.sub("", words, count=1) if value == 1 else words)
    if isinstance(value, float):
        return f"{words} {value:,.2f}" if abs(value) >= 1 or not value else f"{words} {value:.3g}"
    return f"{words} {value}"

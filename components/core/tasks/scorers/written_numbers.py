r"""Numbers as people write them.

    -3, +3, −3 (U+2212), –3         signs, where they touch the number and follow no word: "COVID-19" has no number
    1,000.5  1 000  1'000  1,00,000 groups; 1.000,5 and 1.000.000 too, but 1.000 is one: a lone point is a decimal point
    0,5  12,75                      a lone comma that cannot be a group's is a decimal comma
    1.5e3  1.5 × 10³  2*10^-4  10^6 powers of ten
    $12  -€12  12 kg  5th  50 %     currencies and units are left out; of the per cent sign see `same`
    ½  1½  \frac{3}{4}              fractions that cannot be anything else
    3/4  1 3/4                      fractions where the reader is told that they are: else a date, a score, a ratio

Not numbers: dates, times, ranges, versions, addresses, codes (2024-05-17, 17.05.2024, 12:30, 3-5, 1.2.3, 10.0.0.1, A4, 0x1F).
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, localcontext
from fractions import Fraction

MOST_DIGITS = 400  # of a number, and of what its power of ten adds: more is no answer and slow to compute with
_SUPERSCRIPTS = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "+-0123456789")
_DASHES = dict.fromkeys("‐‑‒–−﹣－", "-") | {"\u2014": " "}  # an em dash breaks a sentence
_MIXED = "\x00"  # before a fraction that is one character: 1½
_LATEX_FRACTION = re.compile(r"(\d?)\\[dt]?frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}")
_FIRST = r"[1-9]\d{0,2}"  # group of thousands
_DIGITS = (
    rf"{_FIRST}(?P<gap>[ '])\d{{3}}(?!\d)(?:(?P=gap)\d{{3}}(?!\d))*(?:[.,]\d+)?"  # 1 000, 1'000.5
    rf"|{_FIRST}(?:,\d{{2,3}})*,\d{{3}}(?!\d)(?:\.\d+)?"  # 1,000.5
    rf"|{_FIRST}(?:(?:\.\d{{3}})+,\d+|(?:\.\d{{3}}){{2,}}(?!\d))"  # 1.000,5 and 1.000.000
    r"|\d+(?:[.,]\d+)?|\.\d+"
)
_POWER = r" ?(?:×|x|\*|·|\\times|\\cdot) ?10(?:(?:\^|\*\*)\{?(?P<power>[+-]?\d+)\}?|(?P<small>[⁺⁻]?[⁰¹²³⁴-⁹]+))"
_JOINS = r"[.,:/⁄'^-]"
_START = rf"(?<!\d{_JOINS})(?<!\w-)"  # 2024-05, COVID-19
_NUMBER = re.compile(
    rf"{_START}(?:(?<![\w)\]}}%])(?P<sign>[-+]))?(?:\\?(?:(?<![^\W_])[A-Z]{{1,3}})?\$ ?)?(?P<late>(?<=[$ ])[-+])?"
    rf"(?<!\w)(?<!\d{_JOINS}\$){_START}"
    rf"(?>(?:(?P<whole>\d+) )?(?P<over>\d+) ?(?P<slash>[/⁄]) ?(?P<under>\d+)"
    rf"|10(?:\^|\*\*)\{{?(?P<ten>[+-]?\d+)\}}?|(?P<digits>{_DIGITS})(?:[eE](?P<e>[+-]?\d+)|{_POWER})?)"
    rf"(?!{_JOINS}\$?\d)(?!(?![ckdm]?m[23]\b)\w*\d)"  # 20m2 is an area, 3f2a9 a code
    r"(?P<percent>\s?\\?(?:%|per ?cent\b|pct\b))?"
)


@dataclass(frozen=True)
class Number:
    """Its exact value; of 50 % it is 50."""

    value: Fraction
    percent: bool = False

    def __str__(self) -> str:
        """As a decimal where it has an end, else as a fraction."""
        top, bottom = self.value.numerator, self.value.denominator
        with localcontext(Context(prec=40, traps=[])) as context:
            decimal = (Decimal(top) / bottom).normalize()
            endless = bool(context.flags[Inexact]) and bottom > 1
        text = f"{top}/{bottom}" if endless else f"{decimal:f}" if -20 < decimal.adjusted() < 20 else str(decimal)
        return f"{text} %" if self.percent else text


def numbers(text: str, fractions: bool = False) -> Iterator[Number]:
    """All numbers in a text, in order. `fractions`: whether 3/4 is one."""
    for match in _NUMBER.finditer(_plain(text, fractions)):
        value = _value(match)
        if value is not None:
            negative = "-" in (match["sign"], match["late"])
            yield Number(-value if negative else value, bool(match["percent"]))


def same(a: Number, b: Number) -> bool:
    """Whether two are equal. Where one alone has a per cent sign, 50 % is 50, a unit left out, and also 0.5."""
    if a.percent == b.percent:
        return a.value == b.value
    share, other = (a, b) if a.percent else (b, a)
    return other.value in (share.value, share.value / 100)


def _plain(text: str, fractions: bool) -> str:
    """With ASCII digits, one kind of space, dash and currency sign, and ⁄ for slashes that make a fraction."""
    text = _LATEX_FRACTION.sub(lambda m: f"{m[1]} {m[2]}⁄{m[3]}" if m[1] else f"{m[2]}⁄{m[3]}", text.replace("{,}", ","))
    text = "".join(map(_plain_character, text))
    text = re.sub(rf"(?<=\d){_MIXED}", " ", text).replace(_MIXED, "")
    return re.sub(r"(\d ?)/( ?\d)", r"\1⁄\2", text) if fractions else text


def _plain_character(c: str) -> str:
    if c.isascii():
        return c
    if c.isdecimal():
        return str(unicodedata.decimal(c))
    kind = unicodedata.category(c)
    if kind == "Zs":
        return " "
    if kind == "Sc":
        return "$"
    if c in "’ʼ":
        return "'"
    if c in "٪％":
        return "%"
    if kind == "No" and "⁄" in (parts := unicodedata.normalize("NFKC", c)):
        return _MIXED + parts
    return _DASHES.get(c, c)


def _value(match: re.Match[str]) -> Fraction | None:
    """None for what only looks like a number: a slash that was not said to be a fraction, too many digits, an address."""
    if len(match[0]) > MOST_DIGITS:
        return None
    if match["over"]:
        if match["slash"] != "⁄" or not int(match["under"]):
            return None
        return int(match["whole"] or 0) + Fraction(int(match["over"]), int(match["under"]))
    if match["ten"]:
        return _scaled(Fraction(1), match["ten"])
    digits = match["digits"]
    if digits.count(".") == 3 and all(int(part) < 256 for part in digits.split(".")):
        return None
    power = match["e"] or match["power"] or (match["small"] or "0").translate(_SUPERSCRIPTS)
    return _scaled(Fraction(_with_point(digits)), power)


def _with_point(digits: str) -> str:
    """Without groups, its decimals behind a point."""
    marks = re.findall(r"[.,]", digits)
    bare = re.sub(r"[ ']", "", digits)
    if re.fullmatch(rf"{_FIRST}(?:,\d{{2,3}})*,\d{{3}}(?:\.\d+)?", digits):
        return bare.replace(",", "")
    if len(marks) > 1:  # 1.000,5 or 1.000.000
        return bare.replace(".", "").replace(",", ".")
    return bare.replace(",", ".")


def _scaled(value: Fraction, power: str) -> Fraction | None:
    return value * Fraction(10) ** int(power) if len(power) < 6 and abs(int(power)) <= MOST_DIGITS else None

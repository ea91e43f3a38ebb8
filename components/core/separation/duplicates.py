"""Tells whether two texts are the same.

    "How many customers live in Oslo?"     "how many customers live in  Oslo"       same: case, spacing, punctuation
    "How many customers live in Oslo?"     "How many of the customers live in Oslo" same: a function word
    "How many customers live in Oslo?"     "How many customers live in Paris?"      another question
    "Which planet is the largest of all?"  "Which planet is the smallest of all?"   another question

Close strings alone would call all four pairs the same: rows made from one template differ in little, and that little is
what they ask. So beyond closeness, two texts are the same only if their numbers, names and quoted values agree in order and
what else differs is spelling or function words.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass

from rapidfuzz import process
from rapidfuzz.distance import Indel

_SAME_GLYPH = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "−": "-"})
_HAN = r"\u3040-\u30ff\u3400-\u9fff"  # written without spaces: every sign is taken as a word
_TOKEN = re.compile(rf"\d[\d.,]*\d|[{_HAN}]|[^\W{_HAN}]+|[^\w\s.,;:!?\"'()\[\]{{}}`-]|(?<![^\W\d_])-(?=\s*\d)")
_SENTENCE_START = re.compile(r"(?:^|[.?!:\n\"])\s*(\w+)")
_NAME = re.compile(r"\b[A-Z]\w*")
_QUOTED = re.compile(r"\"([^\"\n]{1,80})\"|(?<!\w)'([^'\n]{1,80})'(?!\w)|`([^`\n]{1,80})`")
FUNCTION_WORD = re.compile(
    "a|an|the|of|in|on|at|to|for|by|is|are|was|were|be|been|do|does|did|has|have|had|that|which|this|these|those|it|its|there|please"
)
_HAS_DIGIT = re.compile(r"\S*\d\S*")
_SPELLING = 0.8  # from here two words with one first letter are one word: "colour" and "color", "customer" and "customers"
_LENIENT = 0.01  # other words that may be replaced, as a share: none in a question, one in a passage of 100 words


def tokens(text: str) -> list[str]:
    """Lower-case words, numbers and operators; sentence punctuation, brackets and quotes are left out."""
    plain = unicodedata.normalize("NFKC", text).translate(_SAME_GLYPH).casefold()
    plain = unicodedata.normalize("NFKC", plain)  # case folding can undo it
    return [t.replace(",", "") if t[0].isdigit() else t for t in _TOKEN.findall(plain)]


def normalise(text: str) -> str:
    """What remains of a text when case, spacing, punctuation and Unicode variants are taken away."""
    return " ".join(tokens(text))


@dataclass(frozen=True)
class _Line:
    """One line as it is compared. Lines count one by one: a question is short even below a long passage."""

    words: Counter[str]
    values: list[str]  # numbers, operators, names and quoted values, in order

    @classmethod
    def of(cls, text: str) -> "_Line":
        words = tokens(text)
        starts = {m.start(1) for m in _SENTENCE_START.finditer(text)}
        names = {t for m in _NAME.finditer(text) if m.start() not in starts for t in tokens(m.group())}
        quoted = {t for m in _QUOTED.finditer(text.translate(_SAME_GLYPH)) for t in tokens(m.group(m.lastindex or 0))}
        return cls(Counter(words), [w for w in words if w in names or w in quoted or not w.isalpha()])


def telling_values(text: str) -> set[str]:
    """Numbers, operators, names and quoted values of a text, in lower case."""
    return {value for line in text.splitlines() for value in _Line.of(line).values}


@dataclass(frozen=True)
class _Text:
    """One text as it is compared."""

    raw: str
    normal: str

    @classmethod
    def of(cls, text: str) -> "_Text":
        return cls(text, normalise(text))

    def same_as(self, other: "_Text") -> bool:
        mine, its = (text.raw.strip().splitlines() for text in (self, other))
        if len(mine) != len(its):
            mine, its = [self.raw], [other.raw]
        return all(_same(_Line.of(a), _Line.of(b)) for a, b in zip(mine, its, strict=True))


class NearDuplicates:
    """Texts seen so far, and which of them a new one repeats. A row with several parts is repeated only in all of them."""

    def __init__(self, threshold: float) -> None:
        """`threshold`: similarity of the normalised strings (Indel, 0 to 1) from which two texts can be the same."""
        self._threshold = threshold
        # Rows with the same numbers in the same order, and their first parts: no other rows can be the same.
        self._rows: dict[tuple[str, ...], list[tuple[str, list[_Text]]]] = defaultdict(list)
        self._first: dict[tuple[str, ...], list[str]] = defaultdict(list)
        self._exact: dict[str, str] = {}

    def add(self, id: str, *parts: str) -> None:
        """Remember a row. Its first part should be its most telling one: candidates are looked up by it."""
        row = [_Text.of(part) for part in parts]
        numbers = _numbers(row)
        self._rows[numbers].append((id, row))
        self._first[numbers].append(row[0].normal)
        self._exact.setdefault(_key(row), id)

    def closest(self, *parts: str) -> tuple[str, float] | None:
        """Id and similarity of the remembered row that this one repeats; 1.0 if they are equal once normalised."""
        row = [_Text.of(part) for part in parts]
        if twin := self._exact.get(_key(row)):
            return twin, 1.0
        scorer, numbers = Indel.normalized_similarity, _numbers(row)
        first = self._first.get(numbers, ())
        for _, _, index in process.extract(row[0].normal, first, scorer=scorer, score_cutoff=self._threshold, limit=None):
            id, other = self._rows[numbers][index]
            if similarity := self._similarity(row, other):
                return id, similarity
        return None

    def _similarity(self, row: list[_Text], other: list[_Text]) -> float:
        """Of the least similar part; 0 for another row."""
        if len(row) != len(other):
            return 0.0
        least = 1.0
        for mine, its in zip(row, other, strict=True):
            close = Indel.normalized_similarity(mine.normal, its.normal, score_cutoff=self._threshold)
            if not close or not mine.same_as(its):
                return 0.0
            least = min(least, close)
        return least


def _key(row: list[_Text]) -> str:
    return "\n".join(text.normal for text in row)


def _numbers(row: list[_Text]) -> tuple[str, ...]:
    return tuple(" ".join(_HAS_DIGIT.findall(text.normal)) for text in row)


def _same(a: _Line, b: _Line) -> bool:
    if a.values != b.values:
        return False
    left, right = a.words - b.words, b.words - a.words
    for word in list(left.elements()):
        twin = next((other for other in right if right[other] > 0 and _spelt_alike(word, other)), "")
        if twin:
            left[word] -= 1
            right[twin] -= 1
    unmatched = [w for rest in (left, right) for w in rest.elements() if not FUNCTION_WORD.fullmatch(w)]
    return len(unmatched) <= 2 * int(_LENIENT * min(a.words.total(), b.words.total()))


def _spelt_alike(a: str, b: str) -> bool:
    return a[0] == b[0] and Indel.normalized_similarity(a, b) >= _SPELLING

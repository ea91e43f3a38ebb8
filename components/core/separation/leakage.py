"""Recognises held-out text without holding it: `fingerprints.json` of the `train_data` artifact.

    {"version": 2, "ngram": 13, "short_ngram": 8,
     "splits": {"test": {"questions": "03f1c2...", "runs": "9be0...", "short_runs": "...", ..., "near": [...]}}}

Each kind is a set of SHA-256 hashes cut to 64 bits and strung together, so that generation and quality control can be given
this file but no held-out row. That keeps text from being read or copied by accident; it is not encryption: whoever guesses a
text or a word can test the guess.

What also occurs in the training rows is left out: rows made from templates (text-to-SQL, word problems) share long runs of
words by chance, and what the teacher could learn from a training row is no leak. prepare_data removes training rows that
are held-out rows first, so this cannot hide one.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Self

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.separation.duplicates import FUNCTION_WORD, tokens
from pada_agent.components.core.separation.near_copies import NearCopies

VERSION = 2
FINGERPRINTS_FILE = "fingerprints.json"
KINDS = (
    "questions",  # whole first texts of the rows
    "runs",  # of `ngram` words, from texts that are so long
    "short_runs",  # of `short_ngram` words, from shorter texts
    "all_short_runs",  # the same from all texts
    "phrases",  # whole texts of a few words, such as answers and options
    "rare",  # numbers and names
)
PHRASE = range(4, 8)  # tokens; fewer are found in a strategy by chance
_BYTES = 8
_TITLE = re.compile(r"[^\W\d_][\w'’]*")
_ROUND = re.compile(r"[1-9]0+")
Prints = dict[str, set[bytes]]


class Fingerprints:
    """Hashes of the held-out rows of each split."""

    def __init__(
        self, splits: Mapping[str, Prints], near: Mapping[str, NearCopies], ngram: int = 13, short_ngram: int = 8
    ) -> None:
        self._splits, self._near, self._ngram, self._short = splits, near, ngram, short_ngram

    @classmethod
    def build(
        cls,
        held_out: Mapping[str, Iterable[Sequence[str]]],
        training: Iterable[Sequence[str]] = (),
        ngram: int = 13,
        short_ngram: int = 8,
    ) -> Self:
        """`held_out`: for each split the private texts of each row. `training`: the same for the training rows.

        A text of `ngram` words or more is recognised by any run of so many of them, a text of `short_ngram` words or more
        by any run of so many. A shorter one is recognised only as a whole, and only if it is a row's first text, the
        question: short answers and options are the same by chance. An edited question is recognised by its words
        (near_copies.py).
        """
        rows_of, trained = {split: list(rows) for split, rows in held_out.items()}, list(training)
        splits = {split: _prints(rows, ngram, short_ngram) for split, rows in rows_of.items()}
        questions = [texts[0] for texts in trained if texts]
        near = {s: NearCopies.build([t[0] for t in rows if t], questions, _hash) for s, rows in rows_of.items()}
        for known in _known(trained, ngram, short_ngram):
            for prints, kind in product(splits.values(), KINDS):
                prints[kind] -= known[kind]
        return cls(splits, near, ngram, short_ngram)

    def hits(self, texts: str | Sequence[str]) -> str:
        """Why these texts of a row are held-out text, '' if they are not. The reason quotes nothing."""
        texts = [texts] if isinstance(texts, str) else texts
        question = _hash(tokens(texts[0])) if texts else b""
        words = [_words(text) for text in texts]
        runs = {h for w in words for h in _run_hashes(w, self._ngram)}
        short = [_run_hashes(w, self._short) for w in words]
        for split, prints in self._splits.items():
            if question in prints["questions"]:
                return f"the same question as a {split} row"
            if not runs.isdisjoint(prints["runs"]):
                return f"{self._ngram} words in common with a {split} row"
            if any(not part.isdisjoint(prints["short_runs"]) for part in short):
                return f"{self._short} words in common with a {split} row"
            if any(part and part <= prints["all_short_runs"] for part in short):
                return f"an excerpt of a {split} row"
            if texts and self._near[split].has(texts[0]):
                return f"nearly the words of a {split} row's question"
        return ""

    def screen_text(self, text: str) -> str:
        """Why a pattern or strategy must be redrafted, '' if it need not; quotes the words of `text` to leave out.

        Stricter than `hits`, because what is described in general needs no run of words, short text, number of three digits or
        name of two words that only held-out rows have.
        """
        long_runs = list(_runs(_words(text), self._short))
        phrases = [run for size in reversed(PHRASE) for run in _runs(tokens(text), size)]
        for split, prints in self._splits.items():
            for kind, runs in (("all_short_runs", long_runs), ("phrases", phrases), ("rare", list(_rare(text)))):
                if shared := next((run for run in runs if _hash(run) in prints[kind]), None):
                    return f"it has the words '{' '.join(shared)}' of a {split} row"
        return ""

    def to_json(self) -> str:
        """As JSON; the same rows give the same text."""
        splits: dict[str, dict[str, Any]] = {
            s: {kind: b"".join(sorted(p[kind])).hex() for kind in KINDS} | {"near": self._near[s].to_json()}
            for s, p in self._splits.items()
        }
        document = {"version": VERSION, "ngram": self._ngram, "short_ngram": self._short, "splits": splits}
        return json.dumps(document, indent=1) + "\n"

    @classmethod
    def beside(cls, train_data: Path) -> Self | None:
        """Those of a train_data artifact, None if it has none: rows of another program. Raises InputError for a broken file."""
        path = train_data / FINGERPRINTS_FILE
        return cls.load(path) if path.exists() else None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `to_json` gave. Raises InputError for any other file."""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["version"] != VERSION:
                raise InputError(f"{path}: fingerprints of version {document['version']}, not {VERSION}; run prepare_data again")
            splits = {s: {kind: set(_cut(p[kind])) for kind in KINDS} for s, p in document["splits"].items()}
            near = {s: NearCopies.load(p["near"], _hash, _cut) for s, p in document["splits"].items()}
            return cls(splits, near, document["ngram"], document["short_ngram"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            raise InputError(f"{path}: no fingerprints of held-out rows ({type(e).__name__}: {e}); run prepare_data again") from e


def screen_text(text: str, fingerprints: Fingerprints) -> str:
    """As Fingerprints.screen_text."""
    return fingerprints.screen_text(text)


def _prints(rows: Iterable[Sequence[str]], ngram: int, short: int) -> Prints:
    prints: Prints = {kind: set() for kind in KINDS}
    for texts in _distinct(rows):
        prints["questions"].update(_hash(tokens(text)) for text in texts[:1] if tokens(text))
        for text in texts:
            words, part = _words(text), tokens(text)
            runs = _run_hashes(words, short)
            prints["all_short_runs"] |= runs
            if len(words) < ngram:
                prints["short_runs"] |= runs
            prints["runs"] |= _run_hashes(words, ngram)
            if len(part) in PHRASE:
                prints["phrases"].add(_hash(part))
            prints["rare"].update(map(_hash, _rare(text, whole=True)))
    return prints


def _known(rows: Iterable[Sequence[str]], ngram: int, short: int) -> Iterator[Prints]:
    """What training rows have, in the widest sense: a phrase or name anywhere inside a text, a short run of any text.

    Row by row: of many rows together it takes more memory than the rows.
    """
    for texts in _distinct(rows):
        known = _prints([texts], ngram, short)
        known["short_runs"] |= known["all_short_runs"]
        for text in texts:
            part = tokens(text)
            known["rare"].update(map(_hash, _rare(text)))
            known["phrases"].update(_hash(run) for size in PHRASE for run in _runs(part, size))
            known["rare"].update(_hash(run) for size in (1, 2) for run in _runs(part, size))
        yield known


def _distinct(rows: Iterable[Sequence[str]]) -> Iterator[list[str]]:
    """The texts of each row but for what a row before had too, as questions on one passage have it. The first one stays."""
    seen: set[str] = set()
    for texts in rows:
        yield [*texts[:1], *(text for text in texts[1:] if text not in seen)]
        seen.update(texts)


def _rare(text: str, whole: bool = False) -> Iterator[tuple[str, ...]]:
    """Numbers of three digits or more that are not round, and neighbours in a run of capitalised words: ('marie', 'curie').

    A single capitalised word is too common to tell: with `whole` it counts if it is all the text (an answer).
    """
    yield from ((t,) for t in tokens(text) if sum(c.isdigit() for c in t) >= 3 and not _ROUND.fullmatch(t))
    matches = list(_TITLE.finditer(text))
    for one, two in pairwise(matches):
        if _is_title(one.group()) and _is_title(two.group()) and text[one.end() : two.start()] in (" ", "-"):
            yield tuple(tokens(f"{one.group()} {two.group()}"))
    for match in matches:
        if _is_title(match.group()) and (not whole or match.group() == text.strip(" .\n")):
            yield tuple(tokens(match.group()))


def _is_title(word: str) -> bool:
    return word[0].isupper() and any(c.islower() for c in word[1:]) and not FUNCTION_WORD.fullmatch(word.casefold())


def _words(text: str) -> list[str]:
    return [t for t in tokens(text) if t[0].isalnum()]


def _runs(sequence: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (sequence[i : i + size] for i in range(len(sequence) - size + 1))


def _run_hashes(sequence: Sequence[str], size: int) -> set[bytes]:
    return {_hash(run) for run in _runs(sequence, size)}


def _hash(run: Iterable[str]) -> bytes:
    return hashlib.sha256(" ".join(run).encode("utf-8", "replace")).digest()[:_BYTES]


def _cut(text: str) -> list[bytes]:
    raw = bytes.fromhex(text)
    return [raw[i : i + _BYTES] for i in range(0, len(raw), _BYTES)]

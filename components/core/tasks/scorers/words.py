"""The words of a text, for scores that count them. In scripts without spaces between words every character is one."""

import re
import string
import unicodedata

_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]")
_ARTICLES = {"a", "an", "the"}


def squad_words(text: str) -> list[str]:
    """As SQuAD's official script on ASCII text: lower case, without punctuation and articles. Other punctuation goes too."""
    kept = "".join(c for c in text.lower() if c not in string.punctuation and not unicodedata.category(c).startswith("P"))
    return [word for word in _split(kept) if word not in _ARTICLES]


def rouge_words(text: str) -> list[str]:
    """As the package rouge-score on ASCII text, without its stemmer: lower case, runs of letters and digits."""
    return _split("".join(c if c.isalnum() or unicodedata.category(c).startswith("M") else " " for c in text.lower()))


def _split(text: str) -> list[str]:
    return _UNSPACED.sub(r" \g<0> ", text).split()

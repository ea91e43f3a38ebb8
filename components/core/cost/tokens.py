"""Estimates how many tokens a text has, without the model's own tokenizer.

Compared with Qwen2.5's count of what it wrote itself: prose and JSON about SQuAD +2 to +4 %, SQL in JSON +10 to +12 %.
"""

import re

# Byte pair tokenizers know most words whole, and read digits and letters of other scripts one or two at a time.
_PIECE = re.compile(r" ?[A-Za-z]{1,8}|[^\W_]|[^\w\s]+|_|\n+")


def token_count(text: str) -> int:
    """An estimate; 0 only for a text with nothing visible in it."""
    return sum(1 for _ in _PIECE.finditer(text))

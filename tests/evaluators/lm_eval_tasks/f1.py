"""A metric from 0 to 1, and no other: words in common with the nearest reference."""

from collections import Counter


def word_f1(doc, results):
    """As lm-eval calls it: {metric: value} of one row."""
    said = Counter(results[0].lower().split())

    def f1(reference):
        right = Counter(reference.lower().split())
        common = (said & right).total()
        return 2 * common / (said.total() + right.total()) if common else 0.0

    return {"f1": max(map(f1, doc["answers"]["text"]))}

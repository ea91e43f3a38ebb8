"""Answers that are hard to score, drawn from a seed: what record.py hands to the references.

Each function yields what one task's scorer is given. Names, numbers and sentences are made up here.
"""

import random
from collections.abc import Iterator

_WORDS = """
river the bridge of a Theodora an engine A.D. U.S. rock-'n'-roll café naïve Straße İstanbul ΣΊΣΥΦΟΣ don’t “quoted” 5,000 $3.50 20%
1871 1066–1067 3½ ² № mother-in-law Zürich's theatre anthem panda a.m. C++ O'Neill & / — … 東京 Ａｌｐｈａ １８７１ ñ ﬁve the_end
_a_ the-end
"""
WORDS = _WORDS.split()
SPACES = (" ", " ", " ", "  ", "\t", "\u00a0", "\u2009", "\u3000", "\u200b", "\x0b", "\u2028")
MARKS = ("", "", "", ".", "!", "?", ",", ";", "...", ".)", '"', "”", "’", "。", "!", "\u2026", " .", "\u00bf")
LETTERS = "ABCDE"
FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")
ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")


def squad(draw: random.Random, rows: int, answers: int) -> Iterator[tuple[list[str], list[str]]]:
    """Gold answers of a row, and answers to it: gold ones changed, parts, mixtures, other words, nothing, a great deal."""
    for _ in range(rows):
        golds = [_phrase(draw, draw.randint(1, 5)) for _ in range(draw.choice((1, 1, 2, 3, 6)))]
        changed = [_changed(draw, draw.choice(golds)) for _ in range(answers - 6)]
        whole = " ".join(golds)
        yield golds, [*golds[:1], whole, whole * 3, "", draw.choice((" ", "\n \t", "\u00a0")), _phrase(draw, 3), *changed]


def _phrase(draw: random.Random, words: int) -> str:
    return "".join(draw.choice(WORDS) + draw.choice(SPACES) for _ in range(words)).strip()


def _changed(draw: random.Random, text: str) -> str:
    words = text.split(" ")
    match draw.randrange(12):
        case 0:
            return draw.choice((text.upper(), text.lower(), text.title(), text.swapcase()))
        case 1:
            return draw.choice(("the ", "The ", "A ", "an ", "THE\u00a0", "theatre ", "\u201cthe ")) + text
        case 2:
            return text + draw.choice(MARKS) + draw.choice(MARKS)
        case 3:
            return draw.choice(('"{}"', "“{}”", "({})", "**{}**", "‘{}’", "\\boxed{{{}}}", "<b>{}</b>")).format(text)
        case 4:
            return " ".join(words[: draw.randint(1, len(words))])
        case 5:
            return f"{text} {_phrase(draw, draw.randint(1, 3))}"
        case 6:
            return " ".join(draw.sample(words, len(words)))
        case 7:
            return text.replace(" ", draw.choice(SPACES))
        case 8:
            return text + draw.choice(("\nIt says so.", "\r\nIt says so.", "\n\n", "\r", "\u2028more"))
        case 9:
            return text.translate(draw.choice((FULL_WIDTH, ARABIC)))
        case 10:
            return draw.choice(("\n", " \n\t", "Answer: ", "- ", "...")) + text
        case _:
            return f"{text} {text}"


def gsm8k(draw: random.Random, rows: int, answers: int) -> Iterator[tuple[str, list[str]]]:
    """A row's final number, and outputs with it, or nearly it, in many notations and places."""
    for _ in range(rows):
        number = draw.choice((draw.randint(0, 12), draw.randint(13, 999), draw.randint(1000, 9_999_999), -draw.randint(1, 5000)))
        gold = draw.choice((f"{number:,}", str(number), str(number), f"{number}.5", f"{number}.50", f"{number}.00"))
        yield gold, ["", " \n", "####", "#### ", "#### none", *(_solution(draw, gold, number) for _ in range(answers - 5))]


def _number(draw: random.Random, gold: str, number: int) -> str:
    right = gold.replace(",", "")
    match draw.randrange(16):
        case 0:
            return f"{number + draw.choice((-1, 1, 10)):,}"
        case 1:
            return draw.choice((f"${gold}", f"${right}", f"-${right.lstrip('-')}", f"{right}$", f"€{right}", f"USD {right}"))
        case 2:
            return right + draw.choice((".", ".0", ".00", ",", ",000", "..", "...", "%", "!", " dollars", "kg", "e0", "/1", "½"))
        case 3:
            return gold.replace(",", draw.choice((" ", ".", "'", "\u202f")))
        case 4:
            return right.replace("-", draw.choice(("\u2212", "–", "- ", "minus "))) if "-" in right else f"\u2212{right}"
        case 5:
            return right.translate(draw.choice((FULL_WIDTH, ARABIC)))
        case 6:
            return draw.choice(("0", "+", "00", "~", "=", "(", "**", "\\boxed{", ".", "x")) + right
        case 7:
            return draw.choice((f"**{right}**", f"({right})", f"\\boxed{{{right}}}", f"`{right}`", f"{right}.000000"))
        case _:
            return draw.choice((gold, right))


def _solution(draw: random.Random, gold: str, number: int) -> str:
    first, second = _number(draw, gold, number), _number(draw, gold, number)
    steps = draw.choice(("", f"{number} - 2 = {number - 2}.\n", "Two crates, 3.5 kg each...\n", "Ann has $5.\r\n", "1.2.3, so\n"))
    mark = draw.choice(("#### ", "#### ", "#### ", "#### ", "####", "####  ", "### ", "##### ", "####\n", "####\u00a0", "#### $"))
    end = draw.choice(("", "", "\n", ".", "\n\n", " in all", "\n#### ", "\nThat was step 7.", " $", "\r\n", "</s>", "..."))
    match draw.randrange(7):
        case 0:
            return f"{steps}The answer is {first}{end}"
        case 1:
            return f"{steps}#### {first}\n#### {second}{end}"
        case 2:
            return f"{steps}#### {first} {second}{end}"
        case 3:
            return (f"{number} " * 9) + f"{mark}{first}{end}"
        case _:
            return f"{steps}{mark}{first}{end}"


def options(draw: random.Random) -> dict[str, object]:
    """A row as ARC publishes it: three to five options, labels A to E or 1 to 5."""
    count = draw.choice((3, 4, 4, 5))
    labels = draw.choice((list(LETTERS), list("12345")))[:count]
    texts = ["fog", "a long drought", "rain", "vitamin C", "A dog runs.", "all of the above", "3", "Cc", "E. coli"]
    return {
        "question": f"What follows from {draw.randint(1, 99)}?",
        "choices": {"text": draw.sample(texts, count), "label": labels},
        "answerKey": draw.choice(labels),
    }


def hellaswag(draw: random.Random) -> dict[str, object]:
    """A row as HellaSwag publishes it, with the marks of its crawl."""

    def text() -> str:
        marks = ("", " [title]", " [step]", "  ", "   ", " [substeps] ", "[header]", " [ title]", "\n", " [a\nb]", " [title]" * 2)
        return "".join(f"{_phrase(draw, 2)}{draw.choice(marks)}" for _ in range(draw.randint(1, 4)))

    return {
        "activity_label": draw.choice(("Fishing", "Home and Garden")),
        "ctx_a": text(),
        "ctx_b": draw.choice(("", text(), "he")),
        "endings": [text() for _ in range(4)],
        "label": str(draw.randrange(4)),
    }

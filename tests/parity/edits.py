"""What may come back for a published row: its gold answer, changed in one way. Nothing is drawn: verdicts alone are recorded."""

from collections.abc import Callable
from typing import Any

Row = dict[str, Any]
FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")


def _gold(row: Row) -> str:
    return str(row["answers"]["text"][0])


def _sentence(row: Row) -> str:
    start = int(row["answers"]["answer_start"][0])
    before, after = row["context"][:start], row["context"][start:]
    return before[before.rfind(". ") + 1 :].strip() + " " * bool(before) + after.partition(". ")[0]


SQUAD: dict[str, Callable[[Row], str]] = {
    "gold": _gold,
    "last gold": lambda row: str(row["answers"]["text"][-1]),
    "longest gold": lambda row: max(row["answers"]["text"], key=len),
    "capitals": lambda row: _gold(row).upper(),
    "article and point": lambda row: f"The {_gold(row)}.",
    "typographic quotes": lambda row: f"“{_gold(row)}”",
    "full-width digits": lambda row: _gold(row).translate(FULL_WIDTH),
    "no-break spaces": lambda row: _gold(row).replace(" ", "\u00a0"),
    "en dashes": lambda row: _gold(row).replace("-", "–"),
    "first word": lambda row: _gold(row).split()[0],
    "without its last word": lambda row: " ".join(_gold(row).split()[:-1]),
    "backwards": lambda row: " ".join(reversed(_gold(row).split())),
    "twice": lambda row: f"{_gold(row)} {_gold(row)}",
    "in a sentence": lambda row: f"It is {_gold(row)}, as the text says.",
    "the sentence it stands in": lambda row: _sentence(row).replace("\n", " "),
    "the words before it": lambda row: " ".join(row["context"][: row["answers"]["answer_start"][0]].split()[-3:]),
    "the question": lambda row: str(row["question"]).replace("\n", " ").strip(),
    "the whole text": lambda row: " ".join(row["context"].split()),
    "empty": lambda row: "",
}


def _solution(row: Row) -> tuple[str, str]:
    steps, _, number = row["answer"].partition("#### ")
    return steps, number.strip()


def _number(form: str) -> Callable[[Row], str]:
    """The solution with its final line written as `form`, of {n} as published, {bare} without commas, {comma} with them."""

    def edit(row: Row) -> str:
        steps, number = _solution(row)
        bare = number.replace(",", "")
        comma = f"{int(bare):,}" if bare.lstrip("-").isdigit() else number
        return steps + form.format(n=number, bare=bare, comma=comma, wide=bare.translate(FULL_WIDTH))

    return edit


GSM8K: dict[str, Callable[[Row], str]] = {
    "gold": lambda row: str(row["answer"]),
    "steps alone": lambda row: _solution(row)[0],
    "cut off": lambda row: str(row["answer"])[: len(row["answer"]) // 2],
    "question": lambda row: str(row["question"]),
    "empty": lambda row: "",
    "very long": lambda row: str(row["answer"]) * 50,
    "gold twice": lambda row: f"{row['answer']}\n{row['answer']}",
    "Windows lines": lambda row: str(row["answer"]).replace("\n", "\r\n") + "\r\n",
    "one line": lambda row: " ".join(row["answer"].split()),
    **{
        form: _number(form)
        for form in (
            "#### {bare}", "#### {comma}", "#### {n}.", "#### {bare}.0", "#### {bare}.00", "#### {n} dollars.", "#### ${n}",
            "#### {n}%", "####{n}", "####  {n}", "### {n}", "##### {n}", "####\n{n}", "#### {n}\n#### 7", "#### 7\n#### {n}",
            "#### -{n}", "#### \u2212{n}", "#### 0{bare}", "#### +{n}", "#### {wide}", "#### {n}...", "#### {n},",
            "#### ({n})", "#### **{n}**", "#### {n} or 7", "#### {n}/2", "The answer is {n}.", "The answer is {n} .",
            "The answer is {n}...", "The answer is ${comma}.", "**{n}**", "\\boxed{{{n}}}", "It is {n}. That was step 2.",
            "#### {n}\n\nQuestion: What is 2 + 3?\nAnswer: 5",
        )
    },
}  # fmt: skip

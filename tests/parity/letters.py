"""Outputs that settle on a letter, or do not, by the kind of their wording."""

import random
from collections.abc import Callable, Iterator
from itertools import product

LETTERS = "ABCDE"

# After "The best answer is", where arc_challenge_chat has the model go on.
CONTINUED: dict[str, tuple[str, ...]] = {
    "letter": (" {x}", " {x}.", "{x}", "\n{x}", " {x}\n\nBecause {y} is wrong.", " {x}. {y} is wrong.", " {x} \n"),
    "marked letter": (" ({x})", " **{x}**", " **{x}.**", ' "{x}"', " [{x}].", " *{x}*", " _{x}_", " __{x}__.", " '{x}'"),
    "lower-case letter": (" {l}", " {l}.", " ({l})", " **{l}**.", "\n{l}\n\n", " _{l}_", ' "{l}."'),
    "other letter": (" {y}", " ({y}).", " F", " Z.", " G"),
    "word": (" drought", " Drought.", " Bx", " a dog", " because", " {x}x", " {x}{y}", " {x}2"),
    "nothing": ("", " ", ".", "\n\n", " ?", " 3", " \u0410", " \uff21", "..."),
    "letter and more": (
        " {x} because of the rain", " {x}) fog", " {x}, as it rains", " {x}\nFog", " {x}: fog", " {x} (fog)", " ({x}) fog",
    ),
    "letter with odd marks": (
        ": {x}", " “{x}”", " «{x}»", " ‘{x}’.", " \\boxed{{{x}}}", " <b>{x}</b>", " option {x}", " clearly {x}", " {x}\u3002",
    ),
}  # fmt: skip

# Whole outputs, as mmlu_cot_llama reads them.
WHOLE: dict[str, tuple[str, ...]] = {
    "stated": (
        "The best answer is {x}.", "the best answer is {x}", "It rains. The best answer is {x}.\n",
        "So the best answer is {x} (fog).", "The best answer is {x} because {y} is wrong.",
        "{y} looks right. The best answer is {x}", "The best answer is {x}\n\nThe end",
    ),
    "stated twice": ("The best answer is {y}. No: the best answer is {x}.", "The best answer is {y}\nThe best answer is {x}.\n"),
    "stated beyond": ("The best answer is F.", "The best answer is Z", "The best answer is Q."),
    "not stated": (
        "", " ", "fog", "I do not know.", "Either {x} or {y}", "{x}{y}", "A dog runs.", "A man walks to a car",
        "The fog, a drought", "an {l}", "Answer: drought", "{x}1", "It is 28°C", "A cold front brings rain.", "\u0410",
        "the best answer is not here", "DEAF", "3",
    ),
    "stated word": (
        "The best answer is Drought.", "The best answer is Bx", "The best answer is {x}{y}", "The best answer is Each of them",
    ),
    "stated with marks": (
        "The best answer is ({x}).", "The best answer is **{x}**", "The best answer is: {x}", "The best answer is\n{x}",
        "The **best answer is** {x}", "The best answer is __{x}__.",
    ),
    "stated in other words": (
        "The answer is {x}.", "The correct answer is {x}.", "THE BEST ANSWER IS {x}", "My answer is {x}.",
        "The  best\nanswer  is {x}", "The best answer is {y}. So the answer is {x}.",
    ),
    "leading letter": (
        "{x}", "{x}.", "{x}. fog", "({x}) fog", "**{x}**", "{x}\n{y} is wrong", " {x}\n", "{x}: fog", "{x}) fog", "_{x}_",
        "**{x}.** fog",
    ),
    "only letter": (
        "I would take option {x} here", "It must be {x}", "Option {x} seems right.", "fog, so {x}", "{x} is my choice",
        "A dog, so {x}", "At 28°C it is {x}", "$\\boxed{{{x}}}$",
    ),
    "lower-case letter": (
        "{l}", "({l})", "{l}.", "The best answer is {l}.", "the answer is ({l})", "**{l}**", "The best answer is {l}\n",
    ),
}  # fmt: skip


FRAMES: tuple[Callable[[str], str], ...] = (str, "{} ".format, lambda text: text.replace("fog", "vitamins"), "{}\n".format)


def drawn(draw: random.Random, kinds: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, str, str]]:
    """Outputs of every wording with every letter: its kind, the letter that is meant, the output."""
    for kind, wordings in kinds.items():
        for wording, frame, x in product(wordings, FRAMES, LETTERS):
            y = draw.choice(LETTERS.replace(x, ""))
            yield kind, x, frame(wording.format(x=x, y=y, l=x.lower()))

"""Writes lm_eval/ anew: lm-eval's own `--log_samples` files of a model whose answers are written here.

pip install lm-eval==0.4.13 && cd tests/evaluators && python make_lm_eval.py
"""

import os
import shutil
import sys
from pathlib import Path
from typing import ClassVar

from lm_eval.__main__ import cli_evaluate
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

SAID = {
    "Ada has 3 apples": [" 3 - 1 = 2\n#### 2"] * 3,
    "A box holds 4 rows": [" 4 + 6 = 10\n#### 10", " 4 * 6 = 24\n#### 24", " 4 * 6 = 24\n#### 24"],
    "Tom buys 5 pens": [" He pays 15 dollars."] * 3,
    "A train of 80": [" I do not know."] * 3,
    "When was the lighthouse": [" built in 1874"],
    "Who built the": [" a fishing guild"],
    "What dries the": [" the sun"],
}
LIKELY = ("wood", "oxygen", "water", "cow")
HERE = Path(__file__).parent
OUT = HERE / "lm_eval"


@register_model("written")
class Written(LM):
    """Says what SAID says to a prompt, and finds LIKELY most likely."""

    asked: ClassVar[dict[str, int]] = {}

    def __init__(self, **_):
        super().__init__()

    def generate_until(self, requests, disable_tqdm=False):
        return [self._say(request.args[0]) for request in requests]

    def _say(self, prompt):
        key = next(key for key in SAID if key in prompt)
        nth = self.asked[key] = self.asked.get(key, -1) + 1
        return SAID[key][nth % len(SAID[key])]

    def loglikelihood(self, requests, disable_tqdm=False):
        return [
            (-1.5, True) if request.args[1].strip() in LIKELY else (-4.0 - len(request.args[1]), False) for request in requests
        ]

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        raise NotImplementedError


def evaluate(name, tasks, *options):
    """One call of lm-eval; what it writes goes to lm_eval/<name>/<model>."""
    Written.asked.clear()
    folder = OUT / name
    own = [
        "--model",
        "written",
        "--model_args",
        "pretrained=example/written",
        "--include_path",
        ".",
        "--tasks",
        tasks,
        "--output_path",
        str(folder),
        "--log_samples",
    ]
    sys.argv = ["lm_eval", *own, *options]
    cli_evaluate()


if __name__ == "__main__":
    os.chdir(HERE / "lm_eval_tasks")
    shutil.rmtree(OUT, ignore_errors=True)
    evaluate("filters", "problems")
    evaluate("votes", "votes")
    evaluate("predict_only", "problems", "--predict_only")
    evaluate("f1", "passages")
    evaluate("subtasks", "science")
    for file in OUT.rglob("results_*.json"):
        text = file.read_text()
        cut = text.find('"config"')  # of the machine; what is read is the samples alone
        file.unlink() if cut < 0 else file.write_text(text[:cut].rstrip().rstrip(",") + "\n}\n")

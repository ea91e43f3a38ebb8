"""Has the references score hard answers and writes down their verdicts, which the tests here compare ours with.

python record.py --data ../../../shared/data/benchmarks      writes verdicts/
python record.py --data ... --seed 7 --to /tmp/fresh         other answers: PARITY_VERDICTS=/tmp/fresh pytest tests/parity
"""

import argparse
import hashlib
import json
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import generated
import letters
import references
from edits import GSM8K, SQUAD, Row

ROWS, ANSWERS = 100, 20  # drawn rows of SQuAD and GSM8K, and answers to each
CHOICES, TEXTS = 150, 60  # drawn rows of ARC and HellaSwag


class Recorder:
    """One file of verdicts for each method: one JSON value a line, the first says what gave the others."""

    def __init__(self, data: Path, seed: int, to: Path) -> None:
        self.data, self.seed, self.to = data, seed, to

    def draw(self) -> random.Random:
        return random.Random(self.seed)

    def rows(self, name: str) -> list[Row]:
        return [json.loads(line) for line in (self.data / name).read_text(encoding="utf-8").splitlines()]

    def write(self, name: str, lines: Iterable[Any], data: str = "", **more: Any) -> None:
        digest = {data: hashlib.sha256((self.data / data).read_bytes()).hexdigest()[:16]} if data else {}
        head = {"references": references.versions(), "python": sys.version.split()[0], "seed": self.seed, "data": digest, **more}
        text = [json.dumps(line, separators=(",", ":")) for line in (head, *lines)]
        path = self.to / f"{name}.jsonl"
        path.write_text("\n".join(text) + "\n", encoding="ascii")
        print(f"{path}: {len(text) - 1} lines, {path.stat().st_size // 1000} KB")

    def squad(self) -> None:
        script = references.squad_script()
        drawn = generated.squad(self.draw(), ROWS, ANSWERS)
        self.write("squad", ([golds, [[a, *references.squad(script, golds, a)] for a in answers]] for golds, answers in drawn))
        name = "squad/test.jsonl"
        edited = ((row["answers"]["text"], [edit(row) for edit in SQUAD.values()]) for row in self.rows(name))
        scores = ([references.squad(script, golds, answer) for answer in answers] for golds, answers in edited)
        self.write("squad_rows", scores, name, edits=list(SQUAD))

    def gsm8k(self) -> None:
        lines = []
        for gold, outputs in generated.gsm8k(self.draw(), ROWS, ANSWERS):
            matches = references.gsm8k(f"#### {gold}", outputs)
            lines.append([gold, [[output, *match] for output, match in zip(outputs, matches, strict=True)]])
        self.write("gsm8k", lines)
        name = "gsm8k/test.jsonl"
        edited = (references.gsm8k(row["answer"], [edit(row) for edit in GSM8K.values()]) for row in self.rows(name))
        digits = (["".join(map(str, kind)) for kind in zip(*matches, strict=True)] for matches in edited)
        self.write("gsm8k_rows", digits, name, edits=list(GSM8K))

    def letters(self) -> None:
        self.write("letters", references.continued(letters.drawn(self.draw(), letters.CONTINUED)))
        self.write("letters_whole", references.whole(letters.drawn(self.draw(), letters.WHOLE)))

    def arc(self) -> None:
        draw = self.draw()
        drawn = [generated.options(draw) for _ in range(CHOICES)]
        self.write("arc_keys", ([row, *keys] for row, keys in zip(drawn, references.arc_keys(drawn), strict=True)))
        name = "arc_challenge/test.jsonl"
        self.write("arc_rows", references.arc_keys(self.rows(name)), name)

    def hellaswag(self) -> None:
        draw = self.draw()
        drawn = [generated.hellaswag(draw) for _ in range(TEXTS)]
        self.write("hellaswag", zip(drawn, references.hellaswag(drawn), strict=True))

    def humaneval(self) -> None:
        name = "humaneval/test.jsonl"
        self.write("humaneval", references.programs(self.rows(name)), name)


def main() -> None:
    """Write all files."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, required=True, help="folder with squad/, gsm8k/, arc_challenge/, humaneval/")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--to", type=Path, default=Path(__file__).with_name("verdicts"))
    given = options.parse_args()
    given.to.mkdir(parents=True, exist_ok=True)
    recorder = Recorder(given.data, given.seed, given.to)
    for record in (recorder.squad, recorder.gsm8k, recorder.letters, recorder.arc, recorder.hellaswag, recorder.humaneval):
        record()


if __name__ == "__main__":
    main()

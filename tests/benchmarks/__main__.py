"""Speed and memory beside the peers', measured in one run on this machine: `make benchmark`.

    python tests/benchmarks [--only training,generation,calls] [--rows 64] [--rounds 2] [--squad FOLDER]

Sides take turns, each in a process of its own. Run it on a machine that does nothing else.
"""

import argparse
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from apart import in_turns
from rows import source

HERE = Path(__file__).parent
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
Runs = list[dict[str, Any]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="training,generation,calls")
    parser.add_argument("--rows", type=int, default=64, help="of training, and of generation")
    parser.add_argument("--batch", type=int, default=8, help="rows a training step; twice as many are generated at once")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--squad", default="", help="folder with SQuAD's train.jsonl and val.jsonl")
    chosen = parser.parse_args()
    print(f"{os.cpu_count()} cores ({platform.machine()}), {MODEL}, rows: {source(chosen.squad)}")
    with tempfile.TemporaryDirectory() as work:
        given = {"model": MODEL, "squad": chosen.squad, "rows": chosen.rows, "adapter": f"{work}/adapter"}
        parts = {"training": training, "generation": generation, "calls": calls}
        for part in chosen.only.split(","):
            parts[part](given | {"batch": chosen.batch}, chosen.rounds)


def training(given: dict[str, Any], rounds: int) -> None:
    """train_lora beside SFTTrainer."""
    sides = in_turns(str(HERE / "training.py"), ["ours", "trl", "trl, checkpointing"], given, rounds)
    print(f"\ntrain_lora beside TRL {version('trl')}, {given['rows']} rows, {given['batch']} a step, one epoch")
    ours, theirs, saving = (sides[side] for side in ("ours", "trl", "trl, checkpointing"))
    line("examples/s", speed(ours), speed(theirs), "at least 2.5 times", speed(ours) >= 2.5 * speed(theirs))
    line("peak memory, GiB", peak(ours), peak(theirs), "at most 0.7 times", peak(ours) <= 0.7 * peak(theirs))
    line("  examples/s, with its gradient checkpointing", speed(ours), speed(saving))
    line("  peak memory, with its gradient checkpointing", peak(ours), peak(saving))
    losses("in the type trained in", ours[0], theirs[0], 0.02)
    # In float32 and without dropout nothing but the order of additions differs.
    exact = given | {"dtype": "float32", "train": {"dropout": 0}, "rows": given["rows"] // 4, "batch": given["batch"] // 2}
    sides = in_turns(str(HERE / "training.py"), ["ours", "trl"], exact, 1)
    losses("in float32, without dropout", sides["ours"][0], sides["trl"][0], 0.001)


def losses(how: str, ours: dict[str, Any], theirs: dict[str, Any], most: float) -> None:
    """Mean loss of each step, ours / theirs, and how far apart they may be."""
    pairs = list(zip(ours["losses"], theirs["losses"], strict=True))
    apart = max(abs(a - b) / b for a, b in pairs)
    print(f"  loss of each step, {how}: {', '.join(f'{a:.3f} / {b:.3f}' for a, b in pairs)}")
    print(f"  the furthest apart: {apart:.2%}  goal: at most {most:.1%}, {met(apart <= most)}", flush=True)


def generation(given: dict[str, Any], rounds: int) -> None:
    """evaluate_slm beside lm-eval's Hugging Face backend, with the adapter that training left and without one."""
    given |= {"batch": 2 * given["batch"], "most": 32}
    if not Path(given["adapter"]).exists():
        in_turns(str(HERE / "training.py"), ["ours"], given, 1)
    for name, adapter in (("tuned", given["adapter"]), ("untuned", "")):
        sides = in_turns(str(HERE / "generation.py"), ["ours", "lm_eval"], given | {"adapter": adapter}, rounds)
        ours, theirs = sides["ours"], sides["lm_eval"]
        print(f"\nevaluate_slm beside lm-eval {version('lm-eval')}, {name}, {given['rows']} rows, {given['batch']} at once")
        line("rows/s", speed(ours), speed(theirs), "at least 1.5 times", speed(ours) >= 1.5 * speed(theirs))
        line("peak memory, GiB", peak(ours), peak(theirs))
        right = [sum(map(bool, run[0]["right"])) for run in (ours, theirs)]
        print(f"  equal answers in the type evaluated in: {equal(sides)} of {given['rows']}; right: {right[0]} and {right[1]}")
    exact = given | {"dtype": "float32", "rows": given["rows"] // 4}
    same = equal(in_turns(str(HERE / "generation.py"), ["ours", "lm_eval"], exact, 1))
    print(f"  equal answers in float32, tuned: {same} of {exact['rows']}  goal: all, {met(same == exact['rows'])}", flush=True)


def equal(sides: dict[str, Runs]) -> int:
    """How many answers both sides gave."""
    return sum(a == b for a, b in zip(sides["ours"][0]["answers"], sides["lm_eval"][0]["answers"], strict=True))


def calls(given: dict[str, Any], rounds: int) -> None:
    """The LLM client beside what 200 ms a call allow."""
    runs = in_turns(str(HERE / "llm_calls.py"), ["client"], {"concurrency": 64, "calls": 1280}, rounds)["client"]
    best = max(runs, key=lambda run: run["share"])
    print("\nLLM client, 64 calls at once, 200 ms each, ledger on the disk")
    line("calls/s (second: the ideal)", best["calls_a_second"], best["ideal"], "at least 0.9 times", best["share"] >= 0.9)
    print(f"  its own work: {1000 * best['cpu_seconds'] / 1280:.2f} ms a call")


def speed(runs: Runs) -> float:
    """Rows a second over all rounds."""
    return float(sum(run["rows"] for run in runs) / sum(run["seconds"] for run in runs))


def peak(runs: Runs) -> float:
    """GiB."""
    return float(max(run["peak_gib"] for run in runs))


def line(name: str, ours: float, theirs: float, goal: str = "", reached: bool = False) -> None:
    """One row of the table: ours, theirs, how many times theirs ours is."""
    asked = f"  goal: {goal}, {met(reached)}" if goal else ""
    print(f"  {name:<46}{ours:8.2f}{theirs:8.2f}{ours / theirs:8.2f} times{asked}", flush=True)


def met(reached: bool) -> str:
    return "reached" if reached else "MISSED"


if __name__ == "__main__":
    sys.exit(main())

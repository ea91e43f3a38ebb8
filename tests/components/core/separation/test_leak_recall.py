"""The leak screens on planted copies of public held-out rows: floors for what is found, ceilings for what is taken for it."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pada_agent.components.core.tasks.registry import load_task

ROOT = Path(__file__).parents[4]
DATA = ROOT.parent / "shared" / "data" / "benchmarks"
ROWS = 100
WORST = {"squad": 0.006, "gsm8k": 0.003, "arc_challenge": 0.025}  # honest rows; ARC's splits do have rows in common
FLOORS = {
    "copy": {"squad": 1.0, "gsm8k": 1.0, "arc_challenge": 1.0},
    "13 words of it in another text": {"squad": 0.98, "gsm8k": 0.98, "arc_challenge": 0.98},
    "one word changed": {"squad": 0.68, "gsm8k": 0.95, "arc_challenge": 0.88},
    "20 % of the words changed": {"squad": 0.45, "gsm8k": 0.88, "arc_challenge": 0.72},
    "words shuffled": {"squad": 0.92, "gsm8k": 0.97, "arc_challenge": 0.9},
    "paraphrased by rules": {"squad": 0.75, "gsm8k": 0.95, "arc_challenge": 0.78},
}

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    if not DATA.is_dir():
        pytest.skip(f"no benchmark data at {DATA}")
    spec = importlib.util.spec_from_file_location("leak_screen", ROOT / "tests" / "benchmarks" / "leak_screen.py")
    assert spec and spec.loader
    module = sys.modules["leak_screen"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", WORST)
def test_copies_are_found_and_honest_rows_let_through(measure: ModuleType, name: str) -> None:
    lines = {line.kind: line.share for line in measure.copies(load_task(name, {}), DATA, ROWS)}
    assert lines["honest rows"] <= WORST[name]
    found = {kind: lines[f"question, {kind}"] for kind in FLOORS}
    assert not {kind: share for kind, share in found.items() if share < FLOORS[kind][name]}, found
    if name == "squad":
        assert lines["passage, 10 % of the words changed"] >= 0.95


@pytest.mark.parametrize("name", WORST)
def test_texts_on_patterns_may_be_general_and_not_telling(measure: ModuleType, name: str) -> None:
    lines = {line.kind: line.share for line in measure.words(load_task(name, {}), DATA)}
    assert lines["honest texts on patterns"] <= 0.04
    assert lines["one name in such a text"] >= 0.7

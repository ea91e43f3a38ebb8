"""prepare_data as a program, started as Kubeflow starts it: fields of the form beside `settings`, every number a float."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pada_agent.components.core.settings import Settings
from pada_agent.components.stages import STAGES

Started = tuple[subprocess.CompletedProcess[str], dict[str, Any]]
FIELDS: dict[str, Any] = {
    "task": "gsm8k",
    "train_size": 0.0,
    "slm": "org/slm",
    "teacher": "big",
    "teacher_url": "https://llm.example.org/v1",
    "judge": "other",
    "judge_url": "",
    "iterations": 2.0,
    "seed": 7.0,
    "budget_usd": 2.5,
    "max_iterations": 3.0,
    "data_version": "1",
}


@pytest.fixture
def started(tmp_path: Path) -> Callable[..., Started]:
    """Start the program with `FIELDS`, rows and `more`; what it said, and the parameters that it handed on."""
    rows = {}
    for split in ("train", "validation", "test"):
        rows[split] = str(tmp_path / f"{split}.jsonl")
        lines = [{"question": f"{split} has {n} and {n}. How many?", "answer": f"{n} twice\n#### {2 * n}"} for n in range(1, 7)]
        Path(rows[split]).write_text("".join(json.dumps(line) + "\n" for line in lines))

    def start(**more: Any) -> Started:
        slots = {name: {"artifacts": [{"name": name, "uri": str(tmp_path / name)}]} for name in STAGES["prepare_data"].outputs}
        given = {"settings": {}, **FIELDS, **rows, **more}
        said = {
            "inputs": {"parameterValues": given},
            "outputs": {"artifacts": slots, "outputFile": str(tmp_path / "output.json")},
        }
        command = [sys.executable, "-m", "pada_agent.components.prepare_data", "--executor-input", json.dumps(said)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        output = tmp_path / "output.json"
        return done, json.loads(output.read_text())["parameterValues"] if output.exists() else {}

    return start


def test_fields_alone_are_a_run(started: Callable[..., Started], tmp_path: Path) -> None:
    done, values = started(teacher_key="TEACHER_API_KEY")
    assert done.returncode == 0, done.stderr
    expected = Settings.model_validate(
        {
            "task": {"name": "gsm8k", **{split: str(tmp_path / f"{split}.jsonl") for split in ("train", "validation", "test")}},
            "slm": {"model": "org/slm"},
            "teacher": {"model": "big", "base_url": "https://llm.example.org/v1", "api_key_env": "TEACHER_API_KEY"},
            "judge": {"model": "other"},
            "loop": {"iterations": 2},
            "seed": 7,
            "budget": {"usd": 2.5},
        }
    )
    assert Settings.model_validate_json((tmp_path / "train_data" / "settings.json").read_text()) == expected
    assert values["train_rows"] == 6


def test_settings_say_the_rest(started: Callable[..., Started], tmp_path: Path) -> None:
    rest = {"loop": {"iterations": 2.0, "patience": 1.0}, "judge": {"base_url": "https://judge.example.org/v1"}}
    done, _ = started(settings=rest)
    assert done.returncode == 0, done.stderr
    handed = json.loads((tmp_path / "train_data" / "settings.json").read_text())
    assert handed["loop"] == {"iterations": 2, "patience": 1, "alpha": 0.05}
    assert handed["judge"]["base_url"] == "https://judge.example.org/v1", "an empty field is not given"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"settings": {"loop": {"iterations": 5.0}}},
            "iterations is 2 and settings.loop.iterations 5; say it in one place: leave it out of settings",
        ),
        (
            {"settings": '{"judge": {"model": "another"}}'},
            "judge is 'other' and settings.judge.model 'another'; say it in one place: leave it out of settings",
        ),
        ({"settings": {"slm": "org/slm"}}, "settings.slm: is 'org/slm'; give an object there, or leave it out"),
        ({"settings": "[1]"}, "settings: is [1]; give a JSON object"),
        ({"slm": ""}, "settings: 'slm' is missing"),
        ({"iterations": 2.5}, "settings: loop.iterations: Input should be a valid integer"),
        ({"iterations": 4.0}, "settings: loop.iterations is 4, but this pipeline is compiled for 3; lower it, or run `pada comp"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_before_anything_is_read(
    started: Callable[..., Started], tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    done, values = started(**more)
    assert (done.returncode, values) == (1, {})
    assert done.stderr.startswith(f"InputError: {said}") and done.stderr.count("\n") == 1
    assert not (tmp_path / "train_data").exists()

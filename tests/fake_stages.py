"""Small stages that keep the contract of the real ones, and settings of a run of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from pada_agent.components.backends.executor import SETTINGS_FILE, Executor
from pada_agent.components.backends.files import write_atomic
from pada_agent.components.backends.record_files import write_json
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import LlmSettings, PrepareData, Settings, SlmSettings, TaskSettings, UpdateState
from pada_agent.components.stages import STAGES


class Killed(BaseException):
    """Stands for the end of the process: nothing may catch it."""


class FakeStages:
    """Each stage writes what it was given, so that a test sees whether a change travelled."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.inputs: list[dict[str, Any]] = []
        self.die_in: str = ""
        self.refuse_in: str = ""
        self.numbers: dict[str, int] = {}  # said by each
        self.open_batches: Callable[[int], int] = lambda link: 0
        self.go_on: Callable[[int], bool] = lambda iteration: True  # said by score
        self.learnt: Callable[[int], bool] = lambda iteration: True  # said by merge

    def table(self) -> dict[str, Callable[[Executor], None]]:
        """The stages by name, as the engine takes them."""
        return {name: self._stage(name) for name in STAGES}

    def _stage(self, stage: str) -> Callable[[Executor], None]:
        def run(ex: Executor) -> None:
            name = ex.output_uri(next(filter(ex.has_output, STAGES[stage].outputs))).rsplit("/", 2)[-2].split("-", 1)[1]
            self.calls.append(name)
            if stage == "prepare_data":
                ex.fill_in()
            sections = {} if stage == "publish_result" else {"sections": ex.settings(STAGES[stage].settings)}
            self.inputs.append({"name": name, **sections, **ex._inputs})
            for output in filter(ex.has_output, STAGES[stage].outputs):
                write_atomic(ex.output(output) / "half.txt", "written before the kill")
            if self.die_in == name:
                raise Killed
            if self.refuse_in == name:
                raise InputError(f"{name} refuses")
            getattr(self, f"_{stage}")(ex, name)
            ex.say_numbers(self.numbers)
            ex.finish()

        return run

    def _prepare_data(self, ex: Executor, name: str) -> None:
        source = Path(ex.parameter("settings")["task"]["train"])
        write_atomic(ex.output("train_data") / "train.jsonl", source.read_text() if source.is_file() else "rows")
        ex.set_parameter("train_rows", 4)
        if whole_run := ex.run_settings(PrepareData):
            write_json(ex.output("train_data") / SETTINGS_FILE, whole_run)

    def _train_lora(self, ex: Executor, name: str) -> None:
        synthetic = ex.optional_input("synthetic_data")
        text = (synthetic / "synthetic.jsonl").read_text() if synthetic else "vanilla"
        write_atomic(ex.output("adapter") / "weights.txt", text)
        ex.set_parameter("steps", ex.parameter("max_steps", 0) or 40 + 20 * bool(synthetic))

    def _evaluate_slm(self, ex: Executor, name: str) -> None:
        adapter = ex.optional_input("adapter")
        text = (adapter / "weights.txt").read_text() if adapter else "untuned"
        if ex.has_output("predictions"):
            write_atomic(ex.output("predictions") / "validation.jsonl", text)
        metrics = {"splits": {"test": {"accuracy": 0.5, "n": 10}}}
        write_atomic(ex.output("report_predictions") / "metrics.json", json.dumps(metrics))
        ex.set_parameter("validation_accuracy", 0.5)

    def _score_answers(self, ex: Executor, name: str) -> None:
        if ex.has_output("predictions") and ex.has_input("answers"):
            write_atomic(ex.output("predictions") / "validation.jsonl", (ex.input("answers") / "validation.jsonl").read_text())
        write_atomic(ex.output("report_predictions") / "metrics.json", (ex.input("report_answers") / "metrics.json").read_text())
        ex.set_parameter("validation_accuracy", 0.5)

    def _analyze_patterns(self, ex: Executor, name: str) -> None:
        text = (ex.input("predictions") / "validation.jsonl").read_text()
        write_atomic(ex.output("plan") / "strategies.yaml", yaml.safe_dump([f"against {text}"]))
        ex.set_parameter("patterns", 1)
        ex.set_parameter("training_errors", 0)

    def _generate_data(self, ex: Executor, name: str) -> None:
        checked = ex.optional_input("checked_batches")
        text = (checked / "batches.jsonl" if checked else ex.input("plan") / "strategies.yaml").read_text()
        write_atomic(ex.output("batches") / "batches.jsonl", text)
        ex.set_parameter("open_batches", 1)

    def _control_quality(self, ex: Executor, name: str) -> None:
        write_atomic(ex.output("checked_batches") / "batches.jsonl", (ex.input("batches") / "batches.jsonl").read_text())
        ex.set_parameter("accepted", 1)
        ex.set_parameter("open_batches", self.open_batches(int(name.rsplit("-", 1)[1])))

    def _update_state(self, ex: Executor, name: str) -> None:
        before = ex.optional_input("previous_state")
        seen = json.loads((before / "state.json").read_text()) if before else []
        batches = ex.optional_input("checked_batches")
        if batches and ex.has_output("synthetic_data"):
            write_atomic(ex.output("synthetic_data") / "synthetic.jsonl", (batches / "batches.jsonl").read_text())
        write_atomic(ex.output("state") / "state.json", json.dumps([*seen, name]))
        write_atomic(ex.output("report_so_far") / "report.html", "a report")
        step, iteration, settings = ex.parameter("step"), ex.parameter("iteration", 0), ex.settings(UpdateState)
        go_on = self.learnt(iteration) if step == "merge" else self.go_on(iteration) and iteration < settings.loop.iterations
        ex.set_parameter("go_on", go_on)
        trained = any(one.startswith("score-") for one in [*seen, name])
        ex.set_parameter("step_matched", settings.step_matched and trained and step in ("merge", "score") and not go_on)

    def _publish_result(self, ex: Executor, name: str) -> None:
        ex.parameter("work_uri")
        write_atomic(ex.output("report") / "report.html", "the report")
        ex.set_metadata("metrics", iterations=1)


def two_iterations(folder: Path) -> Settings:
    """Settings of a run over two iterations, with training rows in the folder."""
    (folder / "train.jsonl").write_text("first rows")
    return Settings(
        task=TaskSettings(name="gsm8k", train=str(folder / "train.jsonl"), validation="v.jsonl", test="t.jsonl"),
        slm=SlmSettings(model="some/slm"),
        teacher=LlmSettings(model="big", base_url="http://127.0.0.1:1/v1", api_key_env="TEACHER_API_KEY"),  # as a package has it
        judge=LlmSettings(model="other", base_url="http://127.0.0.1:1/v1", api_key_env="JUDGE_API_KEY"),
        loop={"iterations": 2},
    )

"""The recipe is written once: both runners follow the same tasks with the same artifacts, settings and gates."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import advice_rows
import pytest
import yaml
from package_runner import PackageRun

from pada_agent.components.core.form import SETTING_OF, parameters_of
from pada_agent.components.core.quality.chain import links
from pada_agent.components.core.settings import Caps, GenerateSettings, LoopSettings, Section, Settings
from pada_agent.components.stages import STAGES
from pada_agent.pipelines.kubeflow.compile import compile_loop
from pada_agent.pipelines.kubeflow.package import TARGETS, documents_of, package_file, tasks_of
from pada_agent.pipelines.kubeflow.pipeline import Shape
from pada_agent.pipelines.kubeflow.placement import Kubernetes, Vertex
from pada_agent.pipelines.local import run as local
from pada_agent.pipelines.local.run import Parts
from pada_agent.pipelines.loop import task_names

COMPONENTS = Path(__file__).parents[2] / "components"
ALL = {"update_state", "prepare_data", "train_lora", "evaluate_slm", "analyze_patterns", "generate_data", "control_quality"}
ALL |= {"score_answers"}
LLM = {"analyze_patterns", "generate_data", "control_quality", "update_state"}

# Which stages a change of a section reaches, and so what is run again. Written by hand: what a section is for.
READ_BY = {
    "task": ALL,
    "slm": {"train_lora", "evaluate_slm", "generate_data", "update_state"},
    "prompts": {"prepare_data"},
    "teacher": LLM,
    "judge": {"control_quality", "update_state"},
    "scorer": {"score_answers", "update_state"},
    "score": {"score_answers", "update_state"},
    "train": {"train_lora"},
    "evaluate": {"evaluate_slm", "score_answers", "update_state"},
    "embedding": {"analyze_patterns"},
    "analyze": {"analyze_patterns", "update_state"},
    "generate": {"generate_data", "control_quality", "update_state"},
    "generate.method": {"analyze_patterns", "generate_data", "control_quality", "update_state"},
    "control": {"prepare_data", "control_quality", "update_state"},
    "loop": {"prepare_data", "generate_data", "update_state"},
    "budget": LLM | {"score_answers"},
    "step_matched": {"update_state"},
    "seed": ALL - {"prepare_data"},
    "earlier": {"update_state"},
}


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda fd: None)
    monkeypatch.setattr("gc.collect", lambda: 0)


@pytest.fixture
def on_kubeflow(fakes, tmp_path, quick):
    """Follow the committed package with the small stages; what each task was given, by its name."""

    def follow(settings, target="kubernetes", text=""):
        def start(container):
            fakes.table()[container.stage](container.executor)
            return 0

        fakes.calls.clear()
        fakes.inputs.clear()
        spec = documents_of(text or package_file(target).read_text())[0]
        run = PackageRun(spec, tmp_path / f"on-{target}", start)
        run.run(**parameters_of(settings), work_uri=str(tmp_path / "work"), data_version="1")
        return {given["name"]: given for given in fakes.inputs}

    return follow


@pytest.fixture
def here(fakes, tmp_path, quick):
    """The same for the engine."""

    def follow(settings):
        fakes.calls.clear()
        fakes.inputs.clear()
        local.run(settings, tmp_path / "here", parts=Parts(stage=fakes.table().__getitem__, publish=lambda state, folder: None))
        return {given["name"]: given for given in fakes.inputs}

    return follow


def sources(given: dict[str, Any]) -> dict[str, str]:
    """By input artifact, the task that made it."""
    uris = {name: artifact["artifacts"][0]["uri"] for name, artifact in given.get("artifacts", {}).items()}
    return {name: uri.rsplit("/", 2)[-2].split("-", 1)[1] for name, uri in uris.items()}


WHERE = {"ledger", "checkpoint_uri", "export_uri", "work_uri"}  # places differ
WHERE |= {"max_iterations", "data_version"}  # only a package has them
WHERE |= {"settings", *SETTING_OF}  # on Kubeflow prepare_data is given the whole run's, and the others find them beside its rows


@cache
def _declared() -> frozenset[str]:
    """Parameters that stages take; a backend also sends what placement and placeholders are made of."""
    texts = [(COMPONENTS / stage / "component.yaml").read_text() for stage in STAGES]
    components = [component for text in texts for component in yaml.safe_load(text)["components"].values()]
    return frozenset(name for component in components for name in component["inputDefinitions"]["parameters"])


def values(given: dict[str, Any]) -> dict[str, Any]:
    stage_defaults = {"max_steps": 0, "iteration": 0}
    read = {k: v for k, v in given["parameterValues"].items() if k in _declared() - WHERE}
    return {k: v for k, v in read.items() if stage_defaults.get(k) != v}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("stop_after", [1, 2])
def test_on_kubeflow_and_here_the_same_tasks_are_given_the_same(on_kubeflow, here, fakes, settings, target, stop_after):
    """Names, stages, artifacts and where they come from, parameters, and the settings that each stage reads."""
    fakes.open_batches = lambda link: 1  # all links, since those of a package that pass through are tasks too
    fakes.go_on = lambda k: k < stop_after
    there, engine = on_kubeflow(settings, target), here(settings)
    assert set(there) == {*engine, "result"}, "what comes of a run, one machine prints"
    for name in engine:
        assert sources(there[name]) == sources(engine[name]), name
        assert values(there[name]) == values(engine[name]), name
        assert there[name]["sections"] == engine[name]["sections"], name


@pytest.mark.parametrize("target", TARGETS)
def test_where_an_llm_scores_answers_too(on_kubeflow, here, settings, target, tmp_path):
    task = {"name": "custom", **advice_rows.write(tmp_path), "options": advice_rows.options()}
    scorer = {"model": "third", "base_url": "http://127.0.0.1:1/v1"}
    judged = Settings.model_validate(settings.model_dump() | {"task": task, "scorer": scorer, "control": {"solve": "off"}})
    package = compile_loop(Shape(2, 1, True), Vertex() if target == "vertex" else Kubernetes())
    there, engine = on_kubeflow(judged, target, package), here(judged)
    assert set(there) == {*engine, "result"} and {n for n in engine if n.startswith("grade-")} == {
        f"grade-{of}" for of in ("untuned", "vanilla", "1", "2", "step-matched")
    }
    for name in engine:
        assert sources(there[name]) == sources(engine[name]), name
        assert values(there[name]) == values(engine[name]) | ({"score_answers": True} if name == "prepare" else {}), name
        assert there[name]["sections"] == engine[name]["sections"], name
    read_by = {
        name: {port: of for port, of in sources(engine[name]).items() if of.startswith("evaluate")}
        for name in engine
        if any(of.startswith("evaluate") for of in sources(engine[name]).values())
    }
    assert all(name.startswith("grade-") for name in read_by), "nobody else reads what is not scored"
    assert sources(engine["grade-vanilla"])["scored"] == "grade-untuned"
    assert sources(engine["grade-1"])["state"] == "merge-1"
    assert sources(engine["analyze-1"])["state"] == "start", "what scoring took counts towards the caps"
    assert [name for name in engine if engine[name]["parameterValues"].get("measure")] == ["grade-vanilla"]


def test_a_package_has_the_names_of_the_engine():
    shape = Shape()
    for target in TARGETS:
        spec = documents_of(package_file(target).read_text())[0]
        gates = {name for name, component in spec["components"].items() if "dag" in component}
        laid = {task["taskInfo"]["name"] for _, _, task in tasks_of(spec) if task["componentRef"]["name"] not in gates}
        assert laid == {*task_names(shape.max_iterations, shape.attempts), "result"}


def test_the_default_package_has_room_for_what_the_default_settings_ask_for():
    assert Shape().attempts == links(GenerateSettings()) == 4  # one, and the paper's three regenerations
    assert Shape().max_iterations == LoopSettings().iterations
    assert links(GenerateSettings(regenerations=2, refills=1)) == 6


def test_whether_the_step_matched_model_is_trained_is_the_settings_word(on_kubeflow, here, settings):
    without = settings.model_copy(update={"step_matched": False})
    for follow in (on_kubeflow, here):
        assert "train-step-matched" in follow(settings)
    assert not [name for name in on_kubeflow(without, "vertex") if "step-matched" in name]


@pytest.mark.parametrize("target", TARGETS)
def test_a_package_gives_the_settings_to_prepare_data_alone(on_kubeflow, settings, target):
    """Each other task would carry them six times in what Kubernetes keeps of a run."""
    given = on_kubeflow(settings, target)
    assert [name for name, inputs in given.items() if "settings" in inputs["parameterValues"]] == ["prepare"]


def changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if value is None:
        return 1.0
    return {**value, "added": 1} if isinstance(value, dict) else [*value, "added"]


def changes(settings: Settings) -> Iterator[tuple[str, Settings]]:
    """For each setting, its section or, where READ_BY has it, itself, and the settings with it changed."""
    for name in Settings.model_fields:
        section = getattr(settings, name)
        if not isinstance(section, Section):
            yield name, settings.model_copy(update={name: changed(section)})
            continue
        for key in type(section).model_fields:
            other = {"control_quality": Caps(usd=1)} if key == "stages" else changed(getattr(section, key))
            place = f"{name}.{key}" if f"{name}.{key}" in READ_BY else name
            yield place, settings.model_copy(update={name: section.model_copy(update={key: other})})


def test_every_setting_reaches_the_stages_that_are_to_read_it_and_no_others(settings):
    """What is changed decides what the engine runs again."""
    assert {name for name in READ_BY if "." not in name} == set(Settings.model_fields)
    tried = list(changes(settings))
    assert len(tried) > 80
    for section, other in tried:
        after = {stage: known.sections(other) for stage, known in STAGES.items()}
        assert {stage for stage, known in STAGES.items() if known.sections(settings) != after[stage]} == READ_BY[section], section

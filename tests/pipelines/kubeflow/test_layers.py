"""What the UI shows of the committed packages: layers, their names, what is in each, and how large it all is."""

import shutil
from collections import Counter
from functools import cache

import pytest
from draw_package import layers

from pada_agent.components.stages import STAGES
from pada_agent.pipelines.kubeflow.arrange import arrange
from pada_agent.pipelines.kubeflow.package import TARGETS, documents_of, package_file, tasks_of
from pada_agent.pipelines.kubeflow.package_check import containers
from pada_agent.pipelines.loop import task_names

MOST_TASKS = 8  # of a layer: with their artifacts they fit the UI's window at its smallest zoom
INSIDE = {
    "root": {"loop", "result"},
    "loop": {"prepare-and-start", "iteration-1"},
    "prepare-and-start": {"prepare", "train-vanilla", "evaluate-untuned", "evaluate-vanilla", "start"},
    "iteration-2": {"analyze-2", "write-and-check-2", "merge-2", "train-and-score-2", "step-matched"},
    "write-and-check-2": {f"{verb}-2-{link}" for verb in ("generate", "control") for link in (1, 2, 3, 4)},
    "train-and-score-2": {"train-2", "evaluate-2", "score-2", "iteration-3", "step-matched"},
    "step-matched": {"train-step-matched", "evaluate-step-matched", "score-step-matched"},
}


@cache
def spec_of(target):
    return documents_of(package_file(target).read_text())[0]


@pytest.fixture(params=TARGETS)
def spec(request):
    return spec_of(request.param)


def test_each_layer_holds_what_belongs_together_and_not_too_much(spec):
    found = {layer.name: set(layer.tasks) for layer in layers(spec)}
    assert {name: found[name] for name in INSIDE} == INSIDE
    assert max(map(len, found.values())) <= MOST_TASKS
    assert set(found) == {"root", "loop", "prepare-and-start", "step-matched"} | {
        f"{layer}-{k}" for layer in ("iteration", "write-and-check", "train-and-score") for k in (1, 2, 3)
    }


def test_how_deep_an_iteration_lies(spec):
    depths = {layer.name: layer.depth for layer in layers(spec)}
    assert [depths[f"iteration-{k}"] for k in (1, 2, 3)] == [2, 4, 6]


def test_tasks_are_called_in_uris_pods_and_answers_as_on_one_machine(spec):
    executors = {name for name, component in spec["components"].items() if "executorLabel" in component}
    names = [key for _, key, task in tasks_of(spec) if task["componentRef"]["name"] in executors]
    assert all(key == task["taskInfo"]["name"] for _, key, task in tasks_of(spec))
    assert sorted(names) == sorted([*task_names(3, 4), "result"])


def test_artifacts_of_a_layer_have_names_of_their_own(spec):
    for layer in layers(spec):
        called = Counter(name for _, name in layer.artifacts)
        assert not [name for name, count in called.items() if count > 1], layer.name


def test_one_report_and_one_summary_of_metrics_in_the_root(spec):
    made = [
        (layer.name, task, name)
        for layer in layers(spec)
        for task, name in layer.artifacts
        if name == "report" or "Metrics" in kind_of(spec, layer.tasks[task], name)
    ]
    assert sorted(made) == [("root", "result", "metrics"), ("root", "result", "report")]


def kind_of(spec, task, name):
    return spec["components"][task["componentRef"]["name"]]["outputDefinitions"]["artifacts"][name]["artifactType"]["schemaTitle"]


def test_whatever_happens_result_comes_last(spec):
    result = spec["root"]["dag"]["tasks"]["result"]
    assert result["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert result["dependentTasks"] == ["loop"]
    assert "artifacts" not in result["inputs"], "what is inside the exit handler may not be there"
    assert not result["cachingOptions"].get("enableCache")


@pytest.mark.parametrize("target", TARGETS)
def test_the_package_stays_small(target):
    assert package_file(target).stat().st_size < 122_880
    assert containers(spec_of(target)) <= 52


def test_a_component_says_what_each_of_its_tasks_gives_and_nothing_that_a_step_does_not_take(spec):
    for stage in ("start", "merge", "score", "step-matched"):
        inputs = spec["components"][f"comp-update-state-{stage}"]["inputDefinitions"]["artifacts"]
        ports = STAGES["update_state"].steps[stage.replace("-", "_")]
        assert set(ports.needed) <= set(inputs) <= {*ports.needed, *ports.optional}
    assert "description" not in str(spec["components"]), "each task's status has six copies of its component"


def test_two_tasks_side_by_side_of_one_name_are_refused():
    tasks = {key: {"taskInfo": {"name": "train-1"}, "componentRef": {"name": "c"}} for key in ("a", "b")}
    with pytest.raises(ValueError, match="two tasks side by side are called train-1"):
        arrange({"root": {"dag": {"tasks": tasks}, "inputDefinitions": {"parameters": {}}}, "components": {"c": {}}}, None, {})


@pytest.mark.skipif(not shutil.which("dot"), reason="LAYERS NOT DRAWN: no graphviz")
def test_every_layer_can_be_drawn(spec, tmp_path, monkeypatch, capsys):
    import draw_package

    monkeypatch.setattr("sys.argv", ["", str(package_file("kubernetes")), str(tmp_path / "svg")])
    draw_package.main()
    assert len(list((tmp_path / "svg").glob("*.svg"))) == len({layer.name for layer in layers(spec)})
    assert "iteration-2: 5 tasks" in capsys.readouterr().out

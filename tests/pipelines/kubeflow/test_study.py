"""The package of a study: what is compiled and refused for each target, and how it is submitted."""

import json

import pytest
import yaml

from pada_agent.components.core.settings import whole_numbers
from pada_agent.components.stages import STUDY_PROGRAMS
from pada_agent.pipelines.kubeflow.package import documents_of, read_package, stage_of
from pada_agent.pipelines.kubeflow.package_check import check_package
from pada_agent.pipelines.kubeflow.placement_file import Placement
from pada_agent.pipelines.study.packed import unpack
from pada_agent.pipelines.study.study_file import read_study

LLM = {"base_url": "https://llm.example/v1"}
SQUAD = {
    "task": {"name": "squad", **{split: f"gs://data/{split}.jsonl" for split in ("train", "validation", "test")}},
    "slm": {"model": "some/slm"},
    "teacher": {**LLM, "model": "big"},
    "judge": {**LLM, "model": "other"},
}
SECRET = {"api_key_secret": "projects/p/secrets/llm/versions/latest"}


def study_file(folder, squad=SQUAD, **more):
    file = folder / "study.yaml"
    values = {"tasks": {"squad": squad}, "regimes": [300, 600], "methods": ["pada", "auggpt"], "seeds": [0, 1], "jobs": 3}
    file.write_text(yaml.safe_dump({**values, **more}))
    return file


@pytest.fixture
def compiled(pada, tmp_path):
    """Call `pada compile --pipeline study`; returns the file and what was said."""

    def call(config, *more, target="kubernetes"):
        given = ["--pipeline", "study", "--config", config, "--registry", "registry.example/team", "-o", tmp_path / "p.yaml"]
        code, _, said = pada("compile", "--target", target, *given, *more)
        assert bool(code) == bool(said)
        return tmp_path / "p.yaml", said

    return call


def vertex(squad=SQUAD):
    return {**squad, **{role: {**squad[role], **SECRET} for role in ("teacher", "judge")}}


@pytest.mark.parametrize("target", ["kubernetes", "vertex"])
def test_cells_run_in_two_loops_so_many_at_a_time_between_plans(compiled, tmp_path, target):
    config = study_file(tmp_path, vertex())
    file, said = compiled(config, target=target)
    assert said == ""
    spec = check_package(file.read_text(), target)
    tasks = spec["root"]["dag"]["tasks"]
    order = ["plan-vanilla", "vanilla", "plan-methods", "methods", "tables", "result"]
    assert set(tasks) == set(order)
    assert [tasks[name].get("dependentTasks") for name in order] == [None, *([name] for name in order[:-1])]
    for loop in ("vanilla", "methods"):
        assert tasks[loop]["iteratorPolicy"] == {"parallelismLimit": 3}
        cells = tasks[loop]["inputs"]["parameters"][tasks[loop]["parameterIterator"]["items"]["inputParameter"]]
        assert cells == {"taskOutputParameter": {"outputParameterKey": "cells", "producerTask": f"plan-{loop}"}}
        inner = spec["components"][tasks[loop]["componentRef"]["name"]]["dag"]["tasks"]
        assert [t["componentRef"]["name"] for t in inner.values()] == ["comp-study-cell"]
        assert inner["cell"]["inputs"]["parameters"].keys() == {"cell", "work_uri"}, "each is kept six times for each cell"
    bodies = [*tasks.values(), *inner.values()]
    assert not any(body.get("cachingOptions", {}).get("enableCache") for body in bodies), "what is there is asked of the store"
    known = spec["root"]["inputDefinitions"]["parameters"]
    study = unpack(whole_numbers(known["study"]["defaultValue"]))
    assert (study.seeds, study.regimes, study.methods) == ([0, 1], {"squad": [300, 600]}, ["pada", "auggpt"])
    assert "defaultValue" not in known["work_uri"]


def test_a_cell_has_what_its_stages_have_in_the_loop(compiled, tmp_path):
    file, _ = compiled(study_file(tmp_path))
    spec, platform = documents_of(file.read_text())
    executors = spec["deploymentSpec"]["executors"]
    by_program = {stage_of(e["container"]): (label, e["container"]) for label, e in executors.items()}
    assert by_program.keys() == STUDY_PROGRAMS.keys()
    label, cell = by_program["study_cell"]
    assert cell["image"].startswith("registry.example/team/pada-agent/study:")
    assert cell["resources"]["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert not any("accelerator" in c["resources"] for name, (_, c) in by_program.items() if name != "study_cell")
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    keys = {key["envVar"] for secret in placed[label]["secretAsEnv"] for key in secret["keyToEnv"]}
    assert {"TEACHER_API_KEY", "JUDGE_API_KEY", "HF_TOKEN", "AWS_ACCESS_KEY_ID"} <= keys
    assert placed[label]["podMetadata"]["labels"]["pada-agent/egress"] == "llm"
    assert {"TEACHER_API_KEY"}.isdisjoint(
        key["envVar"] for secret in placed[by_program["study_plan"][0]]["secretAsEnv"] for key in secret["keyToEnv"]
    )
    default = spec["root"]["inputDefinitions"]["parameters"]["study"]["defaultValue"]
    assert default["settings"]["squad"]["teacher"]["api_key_env"] == "TEACHER_API_KEY"


def test_on_vertex_a_cell_gets_the_machine_of_the_placement(compiled, tmp_path):
    placement = tmp_path / "placement.yaml"
    placement.write_text(yaml.safe_dump({"vertex": {"accelerator_type": "NVIDIA_A100_80GB", "cpu_limit": "12"}}))
    file, said = compiled(study_file(tmp_path, vertex()), "--placement", placement, target="vertex")
    assert said == ""
    (spec,) = documents_of(file.read_text())
    resources = spec["deploymentSpec"]["executors"]["exec-study-cell"]["container"]["resources"]
    assert resources["accelerator"]["resourceType"] == "NVIDIA_A100_80GB" and resources["resourceCpuLimit"] == "12"


def test_a_placement_may_say_what_a_cell_gets(compiled, tmp_path):
    placement = tmp_path / "placement.yaml"
    on_volume = {**SQUAD, "task": {**SQUAD["task"], "train": "/data/train.jsonl"}, "slm": {"model": "/data/slm"}}

    def call(**said):
        placement.write_text(yaml.safe_dump(said))
        return compiled(study_file(tmp_path, on_volume), "--placement", placement)

    data = {"volumes": {"data": "/data"}}
    file, said = call(all=data, stages={"study_cell": {"timeout": "3d"}})
    assert said == ""
    cell = documents_of(file.read_text())[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-study-cell"]
    assert cell["activeDeadlineSeconds"] == str(3 * 86400) and cell["pvcMount"][0]["mountPath"] == "/data"
    for missing in STUDY_PROGRAMS:
        _, said = call(stages={name: data for name in STUDY_PROGRAMS if name != missing})
        assert f"task.train: /data/train.jsonl is on no volume that {missing} has" in said, "its cells would have other keys"
    on_volume["task"]["train"] = SQUAD["task"]["train"]
    assert call(stages={"study_cell": data})[1] == "", "the model is read by cells alone"


def test_what_is_said_of_slm_holds_for_cells_unless_study_says_otherwise():
    cards = {"gpu": {"resource": "nvidia.com/gpu", "count": 2}, "node_selector": {"card": "l4"}}
    said = {"slm": cards, "study": {"timeout": "3d"}}
    task = Placement.model_validate({"roles": said}).of("study_cell")
    assert (task.gpu.count, task.node_selector, task.timeout_seconds) == (2, {"card": "l4"}, 3 * 86400)
    said["study"] = {"gpu": None}
    placement = Placement.model_validate({"roles": said})
    assert placement.of("study_cell").gpu is None and placement.of("train_lora").gpu.count == 2
    assert placement.of("study_plan").node_selector == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"task": {**SQUAD["task"], "test": "/here/test.jsonl"}},
            "squad, vanilla: task.test: /here/test.jsonl is on no volume that study_plan",
        ),
        ({"teacher": {"base_url": "embedded", "model": "m.gguf"}}, "teacher.base_url: there is no embedded server on a cluster"),
        ({"judge": {"base_url": "http://127.0.0.1:1/v1", "model": "j"}}, "judge.base_url: http://127.0.0.1:1/v1 is this machine"),
    ],
)
def test_what_no_cluster_can_run_is_refused_before_anything_is_written(compiled, tmp_path, change, said):
    file, error = compiled(study_file(tmp_path, {**SQUAD, **change}))
    assert said in error and not file.exists()


def test_a_study_needs_its_file_and_the_loop_takes_none(pada, tmp_path, compiled):
    given = ["compile", "--target", "kubernetes", "--registry", "registry.example/team"]
    assert "--config: missing" in pada(*given, "--pipeline", "study")[2]
    assert "--config: with --pipeline study; " in pada(*given, "--config", study_file(tmp_path))[2]
    large = {**SQUAD, "teacher": {**LLM, "model": "m" * 70_000}}
    assert "a package takes 60000; compare fewer tasks in one" in compiled(study_file(tmp_path, large))[1]
    assert "give a name that ends in .yaml" in compiled(study_file(tmp_path), "-o", tmp_path / "p.json")[1]


def test_a_study_is_submitted_without_a_config(compiled, pada, tmp_path, http_stub):
    file, _ = compiled(study_file(tmp_path))
    given = ["submit", "--target", "kubernetes", "--package", file]
    code, out, said = pada(*given, "--work-uri", "gs://work/s/", "--set", "cells_in_a_run=10", "--print-parameters")
    assert (code, said) == (0, "") and json.loads(out) == {"work_uri": "gs://work/s", "cells_in_a_run": 10}
    assert "--work-uri: missing" in pada(*given, "--print-parameters")[2]
    assert "has the study in it" in pada(*given, "--config", tmp_path / "study.yaml", "--print-parameters")[2]
    assert "'export_uri'" in pada(*given, "--work-uri", "gs://w/s", "--export-uri", "gs://w/e", "--print-parameters")[2]

    api = "/apis/v2beta1"
    http_stub.on("GET", f"{api}/healthz", {"multi_user": False, "pipeline_store": "database"})
    http_stub.on("GET", f"{api}/experiments", {"experiments": [{"experiment_id": "e1", "display_name": "pada-agent"}]})
    http_stub.on("POST", f"{api}/runs", lambda ask: {**ask.json, "run_id": "r1", "state": "PENDING"})
    assert pada(*given, "--work-uri", "gs://work/s", "--host", http_stub.url)[0] == 0
    (ask,) = http_stub.asked("POST", f"{api}/runs")
    assert ask.json["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "pada-agent-study"
    assert ask.json["display_name"].startswith("p ") and ask.json["runtime_config"]["parameters"] == {"work_uri": "gs://work/s"}


def test_what_is_packed_is_what_the_file_says(compiled, tmp_path):
    config = study_file(tmp_path, vertex())
    file, _ = compiled(config, target="vertex")
    default = read_package(file, "vertex").parameters["study"]["defaultValue"]
    assert unpack(whole_numbers(default)).tasks == read_study(config).tasks

"""Prompts of a user's own in a whole run, on one machine and through the package: real stages, a tiny model, a stub LLM."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from llm_stub import serving
from package_runner import PackageRun
from whole_run import TEXT_TO_SQL, small_run, teach

from pada_agent.components.core.form import parameters_of
from pada_agent.components.core.prompts import package_prompts, package_text
from pada_agent.components.core.settings import Settings
from pada_agent.components.stages import LLM_STAGES
from pada_agent.pipelines.config import read_config
from pada_agent.pipelines.cost_table import estimated, together
from pada_agent.pipelines.kubeflow.compile import compile_loop
from pada_agent.pipelines.kubeflow.pipeline import Shape
from pada_agent.pipelines.kubeflow.placement import Kubernetes
from pada_agent.pipelines.local import run as local

OWN = "As the rules of our house say ({}, {}):\n"


@pytest.fixture(scope="module")
def stub():
    with serving() as server:
        teach(server)
        yield server


@pytest.fixture(scope="module", autouse=True)
def key():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "test-key")
        yield


def write(folder, edition="first", names=None):
    """The package's own, each with a word in front that is nobody else's."""
    folder.mkdir(exist_ok=True)
    for name in names or package_prompts():
        text = package_text(name).replace("=== system\n", f"=== system\n{OWN.format(name, edition)}", 1)
        (folder / name).write_text(text)


def settings(url, tiny_slm, prompts):
    values = small_run(
        url,
        tiny_slm,
        train={"checkpoints": 0},
        analyze={"sample": 6, "k_max": 2},
        generate={"batch": 3, "regenerations": 1},
    )
    return Settings.model_validate({**values, "prompts": str(prompts)})


def theirs(asks, edition="first"):
    """By stage, the file that each of the asks was written by; all must be by one of these."""
    found = {stage: [] for stage in LLM_STAGES if stage != "score_answers"}  # the task scores its answers itself
    for ask in asks:
        (name,) = (name for name in package_prompts() if ask.text.startswith(OWN.format(name, edition)))
        found[package_prompts()[name]].append(name)
    return found


@pytest.fixture(scope="module")
def ran(stub, tiny_slm, tmp_path_factory):
    """A run with all prompts replaced: its directory, the folder of prompts, what was asked."""
    folder = tmp_path_factory.mktemp("own")
    write(folder / "prompts")
    local.run(settings(stub.url, tiny_slm, folder / "prompts"), folder / "run")
    return folder, list(stub.asks)


@pytest.fixture
def again(ran, stub, tiny_slm, tmp_path):
    """again(name of a file) -> the names of the tasks that ran again once it is another, the run, and what was asked."""
    folder = tmp_path / "own"
    shutil.copytree(ran[0], folder)
    # The settings must stay the same, so that the run finds its prompts where they were.
    prompts = ran[0] / "prompts"

    def start(name):
        before = {file.parent.name: file.stat().st_mtime_ns for file in folder.glob("run/*/executor_output.json")}
        write(prompts, "second", [name])
        asked = len(stub.asks)
        try:
            local.run(settings(stub.url, tiny_slm, prompts), folder / "run")
        finally:
            write(prompts)
        after = {file.parent.name: file.stat().st_mtime_ns for file in folder.glob("run/*/executor_output.json")}
        return {task for task, time in after.items() if before.get(task) != time}, folder / "run", stub.asks[asked:]

    return start


def test_every_request_of_every_stage_is_in_the_users_words(ran):
    folder, asks = ran
    assert all(theirs(asks).values())
    assets = json.loads(next(folder.glob("run/*/train_data/manifest.json")).read_text())["assets"]
    assert [name for name in assets if name.startswith("prompts/")] == [f"prompts/{name}" for name in package_prompts()]


def test_the_report_shows_them(ran):
    folder, _ = ran
    facts, page = json.loads((folder / "run" / "report.json").read_text()), (folder / "run" / "report.html").read_text()
    assert [prompt["name"] for prompt in facts["prompts"]] == list(package_prompts())
    for prompt in facts["prompts"]:
        assert OWN.format(prompt["name"], "first") in prompt["text"] and prompt["sha256"][:12] in page
        assert OWN.format(prompt["name"], "first").strip() in page


def test_a_changed_prompt_runs_its_stages_again_and_replays_the_rest(again):
    tasks, run, asks = again("judge.txt")
    assert not [task for task in tasks if "train-vanilla" in task or "evaluate" in task], (
        "no rows, nothing that is learnt changed"
    )
    assert {"01-prepare", "05-start"} <= tasks and any("control-1-1" in task for task in tasks)
    assert (
        set(theirs(asks, "second")["control_quality"])
        == {"judge.txt"}
        == {n for of in theirs(asks, "second").values() for n in of}
    )
    (told,) = (p for p in json.loads((run / "report.json").read_text())["prompts"] if p["name"] == "judge.txt")
    assert OWN.format("judge.txt", "second") in told["text"]


def test_a_prompt_at_the_beginning_changes_what_follows_from_it(again):
    tasks, _, asks = again("analyse.txt")
    assert {"analyse.txt"} == set(theirs([ask for ask in asks if "second" in ask.text], "second")["analyze_patterns"])
    assert any("analyze-1" in task for task in tasks)


def test_the_estimate_counts_the_users_words(ran, stub, tiny_slm, tmp_path):
    mine, package = (together(estimated(settings(stub.url, tiny_slm, place))[0]) for place in (ran[0] / "prompts", ""))
    assert mine.expected.calls == package.expected.calls
    assert mine.expected.input_tokens > package.expected.input_tokens + 5 * package.expected.calls


def test_the_same_through_the_package(stub, tiny_slm, tmp_path):
    write(tmp_path / "prompts", "packed")
    (spec, *_) = yaml.safe_load_all(compile_loop(Shape(1, 2), Kubernetes()))

    def start(container):
        local.entry(container.stage)(container.executor)
        return 0

    asked = len(stub.asks)
    run = PackageRun(spec, tmp_path / "pods", start, retries=False)
    values = small_run(stub.url, tiny_slm, {"api_key_env": "OPENAI_API_KEY"}, analyze={"sample": 6, "k_max": 2})
    given = parameters_of(Settings.model_validate({**values, "prompts": str(tmp_path / "prompts")}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEACHER_API_KEY", "t"), patch.setenv("JUDGE_API_KEY", "j")
        run.run(**given, data_version="1", work_uri=str(tmp_path / "work"))
    assert all(theirs(stub.asks[asked:], "packed").values())
    assert "prompts of your own" in run.local(run.tasks["result"].artifacts["report"]).read_text().lower()


@pytest.fixture
def config(tmp_path):
    """config(prompts) -> a config beside a folder `mine`, with one prompt."""
    shutil.copy(TEXT_TO_SQL / "shop.sql", tmp_path)
    for split in ("train", "validation", "test"):
        shutil.copy(TEXT_TO_SQL / f"{split}.jsonl", tmp_path)
    write(tmp_path / "mine", names=["judge.txt"])
    values = yaml.safe_load((TEXT_TO_SQL / "config.yaml").read_text())

    def write_config(prompts):
        (tmp_path / "config.yaml").write_text(yaml.safe_dump({**values, "prompts": prompts}))
        return tmp_path / "config.yaml"

    return write_config


def test_a_relative_folder_is_beside_the_config(config, tmp_path):
    assert read_config(config("mine")).prompts == str(tmp_path / "mine")
    assert read_config(config("gs://b/mine")).prompts == "gs://b/mine"
    assert read_config(config("")).prompts == ""


def test_doctor_and_estimate_look_at_them(config, pada, tmp_path):
    there = tmp_path / "mine"
    _, out, _ = pada("doctor", "--config", config("mine"))
    assert f"ok       prompts               {there}: judge.txt in place of the package's own" in out
    (there / "judge.txt").write_text("=== user\n{% for i in items %}{{ i.question }}{% endfor %}")
    _, out, _ = pada("doctor", "--config", config("mine"))
    assert "note     prompts               judge.txt does without asked, parents, strategy, task" in out
    (there / "judge.txt").write_text("=== user\nGood?")
    for command in ("doctor", "estimate"):
        code, out, said = pada(command, "--config", config("mine"))
        assert code == 1 and f"prompts: {there / 'judge.txt'}: does not use items" in out + said
    code, out, said = pada("estimate", "--config", config("nowhere"))
    assert code == 1 and f"prompts: there is no file in {tmp_path / 'nowhere'}; give a folder" in said


def test_pada_prompts_writes_what_to_start_from(config, pada, tmp_path):
    code, out, _ = pada("prompts", tmp_path / "new")
    assert code == 0 and [Path(line).name for line in out.splitlines()] == list(package_prompts())
    assert all((tmp_path / "new" / name).read_text() == package_text(name) for name in package_prompts())
    assert pada("prompts", "gs://b/mine")[::2] == (
        1,
        "pada: DIR gs:/b/mine: prompts are written to a local folder; upload it from there",
    )
    (tmp_path / "new" / "judge.txt").write_text("edited")
    code, _, said = pada("prompts", tmp_path / "new")
    assert code == 1 and "is there already" in said and (tmp_path / "new" / "judge.txt").read_text() == "edited"
    (tmp_path / "new" / "judge.txt").write_text(package_text("judge.txt"))
    (tmp_path / "new" / ".DS_Store").write_bytes(b"\xff")
    _, out, _ = pada("doctor", "--config", config("new"))
    assert "new: none in place of the package's own" in out, "what is as it was is the package's"

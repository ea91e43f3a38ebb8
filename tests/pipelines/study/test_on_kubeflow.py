"""A study's package, run task by task with real stages and the small student: the same results as `pada study` here."""

import json
import re
import subprocess
import sys
from collections import Counter
from importlib import import_module

import pytest
from llm_stub import serving
from package_runner import PackageRun, TaskFailed, as_doubles
from small_student import no_report, students, tasks_run, teach, write_study

from pada_agent.components.backends.executor import Executor
from pada_agent.components.backends.store.events import told
from pada_agent.components.core.errors import InputError, PadaError
from pada_agent.components.stages import STUDY_PROGRAMS
from pada_agent.pipelines.kubeflow.package import read_package
from pada_agent.pipelines.kubeflow.placement import Kubernetes
from pada_agent.pipelines.kubeflow.placement_file import Images, Placement
from pada_agent.pipelines.local.run import Parts, entry
from pada_agent.pipelines.study import methods, packed
from pada_agent.pipelines.study.cluster import plan, run_cell
from pada_agent.pipelines.study.cluster.package import write_package
from pada_agent.pipelines.study.run import conduct
from pada_agent.pipelines.study.study_file import read_study

METHODS = {name: {"teacher": {"model": name}} for name in ("planted", "random")}
PLACED = Kubernetes(Placement(images=Images(registry="registry.example/team")))


@pytest.fixture(scope="module", autouse=True)
def student():
    with students():
        yield


@pytest.fixture(scope="module")
def stub():
    with serving() as server:
        teach(server)
        yield server


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    """The package of another study: it takes any."""
    folder = tmp_path_factory.mktemp("package")
    file = write_study(folder, "https://llm.example/v1", methods=METHODS, seeds=[0])
    file.write_text(re.sub(r": (\w+\.jsonl)", r": gs://bucket/\1", file.read_text()))
    write_package(read_study(file), PLACED, folder / "study.yaml")
    return read_package(folder / "study.yaml", "kubernetes").spec


class Killed(BaseException):
    """Stands for the end of a container of which nothing is heard any more."""


def killed(stage):
    raise Killed


class Cluster:
    """What a cluster keeps between runs: the store of the study's cells, here a folder."""

    def __init__(self, spec, folder):
        self.spec, self.folder, self.work = spec, folder, folder / "work"
        self.runs, self.killed = 0, ""

    def run(self, study, **parameters):
        """The tasks of one run of the study, by name."""
        self.runs += 1
        self.last = PackageRun(self.spec, self.folder / "root", self._start, run_id=f"run{self.runs}", retries=False)
        return self.last.run(study=packed.pack(study), work_uri=str(self.work), **parameters)

    def file(self, artifact):
        return self.last.local(self.last.tasks["tables"].artifacts[artifact]).read_text()

    def cells_run(self):
        """Those that the last run was told to run, by loop."""
        return {step: self.last.tasks[f"plan-{step}"].parameters["cells"] for step in ("vanilla", "methods")}

    def _start(self, container):
        program, executor = import_module(container.command[-1]), container.executor
        try:
            if program is run_cell:
                with executor.told(run_cell.task_name(executor)):
                    stage = killed if executor.parameter("cell") == self.killed else entry
                    run_cell.run(executor, Parts(stage=stage, publish=no_report))
            else:
                with executor.told():
                    program.run(executor)
        except PadaError as e:
            self.said = str(e)
            return 1
        return 0


@pytest.fixture(scope="module")
def finished(spec, stub, tmp_path_factory):
    """A study run on a cluster, and the same one here."""
    folder = tmp_path_factory.mktemp("study")
    file = write_study(folder, stub.url, methods=METHODS, seeds=[0])
    here = conduct(read_study(file), folder / "here", _here, lambda text: None)
    asked = len(stub.asks)
    cluster = Cluster(spec, folder)
    tasks = cluster.run(read_study(file))
    return file, folder / "here", here, cluster, tasks, (asked, len(stub.asks) - asked)


def _here(cell):
    from pada_agent.pipelines.study.cell import run_cell as of_this_machine

    of_this_machine(cell, Parts(publish=no_report))


def test_a_study_on_a_cluster_ends_with_the_file_and_the_tables_that_it_has_here(finished):
    _, here, text, cluster, tasks, asked = finished
    assert cluster.file("facts") == (here / "study.json").read_text()
    assert cluster.file("tables") == text
    assert cluster.file("page") == (here / "study.html").read_text()
    assert asked[0] == asked[1]
    assert list(tasks) == [
        "plan-vanilla",
        "cell-vanilla-0",
        "plan-methods",
        "cell-methods-0",
        "cell-methods-1",
        "tables",
        "result",
    ]


def test_a_run_tells_of_each_cell_by_its_name(finished):
    events = told(f"{finished[3].work}/events", "run1").values()
    ended = [event.task for event in events if event.kind == "ended"]
    cells = [f"words-all-seed-0-{method}" for method in ("vanilla", "planted", "random")]
    assert ended == ["plan-vanilla", cells[0], "plan-methods", *cells[1:], "tables", "result"]


def test_what_methods_have_in_common_is_done_once_there_too(finished):
    began = Counter(task for _, task in tasks_run(finished[3].work) if task != "cell")
    assert began["prepare"] == began["train-vanilla"] == began["evaluate-untuned"] == 1
    assert began["train-1"] == began["analyze-1"] == len(METHODS)


def test_with_one_seed_more_no_cell_that_is_finished_is_run(finished):
    file, _, _, cluster, _, _ = finished
    before = Counter(tasks_run(cluster.work))
    cluster.run(read_study(file, seeds=[0, 1]))
    assert cluster.cells_run() == {
        "vanilla": ["words/all/seed-1/vanilla"],
        "methods": ["words/all/seed-1/planted", "words/all/seed-1/random"],
    }
    assert {cell.split("/")[2] for cell, _ in Counter(tasks_run(cluster.work)) - before if cell != "."} == {"seed-1"}
    assert [c["seed"] for c in json.loads(cluster.file("facts"))["cells"]] == [0, 0, 0, 1, 1, 1]


def test_a_finished_study_started_again_loops_over_a_cell_that_ends_at_once(finished, monkeypatch):
    file, _, text, cluster, _, _ = finished
    monkeypatch.setattr(run_cell, "run_cell", lambda cell, parts: pytest.fail(f"{cell.name} is finished"))
    before = Counter(task for task in tasks_run(cluster.work) if task[0] != ".")
    cluster.run(read_study(file))
    assert cluster.cells_run() == {"vanilla": ["words/all/seed-0/vanilla"], "methods": ["words/all/seed-0/vanilla"]}
    assert Counter(task for task in tasks_run(cluster.work) if task[0] != ".") == before
    assert cluster.file("tables") == text


def test_a_cell_that_fails_stops_no_other_and_is_told_and_tried_again(spec, stub, tmp_path):
    changed = {"broken": {"teacher": {"model": "broken"}}, "planted": METHODS["planted"]}
    study = read_study(write_study(tmp_path, stub.url, methods=changed, seeds=[0]))
    rule = stub.on(lambda ask: ask.body["model"] == "broken", status=401)
    stub.rules.insert(0, stub.rules.pop())
    cluster = Cluster(spec, tmp_path)
    with pytest.raises(TaskFailed, match="result"):
        cluster.run(study)
    assert cluster.said.startswith("1 of 3 cells are missing: words/all/seed-0/broken: ") and "401" in cluster.said
    facts = json.loads(cluster.file("facts"))
    assert [c["method"] for c in facts["cells"]] == ["vanilla", "planted"]
    assert [f["cell"] for f in facts["failed"]] == ["words/all/seed-0/broken"] and "401" in facts["failed"][0]["line"]
    assert "words/all/seed-0/broken: failed" in cluster.file("tables")
    rule.times, asked = 0, len(stub.asks)
    cluster.run(study)
    assert {ask.body["model"] for ask in stub.asks[asked:]} == {"broken"}, "what is finished is not paid again"
    assert cluster.cells_run()["methods"] == ["words/all/seed-0/broken"]
    assert "failed" not in json.loads(cluster.file("facts"))
    assert not list(cluster.work.rglob("try.json")), "how a finished cell was tried is forgotten"


def test_cells_for_which_a_run_has_no_room_are_missing_and_the_next_one_runs_them(spec, stub, tmp_path):
    study = read_study(write_study(tmp_path, stub.url, methods=METHODS, seeds=[0]))
    cluster = Cluster(spec, tmp_path)
    with pytest.raises(TaskFailed, match="result"):
        cluster.run(study, cells_in_a_run=1)
    assert "words/all/seed-0/random: not run yet" in cluster.said
    cluster.run(study, cells_in_a_run=1)
    assert cluster.cells_run()["methods"] == ["words/all/seed-0/random"]
    with pytest.raises(TaskFailed, match="plan-vanilla"):
        cluster.run(study, cells_in_a_run=0)
    assert cluster.said == "cells_in_a_run: is 0; give 1 or more"


def test_a_cell_that_is_killed_comes_last_and_after_some_times_has_failed(spec, stub, tmp_path):
    study = read_study(write_study(tmp_path, stub.url, methods=METHODS, seeds=[0]))
    cluster, planted, random = Cluster(spec, tmp_path), "words/all/seed-0/planted", "words/all/seed-0/random"
    cluster.killed = planted
    for planned in ([planted, random], [random, planted], [planted]):
        with pytest.raises(Killed):
            cluster.run(study)
        assert cluster.cells_run()["methods"] == planned
    with pytest.raises(TaskFailed, match="result"):
        cluster.run(study)
    assert f"{planted}: its container was killed 3 times in a row" in cluster.said
    assert f"{planted}: failed: its container was killed 3 times" in cluster.file("tables")
    cluster.killed = ""
    cluster.run(study)
    assert cluster.cells_run()["methods"] == [planted] and "failed" not in json.loads(cluster.file("facts"))


def test_methods_of_a_seed_without_vanilla_are_not_run(spec, stub, tmp_path):
    file = write_study(tmp_path, stub.url, methods=METHODS, seeds=[0])
    (tmp_path / "test.jsonl").unlink()
    cluster = Cluster(spec, tmp_path)
    with pytest.raises(TaskFailed, match="result"):
        cluster.run(read_study(file))
    assert "words/all/seed-0/planted: it needs words/all/seed-0/vanilla, which is missing" in cluster.said
    assert cluster.cells_run()["methods"] == ["words/all/seed-0/vanilla"], "tried once more, since a loop needs something"
    assert "words/all/seed-0/random: failed: it needs words/all/seed-0/vanilla" in cluster.file("tables")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"step": "x", "most": 1}, "step: is 'x'; give vanilla, methods, check"),
        ({"step": "vanilla", "most": 1}, "work_uri: missing"),
    ],
)
def test_a_plan_that_cannot_be_made_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        plan.run(Executor(json.dumps({"inputs": {"parameterValues": given}, "outputs": {"outputFile": "/dev/null"}})))


def executor_input(folder, cell, work):
    """As Kubeflow writes it: numbers are doubles, an artifact's name is a number, the log is an output."""
    artifact = {"name": "4", "type": {"instanceSchema": ""}, "uri": str(folder / "plan"), "metadata": {"display_name": "plan"}}
    outputs = {
        name: {"artifacts": [{"name": name, "uri": str(folder / "run" / "cell" / name)}]} for name in ("executor-logs-0", "facts")
    }
    return json.dumps(
        {
            "inputs": {
                "artifacts": {"plan": {"artifacts": [artifact]}},
                "parameterValues": {"cell": cell, "work_uri": str(work)},
            },
            "outputs": {"artifacts": outputs, "outputFile": str(folder / "run" / "cell" / "output_metadata.json")},
        }
    )


def test_a_container_of_a_cell_that_cannot_be_run_ends_well_and_says_why(stub, tmp_path):
    file = write_study(tmp_path, stub.url, methods=METHODS, seeds=[0])
    (tmp_path / "test.jsonl").unlink()
    values = packed.pack(read_study(file))
    (tmp_path / "plan").write_text(json.dumps(as_doubles(values)))

    def started(cell):
        given = [
            "-m",
            STUDY_PROGRAMS["study_cell"].program,
            "--executor-input",
            executor_input(tmp_path, cell, tmp_path / "work"),
        ]
        return subprocess.run([sys.executable, *given], capture_output=True, text=True, check=False)

    done = started("words/all/seed-0/vanilla")
    assert done.returncode == 1 and "work is not where the plan saw it" in done.stderr, "a folder of this container alone"
    (tmp_path / "work" / "plan.json").write_text(json.dumps(values))
    done = started("words/all/seed-0/vanilla")
    assert done.returncode == 0 and "words/all/seed-0/vanilla: failed: InputError: " in done.stderr
    said = json.loads((tmp_path / "run/cell/output_metadata.json").read_text())["artifacts"]["facts"]["artifacts"][0]["metadata"]
    assert (said["cell"], said["ended"]) == ("words/all/seed-0/vanilla", "failed") and "test.jsonl" in said["why"]
    assert json.loads((tmp_path / "work/words/all/seed-0/vanilla/try.json").read_text())["line"] == said["why"]
    done = started("words/all/seed-9/vanilla")
    assert done.returncode == 1 and "there is none called 'words/all/seed-9/vanilla' in this study" in done.stderr


def test_a_cell_that_is_stopped_has_not_failed(stub, tmp_path):
    """A pod that is moved away: its task ends as stopped, for Kubernetes to start it again."""
    (tmp_path / "plan").write_text(
        json.dumps(packed.pack(read_study(write_study(tmp_path, stub.url, methods=METHODS, seeds=[0]))))
    )

    def stop(stage):
        raise SystemExit(143)

    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "plan.json").write_text("{}")

    with pytest.raises(SystemExit):
        run_cell.run(Executor(executor_input(tmp_path, "words/all/seed-0/vanilla", tmp_path / "work")), Parts(stage=stop))
    (tried,) = (tmp_path / "work").rglob("try.json")
    assert json.loads(tried.read_text()) == {"line": "not run yet", "killed": 0}


def test_a_study_survives_its_package(tmp_path, stub):
    names = {name: {} for name in methods.BUILT_IN}
    study = read_study(write_study(tmp_path, stub.url, methods=names, seeds=[3], regimes=[40, 0], iterations=2))
    again = packed.unpack(json.loads(json.dumps(packed.pack(study))))
    assert (again.tasks, again.regimes, again.methods, again.seeds) == (study.tasks, study.regimes, study.methods, study.seeds)
    assert len(json.dumps(packed.pack(study))) < 6000


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda v: v.pop("seeds"), "study: .*seeds"),
        (lambda v: v["changes"]["words"].pop("planted"), "task words lacks settings, or changes of a method"),
        (lambda v: v["settings"]["words"].update(seed="x"), "study: settings of words, vanilla: .*seed"),
    ],
)
def test_what_is_no_study_is_refused(tmp_path, stub, damage, said):
    values = packed.pack(read_study(write_study(tmp_path, stub.url, methods=METHODS)))
    damage(values)
    with pytest.raises(InputError, match=said):
        packed.unpack(values)

"""The package of a study run for real: a container a task, a tiny model, data, model and cells on a real fake-gcs-server.

Cells run in `study`, plans and tables in `analysis`; in neither is Kubeflow, nor the tools of this environment.
"""

import json

import pytest
import yaml
from llm_stub import serving
from package_runner import PackageRun, TaskFailed
from pods import HERE, Pods
from tiny_slm import build
from whole_run import ROWS, TASK, TEXT_TO_SQL, small_run, teach

from pada_agent.components.backends.store.objects import names
from pada_agent.components.backends.store.transfer import put
from pada_agent.components.images import TAG
from pada_agent.components.stages import CONTAINERS, MODULES, STUDY_PROGRAMS
from pada_agent.pipelines.kubeflow.compile import write_study
from pada_agent.pipelines.kubeflow.placement import Kubernetes
from pada_agent.pipelines.kubeflow.placement_file import Placement
from pada_agent.pipelines.study.packed import pack
from pada_agent.pipelines.study.study_file import read_study

pytestmark = pytest.mark.model
VANILLA, PADA = (f"sql/{ROWS['train']}/seed-0/{method}" for method in ("vanilla", "pada"))


@pytest.fixture
def stub():
    with serving() as server:
        teach(server)
        yield server


@pytest.fixture
def store(object_store, tmp_path):
    """With a tiny model and the data of text-to-SQL."""
    found = object_store.elsewhere()
    build(tmp_path / "slm", context=4096)
    with found.used():
        put(tmp_path / "slm", f"{found.uri}/slm")
        for name in (*(f"{split}.jsonl" for split in ROWS), "shop.sql"):
            put(TEXT_TO_SQL / name, f"{found.uri}/data/{name}")
    return found


@pytest.fixture
def pods(engine, images, shared_folder, stub, store):
    """The containers of the package of a study: it takes any."""
    placement = {"images": {"registry": HERE, "tag": f"{TAG}-test"}, "all": {"gpu": None}}
    package = shared_folder / "study.yaml"
    write_study({"seeds": [0]}, {}, 2, Kubernetes(Placement.model_validate(placement)), package)
    return Pods(engine, package.read_text(), shared_folder, stub, store)


@pytest.fixture
def study(stub, store, tmp_path):
    """Vanilla and PaDA on few rows, as a package carries it."""
    data = {split: f"{store.uri}/data/{split}.jsonl" for split in ROWS}
    task = {**TASK, **data, "options": {"database": f"{store.uri}/data/shop.sql"}}
    run = small_run(
        stub.url,
        f"{store.uri}/slm",
        task=task,
        slm={"max_length": 3000},
        teacher={"api_key_env": "TEACHER_API_KEY"},
        judge={"api_key_env": "JUDGE_API_KEY"},
        analyze={"sample": 4, "k_max": 2},
        generate={"batch": 2, "regenerations": 0, "refills": 0, "share": 0.5},
    )
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({"tasks": {"sql": run}, "methods": ["pada"], "seeds": [0]}))
    return pack(read_study(file))


def test_a_study_runs_container_by_container_and_what_is_finished_is_not_run_again(pods, study):
    def run(name, uri):
        before = len(pods.ran)
        run = PackageRun(pods.spec, pods.root, pods.start, contained=True, run_id=name)
        run.run(study=study, work_uri=uri)
        return run, pods.ran[before:]

    first, ran = run("first", f"{pods.store.uri}/study")
    order = ["plan-vanilla", "cell-vanilla-0", "plan-methods", "cell-methods-0", "tables", "result"]
    assert ran == [(name, 0) for name in order]
    assert [first.tasks[f"plan-{step}"].parameters["cells"] for step in ("vanilla", "methods")] == [[VANILLA], [PADA]]
    facts = json.loads(first.local(first.tasks["tables"].artifacts["facts"]).read_text())
    assert [cell["method"] for cell in facts["cells"]] == ["vanilla", "pada"] and "failed" not in facts
    assert "pada" in first.local(first.tasks["tables"].artifacts["tables"]).read_text()
    with pods.store.used():
        below = set(names(f"{pods.store.uri}/study"))
    assert {f"{cell}/cell.json" for cell in (VANILLA, PADA)} <= below
    asked = len(pods.asks())
    assert asked > 0
    again, ran = run("again", f"{pods.store.uri}/study/")
    assert ran == [(name, 0) for name in order]
    assert len(pods.asks()) == asked
    for artifact in ("facts", "tables", "page"):
        texts = {one.local(one.tasks["tables"].artifacts[artifact]).read_bytes() for one in (first, again)}
        assert len(texts) == 1, artifact


def test_a_cell_that_cannot_be_run_ends_well_and_the_tables_and_the_operator_are_told(pods, study):
    study["settings"]["sql"]["slm"]["model"] = f"{pods.store.uri}/no-slm"
    run = PackageRun(pods.spec, pods.root, pods.start, contained=True, retries=False)
    with pytest.raises(TaskFailed, match="result"):
        run.run(study=study, work_uri=f"{pods.store.uri}/study")
    assert pods.ran[-1] == ("result", 1) and {code for _, code in pods.ran[:-1]} == {0}
    assert f"2 of 2 cells are missing: {VANILLA}: ModelError: " in pods.messages[-1]
    assert f"{VANILLA}: failed: ModelError: " in run.local(run.tasks["tables"].artifacts["tables"]).read_text()


@pytest.mark.parametrize("name", STUDY_PROGRAMS)
def test_a_program_of_a_study_without_arguments_prints_its_usage(engine, images, name):
    (module,) = (module for module, program in MODULES.items() if program == name)
    done = engine.run(images[CONTAINERS[name].image], ["python", "-m", module])
    assert done.returncode == 2 and f"usage: python -m {module} --executor-input" in done.stderr
    assert "Traceback" not in done.stderr

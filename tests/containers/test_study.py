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
    """study(tasks): vanilla and PaDA on few rows, as a package carries it; the task `none` has a model that is not there."""
    data = {split: f"{store.uri}/data/{split}.jsonl" for split in ROWS}
    task = {**TASK, **data, "options": {"database": f"{store.uri}/data/shop.sql"}}

    def run(model):
        return small_run(
            stub.url,
            f"{store.uri}/{model}",
            task=task,
            slm={"max_length": 3000},
            teacher={"api_key_env": "TEACHER_API_KEY"},
            judge={"api_key_env": "JUDGE_API_KEY"},
            analyze={"sample": 4, "k_max": 2},
            generate={"batch": 2, "regenerations": 0, "refills": 0, "share": 0.5},
        )

    def of(*tasks):
        values = {"sql": run("slm"), "none": run("no-slm")}
        file = tmp_path / "study.yaml"
        given = {"tasks": {task: values[task] for task in tasks}, "methods": ["pada"], "seeds": [0]}
        file.write_text(yaml.safe_dump(given, sort_keys=False))
        return pack(read_study(file))

    return of


def test_a_study_runs_container_by_container_and_goes_on_past_a_cell_that_cannot_be_run(pods, study):
    def told(run, artifact):
        return run.local(run.tasks["tables"].artifacts[artifact]).read_text()

    uri, missing = f"{pods.store.uri}/study", VANILLA.replace("sql", "none")
    first = PackageRun(pods.spec, pods.root, pods.start, contained=True, run_id="first", retries=False)
    with pytest.raises(TaskFailed, match="result"):
        first.run(study=study("sql", "none"), work_uri=uri)
    cells = ["cell-vanilla-0", "cell-vanilla-1", "plan-methods", "cell-methods-0"]
    assert pods.ran == [(name, 0) for name in ("plan-vanilla", *cells, "tables")] + [("result", 1)]
    planned = [first.tasks[f"plan-{step}"].parameters["cells"] for step in ("vanilla", "methods")]
    assert planned == [[VANILLA, missing], [PADA]]
    facts = json.loads(told(first, "facts"))
    assert [cell["method"] for cell in facts["cells"]] == ["vanilla", "pada"]
    assert f"2 of 4 cells are missing: {missing}: ModelError: " in pods.messages[-1]
    assert f"{missing}: failed: ModelError: " in told(first, "tables")
    with pods.store.used():
        below = set(names(uri))
    assert {f"{cell}/cell.json" for cell in (VANILLA, PADA)} <= below

    asked, before = len(pods.asks()), len(pods.ran)
    assert asked > 0
    again = PackageRun(pods.spec, pods.root, pods.start, contained=True, run_id="again")
    again.run(study=study("sql"), work_uri=f"{uri}/")
    order = ("plan-vanilla", "cell-vanilla-0", "plan-methods", "cell-methods-0", "tables", "result")
    assert pods.ran[before:] == [(name, 0) for name in order]
    assert len(pods.asks()) == asked, "what is finished is not run again"
    finished = json.loads(told(again, "facts"))
    assert (finished["tasks"], finished["cells"]) == (facts["tasks"], facts["cells"]) and "failed" not in finished
    assert "pada" in told(again, "tables") and missing not in told(again, "tables") and "pada" in told(again, "page")


@pytest.mark.parametrize("name", STUDY_PROGRAMS)
def test_a_program_of_a_study_without_arguments_prints_its_usage(engine, images, name):
    (module,) = (module for module, program in MODULES.items() if program == name)
    done = engine.run(images[CONTAINERS[name].image], ["python", "-m", module])
    assert done.returncode == 2 and f"usage: python -m {module} --executor-input" in done.stderr
    assert "Traceback" not in done.stderr

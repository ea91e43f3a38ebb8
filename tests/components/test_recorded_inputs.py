"""Every stage, started with what a real Kubeflow gave it: executor inputs recorded on KFP 2.17.0, in the order of the run.

They are of an earlier release of this package, which gave the settings to every stage and whose update_state called its page
`report`. What is adapted: addresses of data, models, endpoint and stores; where the launcher's mounts are; the name of that page;
what tasks made that were not recorded: STAND_INS; and the inputs that stages no longer take: GONE.
"""

import io
import json
import re
import runpy
import shutil
import sys
from contextlib import redirect_stderr
from pathlib import Path

import pytest
import tiny_slm
from llm_stub import serving
from node_status import Told, size
from package_runner import mounts_below
from whole_run import TEXT_TO_SQL, teach

from pada_agent.components.backends.store.events import told
from pada_agent.components.core.addresses import addresses
from pada_agent.components.core.figures import outcome
from pada_agent.components.core.form import parameters_of
from pada_agent.components.core.settings import Settings
from pada_agent.components.stages import LLM_STAGES, STAGES
from pada_agent.pipelines.kubeflow.compile import MANY_TASKS
from pada_agent.pipelines.kubeflow.package import documents_of, package_file

RECORDED = Path(__file__).parents[2].parent / "shared" / "data" / "kfp" / "executor_inputs"
ORDER = ("prepare-data", "train-lora", "evaluate-slm-2", "evaluate-slm", "update-state", "analyze-patterns", "generate-data")
ORDER += ("control-quality", "generate-data-2", "control-quality-2", "update-state-2", "train-lora-2", "evaluate-slm-3")
ORDER += ("update-state-3",)
TODAY = dict(zip(ORDER, ("prepare", "train-vanilla", "evaluate-untuned", "evaluate-vanilla", "start", "analyze-1"), strict=False))
TODAY |= {"generate-data": "generate-1-1", "control-quality": "control-1-1", "generate-data-2": "generate-1-2"}
TODAY |= {"control-quality-2": "control-1-2", "update-state-2": "merge-1", "train-lora-2": "train-1"}
TODAY |= {"evaluate-slm-3": "evaluate-1", "update-state-3": "score-1"}
WORK = "s3://mlpipeline/work3"
KEPT_BELOW = {"ledger", "checkpoint_uri"}  # which a package no longer gives: stages find their places below work_uri
NODE_STATUS = 1_055_000  # bytes, of a run of 12 tasks
STAND_INS = {  # by task and input: the output of another that was recorded
    ("update-state-2", "checked_batches"): ("control-quality-2", "checked_batches"),  # the third attempt
}
GONE = {"fingerprints", "previous_synthetic_data", "baseline_adapter", "baseline_predictions"}
GONE_FROM = {"update-state-3": {"baseline_report_predictions"}}  # of step-matched vanilla, which has a step of its own
GONE_FROM |= {task: {"plan"} for task in ("generate-data-2", "control-quality", "control-quality-2", "update-state-2")}

LAST_LINES = {  # of each stage's log
    "prepare_data": r"\d+ train rows, \d+ validation rows, \d+ selection rows, \d+ test rows, \d+ duplicates? removed",
    "train_lora": r"\d+ steps, last loss [\d.]+, \d+ rows, \d+ of them synthetic, \d+ dropped as too long",
    "evaluate_slm": r"((train|validation|selection|test) [\d.]+ % of \d+(, )?)+",
    "analyze_patterns": r"\d+ failures?, \d+ analysed, \d+ patterns?, \d+ training errors?, \d+ calls, [\d,]+ tokens.*",
    "generate_data": r"\d+ rows? written, \d+ open batch(es)?, \d+ calls?, [\d,]+ tokens.*",
    "control_quality": r"\d+ rows? let in, \d+ refused, \d+ open batch(es)?, so far \d+ of \d+ rows, \d+ calls?, [\d,]+ tokens.*",
    "update_state": r"ships [\w-]+, \d+ synthetic rows?, go on (yes|no \(.+\)).*",
}

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason=f"EXECUTOR INPUTS OF A REAL KUBEFLOW ARE MISSING: {RECORDED}")


def stage_of(task):
    return task.rstrip("-0123456789").replace("-", "_")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Each task of the run in its turn: what its stage was given, how its program ended ('' is well), and its log."""
    root = tmp_path_factory.mktemp("pod")
    tiny_slm.build(root / "slm", context=4096)
    ended = {}
    with serving() as stub, mounts_below(root), pytest.MonkeyPatch.context() as patch:
        teach(stub)
        patch.setenv("TEACHER_API_KEY", "t")
        patch.setenv("JUDGE_API_KEY", "j")
        places = {
            "s3://mlpipeline/data/": f"{TEXT_TO_SQL}/",
            "/data/shop.sql": str(TEXT_TO_SQL / "shop.sql"),
            "s3://mlpipeline/models/slm": str(root / "slm"),
            "s3://mlpipeline/models/mpnet/all-mpnet-base-v2": str(root / "slm"),
            "http://llm.example/v1": stub.url,
            WORK: str(root / "work"),
            "s3://mlpipeline/ship3": str(root / "shipped"),
            '"/minio/': f'"{root}/minio/',
            "/tmp/kfp/": f"{root}/tmp/kfp/",
        }
        for task in ORDER:
            given = json.loads((RECORDED / f"{task}.json").read_text())["executor_input"]
            for name in (GONE | GONE_FROM.get(task, set())) & given["inputs"].get("artifacts", {}).keys():
                del given["inputs"]["artifacts"][name]
            values = given["inputs"]["parameterValues"]
            given["inputs"]["parameterValues"] = {k: v for k, v in values.items() if k not in KEPT_BELOW} | {"work_uri": WORK}
            text = json.dumps(given)
            for recorded, here in places.items():
                text = text.replace(recorded, here)
            text = text.replace(
                "{{$.inputs.parameters['pipelinechannel--work_uri']}}", str(root / "work")
            )  # the launcher does this
            text = text.replace('"report"', '"report_so_far"')
            for (reader, name), (other, output) in STAND_INS.items():
                if reader == task:
                    made = mounted(root, ended[other][0]["outputs"]["artifacts"][output])
                    shutil.copytree(made, mounted(root, given["inputs"]["artifacts"][name]))
            mounted(root, given["outputs"]["artifacts"]["executor-logs"]).parent.mkdir(parents=True)
            patch.setattr(sys, "argv", ["", "--executor-input", text])
            error, log = "", io.StringIO()
            try:
                with redirect_stderr(log):
                    runpy.run_module(f"pada_agent.components.{stage_of(task)}", run_name="__main__", alter_sys=True)
            except SystemExit as e:
                error = str(e.code)
            ended[task] = (json.loads(text), error, log.getvalue())
        yield ended


def mounted(root, slot):
    return root / slot["artifacts"][0]["uri"].replace("minio://", "minio/")


def test_every_stage_and_every_record_has_its_turn():
    assert {stage_of(task) for task in ORDER} == set(STAGES) - {"publish_result", "score_answers"}, "which there were not yet"
    assert sorted(ORDER) == sorted(file.stem for file in RECORDED.glob("*.json"))


@pytest.mark.parametrize("task", ORDER)
def test_a_stage_runs_to_its_end_from_what_kubeflow_gave_it(ran, task):
    given, error, _ = ran[task]
    assert not error
    said = json.loads(Path(given["outputs"]["outputFile"]).read_text())
    assert set(said["artifacts"]) == set(STAGES[stage_of(task)].outputs), "executor-logs is the backend's"
    for name, slot in said["artifacts"].items():
        (artifact,), (asked,) = slot["artifacts"], given["outputs"]["artifacts"][name]["artifacts"]
        assert artifact.keys() == {"name", "uri", "metadata"}
        assert (artifact["name"], artifact["uri"]) == (name, asked["uri"])
    asked = given["outputs"]["parameters"]
    assert all(Path(asked[name]["outputFile"]).is_file() for name in STAGES[stage_of(task)].values if name in asked)


@pytest.mark.parametrize("task", ORDER)
def test_a_stage_ends_its_log_with_its_numbers_and_tells_them(ran, task):
    given, _, log = ran[task]
    *_, run, name, _, _ = given["outputs"]["artifacts"]["executor-logs"]["artifacts"][0]["uri"].split("/")
    events = [e for e in told(f"{given['inputs']['parameterValues']['work_uri']}/events", run).values() if e.task == name]
    last = log.splitlines()[-1]
    assert [e.kind for e in events] == ["started", "ended"]
    assert last == outcome(events[-1].seconds, events[-1].numbers)
    assert re.fullmatch(LAST_LINES[stage_of(task)], last.partition("  ")[2])


@pytest.mark.parametrize("stage", [stage for stage in LLM_STAGES if stage != "score_answers"])  # the run had no such task
def test_paid_replies_are_kept_below_the_folder_of_the_run(ran, stage):
    work = {given["inputs"]["parameterValues"]["work_uri"] for given, _, _ in ran.values()}
    assert (Path(*work) / "ledger" / stage).is_file()


def test_a_task_costs_less_than_half_of_what_it_did(ran, capsys):
    """In what Kubernetes keeps of a run, where six copies of each were three quarters of all."""
    before, now = told_before(), told_now(ran)
    with capsys.disabled():
        print("\nbytes of a task's executor input and component spec in node status, six times a task")
        for task, name in TODAY.items():
            print(f"  {name:17}{before[task]:7}{now[task]:7}{now[task] / before[task]:5.0%}")
        print(f"  {'all':17}{sum(before.values()):7}{sum(now.values()):7}{sum(now.values()) / sum(before.values()):7.1%}")
    assert sum(now.values()) < sum(before.values()) / 2


def test_the_number_of_tasks_from_which_compile_warns_follows_what_a_task_costs(ran):
    """KFP's retry sends the whole workflow: 3.0 MB after 32 tasks of that run, where at most 2 MiB are taken."""
    saved = 6 * (sum(told_before().values()) - sum(told_now(ran).values())) / len(ORDER)
    a_task, rest = NODE_STATUS / 12, 3_013_308 - 32 * NODE_STATUS / 12
    most = (2 * 1024**2 - rest) / (a_task - saved)
    assert MANY_TASKS <= most < 1.3 * MANY_TASKS


def told_before():
    records = {task: json.loads((RECORDED / f"{task}.json").read_text()) for task in ORDER}
    return {task: size(record["executor_input"], record["component_spec"]) for task, record in records.items()}


def told_now(ran):
    """The same tasks as the committed package would give them, with what today's stages say of their outputs."""
    said = {TODAY[task]: json.loads(Path(given["outputs"]["outputFile"]).read_text()) for task, (given, _, _) in ran.items()}

    def metadata(name, output):
        of = name if name in said else TODAY["control-quality-2"]  # of the attempts after the second there is no record
        made = said[of]["artifacts"]  # as the stage calls them; a package may have labelled them
        return made[output if output in made else output.rpartition("_")[0]]["artifacts"][0]["metadata"]

    record = json.loads((RECORDED / "prepare-data.json").read_text())["executor_input"]["inputs"]["parameterValues"]
    whole = Settings.model_validate(record["settings"])
    seen = json.dumps({address.key: "etag d41d8cd98f00b204e9800998ecf8427e, 5312 bytes" for address in addresses(whole)})
    values = {**parameters_of(whole), "data_version": seen, "work_uri": WORK, "export_uri": "s3://mlpipeline/ship3"}
    store = json.loads((RECORDED / "train-lora.json").read_text())["executor_input"]["inputs"]["artifacts"]["train_data"]
    session = store["artifacts"][0]["metadata"]["store_session_info"]
    spec = documents_of(package_file("kubernetes").read_text())[0]
    defaults = {
        name: of["defaultValue"] for name, of in spec["root"]["inputDefinitions"]["parameters"].items() if "defaultValue" in of
    }
    told = Told(spec, {**defaults, **values}, metadata, session)
    return {task: size(*told.of(name)) for task, name in TODAY.items()}

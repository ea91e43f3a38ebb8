"""Settings that hold an address, with what they name in each store and on a disk: for the stage, the estimate and the doctor."""

import json
import shutil
from pathlib import Path

import pytest
from whole_run import TEXT_TO_SQL

from pada_agent.components.backends.executor import Executor
from pada_agent.components.backends.llm.ledger.calls import open_ledger
from pada_agent.components.backends.models.sources import find_model
from pada_agent.components.backends.slm.checkpoints import Checkpoints
from pada_agent.components.backends.store import objects
from pada_agent.components.backends.store.export import fetch_shipped, publish
from pada_agent.components.backends.store.transfer import put
from pada_agent.components.core.addresses import addresses
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import Settings
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.prepare_data.__main__ import run as prepare_data
from pada_agent.components.stages import STAGES
from pada_agent.pipelines import doctor
from pada_agent.pipelines.cost_table import estimated
from pada_agent.pipelines.kubeflow.cluster.doctor import ClusterTarget
from pada_agent.pipelines.kubeflow.cluster.doctor import _checks as cluster_checks
from pada_agent.pipelines.local.remote_run import open_run

SPLITS = ("train", "validation", "selection", "test")
SCORER = "def close(output, answer):\n    return output == answer\n"
JUDGE = """=== user
Good at {{ task }} for {{ strategy }}? {{ asked }} like{% for p in parents %} {{ p.question }}{% endfor %}:
{% for i in items %} {{ i.question }}{% endfor %}"""
CUSTOM = {"prompt": "question", "answer": "sql", "scorer": "python", "description": "Queries."}


def place_at(where, tmp_path):
    """Rows, database, scorer and models at a URI or in a folder."""
    folder = tmp_path / "upload"
    folder.mkdir()
    for name in (*(f"{split}.jsonl" for split in SPLITS), "shop.sql"):
        shutil.copy(TEXT_TO_SQL / name, folder / name)
    (folder / "scorer.py").write_text(SCORER)
    (folder / "prompts").mkdir()
    (folder / "prompts" / "judge.txt").write_text(JUDGE)
    (folder / "slm").mkdir()
    (folder / "slm" / "config.json").write_text("{}")
    put(folder, where)
    return where


@pytest.fixture
def at_uri(uri, tmp_path, monkeypatch):
    monkeypatch.setenv("PADA_MODELS", str(tmp_path / "cache"))
    return place_at(uri, tmp_path)


@pytest.fixture
def on_volume(tmp_path):
    """A path, as a mounted volume is for a pod."""
    return place_at(str(tmp_path / "volume"), tmp_path)


def config(where, name="text_to_sql", options=None):
    rows = {split: f"{where}/{split}.jsonl" for split in SPLITS}
    return Settings.model_validate(
        {
            "task": {"name": name, **rows, "options": options or {"database": f"{where}/shop.sql"}},
            "slm": {"model": f"{where}/slm"},
            "embedding": {"model": f"{where}/slm"},
            "prompts": f"{where}/prompts",
            "teacher": {"model": "big"},
            "judge": {"model": "other"},
        }
    )


def prepare(settings, out: Path) -> Path:
    """The folder of the training data."""
    outputs = {name: {"artifacts": [{"name": name, "uri": str(out / name)}]} for name in STAGES["prepare_data"].outputs}
    given = {"settings": STAGES["prepare_data"].sections(settings)}
    whole = {"inputs": {"parameterValues": given}, "outputs": {"artifacts": outputs, "outputFile": str(out / "output.json")}}
    prepare_data(Executor(json.dumps(whole)))
    return out / "train_data"


def check_all(where, tmp_path):
    settings = config(where)
    data = prepare(settings, tmp_path / "out")
    assert (data / "assets" / "database.sql").read_text() == (TEXT_TO_SQL / "shop.sql").read_text()
    manifest = json.loads((data / "manifest.json").read_text())
    assert manifest["splits"]["train"]["source"] == f"{where}/train.jsonl" and set(manifest["assets"]) == {
        "database.sql",
        "prompts/judge.txt",
    }
    assert estimated(settings)[1] == 120
    with_scorer = config(where, "custom", {**CUSTOM, "python": f"{where}/scorer.py:close"})
    scored = prepare(with_scorer, tmp_path / "custom")
    assert (scored / "assets" / "scorer.py").read_text() == SCORER
    for chosen, assets in ((settings, data), (with_scorer, scored)):  # as all other stages do
        task = load_task(chosen.task.name, chosen.task.options, assets / "assets")
        assert (task.name, task.prompts.own) == (chosen.task.name, {"judge.txt": JUDGE})
        checks = {check.name: check for address in addresses(chosen) for check in doctor._lies_there(address)}
        assert len(checks) == 8 and all(check.well for check in checks.values())


def test_all_addresses_in_a_store(at_uri, tmp_path):
    check_all(at_uri, tmp_path)
    assert [p.name for p in find_model(f"{at_uri}/slm").path.iterdir()] == ["config.json"]


def test_all_addresses_on_a_volume(on_volume, tmp_path):
    check_all(on_volume, tmp_path)
    assert find_model(f"{on_volume}/slm").path == Path(on_volume) / "slm"


def test_a_file_that_is_not_there(uri, tmp_path):
    settings = config(place_at(uri, tmp_path), options={"database": f"{uri}/none.sql"})
    with pytest.raises(InputError, match=rf"^task\.options\.database: {uri}/none.sql: there is nothing there$"):
        prepare(settings, tmp_path / "out")
    (check,) = (c for a in addresses(settings) if a.kind == "file" for c in doctor._lies_there(a))
    assert str(check).startswith("MISSING  task.options.database") and f"there is nothing at {uri}/none.sql" in str(check)
    settings = config(uri, options={"database": f"{uri}/slm"})
    with pytest.raises(InputError, match=rf"^task\.options\.database: {uri}/slm is a folder; name the file$"):
        prepare(settings, tmp_path / "out")


def test_prompts_that_are_wrong_or_not_there(uri, tmp_path):
    settings = config(place_at(uri, tmp_path))
    objects.write(f"{uri}/prompts/judge.txt", b"=== user\nGood?")
    objects.write(f"{uri}/prompts/.DS_Store", b"\xff")
    for prompts, said in (
        ("prompts", f"prompts: {uri}/prompts/judge.txt: does not use items, which control_quality asks about; "),
        ("prompts/judge.txt", f"prompts: there is no file in {uri}/prompts/judge.txt; give a folder with some of analyse.txt, "),
        ("none", f"prompts: there is no file in {uri}/none; give a folder"),
        ("", f"prompts: {uri} has 'prompts/judge.txt', which no stage has"),
    ):
        wrong = settings.model_copy(update={"prompts": f"{uri}/{prompts}".rstrip("/")})
        with pytest.raises(InputError) as caught:
            prepare(wrong, tmp_path / "out")
        (check,) = (c for a in addresses(wrong) if a.kind == "folder" for c in doctor._lies_there(a))
        assert str(caught.value) == check.found and not check.well and check.found.startswith(said)
        target = ClusterTarget("pada-agent", kubeconfig=str(tmp_path / "none"))
        assert [c.found for c in cluster_checks(wrong, target) if c.name == "prompts"] == [check.found], "as on this machine"


def test_a_file_that_is_wrong_is_named_by_its_address(uri, tmp_path):
    place_at(uri, tmp_path)
    objects.write(f"{uri}/shop.sql", b"CREATE TABLEX")
    with pytest.raises(InputError, match=rf"^task\.options\.database: {uri}/shop.sql: not a script that SQLite can run"):
        prepare(config(uri), tmp_path / "out")
    settings = config(uri, "custom", {**CUSTOM, "python": f"{uri}/shop.sql.py:close"})
    objects.write(f"{uri}/shop.sql.py", b"def close(:")
    with pytest.raises(InputError, match=rf"^task\.options\.python: {uri}/shop.sql.py: not Python that can be read"):
        prepare(settings, tmp_path / "out")


def test_what_a_run_leaves_at_minio_is_in_the_store_that_s3_names(s3, tmp_path, monkeypatch):
    """KFP calls its own store minio://, so that is what people give as --work-uri."""
    monkeypatch.setenv("PADA_RUNS", str(tmp_path / "runs"))
    place = s3.uri.replace("s3://", "minio://")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "weights").write_text("w")
    publish(tmp_path / "adapter", f"{place}/export", "iteration-1", {})
    assert (fetch_shipped(f"{place}/export", tmp_path / "copy") / "weights").read_text() == "w"
    open_ledger(f"{place}/ledger")
    assert Checkpoints(f"{place}/checkpoints").resume("run one") is None
    with open_run(f"{place}/runs/a").locked():
        assert {name.partition("/")[0] for name in objects.names(s3.uri)} == {"checkpoints", "export", "ledger", "runs"}
    check = doctor.store("--work-uri", f"{place}/work", to_read=False)
    assert check.well and f"{place}/work: its bucket is there" in check.found

"""The images as they are: what is in them, what is not, how they start, and what an operator is told when a stage cannot."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pada_agent.components.images import TAG
from pada_agent.components.stages import IMAGES, STAGES
from pada_agent.pipelines.kubeflow.placement import USER

ROOT = Path(__file__).parents[2]
LIMIT = 250e6  # bytes of `agents`, unpacked: as `docker images` counts
MORE = 450e6  # of `study` than of `slm`

INSTALLED = """
import importlib.metadata, json, platform
found = [(d.metadata["Name"], d.version, d.requires or []) for d in importlib.metadata.distributions()]
print(json.dumps([platform.python_version(), found]))
"""
PARQUET = """
import json, pyarrow, pyarrow.parquet
from pada_agent.components.backends.artifacts.row_sources import read_rows
table = pyarrow.table({"question": ["1 + 1?"], "parts": [[{"answer": "2"}]]})
pyarrow.parquet.write_table(table, "/tmp/train.parquet", compression="zstd")
print(json.dumps([row for _, row in read_rows("/tmp/train.parquet")]))
"""


@pytest.fixture(params=IMAGES)
def role(request):
    return request.param


def facts(engine, image):
    return json.loads(engine("image", "inspect", image).stdout)[0]


def test_agents_is_light(engine, images):
    size = facts(engine, images["agents"])["Size"]
    assert size < LIMIT, f"{size / 1e6:.0f} MB"
    assert engine.run(images["agents"], ["find", "/opt/pada", "-name", "*.pyc"]).stdout == ""


def test_study_is_slm_and_little_more(engine, images):
    layers = {role: facts(engine, images[role])["RootFS"]["Layers"] for role in ("slm", "study")}
    assert layers["study"][: len(layers["slm"])] == layers["slm"]
    more = facts(engine, images["study"])["Size"] - facts(engine, images["slm"])["Size"]
    assert 0 < more < MORE, f"{more / 1e6:.0f} MB"


def test_what_an_image_says_of_itself(engine, images, role):
    config = facts(engine, images[role])["Config"]
    assert config["User"] == f"{USER}:{USER}"
    assert not config["Entrypoint"]
    labels = {key.rpartition(".")[2]: value for key, value in config["Labels"].items()}
    assert labels["title"] == f"pada-agent/{role}"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["version"] == f"{TAG}-test"
    commit, dirty, _ = labels["revision"].partition("-dirty")
    subprocess.run(["git", "cat-file", "-e", commit], check=True, cwd=ROOT)
    assert bool(dirty) == bool(subprocess.run(["git", "status", "--porcelain"], check=True, capture_output=True, cwd=ROOT).stdout)
    assert not [e for e in config["Env"] if any(word in e.lower() for word in ("key", "token", "index", "cert"))]


def test_an_image_holds_its_lock_and_nothing_is_missing(engine, images, role):
    lock = ROOT / "images" / role / ("requirements.cpu.lock" if role in ("slm", "study") else "requirements.lock")
    pins = dict(line.split("==") for line in lock.read_text().splitlines() if "==" in line)
    python, installed = json.loads(engine.run(images[role], ["python", "-c", INSTALLED]).stdout)
    found = {canonicalize_name(name): version for name, version, _ in installed}
    assert found == {"pada-agent": TAG, **pins}
    where = {"extra": "", "python_full_version": python, "python_version": python.rpartition(".")[0]}
    needs = [Requirement(text) for _, _, requires in installed for text in requires]
    needed = {need for need in needs if not need.marker or need.marker.evaluate(where)}
    assert len(needed) > len(pins)
    versions = {need: found.get(canonicalize_name(need.name)) for need in needed}
    assert {need: v for need, v in versions.items() if not v or not need.specifier.contains(v, prereleases=True)} == {}


def test_no_kubeflow_inside_and_torch_only_where_it_is_used(engine, images, role):
    program = (
        "import importlib.util as u, json, pathlib, pada_agent.components.core as c; p = pathlib.Path(c.__path__[0]).parent; "
        "print(json.dumps({m: bool(u.find_spec(m)) for m in ('kfp', 'components', 'pipelines', 'torch', 'peft', 'openai')} "
        "| {'contracts': len(list(p.rglob('component.py'))), 'prompts': len(list(p.rglob('prompts/*')))}))"
    )
    found = json.loads(engine.run(images[role], ["python", "-c", program]).stdout)
    assert found.pop("prompts") > 3
    assert found == {
        "kfp": False,
        "components": False,
        "pipelines": False,
        "contracts": 0,
        "torch": role != "agents",
        "peft": role in ("slm", "study"),
        "openai": role != "slm",
    }


def test_what_no_stage_uses_was_left_out(engine, images, role):
    """And what is left does not ask for it when it is imported; the whole package's run shows the same of what it does."""
    program = (
        "import importlib, json, pathlib, sys, sysconfig; p = pathlib.Path(sysconfig.get_path('purelib')); "
        "names = [m for m in ('torch', 'transformers', 'peft', 'sklearn.cluster', 'pyarrow.parquet', 'sentence_transformers', "
        "'torch.distributed.run', 'openai', 'sqlglot', 's3fs', 'gcsfs') if (p / m.split('.')[0]).exists()]; "
        "[importlib.import_module(m) for m in names]; "
        "tests = [str(f.relative_to(p)) for f in p.rglob('test*') if f.name in ('test', 'tests') and f.is_dir()]; "
        "print(json.dumps([names, [t for t in tests if '.dist-info/' not in t], (p / 'torch' / 'include').exists(), "
        "sorted(f.name for f in pathlib.Path('/opt/pada/bin').iterdir() if not f.name.startswith('python')), "
        "(p / 'pada_agent' / 'pipelines').exists(), next(p.glob('pada_agent-*/WHEEL')).read_text()]))"
    )
    done = engine.run(images[role], ["python", "-c", program])
    assert done.returncode == 0, done.stderr
    imported, tests, headers, commands, pipelines, wheel = json.loads(done.stdout)
    assert len(imported) > 3
    assert not tests and not headers and pipelines == (role in ("analysis", "study"))
    assert commands == ([] if role == "agents" else ["torchrun"])
    assert f"Generator: {(ROOT / 'images' / 'build.lock').read_text().splitlines()[-1].replace('==', ' (')})" in wheel


def test_nothing_but_tmp_can_be_written(engine, images, role):
    program = (
        "import os, pathlib, json\ntried = {}\n"
        "for place in ('/', '/opt/pada', os.path.expanduser('~'), '/models', '/dev/shm'):\n"
        "    try:\n        pathlib.Path(place, 'x').write_text('x'); tried[place] = True\n"
        "    except OSError:\n        tried[place] = False\n"
        "import getpass\nprint(json.dumps([tried, os.getuid(), os.getgid(), os.getgroups(), getpass.getuser()]))"
    )
    tried, *who = json.loads(engine.run(images[role], ["python", "-c", program]).stdout)
    assert tried == {"/": False, "/opt/pada": False, "/tmp": True, "/models": False, "/dev/shm": True}
    assert who == [USER, USER, [USER], "pada"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_without_arguments_prints_its_usage(engine, images, stage):
    done = engine.run(images[STAGES[stage].image], ["python", "-m", f"pada_agent.components.{stage}"])
    assert done.returncode == 2
    assert f"usage: python -m pada_agent.components.{stage} --executor-input" in done.stderr
    assert "Traceback" not in done.stderr


FIRST_LACK = {"prepare_data": "input parameter 'settings' is missing", "publish_result": "work_uri: missing"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_says_in_one_line_what_is_wrong(engine, images, stage, shared_folder):
    message = shared_folder / "termination-log"
    message.touch()
    message.chmod(0o666)
    command = ["python", "-m", f"pada_agent.components.{stage}", "--executor-input"]
    contract = yaml.safe_load((ROOT / "components" / stage / "component.yaml").read_text())["components"][
        f"comp-{stage.replace('_', '-')}"
    ]
    needed = [n for n, of in contract["inputDefinitions"].get("artifacts", {}).items() if not of.get("isOptional")]
    artifacts = {name: {"artifacts": [{"name": name, "uri": "/nowhere"}]} for name in needed}
    asked = {name: {"artifacts": [{"name": name, "uri": "/nowhere"}]} for name in STAGES[stage].outputs}
    outputs = {"artifacts": asked, "outputFile": str(shared_folder / "executor_output.json")}

    def given(found, **parameters):
        return json.dumps({"inputs": {"parameterValues": parameters, "artifacts": found}, "outputs": outputs})

    wrong = {
        "{": "is not a Kubeflow executor input",
        given(artifacts): FIRST_LACK.get(stage, "input artifact 'train_data': there is nothing at /nowhere"),
        given({**artifacts, "rows": {"artifacts": []}}): "unknown input artifact 'rows'",
    }
    if STAGES[stage].settings.model_fields:
        wrong[given(artifacts, settings={"slim": 1})] = "unknown key 'slim' (did you mean 'slm'?)"
    for text, expected in wrong.items():
        done = engine.run(images[STAGES[stage].image], [*command, text], mounts={message: "/dev/termination-log"})
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1 and expected in done.stderr, done.stderr
        assert message.read_text() == done.stderr.strip()
    assert not (shared_folder / "executor_output.json").exists()


def test_rows_are_read_as_parquet_and_from_all_three_places(engine, images):
    image = images[STAGES["prepare_data"].image]
    done = engine.run(image, ["python", "-c", PARQUET])
    assert json.loads(done.stdout) == [{"question": "1 + 1?", "parts": [{"answer": "2"}]}], done.stderr
    program = "import fsspec; print([fsspec.get_filesystem_class(s).__name__ for s in ('gs', 's3', 'hf')])"
    done = engine.run(image, ["python", "-c", program])
    assert done.stdout.strip() == "['ExtendedGcsFileSystem', 'S3FileSystem', 'HfFileSystem']", done.stderr


def test_what_was_left_out_of_botocore_is_not_asked_for(engine, images, role):
    """S3 itself, and the ways to its credentials: a role of the pod (STS), a person's sign-on."""
    program = (
        "import botocore.session as b; s = b.get_session(); "
        "print([s.create_client(n, region_name='eu-north-1').meta.service_model.service_name "
        "for n in ('s3', 'sts', 'sso', 'sso-oidc')])"
    )
    done = engine.run(images[role], ["python", "-c", program])
    assert done.stdout.strip() == "['s3', 'sts', 'sso', 'sso-oidc']", done.stderr

"""What the images are made of, without building them: locks against pyproject.toml, the build's context, the commands of make."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from pada_agent.components.images import image
from pada_agent.components.stages import CONTAINERS, IMAGES, STAGES, STUDY_PROGRAMS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = ["agents/requirements.lock", "analysis/requirements.lock", "slm/requirements.lock", "slm/requirements.cpu.lock"]
LOCKS += ["study/requirements.lock", "study/requirements.cpu.lock"]


def locked(name: str) -> dict[str, Version]:
    lines = (ROOT / "images" / name).read_text().splitlines()
    pins = [re.split("===?", line) for line in lines if line and not line.startswith("#")]
    assert all(len(pin) == 2 for pin in pins), f"{name}: a line that is no pin"
    return {canonicalize_name(package): Version(version) for package, version in pins}


def required(extra: str) -> list[Requirement]:
    found = []
    for requirement in map(Requirement, PROJECT["optional-dependencies"][extra]):
        if requirement.name == PROJECT["name"]:
            found += [r for inner in requirement.extras for r in required(inner)]
        else:
            found.append(requirement)
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_all_that_its_role_needs_in_the_bounds_of_the_project(lock: str) -> None:
    pins = locked(lock)
    for requirement in [*map(Requirement, PROJECT["dependencies"]), *required(lock.partition("/")[0]), *required("storage")]:
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{lock} has no {name}; run `make locks`"
        assert requirement.specifier.contains(pins[name], prereleases=True), f"{lock}: {name} {pins[name]}; run `make locks`"


@pytest.mark.parametrize("lock", LOCKS)
def test_no_kubeflow_and_no_tools_for_development(lock: str) -> None:
    tools = {"kfp", "kubernetes", "google-cloud-aiplatform", "pytest", "hypothesis", "ruff", "mypy", "import-linter", "pip"}
    assert not tools & locked(lock).keys()


def test_all_images_agree_on_versions() -> None:
    versions: dict[str, set[str]] = {}
    for lock in [*LOCKS, "build.lock"]:
        for name, version in locked(lock).items():
            versions.setdefault(name, set()).add(version.public)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_torch_is_the_one_that_is_tested_and_its_build_fits_the_image() -> None:
    constraint = Requirement((ROOT / "constraints-cpu.txt").read_text().splitlines()[-1])
    builds = {lock: locked(lock).get("torch") for lock in LOCKS}
    assert builds.pop("agents/requirements.lock") is None
    assert all(version and constraint.specifier.contains(version) for version in builds.values())
    assert [version.local for version in builds.values() if version] == ["cpu", None, "cpu", None, "cpu"]
    with_cuda = {lock for lock in LOCKS if any(name.startswith("nvidia-") for name in locked(lock))}
    assert with_cuda == {"slm/requirements.lock", "study/requirements.lock"}


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements.cpu.lock"])
def test_the_image_of_a_study_changes_nothing_of_slm_on_which_it_is_built(lock: str) -> None:
    """To the sign: what pip puts in place of another version is in the image twice."""
    below, own = ((ROOT / "images" / role / lock).read_text().splitlines() for role in ("slm", "study"))
    assert set(below) < set(own)


def test_the_project_itself_is_built_with_a_locked_setuptools() -> None:
    system = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    [requirement] = map(Requirement, system["requires"])
    pins = locked("build.lock")
    assert pins.keys() == {requirement.name} == {"setuptools"}
    assert requirement.specifier.contains(pins["setuptools"])
    told = subprocess.run(["make", "-n", "locks"], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    [line] = [line for line in told.splitlines() if line.endswith("build.lock")]
    chosen = subprocess.run(line.partition(" | ")[0], shell=True, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert chosen.strip() == system["requires"][0]


@pytest.mark.parametrize("role", IMAGES)
def test_nothing_is_installed_that_is_not_locked(role: str) -> None:
    text = (ROOT / "images" / role / "Dockerfile").read_text().replace("\\\n", "")
    commands = re.findall(r"/pip/bin/pip (.*?)(?: &&|$)", text, flags=re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        assert "--no-deps" in command
        assert "-r " in command or "--no-index" in command, command
    assert "--no-build-isolation" in commands[1]


def test_torch_with_cuda_is_taken_though_pip_also_sees_the_build_for_cpus(tmp_path: Path) -> None:
    """As in `make images`: one configuration of pip serves all images, and a local version counts as the newer one."""
    [pin] = [line for line in (ROOT / "images/slm/requirements.lock").read_text().splitlines() if line.startswith("torch=")]
    version = str(locked("slm/requirements.lock")["torch"])
    for build in (version, f"{version}+cpu"):
        with zipfile.ZipFile(tmp_path / f"torch-{build}-py3-none-any.whl", "w") as wheel:
            info = f"torch-{build}.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {build}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    where = ["--no-index", "--find-links", str(tmp_path), "--no-deps", "--dest", str(tmp_path / "taken")]
    command = [sys.executable, "-m", "pip", "--isolated", "download", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *where, pin], check=True, env={**os.environ, "PIP_CONFIG_FILE": os.devnull})
    assert [file.name for file in (tmp_path / "taken").iterdir()] == [f"torch-{version}-py3-none-any.whl"]


def test_make_builds_what_the_package_names() -> None:
    command = ["make", "--no-print-directory", "-n", "images", "REGISTRY=registry.example/team", "TAG=7"]
    told = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert {word for word in told.split() if word.startswith("registry.example")} == {
        image(name, "registry.example/team", "7") for name in CONTAINERS
    }
    slm = image("train_lora", "registry.example/team", "7")
    assert re.findall(r"--build-arg (?!VERSION|REVISION)(\S+)", told) == [f"BASE={slm}"], "of study, after slm"
    assert told.index(f"-t {slm} ") < told.index(f"BASE={slm}")
    alone = [*command[:3], "image-study", *command[4:]]
    assert f"-t {slm} " in subprocess.run(alone, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    plain = subprocess.run(command[:-2], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert all(image(name, "") in plain.split() for name in CONTAINERS), "make and components/images.py differ in the tag"
    cpu = subprocess.run([*command, "SLM=cpu", "BASE=mine"], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert cpu.count("BASE=mine") == 3
    assert cpu.count("LOCK=requirements.cpu.lock") == 2


def test_the_label_of_a_tree_with_changes_says_so(tmp_path: Path) -> None:
    """New files too: a module that nobody has committed is in the image."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)

    def git(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        return subprocess.run(["git", *who, *words], check=True, capture_output=True, text=True, cwd=tmp_path).stdout.strip()

    def revisions() -> set[str]:
        told = subprocess.run(["make", "-n", "images"], check=True, capture_output=True, text=True, cwd=tmp_path).stdout
        return set(re.findall(r"--build-arg REVISION=(\S*)", told))

    assert revisions() == {""}
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    commit = git("rev-parse", "HEAD")
    assert revisions() == {commit}
    (tmp_path / "new.py").touch()
    assert revisions() == {f"{commit}-dirty"}
    (tmp_path / "new.py").unlink()
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + "\n")
    assert revisions() == {f"{commit}-dirty"}
    git("tag", "-a", "v1", "-m", "v1")
    git("commit", "-am", "second")
    assert revisions() == {git("rev-parse", "HEAD")}


LEFT_OUT = (
    "bin/pada",
    "bin/transformers",
    "lib/python3.11/site-packages/numpy/_core/include/numpy/ndarraytypes.h",
    "lib/python3.11/site-packages/torch/include/ATen/ATen.h",
    "lib/python3.11/site-packages/torch/bin/protoc",
    "lib/python3.11/site-packages/torch/test/cpp.pt",
    "lib/python3.11/site-packages/sympy/core/tests/test_basic.py",
    "lib/python3.11/site-packages/sympy/core/tests/deeper/tests/x.py",
    "lib/python3.11/site-packages/botocore/data/ec2/2016-11-15/service-2.json",
    "lib/python3.11/site-packages/botocore/data/sso-admin/2020-07-20/service-2.json",
)
KEPT = (
    "bin/python3.11",
    "bin/torchrun",
    "lib/python3.11/site-packages/pada_agent/components/stages.py",
    "lib/python3.11/site-packages/pada_agent/pipelines/loop.py",
    "lib/python3.11/site-packages/scipy/__init__.py",
    "lib/python3.11/site-packages/torch/bin/torch_shm_manager",
    "lib/python3.11/site-packages/torch/testing/__init__.py",
    "lib/python3.11/site-packages/torch-2.13.0.dist-info/licenses/third_party/json/test/LICENSE",
    "lib/python3.11/site-packages/nvidia/cu13/include/cuda_fp16.h",
    "lib/python3.11/site-packages/triton/backends/nvidia/include/cuda.h",
    "lib/python3.11/site-packages/botocore/data/endpoints.json",
    "lib/python3.11/site-packages/botocore/data/s3/2006-03-01/service-2.json",
    "lib/python3.11/site-packages/botocore/data/sso-oidc/2019-06-10/service-2.json",
)


def test_what_no_stage_uses_is_left_out_and_the_rest_stays(tmp_path: Path) -> None:
    for name in (*LEFT_OUT, *KEPT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for _ in range(2):  # it runs after each of two installations
        subprocess.run(["sh", str(ROOT / "images" / "leave_out.sh"), str(tmp_path)], check=True)
        assert {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()} == set(KEPT)
    for name in ("torch", "scipy"):
        shutil.rmtree(tmp_path / "lib/python3.11/site-packages" / name)
    subprocess.run(["sh", str(ROOT / "images" / "leave_out.sh"), str(tmp_path)], check=True)
    assert not (tmp_path / "lib/python3.11/site-packages/pada_agent/pipelines").exists(), "only a study needs it"


@pytest.mark.parametrize("role", IMAGES)
def test_a_dockerfile_says_what_its_image_runs(role: str) -> None:
    text = (ROOT / "images" / role / "Dockerfile").read_text()
    assert f'"PaDA-Agent: {", ".join(name for name, stage in CONTAINERS.items() if stage.image == role)}"' in text
    assert "ENTRYPOINT" not in text
    assert "http" not in text, "where packages come from is a matter of who builds"


def test_the_build_sees_no_more_than_it_is_shown() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert {line for line in lines if line.startswith("!")} == {
        "!pyproject.toml",
        "!README.md",
        "!LICENSE",
        "!components",
        "!pipelines",
        "!python",
        "!images",
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_starts_without_what_its_image_lacks(stage: str) -> None:
    role = STAGES[stage].image
    lacking = {
        "agents": ["torch", "numpy", "sklearn", "pyarrow", "huggingface_hub"],
        "analysis": ["peft"],
        "slm": ["openai", "sklearn", "pyarrow"],
    }[role]
    blocked = "; ".join(f"sys.modules[{name!r}] = None" for name in [*lacking, "kfp", "pada_agent.pipelines"])
    program = f"import sys; {blocked}; import pada_agent.components.{stage}.__main__"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
    assert not {canonicalize_name(name) for name in lacking} & locked(f"{role}/requirements.lock").keys()


@pytest.mark.parametrize("name", STUDY_PROGRAMS)
def test_a_program_of_a_study_starts_without_what_its_image_lacks(name: str) -> None:
    program = STUDY_PROGRAMS[name]
    lacking = ["kfp", "kubernetes", "llama_cpp", *(["peft"] if program.image == "analysis" else [])]
    blocked = "; ".join(f"sys.modules[{module!r}] = None" for module in lacking)
    code = f"import sys; {blocked}; import {program.program} as p; sys.argv = ['x', '--help']; p.main(p.run)"
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
    assert program.program in done.stdout


def test_the_build_sees_every_package_that_is_installed() -> None:
    shown = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert set(setuptools["package-dir"].values()) <= shown, "setuptools fails on a package whose folder is missing"
    names = {
        ".".join([package, *file.parent.relative_to(ROOT / top).parts])
        for package, top in setuptools["package-dir"].items()
        for file in (ROOT / top).rglob("*.py")
    }
    assert set(setuptools["packages"]) == names

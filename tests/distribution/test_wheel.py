"""The wheel in an environment of its own: one package, with all its files, whose names nobody else has."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = {".txt", ".yaml", ".html", ".css", ".js", ".jsonl", ".sql"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from what git would publish."""
    source = tmp_path_factory.mktemp("source")
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in names.stdout.split():
        if (
            name.split("/")[0] in {"components", "pipelines", "python", "pyproject.toml", "README.md", "LICENSE"}
            and (ROOT / name).exists()
        ):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(out), str(source)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = out.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A virtual environment with the wheel, and of this one only the libraries: not the checkout."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    own = Path(sysconfig.get_path("purelib"))
    libraries = folder / "libraries"
    libraries.mkdir()
    for entry in own.iterdir():
        if "pada" not in entry.name and entry.suffix != ".pth":
            (libraries / entry.name).symlink_to(entry)
    (site / "libraries.pth").write_text(f"{libraries}\n")
    return folder / "bin" / "python", site / "pada_agent"


def test_it_holds_every_file_that_the_folders_hold(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = {name.removeprefix("pada_agent/") for name in archive.namelist() if name.startswith("pada_agent/")}
    listed = subprocess.run(["git", "ls-files", "components", "pipelines"], cwd=ROOT, capture_output=True, text=True, check=True)
    wanted = {name for name in listed.stdout.split() if Path(name).suffix in DATA | {".py", ".typed"} and (ROOT / name).exists()}
    assert wanted <= inside, sorted(wanted - inside)[:5]
    assert {"py.typed", "__init__.py", "components/py.typed", "pipelines/py.typed"} <= inside


def test_it_brings_no_other_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"pada_agent"}


def run(python, *arguments, cwd):
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([str(python), *arguments], cwd=cwd, env=own, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["components", "pipelines"])
def test_names_of_other_people_stay_free(environment, tmp_path, name):
    python, _ = environment
    assert "ModuleNotFoundError" in run(python, "-c", f"import {name}", cwd=tmp_path).stderr


def test_the_command_line_and_a_stage_start_outside_the_checkout(environment, tmp_path):
    python, package = environment
    where = run(python, "-c", "import pada_agent.components.core.settings as s; print(s.__file__)", cwd=tmp_path)
    assert where.stdout.startswith(str(package)), where.stderr
    assert "compile" in run(python, "-m", "pada_agent.pipelines.cli", "--help", cwd=tmp_path).stdout
    for stage in ("prepare_data", "update_state"):
        assert "usage: python -m pada_agent" in run(python, "-m", f"pada_agent.components.{stage}", cwd=tmp_path).stderr
    shipped = package / "pipelines" / "placements" / "gke_l4.yaml"
    command = ["compile", "--target", "vertex", "--placement", str(shipped), "--output", "v.yaml"]
    done = run(python, "-m", "pada_agent.pipelines.cli", *command, cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "v.yaml").exists(), done.stderr


def test_its_types_are_seen(environment, tmp_path):
    python, _ = environment
    lines = ["import pada_agent", "from pada_agent.components.core.quality.chain import links", "reveal_type(links)"]
    lines += [f"reveal_type(pada_agent.{name})" for name in ("analyze", "generate", "control", "improve")]
    (tmp_path / "user.py").write_text("\n".join(lines) + "\n")
    command = ["--python-executable", str(python), "--ignore-missing-imports", "--follow-imports=silent", "user.py"]
    done = run(sys.executable, "-m", "mypy", *command, cwd=tmp_path)
    for answer in ("GenerateSettings) -> int", "FailureAnalysis", "SyntheticBatches", "Improvement"):
        assert f"{answer}" in done.stdout, done.stdout
    assert "error" not in done.stdout and "Any) ->" not in done.stdout, done.stdout

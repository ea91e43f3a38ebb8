"""`make push` to a real registry, and the package that its digests pin: what was pushed is what tasks would pull.

The registry is Debian's (`apt install docker-registry`); the images pushed are small ones with the names of ours.
"""

import shutil
import socket
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
import yaml

from pada_agent.components.stages import IMAGES, STAGES
from pada_agent.pipelines.kubeflow.compile import write_package
from pada_agent.pipelines.kubeflow.package import documents_of
from pada_agent.pipelines.kubeflow.pipeline import Shape
from pada_agent.pipelines.kubeflow.placement import Kubernetes
from pada_agent.pipelines.kubeflow.placement_file import read_placement

ROOT = Path(__file__).parents[2]


@pytest.fixture
def registry(tmp_path):
    """The address of an empty registry on the loopback."""
    program = shutil.which("docker-registry")
    if not program:
        pytest.skip("PUSH WAS NOT TESTED: no registry to push to (apt install docker-registry)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = {"version": 0.1, "storage": {"filesystem": {"rootdirectory": str(tmp_path / "store")}}, "http": {"addr": address}}
    (tmp_path / "registry.yaml").write_text(yaml.safe_dump(config))
    log = (tmp_path / "registry.log").open("wb")
    process = subprocess.Popen([program, "serve", str(tmp_path / "registry.yaml")], stdout=log, stderr=log)
    for _ in range(100):
        with socket.socket() as tried:
            if not tried.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))):
                break
        time.sleep(0.1)
    yield address
    process.kill()
    process.wait()


@pytest.fixture
def small_images(engine, registry, tmp_path):
    """By role, an image that holds one file."""
    names = {role: f"{registry}/team/pada-agent/{role}:7" for role in IMAGES}
    for role, name in names.items():
        (tmp_path / role).write_text(role)
        with tarfile.open(tmp_path / f"{role}.tar", "w") as tar:
            tar.add(tmp_path / role, role)
        engine("import", str(tmp_path / f"{role}.tar"), name)
        engine("tag", name, name.replace("/team/", "/another/"))
    yield names
    for name in names.values():
        engine("rmi", "--force", name, name.replace("/team/", "/another/"), check=False)


def push(engine, registry, digests):
    words = [
        "make",
        "--no-print-directory",
        "push",
        f"DOCKER={engine.client}",
        f"REGISTRY={registry}",
        "TAG=7",
        f"DIGESTS={digests}",
    ]
    return subprocess.run(words, check=False, capture_output=True, text=True, cwd=ROOT)


def test_a_package_is_pinned_to_what_was_pushed(engine, registry, small_images, tmp_path):
    digests = tmp_path / "digests.yaml"
    for place in ("another", "team"):  # Docker then knows two names of each image, with one digest or two
        done = push(engine, f"{registry}/{place}", digests)
        assert done.returncode == 0, done.stdout + done.stderr
    write_package(Shape(1), Kubernetes(read_placement(images=digests)), tmp_path / "loop.yaml")
    executors = documents_of((tmp_path / "loop.yaml").read_text())[0]["deploymentSpec"]["executors"].values()
    images = {e["container"]["command"][-1].rpartition(".")[2]: e["container"]["image"] for e in executors}
    for stage, image in images.items():
        role = STAGES[stage].image
        assert image.startswith(f"{registry}/team/pada-agent/{role}@sha256:")
        before = engine("image", "inspect", "--format", "{{.Id}}", small_images[role]).stdout
        engine("pull", image)
        assert engine("image", "inspect", "--format", "{{.Id}}", image).stdout == before
    assert not list(tmp_path.glob("*.part"))


def test_what_cannot_be_pushed_leaves_no_digests(engine, tmp_path):
    digests = tmp_path / "digests.yaml"
    done = push(engine, "", digests)
    assert done.returncode and "Say where the images go: make push REGISTRY=registry.example/team" in done.stdout
    done = push(engine, "127.0.0.1:1/none", digests)
    assert done.returncode and not digests.exists()

"""Builds the manifests with kubectl, as a user would: the optional pieces are switched on by uncommenting their lines."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path(__file__).parents[2] / "manifests"
OVERLAYS = ["gke", "local-cluster"]
COMPONENTS = ["llm-external", "llm-in-cluster", "model-cache", "model-hub", "kfp-standalone"]
WAYS = [("base",), *((o, *c) for o in OVERLAYS for c in [(), *((c,) for c in COMPONENTS), COMPONENTS])]


def lacking() -> str:
    """Why manifests cannot be built on this machine; empty where they can."""
    advice = "install kubectl 1.27 or newer (Debian 13: apt-get install kubernetes-client; Debian 12's is too old)"
    if not shutil.which("kubectl"):
        return f"there is no kubectl; {advice}"
    done = subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True, text=True, check=False)
    # Releases without the field have kustomize 2, which knows neither components nor replacements.
    version = json.loads(done.stdout or "{}").get("kustomizeVersion", "v2")
    return "" if int(version[1:].split(".")[0]) >= 5 else f"kubectl is too old; {advice}"


def kustomize(folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"kubectl kustomize {folder.name}: {done.stderr}"
    assert not done.stderr, done.stderr  # warnings of deprecated fields
    return list(yaml.safe_load_all(done.stdout))


def switch(kustomization: Path, components: tuple[str, ...]) -> None:
    """Uncomment the lines of these components and comment out all others."""
    lines, found = [], []
    for line in kustomization.read_text().splitlines():
        if match := re.fullmatch(r"  (?:# )?- \.\./\.\./components/([\w-]+)(.*)", line):
            found.append(match[1])
            mark = "" if match[1] in components else "# "
            lines.append(f"  {mark}- ../../components/{match[1]}{match[2]}")
        else:
            lines.append(line)
    assert found == COMPONENTS, kustomization
    text = "\n".join(lines) + "\n"
    kustomization.write_text(text if components else text.replace("components:", "components: []"))


def build(root: Path, name: str, components: tuple[str, ...]) -> list[dict[str, Any]]:
    """Objects of an overlay, or of the base, in the copy of manifests/ at `root`, which is changed."""
    if name == "base":
        return kustomize(root / "base")
    switch(root / "overlays" / name / "kustomization.yaml", components)
    return kustomize(root / "overlays" / name)


def plain_files() -> list[dict[str, Any]]:
    """What users apply by hand, without kustomize."""
    return [
        o for name in ("egress-check.yaml", "secret.example.yaml") for o in yaml.safe_load_all((MANIFESTS / name).read_text())
    ]


def named(objects: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {o["metadata"]["name"]: o for o in objects if o["kind"] == kind}


def pod_templates(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {o["metadata"]["name"]: o["spec"]["template"] for o in objects if "template" in o.get("spec", {})}


def walk(node: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, however deep; list items have an empty key."""
    for key, value in node.items() if isinstance(node, dict) else [("", v) for v in node] if isinstance(node, list) else []:
        yield key, value
        yield from walk(value)

"""Draws the layers of a compiled package as Kubeflow's UI shows them, one SVG a layer, and prints what is in each.

    python tests/draw_package.py pipelines/packages/improvement_loop.kubernetes.yaml FOLDER

A layer is the root or a group; its tasks and groups are boxes, each output artifact is a node of its own. Needs graphviz' `dot`.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pada_agent.pipelines.kubeflow.package import documents_of

Spec = Mapping[str, Any]
STYLE = 'rankdir=TB; nodesep=0.25; ranksep=0.3; node [fontname="Helvetica", fontsize=11, height=0.35]; edge [arrowsize=0.6]'


@dataclass(frozen=True)
class Layer:
    """A group as it is opened in the UI: its name, how many clicks below the root, its tasks, artifacts and edges."""

    name: str
    depth: int
    tasks: Mapping[str, Spec]
    groups: frozenset[str]
    artifacts: list[tuple[str, str]]  # the task that makes it, what it is called
    edges: list[tuple[str, str]]

    def dot(self) -> str:
        """As graphviz' text."""
        lines = [f'digraph "{self.name}" {{ {STYLE}']
        for task in self.tasks:
            shape = 'shape=box3d, fillcolor="#dbe9ff", style=filled' if task in self.groups else 'shape=box, style="rounded"'
            lines.append(f'  "{task}" [{shape}]')
        lines += [f'  "{task}.{name}" [label="{name}", shape=ellipse, color="#c9a500"]' for task, name in self.artifacts]
        return "\n".join([*lines, *(f'  "{a}" -> "{b}"' for a, b in self.edges), "}"])


def layers(spec: Spec) -> Iterator[Layer]:
    """Every layer that can be opened, once for each way to it."""

    def visit(name: str, component: Spec, depth: int) -> Iterator[Layer]:
        tasks = component["dag"]["tasks"]
        inside = {key: spec["components"][task["componentRef"]["name"]] for key, task in tasks.items()}
        made = [(key, out) for key, one in inside.items() for out in one.get("outputDefinitions", {}).get("artifacts", {})]
        edges = dict.fromkeys((key, f"{key}.{out}") for key, out in made)
        for key, task in tasks.items():
            for source in task.get("inputs", {}).get("artifacts", {}).values():
                if found := source.get("taskOutputArtifact"):
                    edges[f"{found['producerTask']}.{found['outputArtifactKey']}", key] = None
            for source in task.get("inputs", {}).get("parameters", {}).values():
                if found := source.get("taskOutputParameter"):
                    edges[found["producerTask"], key] = None
            for before in task.get("dependentTasks", []):
                if not any(a.startswith(f"{before}.") and b == key for a, b in edges):
                    edges[before, key] = None
        yield Layer(name, depth, tasks, frozenset(k for k, one in inside.items() if "dag" in one), made, list(edges))
        for key, one in inside.items():
            if "dag" in one:
                yield from visit(key, one, depth + 1)

    yield from visit("root", spec["root"], 0)


def main() -> None:
    """Print the table and write the pictures."""
    package, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    drawn = set()
    for layer in layers(documents_of(package.read_text())[0]):
        print(f"{'  ' * layer.depth}{layer.name}: {len(layer.tasks)} tasks, {len(layer.artifacts)} artifacts")
        if layer.name not in drawn:
            drawn.add(layer.name)
            svg = subprocess.run(["dot", "-Tsvg"], input=layer.dot(), capture_output=True, text=True, check=True).stdout
            (folder / f"{layer.name}.svg").write_text(svg)


if __name__ == "__main__":
    main()

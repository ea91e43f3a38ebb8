"""What KServe's API takes: the classes of its Python SDK, which are generated from the same sources as its CRD.

    python tests/kserve_schema.py kserve-0.21.0-py3-none-any.whl > tests/kserve_schema.json

The wheel is only read: with it installed, other versions of libraries would be needed than this project has. Classes of
Kubernetes itself are those of its own client.
"""

import ast
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kubernetes.client import models as kubernetes_models

RECORDED = Path(__file__).with_suffix(".json")
ROOT = "V1beta1InferenceService"
KEPT = (
    ROOT,
    "V1beta1InferenceServiceSpec",
    "V1beta1PredictorSpec",
    "V1beta1ModelSpec",
    "V1beta1ModelFormat",
    "V1beta1StorageUri",
)
PLAIN = {"str": str, "int": int, "bool": bool, "float": float, "object": object, "ResourceQuantity": str}


def violations(manifest: dict[str, Any]) -> list[str]:
    """What KServe would refuse in an InferenceService, or not know; each with its place."""
    return list(_walk(manifest, ROOT, json.loads(RECORDED.read_text())["classes"], "InferenceService"))


def _walk(value: Any, kind: str, classes: dict[str, Any], where: str) -> Iterator[str]:
    if found := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(value, list):
            yield f"{where}: is not a list"
            return
        for number, item in enumerate(value):
            yield from _walk(item, found[1], classes, f"{where}[{number}]")
    elif found := re.fullmatch(r"dict\(str, (.+)\)", kind):
        if not isinstance(value, dict):
            yield f"{where}: is not an object"
            return
        for key, item in value.items():
            yield from _walk(item, found[1], classes, f"{where}.{key}")
    elif kind in PLAIN:
        if not isinstance(value, PLAIN[kind]) or (kind == "int" and isinstance(value, bool)):
            yield f"{where}: {value!r} is not {kind}"
    else:
        yield from _fields(value, _class(kind, classes), classes, where)


def _class(kind: str, classes: dict[str, Any]) -> dict[str, Any]:
    if kind in classes:
        return classes[kind]
    known = getattr(kubernetes_models, kind)
    return {"fields": {known.attribute_map[name]: of for name, of in known.openapi_types.items()}, "required": []}


def _fields(value: Any, known: dict[str, Any], classes: dict[str, Any], where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: is not an object"
        return
    yield from (f"{where}: {name} is missing" for name in known["required"] if name not in value)
    for name, item in value.items():
        if name not in known["fields"]:
            yield f"{where}: there is no field {name}"
        else:
            yield from _walk(item, known["fields"][name], classes, f"{where}.{name}")


def record(wheel: Path) -> dict[str, Any]:
    """The fields of the classes that are KEPT, by the names they have in YAML."""
    with zipfile.ZipFile(wheel) as inside:
        classes = {kind: _recorded(inside.read(f"kserve/models/{_file(kind)}.py").decode()) for kind in KEPT}
    return {"from": wheel.name, "classes": classes}


def _file(kind: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower()


def _recorded(code: str) -> dict[str, Any]:
    types, names = (
        ast.literal_eval(re.search(rf"{word} = (\{{.*?\}})", code, re.DOTALL)[1]) for word in ("openapi_types", "attribute_map")
    )
    required = re.findall(r"Invalid value for `(\w+)`, must not be `None`", code)
    return {"fields": {names[name]: types[name] for name in types}, "required": [names[name] for name in required]}


if __name__ == "__main__":
    print(json.dumps(record(Path(sys.argv[1])), indent=1))

"""An InferenceService of KServe that serves an exported adapter on its base model, with vLLM.

Written for KServe's own Hugging Face runtime, which hands vLLM's arguments on and answers to the adapter's name from 0.15.1 on
(kserve/kserve#4352); a base model in an object store needs several storage URIs, which KServe has from 0.16 on.
"""

import re
from dataclasses import dataclass
from typing import Any

import yaml

from pada_agent.components.backends.artifacts.exported import Exported
from pada_agent.components.core.addresses import speaks
from pada_agent.components.core.errors import InputError
from pada_agent.components.stages import IMAGES
from pada_agent.pipelines.vllm import max_rank

TUNED = "tuned"  # what requests call the adapter; the base model has the service's name
MOUNT = "/mnt/models"  # where KServe puts what it fetched
LONGEST_NAME = 53  # KServe adds `-predictor`, and a Service's name has 63
_LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class Service:
    """How to serve; an empty `namespace` or `account` is left to who applies the file, `base` is the adapter's own by default."""

    name: str
    namespace: str = ""
    account: str = ""
    gpus: int = 1
    base: str = ""


def manifest(exported: Exported, service: Service) -> str:
    """The YAML. Raises InputError for a name or an address that KServe cannot take."""
    return yaml.safe_dump(inference_service(exported, service), sort_keys=False, allow_unicode=True, width=130)


def inference_service(exported: Exported, service: Service) -> dict[str, Any]:
    """The same as an object."""
    for option, name, longest in (("name", service.name, LONGEST_NAME), ("namespace", service.namespace or "any", 63)):
        if len(name) > longest or not _LABEL.fullmatch(name):
            raise InputError(f"--{option} {name}: give lower-case letters, digits and -, a letter first, at most {longest}")
    base = service.base or str(exported.training.get("base_model") or "")
    adapter = in_store(exported.adapter_uri, "the adapter", "export it to gs:// or s3://")
    annotations = {"pada-agent/adapter": exported.adapter_uri, "pada-agent/adapter-of": str(exported.facts["adapter_uri"])}
    metadata: dict[str, Any] = {"name": service.name, "namespace": service.namespace, "annotations": annotations}
    predictor: dict[str, Any] = {"serviceAccountName": service.account, "minReplicas": 1}
    model: dict[str, Any] = {"modelFormat": {"name": "huggingface"}}
    if "://" in base:
        predictor["storageUris"] = [
            {"uri": _base_in_store(base), "mountPath": f"{MOUNT}/base"},
            {"uri": adapter, "mountPath": f"{MOUNT}/adapter"},
        ]
        arguments = [f"--model_dir={MOUNT}/base", *_lora(exported, f"{MOUNT}/adapter")]
    else:
        model["storageUri"] = adapter
        arguments = [f"--model_id={_on_hub(base)}", *_lora(exported, MOUNT)]
    predictor["model"] = model | {"args": arguments, "resources": _resources(service.gpus)}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": _without_empty(metadata),
        "spec": {"predictor": _without_empty(predictor)},
    }


def _base_in_store(base: str) -> str:
    if base.endswith(".gguf"):
        raise InputError(f"{base}: vLLM puts no adapter on a .gguf file; give the model it was made from as --base-model")
    return in_store(base, "the base model", "give --base-model")


def _on_hub(base: str) -> str:
    if not _HUB.fullmatch(base):
        raise InputError(f"{base or 'the base model'}: a cluster cannot read it; give a hub id, gs:// or s3:// as --base-model")
    return base


def _lora(exported: Exported, folder: str) -> list[str]:
    """vLLM's arguments. The weights are of the type that the adapter was trained and evaluated with."""
    rank = max_rank(int(exported.config["r"]))
    lora = ["--enable-lora", f"--max-lora-rank={rank}", f"--lora-modules={TUNED}={folder}"]
    return ["--backend=vllm", f"--dtype={exported.training['dtype']}", *lora]


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value != ""}


def in_store(uri: str, what: str, instead: str) -> str:
    """A URI as KServe's storage initializer writes it: minio:// is KFP's word for s3://. Raises InputError for no store."""
    api = speaks(uri)
    if not api:
        raise InputError(f"{uri}: KServe cannot fetch {what} from there; {instead}")
    return f"{api}://{uri.partition('://')[2]}"


def _resources(gpus: int) -> dict[str, Any]:
    """What evaluation of the same model asks for, and the GPUs."""
    asked = IMAGES["slm"]
    both = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    least, most = ({"cpu": asked.cpu[i], "memory": asked.memory[i], **both} for i in (0, 1))
    return {"requests": least, "limits": most}

"""The InferenceService, checked against the fields that KServe's own SDK has."""

from dataclasses import replace

import pytest
import yaml
from kserve_schema import violations

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.lora_ranks import RANKS
from pada_agent.pipelines.kubeflow.handover.kserve import Service, inference_service, manifest
from pada_agent.pipelines.vllm import max_rank

ADAPTER = "gs://shop/adapter/iteration-1-5b1f03c7a9d4"


def based_on(exported, base):
    return replace(exported, training={**exported.training, "base_model": base})


def test_a_base_model_of_the_hub(exported):
    found = yaml.safe_load(manifest(exported, Service("pada-text-to-sql", "shop", "reader", 2)))
    assert violations(found) == []
    assert found["metadata"]["name"] == "pada-text-to-sql"
    assert found["metadata"]["namespace"] == "shop"
    assert found["metadata"]["annotations"]["pada-agent/adapter"] == ADAPTER
    predictor = found["spec"]["predictor"]
    assert predictor["serviceAccountName"] == "reader"
    assert predictor["model"]["storageUri"] == ADAPTER
    assert "storageUris" not in predictor
    assert predictor["model"]["args"] == [
        "--model_id=org/slm",
        "--backend=vllm",
        "--dtype=bfloat16",
        "--enable-lora",
        "--max-lora-rank=16",
        "--lora-modules=tuned=/mnt/models",
    ]
    resources = predictor["model"]["resources"]
    assert {resources[kind]["nvidia.com/gpu"] for kind in ("requests", "limits")} == {"2"}
    assert resources["limits"]["memory"] == "32Gi"


@pytest.mark.parametrize("scheme, there", [("gs", "gs"), ("s3", "s3"), ("minio", "s3")])
def test_a_base_model_in_a_store(exported, scheme, there):
    found = inference_service(replace(based_on(exported, f"{scheme}://models/slm"), uri=f"{scheme}://shop/a"), Service("slm"))
    assert violations(found) == []
    assert "namespace" not in found["metadata"]
    predictor = found["spec"]["predictor"]
    assert predictor["storageUris"] == [
        {"uri": f"{there}://models/slm", "mountPath": "/mnt/models/base"},
        {"uri": f"{there}://shop/a/iteration-1-5b1f03c7a9d4", "mountPath": "/mnt/models/adapter"},
    ]
    assert "storageUri" not in predictor["model"]  # KServe refuses both
    assert predictor["model"]["args"][0] == "--model_dir=/mnt/models/base"
    assert predictor["model"]["args"][-1] == "--lora-modules=tuned=/mnt/models/adapter"


def test_without_a_gpu(exported):
    found = inference_service(exported, Service("slm", gpus=0))
    assert violations(found) == []
    assert "nvidia.com/gpu" not in found["spec"]["predictor"]["model"]["resources"]["limits"]


@pytest.mark.parametrize("base", ["/home/me/slm", "/home/me/slm.gguf", "gs://models/slm.gguf", "org/slm/q4.gguf", ""])
def test_a_base_model_that_cannot_be_served_can_be_named(exported, base):
    with pytest.raises(InputError, match=r"--base-model"):
        inference_service(based_on(exported, base), Service("slm"))
    found = inference_service(based_on(exported, base), Service("slm", base="org/same"))
    assert found["spec"]["predictor"]["model"]["args"][0] == "--model_id=org/same"


def test_an_adapter_on_a_disk_cannot_be_served(exported):
    with pytest.raises(InputError, match=r"/runs/a/iteration-1-5b1f03c7a9d4: KServe cannot fetch the adapter .*export it to gs"):
        inference_service(replace(exported, uri="/runs/a"), Service("slm"))


@pytest.mark.parametrize("name", ["Pada", "1pada", "pada_sql", "pada-", "p" * 54, ""])
def test_a_name_that_kubernetes_refuses(exported, name):
    with pytest.raises(InputError, match=r"--name .*lower-case letters"):
        inference_service(exported, Service(name))
    with pytest.raises(InputError, match=r"--namespace .*lower-case letters"):
        inference_service(exported, Service("slm", namespace="Team A"))


def test_ranks_that_vllm_takes():
    assert [max_rank(rank) for rank in (1, 8, 9, 16, 48, 257, 512)] == [8, 8, 16, 16, 64, 320, 512]
    assert max_rank(RANKS[-1]) == 512
    with pytest.raises(InputError, match=r"rank is 513, and vLLM serves at most 512"):
        max_rank(513)


def test_the_check_sees_what_is_wrong(exported):
    found = inference_service(exported, Service("slm"))
    model = found["spec"]["predictor"]["model"]
    model["storageURI"] = model.pop("storageUri")
    model["args"].append(16)
    del model["modelFormat"]
    found["spec"]["predictor"]["minReplicas"] = "1"
    found["spec"]["predictor"]["storageUris"] = [{"uri": "gs://a", "path": "/mnt/models/a"}]
    assert sorted(violations(found)) == [
        "InferenceService.spec.predictor.minReplicas: '1' is not int",
        "InferenceService.spec.predictor.model.args[6]: 16 is not str",
        "InferenceService.spec.predictor.model: modelFormat is missing",
        "InferenceService.spec.predictor.model: there is no field storageURI",
        "InferenceService.spec.predictor.storageUris[0]: there is no field path",
    ]

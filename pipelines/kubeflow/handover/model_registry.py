"""Registers an exported adapter in Kubeflow's Model Registry: what it is, how good, and what it was made of.

A registered model has a version for each exported folder, whose name changes with its content, and a version has one artifact
that points to the folder. What is there already stays as it is, so that a registration that broke off is finished by doing
it again.
"""

import asyncio
import ssl
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from pada_agent.components.backends.artifacts.exported import REPORT, Exported
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.places import place_of
from pada_agent.components.core.report.facts import Comparison
from pada_agent.components.core.report.gather import gather
from pada_agent.components.core.report.verdict import STEP_MATCHED

AUTHOR = "pada-agent"
FORMAT = "peft"
SECONDS = 30.0  # for an answer
Property = bool | int | float | str


@dataclass(frozen=True)
class Registry:
    """The server's URL; a bearer token and a file of an authority where it wants them."""

    url: str
    token: str = ""
    ca_cert: str = ""


def register(exported: Exported, name: str, registry: Registry) -> str:
    """Register under `name`; returns words for what is there now. Raises InputError, also without the client."""
    try:
        import aiohttp
        from mr_openapi import ApiClient, Configuration, ModelRegistryServiceApi
        from mr_openapi.exceptions import ApiException
    except ImportError as e:
        raise InputError(f"--model-registry: the client is missing ({e}); pip install 'pada-agent[registry]'") from e
    if not registry.url.startswith(("http://", "https://")):
        raise InputError(f"--model-registry {registry.url}: give the URL of its REST API, as http://host:8080")
    if registry.ca_cert and not Path(registry.ca_cert).is_file():
        raise InputError(f"--ca-cert {registry.ca_cert}: there is no such file")

    async def all_of_it() -> str:
        where = Configuration(
            host=registry.url.rstrip("/"), access_token=registry.token or None, ssl_ca_cert=registry.ca_cert or None
        )
        async with ApiClient(where) as client:
            return await _register(ModelRegistryServiceApi(client), exported, name)

    try:
        return asyncio.run(all_of_it())
    except (ApiException, ValueError) as e:  # the latter for an answer that is none of a registry
        said = " ".join(str(getattr(e, "body", "") or getattr(e, "reason", "") or e).split())[:300]
        status = getattr(e, "status", "") or "no answer of a registry"
        raise InputError(
            f"{registry.url}: the registry refused ({status}: {said}); check the address, the token, and that the client "
            "model-registry is of the server's release"
        ) from e
    except (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError) as e:
        raise InputError(f"{registry.url}: the registry cannot be reached ({type(e).__name__}: {e})") from e


async def _register(api: Any, exported: Exported, name: str) -> str:
    from mr_openapi import Artifact, ModelArtifact, ModelVersionCreate, RegisteredModelCreate

    run = exported.state.run
    model = await _found(api.find_registered_model(name=name, _request_timeout=SECONDS)) or await api.create_registered_model(
        RegisteredModelCreate(name=name, owner=AUTHOR, description=f"{run.slm}, fine-tuned for {run.task}"),
        _request_timeout=SECONDS,
    )
    version = await _found(
        api.find_model_version(name=exported.folder, parent_resource_id=model.id, _request_timeout=SECONDS)
    ) or await api.create_model_version(
        ModelVersionCreate(
            name=exported.folder,
            registeredModelId=model.id,
            author=AUTHOR,
            description=gather(exported.state).verdict.headline,
            customProperties={key: _value(value) for key, value in properties(exported).items()},
        ),
        _request_timeout=SECONDS,
    )
    artifact = await _found(
        api.find_model_artifact(name=exported.folder, parent_resource_id=version.id, _request_timeout=SECONDS)
    )
    if artifact is None:
        made = ModelArtifact(
            artifactType="model-artifact",
            name=exported.folder,
            uri=exported.adapter_uri,
            modelFormatName=FORMAT,
            modelFormatVersion=str(exported.config.get("peft_version") or "") or None,
            **_source(exported),
        )
        await api.upsert_model_version_artifact(version.id, Artifact(made), _request_timeout=SECONDS)
    elif artifact.uri != exported.adapter_uri:
        raise InputError(f"{name}, version {exported.folder}: is registered at {artifact.uri} already; give another --name")
    return f"{name}, version {exported.folder} (model {model.id}, version {version.id})"


def properties(exported: Exported) -> dict[str, Property]:
    """What a version says of itself. Shares are 0 to 1; a gain is a difference of shares on the test rows."""
    facts = gather(exported.state)
    run, chosen = facts.run, next(m for m in facts.models if m.name == exported.name)
    said: dict[str, Property] = {
        "task": run.task,
        "base_model": str(exported.training.get("base_model") or run.slm),
        "base_model_source": str(exported.training.get("source") or ""),
        "teacher": run.teacher,
        "judge": run.judge,
        "seed": run.seed,
        "steps": chosen.steps,
        "rows": chosen.rows,
        "synthetic_rows": chosen.synthetic_rows,
        "run_finished": facts.finished,
        "report": f"{exported.uri}/{REPORT}",
        "adapter_of": str(exported.facts["adapter_uri"]),
        "pada_agent": str(exported.facts.get("pada_agent") or ""),
        "confidence": run.confidence,
    }
    if test := chosen.test:
        said |= {"test_rows": test.n, "test_accuracy": test.accuracy}
        said |= {"test_accuracy_low": test.low, "test_accuracy_high": test.high}
        if test.grade:
            said |= {"test_score": test.grade.mean, "test_score_low": test.grade.low, "test_score_high": test.grade.high}
    said |= _gain("gain", chosen.over_baseline)
    if facts.baseline == STEP_MATCHED:
        said |= _gain("gain_vanilla", chosen.over_start)
    for split, data in dict(exported.facts.get("data") or {}).items():
        said |= {f"data_{split}": str(data["source"]), f"data_{split}_sha256": str(data["sha256"])}
    return {key: value for key, value in said.items() if value != ""}


def _gain(word: str, over: Comparison | None) -> dict[str, Property]:
    if over is None:
        return {}
    return {
        f"{word}_over": over.to,
        word: over.difference,
        f"{word}_low": over.low,
        f"{word}_high": over.high,
        f"{word}_p": over.p,
    }


def _source(exported: Exported) -> dict[str, str]:
    """The words that KFP and the registry agree on, for a run of Kubeflow: the registry's UI leads to it."""
    place = place_of(str(exported.facts["adapter_uri"]))
    try:
        run = str(UUID(place.run)) if place else ""
    except ValueError:
        run = ""
    if not run:
        return {}
    pipeline = place.root.rpartition("/")[2] if place else ""
    return {"modelSourceKind": "kfp", "modelSourceClass": "pipelinerun", "modelSourceId": run, "modelSourceName": pipeline}


async def _found(asked: Awaitable[Any]) -> Any:
    """None where the registry has no such thing."""
    from mr_openapi.exceptions import NotFoundException

    try:
        return await asked
    except NotFoundException:
        return None


def _value(value: Property) -> Any:
    """Typed, as the registry keeps it; its integers are text."""
    from mr_openapi import MetadataValue

    kinds = {bool: "Bool", int: "Int", float: "Double", str: "String"}
    kind = kinds[type(value)]
    plain = str(value) if kind == "Int" else value
    return MetadataValue.from_dict({f"{kind.lower()}_value": plain, "metadataType": f"Metadata{kind}Value"})

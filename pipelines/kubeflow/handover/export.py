"""`pada export`: what is to be done with an exported adapter, and what is said of it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pada_agent.components.backends.artifacts.exported import Exported, model_name, read_exported
from pada_agent.components.backends.files import write_atomic
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.figures import percent
from pada_agent.pipelines.kubeflow.handover.kserve import TUNED, Service, manifest
from pada_agent.pipelines.kubeflow.handover.model_registry import Registry, register

_ONLY_FOR = {"kserve": ("namespace", "service_account", "base_model"), "model_registry": ("token_env", "ca_cert")}


@dataclass(frozen=True)
class Wanted:
    """The options of the command; empty ones are not wanted, or left to their defaults."""

    kserve: Path | None = None
    model_registry: str = ""
    name: str = ""
    namespace: str = ""
    service_account: str = ""
    gpus: int = 1
    base_model: str = ""
    token_env: str = ""
    ca_cert: str = ""


def take_on(export_uri: str, wanted: Wanted, say: Callable[[str], object]) -> None:
    """Say what lies at `export_uri`, write the service's file and register the model, as wanted. Raises InputError."""
    _check_options(wanted)
    token = os.environ.get(wanted.token_env, "") if wanted.token_env else ""
    if wanted.token_env and not token:
        raise InputError(f"--token-env {wanted.token_env}: that variable is empty")
    exported = read_exported(export_uri)
    if wanted.kserve or wanted.model_registry:
        exported.check_is_adapter()
    name = wanted.name or model_name(exported.state.run.task)
    say(_line(exported))
    if wanted.kserve:
        service = Service(name, wanted.namespace, wanted.service_account, wanted.gpus, wanted.base_model)
        write_atomic(wanted.kserve, manifest(exported, service).encode())
        say(f"{wanted.kserve}: kubectl apply -f it, and ask the service for the model '{TUNED}'; '{name}' is its base model")
        say(f"The adapter was trained on {exported.training.get('source') or exported.training.get('base_model')}")
    if wanted.model_registry:
        say(f"{wanted.model_registry}: {register(exported, name, Registry(wanted.model_registry, token, wanted.ca_cert))}")


def _check_options(wanted: Wanted) -> None:
    """No option may be given in vain."""
    for option, given in (("kserve", bool(wanted.kserve)), ("model_registry", bool(wanted.model_registry))):
        for name in () if given else _ONLY_FOR[option]:
            if getattr(wanted, name):
                raise InputError(
                    f"--{name.replace('_', '-')}: is for --{option.replace('_', '-')}; give that too, or leave it out"
                )


def _line(exported: Exported) -> str:
    test = exported.state.model(exported.name).metrics.get("test")
    interval = f"{percent(test.main.low)} to {percent(test.main.high)}" if test else ""
    accuracy = f"; test {test.measure} {percent(test.main.mean)} ({interval})" if test else ""
    goes_on = "" if not exported.state.decision.go_on else "; its run has not ended, another may come"
    return f"{exported.adapter_uri}: {exported.name} for {exported.state.run.task}{accuracy}{goes_on}".replace("\u00a0", " ")

"""A run that is to start on a cluster: the package and its parameters, checked before anything is sent.

Errors that can be found early are reported here in one line, in minute one and not after the first hour of a GPU.
"""

import ipaddress
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from posixpath import normpath
from typing import Any
from urllib.parse import urlsplit

from pada_agent.components.backends.store.events import events_below
from pada_agent.components.core.addresses import STORES, Address, addresses, bucket_of
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.form import FIELDS, parameters_of
from pada_agent.components.core.quality.chain import links
from pada_agent.components.core.settings import EMBEDDED, LlmSettings, Settings
from pada_agent.components.core.slm_interface import step_shares
from pada_agent.components.stages import STAGES, STUDY_PROGRAMS
from pada_agent.pipelines.kubeflow.package import KUBERNETES, VERTEX, Package

LONGEST_RUN_NAME = 128  # of Vertex, and of the columns for names in KFP's database
LONGEST_VERSION = 127  # of a column in KFP's database
DATA_VERSION = "data_version"  # a parameter that submit fills in
PARAMETER_BYTES = 10_000  # of KFP's API server, variable MAX_PARAMETER_BYTES
SCHEMES = {KUBERNETES: tuple(f"{scheme}://" for scheme in STORES), VERTEX: ("gs://",)}
BUCKETS = "/gcs"  # where Vertex mounts all of Cloud Storage


@dataclass(frozen=True)
class Order:
    """A run to start: `arguments` are the pipeline's parameters, `name` is shown in the list of runs; `again` counts reruns."""

    package: Package
    arguments: dict[str, Any]
    name: str
    again: int = 0

    @property
    def events_uri(self) -> str:
        """Where the run's tasks tell how far they are; '' if they do not."""
        work_uri = str(self.arguments.get("work_uri", ""))
        return events_below(work_uri) if work_uri and self.package.tells else ""


def arguments_for(
    package: Package,
    settings: Settings,
    uris: dict[str, str],
    given: Sequence[str],
    limit: int = PARAMETER_BYTES,
    look: Callable[[], str] = str,
) -> dict[str, Any]:
    """The run's parameters: the settings, `uris` (work_uri, export_uri), and `name=value` of `--set`. Raises InputError.

    Settings are given as those fields of the form that the package has, and as `settings` where they differ from the defaults.
    `look` says what lies at the settings' addresses, unless `--set` does; it may take a while, so that it comes after the checks.
    """
    check_settings(package, settings)
    taken = settings.analyze.patterns_from.rstrip("/")
    if taken and taken == uris.get("export_uri", "").rstrip("/"):
        raise InputError(f"analyze.patterns_from: {taken} is --export-uri too, where this run overwrites them; export elsewhere")
    configured = parameters_of(settings, [name for name in FIELDS if name in package.parameters])
    arguments = configured | _given(package, uris, given, configured)
    if DATA_VERSION in package.parameters and DATA_VERSION not in arguments and (seen := look()):
        arguments[DATA_VERSION] = seen
    package.check(arguments)
    if package.parameters["settings"].get("parameterType") != "STRUCT":
        raise InputError(f"{package.path}: its parameter 'settings' is not an object; write it again with `pada compile`")
    if package.target == KUBERNETES:
        _check_size(arguments, limit)
    return arguments


def study_arguments(package: Package, uris: dict[str, str], given: Sequence[str], limit: int = PARAMETER_BYTES) -> dict[str, Any]:
    """The parameters of a study's run, which has its settings in its package. Raises InputError."""
    arguments = _given(package, {name: uri for name, uri in uris.items() if uri or name in package.parameters}, given, ())
    package.check(arguments)
    if package.target == KUBERNETES:
        _check_size(arguments, limit)
    return arguments


def _given(package: Package, uris: dict[str, str], given: Sequence[str], configured: Collection[str]) -> dict[str, Any]:
    """What options say, and `name=value` of `--set`, which may say nothing that is `configured`."""
    for name, uri in uris.items():
        check_uri(f"--{name.replace('_', '-')}", uri, package.target)
    arguments: dict[str, Any] = {name: uri.rstrip("/") for name, uri in uris.items() if uri}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"--set {text}: give it as name=value")
        if name in configured:
            there = f"--config ({FIELDS[name].key})" if name in FIELDS else "--config"
            raise InputError(f"--set {name}: comes from {there}; change it there")
        if uris.get(name):
            raise InputError(f"--set {name}: comes from its own option; give it once")
        arguments[name] = package.typed(name, value)
        if name in uris:
            check_uri(f"--set {name}", arguments[name], package.target)
    return arguments


def check_settings(package: Package, settings: Settings) -> None:
    """Check that everything the settings name can be reached from a cluster. Raises InputError that names the key."""
    target = package.target
    for address in addresses(settings):
        if address.is_uri:
            check_uri(address.key, address.value, target)
        elif address.is_path:
            _check_mounted(package, address)
    if settings.earlier and "://" not in settings.earlier:
        raise InputError(f"earlier: {settings.earlier} is on no volume; give a {' or '.join(SCHEMES[target])} URI")
    check_uri("earlier", settings.earlier, target)
    for role, llm in settings.llms.items():
        _check_endpoint(role, llm, target)
        _check_key(role, settings, package)
    _check_scored(package, settings)
    if settings.slm.endpoint:
        raise InputError(
            "slm.endpoint: evaluate_slm runs code that a model wrote, so that its pod reaches no server of LLMs; leave it out "
            "here, or run on one machine (`pada run`)"
        )
    step_shares(settings.train, package.processes)
    if 0 < package.max_iterations < settings.loop.iterations:
        raise InputError(
            f"loop.iterations: is {settings.loop.iterations}, but {package.path} has room for {package.max_iterations}; "
            f"lower it, or `pada compile --target {target} --max-iterations {settings.loop.iterations}` and give that --package"
        )


def _check_scored(package: Package, settings: Settings) -> None:
    asked = settings.task.scored_by_llm
    if asked and not package.scores_answers:
        raise InputError(
            f"task.options.scorer: is judge, but {package.path} has no task in which an LLM scores answers; "
            f"`pada compile --target {package.target} --score-answers` and give that --package"
        )
    if package.scores_answers and not asked and not package.is_study:
        raise InputError(
            f"task.options.scorer: is not judge, but an LLM is to score answers in {package.path}; `pada compile --target "
            f"{package.target}` without --score-answers, and give that --package"
        )


def cut_short(package: Package, settings: Settings) -> str:
    """What to say if the settings ask for more tries at a batch than the package has tasks for; else ''."""
    wanted = links(settings.generate)
    if not 0 < package.attempts < wanted:
        return ""
    return (
        f"{package.path} tries a batch {package.attempts} times where the settings allow {wanted} (generate.regenerations, "
        f"refills): what is not accepted by then is left out; `pada compile --attempts {wanted}` makes room"
    )


def check_uri(what: str, uri: str, target: str) -> None:
    """Check that the target can use the URI; an empty one is not given. Raises InputError."""
    if uri and ("://" in uri or what.startswith("--")) and not uri.startswith(SCHEMES[target]):
        raise InputError(f"{what}: {uri} cannot be read on {target}; give a {' or '.join(SCHEMES[target])} URI")
    if uri.startswith(SCHEMES[target]) and not bucket_of(uri):
        raise InputError(f"{what}: {uri} names no bucket; give it as {uri.partition('://')[0]}://bucket/folder")


def check_name(option: str, name: str, longest: int = LONGEST_RUN_NAME) -> None:
    """Check that a server will keep the name. Raises InputError."""
    if len(name) > longest or not name.isprintable():
        raise InputError(f"{option}: {name[:40]!r}... has {len(name)} characters; give one line of at most {longest}")


def check_options(target: str, others: Mapping[str, object]) -> None:
    """Check that no option was given that only the other target knows. Raises InputError."""
    for name, value in others.items():
        if value:
            raise InputError(f"--{name.replace('_', '-')}: is not an option of --target {target}; leave it out")


def is_loopback(host: str) -> bool:
    """Whether a host name leads back to the machine that uses it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _check_mounted(package: Package, address: Address) -> None:
    """A path is fine below what is mounted into each stage that reads it; what is there only the cluster knows."""
    upload = (
        f"upload it to {' or '.join(SCHEMES[package.target])}{', or give a hub id' if address.kind in ('rows', 'model') else ''}"
    )
    # All of a study's programs look at them: the cells of other data are other cells.
    whole_study = package.is_study and address.is_known_by_content
    for stage in STUDY_PROGRAMS if whole_study else package.runners(address.readers):
        mounts = {BUCKETS} if package.target == VERTEX else package.mounts(stage)
        if not any(normpath(address.value).startswith(f"{mount.rstrip('/')}/") for mount in mounts):
            volume = "give it below /gcs/" if package.target == VERTEX else _volume(package, stage, mounts)
            raise InputError(f"{address.key}: {address.value} is on no volume that {stage} has; {upload}, or {volume}")


def _volume(package: Package, stage: str, mounts: set[str]) -> str:
    has = f"{package.path} mounts {', '.join(sorted(mounts)) or 'none'} there"
    return f"mount a volume with it into {stage} (`pada compile --placement FILE`; {has})"


def _check_endpoint(role: str, llm: LlmSettings, target: str) -> None:
    if llm.base_url == EMBEDDED:
        raise InputError(f"{role}.base_url: there is no embedded server on a cluster; give the URL of an OpenAI-compatible one")
    host = urlsplit(llm.base_url).hostname or ""
    if is_loopback(host):
        raise InputError(f"{role}.base_url: {llm.base_url} is this machine, which a pod does not see; give a URL it can reach")
    if target == VERTEX and host.endswith((".svc", ".svc.cluster.local")):
        raise InputError(
            f"{role}.base_url: {llm.base_url} is a Kubernetes service, which Vertex does not see; give a URL it can reach"
        )


def _check_key(role: str, settings: Settings, package: Package) -> None:
    """Every stage that asks this LLM gets its key: as a variable from a secret, on Vertex from Secret Manager."""
    llm: LlmSettings = getattr(settings, role)
    if package.target == VERTEX and not llm.api_key_secret:
        raise InputError(
            f"{role}.api_key_secret: missing; Vertex gives its tasks no secrets: put the key into Secret Manager and give "
            "projects/PROJECT/secrets/NAME/versions/latest"
        )
    if llm.api_key_secret:
        return
    variable = llm.api_key_env
    for stage in package.runners([name for name, known in STAGES.items() if role in known.asks(settings.model_dump())]):
        known = package.secret_variables(stage)
        if known and variable not in known:
            has = ", ".join(sorted(known))
            raise InputError(f"{role}.api_key_env: {stage} gets {has} from a secret, not {variable}; set it to that name")


def _check_size(arguments: dict[str, Any], limit: int) -> None:
    text = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
    size = len(text.encode()) + 5 * sum(text.count(c) for c in "<>&")  # Go writes these as \u003c
    if size > limit:
        raise InputError(
            f"the run's parameters take {size} bytes and Kubeflow allows {limit}: shorten task.options, or set "
            "MAX_PARAMETER_BYTES of its API server and say so with --parameter-bytes"
        )

"""Starts a run on Kubeflow Pipelines, or uploads the package as a version of a pipeline, through KFP's client."""

import io
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pada_agent.components.core.errors import InputError
from pada_agent.pipelines.kubeflow.cluster.kfp_api import (
    FORWARD,
    Health,
    ask_health,
    authorities,
    check_host,
    refusal,
    unreachable,
)
from pada_agent.pipelines.kubeflow.failures import details_of, failures, states
from pada_agent.pipelines.kubeflow.package import KUBERNETES, Package
from pada_agent.pipelines.kubeflow.run_order import Order, check_uri
from pada_agent.pipelines.kubeflow.watch import Interruption, Snapshot, Started

NAMESPACE = "pada-agent"
SERVICE_ACCOUNT = "pada-agent-runner"
EXPERIMENT = "pada-agent"
KUBEFLOW = "kubeflow"  # where a single-user KFP runs everything
HOST_VARIABLE = "KF_PIPELINES_ENDPOINT"  # as in KFP's own client
_POD_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")  # what Kubeflow mounts into a notebook's pod
_SECONDS = 60


@dataclass(frozen=True)
class Cluster:
    """Where to send, and as whom. `token` is never shown."""

    host: str = ""
    namespace: str = ""
    experiment: str = EXPERIMENT
    service_account: str | None = None  # None: the package's own, else SERVICE_ACCOUNT
    pipeline_root: str = ""
    token_env: str = ""
    ca_cert: str = ""

    def token(self) -> str:
        """From the named variable, else from the pod this runs in, else none. Raises InputError."""
        if not self.token_env:
            return _POD_TOKEN.read_text().strip() if _POD_TOKEN.is_file() else ""
        if not self.token_env.isidentifier():  # perhaps the token itself: it is not repeated
            raise InputError("--token-env: give the name of an environment variable that holds a token, not a token")
        token = os.environ.get(self.token_env, "").strip()
        if not token or not token.isascii() or len(token.split()) != 1:
            raise InputError("--token-env: the environment variable it names holds no token; put the bare token into it")
        return token


class Kubeflow:
    """A connection that has answered once. Raises InputError with what is wrong at the address."""

    def __init__(self, cluster: Cluster) -> None:
        host = cluster.host or os.environ.get(HOST_VARIABLE, "")
        if not host:
            raise InputError(f"--host: missing; run `{FORWARD}` beside this and give --host http://127.0.0.1:8080")
        if cluster.pipeline_root:
            check_uri("--pipeline-root", cluster.pipeline_root, KUBERNETES)
        self.host = check_host(host)
        self.cluster = cluster
        self.token = token = cluster.token()
        self.health: Health = ask_health(self.host, token, cluster.ca_cert)
        if cluster.namespace and not self.health.multi_user:
            raise InputError(
                f"--namespace: {self.host} is single-user and runs everything in its own namespace; leave the option out and "
                "create service account and secrets there"
            )
        self.namespace = (cluster.namespace or NAMESPACE) if self.health.multi_user else ""
        with _quiet():
            from kfp import Client

            named = {"namespace": self.namespace} if self.namespace else {}
            self.client = Client(host=self.host, existing_token=token or None, ssl_ca_cert=authorities(cluster.ca_cert), **named)

    def start(self, order: Order) -> Started:
        """Start the run. Raises InputError."""
        account = self.cluster.service_account
        if account is None:
            account = order.package.service_account or SERVICE_ACCOUNT
        with self._asking(f"start a run in experiment '{self.cluster.experiment}'"):
            experiment = self.client.create_experiment(self.cluster.experiment, namespace=self.namespace or None)
            run = self.client.run_pipeline(
                experiment_id=experiment.experiment_id,
                job_name=order.name,
                pipeline_package_path=str(order.package.path),
                params=order.arguments,
                pipeline_root=self.cluster.pipeline_root or None,
                service_account=account or None,
            )
            if not run.run_id:
                raise ValueError("no run_id")  # KFP's client takes a web page for an empty run
        run_id = str(run.run_id)
        names = order.package.task_names
        return Started(
            run_id,
            f"{self.host}/#/runs/details/{run_id}",
            lambda: self._look(run_id, names),
            lambda known: failures(self.client.runs, run_id, self.namespace or KUBEFLOW, names, known),
            order.events_uri,
        )

    def upload(self, package: Package, version: str) -> str:
        """Upload the package as `version` of the pipeline of its name, made if need be; the link to it. Raises InputError."""
        from kfp_server_api import V2beta1Pipeline

        with self._asking(f"upload version '{version}' of pipeline '{package.name}'"):
            pipelines = self.client.list_pipelines(namespace=self.namespace or None, filter=_by_name(package.name)).pipelines
            pipeline = (
                pipelines[0]
                if pipelines
                else self.client.pipelines.pipeline_service_create_pipeline(
                    pipeline=V2beta1Pipeline(display_name=package.name, namespace=self.namespace or None),
                    _request_timeout=_SECONDS,
                )
            )
            made = self.client.upload_pipeline_version(str(package.path), version, pipeline_id=pipeline.pipeline_id)
        return f"{self.host}/#/pipelines/details/{made.pipeline_id}/version/{made.pipeline_version_id}"

    def _look(self, run_id: str, names: Mapping[str, str]) -> Snapshot:
        from kfp_server_api import ApiException
        from urllib3.exceptions import HTTPError

        try:
            with _quiet():
                run = self.client.runs.run_service_get_run(run_id=run_id, _request_timeout=_SECONDS)
        except HTTPError as e:
            raise Interruption(unreachable(self.host, _cause(e))) from e
        except ApiException as e:
            said = refusal(self.host, e.status or 0, token=True)
            if (e.status or 0) >= 500 or e.status in {0, 408, 429}:
                raise Interruption(said) from e
            raise InputError(said) from e
        if not run.run_id:
            raise Interruption(f"{self.host}: answers with something other than a run")
        error = _one_line(run.error.message) if run.error and run.error.message else ""
        return Snapshot(str(run.state or ""), states(details_of(run), names), error)

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Turns what KFP answers into an InputError of one line."""
        from google.protobuf.json_format import ParseError
        from kfp_server_api import ApiException
        from urllib3.exceptions import HTTPError

        try:
            with _quiet():
                yield
        except ApiException as e:
            raise InputError(self._refused(what, e.status or 0, _said(e.body) or str(e.reason or ""))) from e
        except HTTPError as e:
            raise InputError(
                f"{unreachable(self.host, _cause(e))} It may have got through: look there before you try again"
            ) from e
        except ParseError as e:
            raise InputError(f"cannot {what}: the package is not a pipeline that this kfp knows ({_one_line(str(e))})") from e
        except (ValueError, AttributeError, TypeError) as e:
            raise InputError(f"cannot {what}: {self.host} gives an answer that is not KFP's ({_one_line(str(e))})") from e

    def _refused(self, what: str, status: int, said: str) -> str:
        said = said.replace(self.token, "***") if self.token else said
        if status == 401:
            return f"cannot {what}: {refusal(self.host, status, bool(self.token))} ({said})"
        if status == 403:
            place = self.namespace or "KFP's namespace"
            return (
                f"cannot {what}: not allowed in {place} ({said}); is there such a namespace, and does your user have the role "
                f"kubeflow-edit in it? See `pada doctor --target kubernetes --namespace {self.namespace or 'kubeflow'}`"
            )
        if status == 409:
            return f"cannot {what}: there is one of that name already ({said}); give another name"
        if status == 413 or "exceed maximum size" in said:
            return f"cannot {what}: the server finds it too large ({said}); shorten task.options or raise MAX_PARAMETER_BYTES"
        return f"cannot {what}: {self.host} answers HTTP {status} ({said}); correct what it names, or see ml-pipeline's log"


def _by_name(name: str) -> str:
    return json.dumps({"predicates": [{"operation": 1, "key": "display_name", "stringValue": name}]})


def _said(body: Any) -> str:
    """The message in KFP's error body; a web page says nothing."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    try:
        value = json.loads(text)
    except ValueError:
        return "" if text.lstrip().startswith("<") else _one_line(text)
    return _one_line(str(value.get("message") or value.get("error") or "")) if isinstance(value, dict) else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())[:400]


def _cause(error: BaseException) -> BaseException:
    """What the operating system said, under what urllib3 wrapped around it."""
    seen: BaseException = getattr(error, "reason", None) or error
    below = seen.__cause__ or seen.__context__
    return below if isinstance(below, OSError) else seen if isinstance(seen, BaseException) else error


@contextmanager
def _quiet() -> Iterator[None]:
    """KFP's client prints links and warns about itself."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield

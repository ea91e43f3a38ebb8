"""Starts a run on Vertex AI Pipelines with google-cloud-aiplatform."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from pada_agent.components.core.errors import InputError
from pada_agent.pipelines.kubeflow.package import Package
from pada_agent.pipelines.kubeflow.run_order import Order
from pada_agent.pipelines.kubeflow.watch import FAILED, Failure, Interruption, Snapshot, Started

LOGIN = "gcloud auth application-default login"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_SECONDS = 60.0
_ASKED = re.compile(r"^[A-Z]+ https?://\S+: ")  # the REST client puts the request before the reason
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Project:
    """Where to send. `api_endpoint` is for private endpoints; empty is the location's own."""

    project: str = ""
    location: str = ""
    pipeline_root: str = ""
    service_account: str = ""
    job_id: str = ""
    labels: str = ""  # name=value,name=value
    api_endpoint: str = ""


def read_labels(text: str) -> dict[str, str]:
    """`team=nlp,cost=42` as a mapping. Raises InputError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        if not _LABEL.fullmatch(part):
            raise InputError(
                f"--labels: {part!r} is not a label; give name=value in lower-case letters, digits, - and _, separated by commas"
            )
    return dict(part.split("=", 1) for part in parts)


class Vertex:
    """A project with credentials that work and a bucket that is there. Raises InputError with what is missing."""

    def __init__(self, wanted: Project, package: Package) -> None:
        root = wanted.pipeline_root or str(package.spec.get("defaultPipelineRoot", ""))
        if not root.startswith("gs://") or not urlsplit(root).netloc:
            raise InputError(f"--pipeline-root: {root or 'missing'}; Vertex keeps artifacts in a bucket: give gs://bucket/folder")
        if not wanted.location:
            raise InputError("--location: missing; give a region with the GPU you want, e.g. --location us-central1")
        self.labels = read_labels(wanted.labels)
        credentials, project = _credentials()
        self.wanted = wanted
        self.root = root
        self.project = wanted.project or project
        if not self.project:
            raise InputError("--project: missing; give the id of a Google Cloud project")
        self.credentials = credentials
        self._init()
        self._check_bucket()

    def start(self, order: Order) -> Started:
        """Start the run. Raises InputError."""
        from google.cloud import aiplatform, aiplatform_v1

        wanted = self.wanted.job_id
        job_id = f"{wanted}-{order.again}" if wanted and order.again else wanted
        with self._asking("start a run"):
            try:
                job = aiplatform.PipelineJob(
                    display_name=order.name,
                    template_path=str(order.package.path),
                    job_id=job_id or None,
                    pipeline_root=self.root,
                    parameter_values=order.arguments,
                )
            except ValueError as e:
                raise InputError(f"cannot start a run: {_one_line(str(e))}") from e
            # Not job.submit(): that would make a bucket that is missing, in a project and with rights of its own choice.
            made = job.api_client.create_pipeline_job(
                parent=f"projects/{self.project}/locations/{self.wanted.location}",
                pipeline_job=aiplatform_v1.PipelineJob(
                    display_name=order.name,
                    pipeline_spec=job.pipeline_spec,
                    runtime_config=job.runtime_config,
                    labels=self.labels,
                    service_account=self.wanted.service_account,
                ),
                pipeline_job_id=job.job_id,
                timeout=_SECONDS,
            )
        run_id = made.name.rpartition("/")[2] or job.job_id
        place = f"https://console.cloud.google.com/vertex-ai/locations/{self.wanted.location}/pipelines/runs"
        names = order.package.task_names
        return Started(
            run_id,
            f"{place}/{run_id}?project={self.project}",
            lambda: self._look(job.api_client, made.name, names),
            lambda known: self._failures(job.api_client, made.name, names),
            order.events_uri,
        )

    def _look(self, client: Any, name: str, names: Mapping[str, str]) -> Snapshot:
        from google.api_core import exceptions
        from google.auth.exceptions import TransportError
        from requests.exceptions import ConnectionError, Timeout

        try:
            job = self._job(client, name)
        except InputError as e:
            passing = exceptions.ServerError, exceptions.TooManyRequests, ConnectionError, Timeout, TransportError
            if isinstance(e.__cause__, passing):
                raise Interruption(str(e)) from e
            raise
        tasks = {names[d.task_name]: d.state.name for d in job.job_detail.task_details if d.task_name in names}
        return Snapshot(job.state.name.removeprefix("PIPELINE_STATE_"), tasks, _one_line(job.error.message))

    def _failures(self, client: Any, name: str, names: Mapping[str, str]) -> list[Failure]:
        try:
            details = self._job(client, name).job_detail.task_details
        except InputError:
            return []
        failed = [detail for detail in details if detail.task_name in names and detail.state.name == FAILED]
        return [Failure(names[detail.task_name], _one_line(detail.error.message)) for detail in failed]

    def _job(self, client: Any, name: str) -> Any:
        with self._asking("look after the run"):
            return client.get_pipeline_job(name=name, timeout=_SECONDS)

    def _init(self) -> None:
        from google.cloud import aiplatform

        try:
            aiplatform.init(
                project=self.project,
                location=self.wanted.location,
                credentials=self.credentials,
                api_endpoint=self.wanted.api_endpoint or None,
                api_transport="rest",  # gets through proxies that gRPC does not
            )
        except ValueError as e:
            raise InputError(f"--location: {_one_line(str(e))}") from e

    def _check_bucket(self) -> None:
        from google.api_core.exceptions import Forbidden

        storage: Any = import_module("google.cloud.storage")  # a type checker knows this name or not, as other packages decide
        bucket = urlsplit(self.root).netloc
        with self._asking(f"look at gs://{bucket}"):
            try:
                there = storage.Client(project=self.project, credentials=self.credentials).bucket(bucket).exists(timeout=_SECONDS)
            except Forbidden:
                return  # who may write objects often may not look at the bucket itself
        if not there:
            raise InputError(
                f"--pipeline-root: there is no bucket {bucket}; "
                f"gcloud storage buckets create gs://{bucket} --project {self.project} --location {self.wanted.location}"
            )

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Turns what Google's libraries raise into an InputError of one line, with the exception as its cause."""
        from google.api_core import exceptions
        from google.auth.exceptions import GoogleAuthError, RefreshError
        from requests.exceptions import RequestException

        try:
            yield
        except RefreshError as e:
            raise InputError(
                f"cannot {what}: the Google credentials have expired or are refused ({_one_line(str(e))}); {LOGIN}"
            ) from e
        except (GoogleAuthError, RequestException, exceptions.RetryError) as e:
            raise InputError(
                f"cannot {what}: Google's API cannot be reached ({_one_line(str(e))}); check network and proxy"
            ) from e
        except exceptions.GoogleAPICallError as e:
            raise InputError(f"cannot {what}: {self._refused(e)}") from e

    def _refused(self, error: Any) -> str:
        from google.api_core import exceptions

        said = _ASKED.sub("", _one_line(str(error.message)))
        project = self.project
        if isinstance(error, exceptions.Unauthorized):
            return f"the Google credentials are refused ({said}); {LOGIN}"
        if isinstance(error, exceptions.Forbidden):
            if "has not been used" in said or "SERVICE_DISABLED" in str(error):
                return f"Vertex AI is off ({said}); gcloud services enable aiplatform.googleapis.com --project {project}"
            if "actAs" in said or "act as" in said:
                account = self.wanted.service_account or "the service account"
                return f"you may not use {account} ({said}); ask for roles/iam.serviceAccountUser on it"
            return f"not allowed in project {project} ({said}); ask for roles/aiplatform.user there"
        if isinstance(error, exceptions.NotFound):
            return f"there is no project {project} or location {self.wanted.location} ({said}); correct --project or --location"
        if isinstance(error, exceptions.Conflict):
            return f"there is a run of that id already ({said}); give another --job-id"
        if isinstance(error, exceptions.TooManyRequests):
            return f"a quota of {project} is used up ({said}); wait, ask for more, or try another --location"
        if isinstance(error, exceptions.BadRequest):
            return f"Vertex refuses the run ({said}); correct what it names"
        return f"Vertex answers with {error.code} ({said}); try again later"


def _credentials() -> tuple[Any, str]:
    """Application default credentials and their project. Raises InputError."""
    import google.auth
    from google.auth.exceptions import GoogleAuthError

    try:
        credentials, project = google.auth.default(scopes=[_SCOPE])
    except GoogleAuthError as e:
        file = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
        where = f"{file} (GOOGLE_APPLICATION_CREDENTIALS) " if file else ""
        raise InputError(f"no Google credentials: {where}{_one_line(str(e)).partition('.')[0]}; {LOGIN}") from e
    return credentials, str(project or "")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:400]

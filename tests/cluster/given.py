"""What the person who runs `make test-cluster` has told it, by environment variables. README.md lists them."""

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from pada_agent.components.images import TAG

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
SCHEMES = ("gs", "s3", "minio")


class Missing(Exception):
    """What has to be put right before anything can start, a sentence each."""

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


@dataclass(frozen=True)
class Given:
    """All of it. An empty string was not given."""

    host: str
    store: str  # a new folder in what was given: it is removed at the end
    namespace: str = ""
    context: str = ""
    registry: str = ""
    tag: str = TAG
    pull_secret: str = ""
    endpoint: str = ""
    endpoint_here: str = ""
    ca_cert: str = ""
    token: bool = False  # KFP_TOKEN holds one
    minutes: int = 60
    only: tuple[str, ...] = ()
    keep: bool = False

    @property
    def scheme(self) -> str:
        return urlsplit(self.store).scheme

    def uri(self, path: str) -> str:
        """An address below the store for stages, which know KFP's own store as s3://."""
        return f"{self.store.replace('minio://', 's3://', 1)}/{path}"

    def kfp_uri(self, path: str) -> str:
        """The same address for KFP, which needs minio:// for its own store."""
        return f"{self.store}/{path}"


def read_given(variables: Mapping[str, str], scenarios: tuple[str, ...]) -> Given:
    """What the variables say. Raises Missing with all that is wrong with them."""
    said = {name: variables.get(name, "").strip() for name in _NAMES}
    wrong = [*_wrong(said, scenarios)]
    if wrong:
        raise Missing(*wrong)
    return Given(
        host=said["KFP_HOST"].rstrip("/"),
        store=f"{said['STORE'].rstrip('/')}/test-cluster-{uuid.uuid4().hex[:8]}",
        namespace=said["NAMESPACE"],
        context=said["KUBE_CONTEXT"],
        registry=said["REGISTRY"].rstrip("/"),
        tag=said["TAG"] or TAG,
        pull_secret=said["PULL_SECRET"],
        endpoint=said["STORE_ENDPOINT"].rstrip("/"),
        endpoint_here=(said["STORE_ENDPOINT_HERE"] or said["STORE_ENDPOINT"]).rstrip("/"),
        ca_cert=said["KFP_CA_CERT"],
        token=bool(said["KFP_TOKEN"]),
        minutes=int(said["MINUTES"] or 60),
        only=tuple(said["ONLY"].replace(",", " ").split()),
        keep=said["KEEP"] not in {"", "0"},
    )


_NAMES = (
    *("KFP_HOST", "KFP_TOKEN", "KFP_CA_CERT", "KUBE_CONTEXT", "NAMESPACE", "REGISTRY", "TAG", "PULL_SECRET"),
    *("STORE", "STORE_ENDPOINT", "STORE_ENDPOINT_HERE", *KEYS, "MINUTES", "ONLY", "KEEP"),
)


def _wrong(said: Mapping[str, str], scenarios: tuple[str, ...]) -> Iterator[str]:
    if not said["KFP_HOST"]:
        yield "KFP_HOST: missing; the address of KFP's API, e.g. http://127.0.0.1:8080 after a port-forward of svc/ml-pipeline-ui"
    if not said["REGISTRY"]:
        yield "REGISTRY: missing; where `make push` put the images, e.g. registry.example/team, as the nodes know it"
    parts = urlsplit(said["STORE"])
    if parts.scheme not in SCHEMES or not parts.netloc:
        yield (
            f"STORE: '{said['STORE']}' is not a bucket, or a folder in one; give minio://mlpipeline for KFP's own store, or "
            "s3://bucket/folder, gs://bucket/folder"
        )
    elif parts.scheme in {"s3", "minio"}:
        for key in KEYS:
            if not said[key]:
                yield f"{key}: missing; {parts.scheme}:// needs credentials that may read and write {said['STORE']}"
        if parts.scheme == "minio" and not said["STORE_ENDPOINT"]:
            yield "STORE_ENDPOINT: missing; the store's S3 address as pods see it, e.g. http://seaweedfs.kubeflow.svc:9000"
    for name in ("STORE_ENDPOINT", "STORE_ENDPOINT_HERE", "KFP_HOST"):
        if said[name] and not re.match(r"https?://[^/]+", said[name]):
            yield f"{name}: '{said[name]}' is not an address; it begins with http:// or https://"
    if said["MINUTES"] and not (said["MINUTES"].isdigit() and int(said["MINUTES"])):
        yield f"MINUTES: '{said['MINUTES']}' is not a whole number of minutes above 0"
    for name in said["ONLY"].replace(",", " ").split():
        if name not in scenarios:
            yield f"ONLY: there is no '{name}'; there are {' '.join(scenarios)}"

"""What Kubernetes takes for names, labels, annotations and mount paths: checked before a cluster refuses a pod hours later."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

LONGEST_NAME, LONGEST_LABEL = 253, 63
ANNOTATION_BYTES = 256 * 1024  # of all annotations of an object together
SHARED_MEMORY = "shared-memory"  # a volume of our own
OURS = "pada-agent/"  # labels that the network policies rest on
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_PART = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_NAME = re.compile(rf"{_PART}(\.{_PART})*")
# Where KFP's launcher and Argo keep their own, the model cache is, and the image has its program.
TAKEN = ("/gcs", "/s3", "/minio", "/oci", "/kfp-launcher", "/kfp-workspace", "/var/run/argo", "/tmp", "/dev", "/proc", "/models")


def _name(value: str) -> str:
    """Of a secret, a service account."""
    if len(value) > LONGEST_NAME or not _NAME.fullmatch(value):
        raise ValueError(f"not a name that Kubernetes takes: lower-case letters, digits, - and ., at most {LONGEST_NAME}")
    return value


def _claim(value: str) -> str:
    """Of a volume claim: KFP's driver calls the pod's volume the same, which allows less."""
    if len(value) > LONGEST_LABEL or not re.fullmatch(_PART, value) or value == SHARED_MEMORY:
        raise ValueError(
            f"KFP takes claims with lower-case letters, digits and - in their names, at most {LONGEST_LABEL}, but {SHARED_MEMORY}"
        )
    return value


def _qualified(value: str) -> str:
    """The key of a label or an annotation, or a resource: perhaps with a domain in front."""
    domain, slash, name = value.rpartition("/")
    good = len(name) <= LONGEST_LABEL and _LABEL.fullmatch(name)
    if not good or (slash and (len(domain) > LONGEST_NAME or not _NAME.fullmatch(domain))):
        raise ValueError(
            f"not a key that Kubernetes takes: letters, digits, -, _ and ., at most {LONGEST_LABEL}, perhaps with a domain and / "
            "in front"
        )
    return value


def _label_value(value: str) -> str:
    if value and (len(value) > LONGEST_LABEL or not _LABEL.fullmatch(value)):
        raise ValueError(f"not a label's value: letters, digits, -, _ and ., at most {LONGEST_LABEL}")
    return value


def _mount_path(value: str) -> str:
    inside = value.rstrip("/")
    if not value.startswith("/") or ":" in value or ".." in value.split("/") or not inside:
        raise ValueError("give an absolute path without : and ..")
    if taken := [path for path in TAKEN if f"{inside}/".startswith(f"{path}/")]:
        raise ValueError(f"{taken[0]} is in use in a task's container; give another path")
    return inside


def _no_labels_of_ours(labels: dict[str, str]) -> dict[str, str]:
    if own := [key for key in labels if key.startswith(OURS)]:
        raise ValueError(f"'{own[0]}' is set by this project, and network policies rest on it; give another key")
    return labels


def _small_enough(annotations: dict[str, str]) -> dict[str, str]:
    if sum(len(text.encode()) for pair in annotations.items() for text in pair) > ANNOTATION_BYTES:
        raise ValueError(f"Kubernetes takes {ANNOTATION_BYTES} bytes of annotations in all")
    return annotations


def _text(value: Any) -> Any:
    """YAML reads `team: 7` as a number and `spot: true` as a truth value; Kubernetes has text for both."""
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int | float) else value


def like(pattern: str, examples: str) -> AfterValidator:
    """Text of a form; who gives another is told `examples`."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"give {examples}")
        return value

    return AfterValidator(check)


as_text = BeforeValidator(_text)
Name = Annotated[str, AfterValidator(_name)]
Claim = Annotated[str, AfterValidator(_claim)]
QualifiedName = Annotated[str, AfterValidator(_qualified)]
MountPath = Annotated[str, AfterValidator(_mount_path)]
Labels = dict[QualifiedName, Annotated[str, as_text, AfterValidator(_label_value)]]
Annotations = Annotated[dict[QualifiedName, Annotated[str, as_text]], AfterValidator(_small_enough)]
check_labels = AfterValidator(_no_labels_of_ours)

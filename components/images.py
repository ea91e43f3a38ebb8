"""Names of the images. Where they are is chosen when a package is compiled; stages.py says which stage runs in which."""

from importlib.metadata import version

from pada_agent.components.stages import CONTAINERS

REPOSITORY = "pada-agent"
TAG = version("pada-agent")
NOWHERE = "registry.invalid"  # a host that nobody can own (RFC 2606): what is committed must not lead to a stranger's images


def image(stage: str, registry: str = NOWHERE, tag: str = TAG, digest: str = "") -> str:
    """`registry/pada-agent/role:tag`, or `...@sha256:...` with a digest; without a registry the name that `make images` gives."""
    name = f"{REPOSITORY}/{CONTAINERS[stage].image}{f'@{digest}' if digest else f':{tag}'}"
    return f"{registry.rstrip('/')}/{name}" if registry else name


def registry_host(name: str) -> str:
    """The registry in an image's name, told as Docker tells it; '' where Docker would ask its own public one."""
    first, slash, _ = name.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else ""

"""Names of the images. Registry and tag are chosen when a package is compiled; stages.py says which stage runs in which."""

from importlib.metadata import version

from pada_agent.components.stages import STAGES

REPOSITORY = "pada-agent"
TAG = version("pada-agent")


def image(stage: str, registry: str = "", tag: str = TAG) -> str:
    """`registry/pada-agent/role:tag`; without a registry the name alone, as `make images` tags it."""
    name = f"{REPOSITORY}/{STAGES[stage].image}:{tag}"
    return f"{registry.rstrip('/')}/{name}" if registry else name

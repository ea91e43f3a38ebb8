"""PaDA-Agent from Python, as in a notebook:

    import pada_agent
    analysis = pada_agent.analyze("results/", "my.yaml")    # lm-eval's, Inspect's or plain predictions; my.yaml: task, teacher
    written = pada_agent.generate(analysis, rows=10)
    checked = pada_agent.control(written)
    checked.table()

What a caller can mend is raised as PadaError. Nothing heavy is imported before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pada_agent.components.core.errors import EndpointError, InputError, ModelError, PadaError
    from pada_agent.pipelines.alone.analysis import FailureAnalysis, analyze
    from pada_agent.pipelines.alone.improvement import Improvement, improve
    from pada_agent.pipelines.alone.writing import SyntheticBatches, control, generate

__all__ = [
    "EndpointError",
    "FailureAnalysis",
    "Improvement",
    "InputError",
    "ModelError",
    "PadaError",
    "SyntheticBatches",
    "analyze",
    "control",
    "generate",
    "improve",
]

_MODULES = {
    "components.core.errors": ("EndpointError", "InputError", "ModelError", "PadaError"),
    "pipelines.alone.analysis": ("FailureAnalysis", "analyze"),
    "pipelines.alone.improvement": ("Improvement", "improve"),
    "pipelines.alone.writing": ("SyntheticBatches", "control", "generate"),
}


def __getattr__(name: str) -> Any:
    module = next((module for module, names in _MODULES.items() if name in names), "")
    if not module:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return __all__

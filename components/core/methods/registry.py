"""Finds a method by name."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pada_agent.components.core.methods.method import Method

METHODS = {
    "pada": "Pada",
    "random_strategy": "RandomStrategy",
    "auggpt": "AugGpt",
    "learning_from_error": "LearningFromError",
    "learning_by_contrast": "LearningByContrast",
    "llm2llm": "Llm2Llm",
    "duplicate": "Duplicate",
}


def load_method(name: str) -> "Method":
    """The method `name`, which `GenerateSettings` has checked."""
    found: Method = getattr(import_module(f"pada_agent.components.core.methods.{name}"), METHODS[name])()
    return found

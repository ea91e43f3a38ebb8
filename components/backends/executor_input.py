"""What a runner on one machine gives a stage; executor.py says what the stage makes of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pada_agent.components.stages import STAGES

OUTPUT_FILE = "executor_output.json"


def executor_input(stage: str, parameters: Mapping[str, Any], inputs: Mapping[str, Path], folder: Path) -> str:
    """The executor input, as JSON, of a task whose outputs all go into `folder`."""

    def artifact(name: str, path: Path) -> dict[str, Any]:
        return {"artifacts": [{"name": name, "uri": str(path), "metadata": {}}]}

    whole = {
        "inputs": {
            "parameterValues": dict(parameters),
            "artifacts": {name: artifact(name, path) for name, path in inputs.items()},
        },
        "outputs": {
            "artifacts": {name: artifact(name, folder / name) for name in STAGES[stage].outputs},
            "parameters": {name: {"outputFile": str(folder / "parameters" / name)} for name in STAGES[stage].values},
            "outputFile": str(folder / OUTPUT_FILE),
        },
    }
    return json.dumps(whole, indent=1)

"""An exported adapter as it is read from an export place."""

import finished_runs
import pytest

from pada_agent.components.backends.artifacts.exported import Exported


@pytest.fixture
def exported() -> Exported:
    """Of a run on Kubeflow, exported to gs://shop."""
    facts = {"adapter_uri": finished_runs.KFP_ADAPTER, "data": finished_runs.DATA, "pada_agent": "0.1.0"}
    state = finished_runs.state(finished_runs.KFP_ADAPTER)
    config, training = finished_runs.CONFIG, finished_runs.TRAINING
    return Exported("gs://shop/adapter", "iteration-1", "iteration-1-5b1f03c7a9d4", facts, state, config, training)

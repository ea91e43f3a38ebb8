"""KFP's side: is it there, and the removal of the runs and the experiment of this test."""

from collections.abc import Callable
from typing import Any

from given import Given
from runs import EXPERIMENT

from pada_agent.pipelines.kubeflow.submit_kubernetes import Cluster, Kubeflow


def connect(given: Given, namespace: str = "") -> Kubeflow:
    """Raises InputError with what is wrong at KFP_HOST."""
    token = "KFP_TOKEN" if given.token else ""
    return Kubeflow(Cluster(given.host, namespace, EXPERIMENT, token_env=token, ca_cert=given.ca_cert))


def stop(kfp: Kubeflow, run_id: str) -> None:
    """Stop a run, if it has not ended, so that it is not in the way of the next one."""
    _try([], "", lambda: kfp.client.terminate_run(run_id))


def remove(kfp: Kubeflow, started: list[str]) -> list[str]:
    """Stop and delete the runs and the experiment; returns what is left, and why."""
    left: list[str] = []
    space, named = kfp.namespace or None, f"experiment {EXPERIMENT}"
    experiment = _try(left, named, lambda: kfp.client.get_experiment(experiment_name=EXPERIMENT, namespace=space))
    of_this = {"experiment_id": experiment.experiment_id, "namespace": space} if experiment else {}
    listed = _try(left, f"runs of {named}", lambda: kfp.client.list_runs(page_size=100, **of_this)) if experiment else None
    for run_id in dict.fromkeys([*started, *(run.run_id for run in (listed and listed.runs) or [])]):
        stop(kfp, run_id)
        _try(left, f"run {run_id}", lambda run_id=run_id: kfp.client.delete_run(run_id))
    if experiment:
        _try(left, named, lambda: kfp.client.delete_experiment(experiment.experiment_id))
    return left


def _try(left: list[str], what: str, act: Callable[[], Any]) -> Any:
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    try:
        return act()
    except ApiException as e:
        if e.status != 404:
            left.append(f"{what} in KFP (HTTP {e.status})")
    except ValueError:  # KFP's client says so when there is no experiment of this name
        return None
    except (HTTPError, OSError) as e:
        left.append(f"{what} in KFP ({e})")
    return None

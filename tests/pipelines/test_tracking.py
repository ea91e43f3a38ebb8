"""`pada track`: a run in a real MLflow store."""

import finished_runs
import pytest

from pada_agent.components.backends.record_files import read_json, write_json

mlflow = pytest.importorskip("mlflow")


@pytest.fixture
def a_run(tmp_path):
    run = finished_runs.finished_run(tmp_path / "run")
    endpoint = {"base_url": "https://me:hush@llm.example/v1", "headers": {"Authorization": "Bearer hush"}, "model": "big"}
    write_json(run / "settings.json", {"train": {"rank": 16}, "teacher": endpoint, "seed": 3})
    (run / "report.html").write_text("<p>the report")
    adapter = run / "06-train-1" / "adapter" / "train.json"
    write_json(adapter, {**read_json(adapter), "losses": [2.0, 1.5, 0.5]})
    return run


def test_a_run_in_a_database(pada, a_run, tmp_path):
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert "experiment sql (" not in pada("track", a_run, "--mlflow", uri, "--experiment", "sql")[1]
    code, out, said = pada("track", a_run, "--mlflow", uri, "--experiment", "sql")  # again
    assert code == 0 and "experiment sql, run text_to_sql, seed 3 (" in out, said
    client = MlflowClient(tracking_uri=uri)
    (found,) = client.search_runs([client.get_experiment_by_name("sql").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["train.rank"] == "16"
    assert found.data.params["teacher.base_url"] == "https://llm.example/v1"
    assert "hush" not in str(found.data.params) + str(found.data.tags)
    history = {key: [(m.step, m.value) for m in client.get_metric_history(found.info.run_id, key)] for key in found.data.metrics}
    assert history["test_accuracy"] == [(0, 0.6), (1, 0.8)]
    assert history["untuned.test_accuracy"] == [(0, 0.1)]
    assert history["shipped.test_accuracy"] == [(1, 0.8)]
    assert history["gain_over_vanilla"] == [(1, pytest.approx(0.2))]
    assert history["loss.iteration-1"] == [(1, 2.0), (2, 1.5), (3, 0.5)]
    assert list((tmp_path / "mlruns").rglob("report.html"))  # beside the database, wherever the command was called
    assert {"state.json", "report.html"} <= {file.path for file in client.list_artifacts(found.info.run_id)}
    assert found.data.tags["pada.shipped"] == "iteration-1"


def test_mean_scores_of_a_graded_task(pada, a_run, tmp_path):
    from mlflow.tracking import MlflowClient

    file = a_run / "07-score-1" / "state" / "state.json"
    state = read_json(file)
    for model in state["models"]:
        model["metrics"]["test"]["grade"] = {"mean": 0.7, "low": 0.6, "high": 0.8}
    write_json(file, state)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert pada("track", a_run, "--mlflow", uri)[0] == 0
    client = MlflowClient(tracking_uri=uri)
    (found,) = client.search_runs([client.get_experiment_by_name("pada-agent").experiment_id])
    assert [(m.step, m.value) for m in client.get_metric_history(found.info.run_id, "test_score")] == [(0, 0.7), (1, 0.7)]
    assert "selection_score" not in found.data.metrics


def test_what_is_new_is_added(pada, a_run, tmp_path):
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    file = a_run / "07-score-1" / "state" / "state.json"
    state = read_json(file)
    write_json(file, {**state, "models": state["models"][:2], "incumbent": "vanilla", "decision": {"go_on": True, "reason": ""}})
    assert pada("track", a_run, "--mlflow", uri)[0] == 0
    client = MlflowClient(tracking_uri=uri)
    place = [client.get_experiment_by_name("pada-agent").experiment_id]
    assert client.search_runs(place)[0].info.status == "RUNNING"
    write_json(file, state)
    assert pada("track", a_run, "--mlflow", uri)[0] == 0
    (found,) = client.search_runs(place)
    assert [(m.step, m.value) for m in client.get_metric_history(found.info.run_id, "test_accuracy")] == [(0, 0.6), (1, 0.8)]
    assert found.info.status == "FINISHED"


def test_what_is_refused(pada, a_run, tmp_path):
    assert "give a tracking URI" in pada("track", a_run, "--mlflow", " ")[2]
    assert "is missing" in pada("track", tmp_path / "none", "--mlflow", f"sqlite:///{tmp_path / 'm.db'}")[2]
    (tmp_path / "damaged.db").write_text("no database, for longer than the head of one would be " * 9)
    for uri in (f"sqlite:///{tmp_path / 'damaged.db'}", "ftp://nowhere"):
        code, _, said = pada("track", a_run, "--mlflow", uri)
        assert code == 1 and f"--mlflow {uri}: MLflow refused" in said, said

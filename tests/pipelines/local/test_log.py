"""One line for each task: what came out, and whether it ran now."""

import io
import json

from rich.console import Console

from pada_agent.pipelines.local.log import RunLog


def line(tmp_path, parameters, seconds=12.4, fresh=True):
    text = io.StringIO()
    RunLog(Console(file=text, highlight=False)).task("04-evaluate-vanilla", tmp_path, parameters, seconds, fresh)
    return text.getvalue()


def metrics(folder, **accuracies):
    folder.mkdir()
    splits = {split: {"accuracy": share, "n": 80} for split, share in accuracies.items()}
    (folder / "metrics.json").write_text(json.dumps({"splits": splits}))


def test_an_evaluation_shows_its_accuracies(tmp_path):
    metrics(tmp_path / "predictions", validation=0.625)
    metrics(tmp_path / "report_predictions", test=0.7)
    said = line(tmp_path, {"validation_accuracy": 0.625})
    assert said == "04-evaluate-vanilla: 12 s  validation 62.5 % of 80, test 70.0 % of 80\n"


def test_other_tasks_show_their_output_parameters(tmp_path):
    assert line(tmp_path, {"open_batches": 3, "go_on": True, "reason": ""}).endswith("open batches 3, go on yes\n")


def test_what_was_done_before_says_so(tmp_path):
    assert "done before" in line(tmp_path, {}, fresh=False)


def test_names_in_square_brackets_are_not_markup(tmp_path):
    assert "[bold]" in line(tmp_path, {"reason": "[bold] is a model's name"})

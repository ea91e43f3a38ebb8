"""An analysis, writing and quality control without a run: from the command line and from Python. The LLMs are a loopback stub."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import finished_runs
import pytest
import yaml
from teacher import row, teach
from typer.testing import CliRunner

import pada_agent
from pada_agent.components.backends.record_files import read_json
from pada_agent.components.core.report.gather import gather
from pada_agent.components.core.settings import Settings
from pada_agent.pipelines.alone.config import default_folder, read_partial
from pada_agent.pipelines.cli import app


def lines(file, rows):
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return file


@pytest.fixture
def predictions(tmp_path):
    """Nine wrong answers and three right ones, with nothing but their prompt."""
    rows = [row(n) for n in range(200, 212)]
    lines(tmp_path / "validation.jsonl", rows)
    numbers = [r["answer"].rpartition(" ")[2] if i % 4 == 0 else "7" for i, r in enumerate(rows)]
    return lines(
        tmp_path / "said.jsonl", [{"prompt": r["question"], "output": f"#### {n}"} for r, n in zip(rows, numbers, strict=True)]
    )


@pytest.fixture
def config(tmp_path, llm_stub, tiny_slm, predictions):
    """A YAML file; `config(**sections)` gives it other sections, None takes one out."""
    teach(llm_stub, 0)
    lines(tmp_path / "train.jsonl", [row(n) for n in range(100, 120)] + [row(205)])
    llm = {"base_url": llm_stub.url, "concurrency": 1, "timeout_seconds": 20}
    values = {
        "task": {"name": "gsm8k", "train": "train.jsonl", "validation": "validation.jsonl"},
        "teacher": {**llm, "model": "teacher"},
        "judge": {**llm, "model": "judge"},
        "embedding": {"model": str(tiny_slm)},
        "analyze": {"k_max": 3},
        "control": {"judge_checks": 0},
    }

    def write(name="mine.yaml", **sections):
        whole = {key: value for key, value in {**values, **sections}.items() if value is not None}
        (tmp_path / name).write_text(yaml.safe_dump(whole))
        return tmp_path / name

    return write


class TestCommand:
    def test_one_command_without_any_split(self, config, tmp_path, llm_stub):
        """The rows' fields are in the file; the config has a task's name and a teacher, and no rows at all."""
        said = [{**row(n), "output": "#### 7", "correct": False} for n in range(200, 206)]
        file = lines(tmp_path / "whole.jsonl", said)
        own = config(task={"name": "gsm8k"}, judge=None)
        done = CliRunner().invoke(app, ["analyze", str(file), "--config", str(own), "--out", str(tmp_path / "out")])
        assert done.exit_code == 0, done.output
        assert "6 failures of 6 answers, 6 analysed." in done.output
        assert "Strategy: Write problems with equal groups and multiply them." in done.output
        written = json.loads((tmp_path / "out" / "analysis.json").read_text())
        assert written["failures"] == 6 and written["unscreened"] is True
        assert sum(p["size"] for p in written["patterns"]) == 6
        assert {p["strategy"]["text"] for p in written["patterns"]} == {"Write problems with equal groups and multiply them."}
        page = (tmp_path / "out" / "report.html").read_text()
        assert (
            "Groups are not multiplied." in page
            and "not screened" in page
            and page.count('class="card"') == len(written["patterns"])
        )

    def test_again_nothing_is_paid_again(self, config, predictions, tmp_path, llm_stub):
        command = ["analyze", str(predictions), "--config", str(config()), "--out", str(tmp_path / "out")]
        assert CliRunner().invoke(app, command).exit_code == 0
        paid, first = llm_stub.paid, (tmp_path / "out" / "analysis.json").read_text()
        assert CliRunner().invoke(app, command).exit_code == 0
        assert llm_stub.paid == paid
        patterns = [json.loads(text)["patterns"] for text in (first, (tmp_path / "out" / "analysis.json").read_text())]
        assert patterns[0] == patterns[1]

    @pytest.mark.parametrize(
        ("sections", "complaint"),
        [
            ({"teacher": None}, "mine.yaml: 'teacher' is missing"),
            ({"task": None}, "mine.yaml: 'task' is missing"),
            ({"tsk": {}}, "mine.yaml, line 21: unknown key 'tsk' (did you mean 'task'?)"),
            ({"task": {"name": "nothing"}}, "there is no task 'nothing'"),
            ({"task": {"name": "gsm8k", "train": "none.jsonl"}}, "there is no such file"),
        ],
    )
    def test_what_is_wrong_is_one_line(self, config, predictions, tmp_path, sections, complaint):
        done = CliRunner().invoke(
            app, ["analyze", str(predictions), "--config", str(config(**sections)), "--out", str(tmp_path / "out")]
        )
        assert isinstance(done.exception, pada_agent.PadaError), done.output
        assert complaint in str(done.exception)

    def test_a_folder_with_other_things_is_left_alone(self, config, predictions, tmp_path):
        (tmp_path / "mine" / "analyze").mkdir(parents=True)
        (tmp_path / "mine" / "analyze" / "thesis.txt").write_text("years of work")
        with pytest.raises(pada_agent.InputError, match="holds other files, such as analyze"):
            pada_agent.analyze(predictions, config(), folder=tmp_path / "mine")
        assert (tmp_path / "mine" / "analyze" / "thesis.txt").exists()


class TestPython:
    def test_from_predictions_to_judged_rows(self, config, predictions, tmp_path, llm_stub):
        found = pada_agent.analyze(predictions, config(), folder=tmp_path / "out")
        assert (len(found.predictions), found.summary["failures"]) == (12, 9)
        assert sum(r["failures"] for r in found.table()) == 9 and found.report.exists()
        assert "<table>" in found._repr_html_() and "products" in found._repr_html_()
        kept = [json.loads(line)["id"] for line in (found.train_data / "train.jsonl").read_text().splitlines()]
        assert len(kept) == 20, "a training row that was asked as a validation row must go"
        written = pada_agent.generate(found, rows=10)
        assert len(written.samples) == 10 and not written.accepted
        checked = pada_agent.control(written)
        table = checked.table()
        assert len(table) == 10 and {r["status"] for r in table} == {"accepted", "rejected"}
        assert any("is not" in r["reason"] for r in table), "a wrong product was let in"
        assert len(checked.accepted) == sum(r["status"] == "accepted" for r in table)
        assert checked.usage.keys() == {"generate_data", "control_quality"}
        if checked.open:
            again = pada_agent.control(pada_agent.generate(checked))
            assert len(again.accepted) >= len(checked.accepted)

    def test_inside_a_running_event_loop_of_a_thread(self, config, predictions, tmp_path):
        """As a notebook calls it, and beside its main thread."""
        import asyncio

        async def cell():
            return pada_agent.analyze(predictions, config(), folder=tmp_path / "out")

        found = []
        thread = threading.Thread(target=lambda: found.append(asyncio.run(cell())))
        thread.start()
        thread.join()
        assert found and found[0].patterns

    def test_errors_are_the_librarys_and_never_an_exit(self, config, predictions, tmp_path, llm_stub):
        with pytest.raises(pada_agent.InputError, match="no such file"):
            pada_agent.analyze(tmp_path / "none.jsonl", config(), folder=tmp_path / "a")
        found = pada_agent.analyze(predictions, config(judge=None), folder=tmp_path / "b")
        written = pada_agent.generate(found, rows=2)
        with pytest.raises(pada_agent.InputError, match=r"the config has no judge.*control\.verdict: checks"):
            pada_agent.control(written)
        with pytest.raises(pada_agent.InputError, match="not checked yet"):
            pada_agent.generate(written)
        for rows in (0, -1, 1000):
            with pytest.raises(pada_agent.InputError, match="rows:"):
                pada_agent.generate(found, rows=rows)
        with pytest.raises(pada_agent.InputError, match=r"mine\.yaml, line 12: 'task.test' is missing"):
            pada_agent.improve(config(), tmp_path / "run")
        dead = config("dead.yaml", teacher={"model": "t", "base_url": "http://127.0.0.1:9/v1", "give_up_seconds": 0.5})
        with pytest.raises(pada_agent.EndpointError):
            pada_agent.analyze(predictions, dead, folder=tmp_path / "c")

    @pytest.mark.parametrize("by", ["Python", "command"])
    def test_sigterm_while_the_teacher_is_asked(self, config, predictions, tmp_path, llm_stub, by):
        """An error of the library in Python, a program's exit on the command line."""
        llm_stub.rules[0].delay = 1.0
        out = str(tmp_path / "out")
        call = f"pada_agent.analyze({str(predictions)!r}, {str(config())!r}, folder={out!r})"
        program = f"import pada_agent\ntry:\n    {call}\nexcept pada_agent.PadaError as e:\n    print('raised:', e)"
        command = ["-m", "pada_agent.pipelines.cli", "analyze", str(predictions), "--config", str(config()), "--out", out]
        started = [sys.executable, *(["-c", program] if by == "Python" else command)]
        with subprocess.Popen(started, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            while not llm_stub.asks and process.poll() is None:
                time.sleep(0.05)
            process.terminate()
            said, told = process.communicate(timeout=60)
        if by == "Python":
            assert said.startswith("raised: stopped by a signal; what is paid for is kept") and process.returncode == 0
        else:
            assert process.returncode == 143 and f"To resume: pada analyze {predictions}" in told
        assert llm_stub.paid == 1

    def test_nothing_is_written_from_texts_that_may_quote(self, config, predictions, tmp_path):
        found = pada_agent.analyze(
            predictions, config(task={"name": "gsm8k", "validation": "validation.jsonl"}), folder=tmp_path / "out"
        )
        assert found.strategies and found.summary["unscreened"]
        with pytest.raises(pada_agent.InputError, match=r"may quote .* task\.train"):
            pada_agent.generate(found)

    def test_a_config_as_values(self, config, predictions, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        values = yaml.safe_load(config().read_text())
        found = pada_agent.analyze(predictions, values)
        assert found.folder == tmp_path / "runs" / "analysis"
        assert found.settings.task.train == str(tmp_path / "train.jsonl")
        assert isinstance(read_partial(found.settings, seed=3), Settings) and read_partial(found.settings, seed=3).seed == 3
        with pytest.raises(pada_agent.InputError, match=r"config: unknown key 'task\.nme'"):
            pada_agent.analyze(predictions, {**values, "task": {"nme": "gsm8k"}})

    def test_a_run_that_is_to_stop_early(self, config, tmp_path):
        lines(tmp_path / "test.jsonl", [row(n) for n in range(300, 306)])
        task = {"name": "gsm8k", **{split: f"{split}.jsonl" for split in ("train", "validation", "test")}}
        whole = config("whole.yaml", task=task, slm={"model": "unused"})
        run = pada_agent.improve(whole, tmp_path / "run", until="prepare")
        assert (run.stopped_at, run.state, run.table(), run.adapter) == ("prepare", None, [], "")
        assert len((run.run_dir / "01-prepare" / "train_data" / "train.jsonl").read_text().splitlines()) == 20

    def test_a_whole_run(self, config, tmp_path, tiny_slm, llm_stub):
        lines(tmp_path / "test.jsonl", [row(n) for n in range(300, 306)])
        whole = config(
            "whole.yaml",
            task={"name": "gsm8k", **{split: f"{split}.jsonl" for split in ("train", "validation", "test")}},
            slm={"model": str(tiny_slm), "max_length": 1024},
            train={"epochs": 1, "learning_rate": 1e-3, "accumulate": 1},
            evaluate={"max_new_tokens": 4},
            generate={"batch": 2, "regenerations": 0, "share": 0.2},
            loop={"iterations": 1},
            step_matched=False,
        )
        run = pada_agent.improve(whole, tmp_path / "run")
        assert (run.run_dir, run.stopped_at, run.state.decision.go_on) == (tmp_path / "run", "", False)
        assert [m.name for m in run.state.models] == ["untuned", "vanilla", "iteration-1"]
        assert run.state.iterations[0].accepted, "without rows that were let in nothing was tried"
        assert run.report == tmp_path / "run" / "report.html" and "Groups are not multiplied." in run.report.read_text()
        assert read_json(Path(run.adapter) / "train.json")["base_model"] == str(tiny_slm)
        assert run.adapter == run.state.model(run.state.incumbent).adapter_uri
        told = read_json(tmp_path / "run" / "report.json")["models"]
        assert [(r["model"], r["accuracy"]) for r in run.table()] == [(m["label"], m["test"]["accuracy"]) for m in told]
        assert len(told) == 3 and all(0 <= r["low"] <= r["accuracy"] <= r["high"] <= 1 for r in run.table())
        assert [r["shipped"] for r in run.table()].count(True) == 1
        paid = llm_stub.paid
        again = pada_agent.improve(whole, tmp_path / "run")
        assert (again.state, again.table(), llm_stub.paid) == (run.state, run.table(), paid), "it goes on where it is: at the end"

    def test_what_a_whole_run_left(self, tmp_path):
        state = finished_runs.state("gs://bucket/one")
        run = pada_agent.Improvement(tmp_path, state, "")
        facts = gather(state)
        assert run.adapter == facts.shipped_uri
        assert [r["model"] for r in run.table()] == [m.label for m in facts.models if m.test]
        assert sum(r["shipped"] for r in run.table()) == 1

    def test_where_it_goes(self, tmp_path):
        assert default_folder(tmp_path / "mine.yaml") == Path("runs/mine-analysis")
        assert default_folder(tmp_path / "shop" / "config.yaml") == Path("runs/shop-analysis")


class TestImport:
    def test_it_is_cheap(self):
        """Nothing heavy, nothing at all of ours: every stage's container imports this package first."""
        program = (
            "import sys, pada_agent; own = [m for m in sys.modules if m.startswith('pada_agent.')]; "
            "pada_agent.analyze; pada_agent.improve; pada_agent.control; "
            "heavy = {'torch', 'transformers', 'sklearn', 'openai', 'kfp'} & sys.modules.keys(); print(own, heavy)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[] set()"

    def test_all_that_it_names_is_there(self):
        assert dir(pada_agent) == pada_agent.__all__ == sorted(pada_agent.__all__)
        assert all(getattr(pada_agent, name) is not None for name in pada_agent.__all__)
        with pytest.raises(AttributeError, match="no attribute 'analyse'"):
            pada_agent.analyse  # noqa: B018

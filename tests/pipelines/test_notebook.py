"""The notebook of pipelines/examples, with the stub in the teacher's place; what it reads is what is committed."""

import json
from pathlib import Path

import papermill
import pytest
import yaml
from whole_run import teach

EXAMPLES = Path(__file__).parents[2] / "pipelines" / "examples"


@pytest.fixture
def config(tmp_path, llm_stub, tiny_slm):
    """The notebook's own config with another teacher and a small embedding model."""
    teach(llm_stub)
    values = yaml.safe_load((EXAMPLES / "notebook.yaml").read_text())
    for key in ("train", "validation"):
        values["task"][key] = str((EXAMPLES / values["task"][key]).resolve())
    values["task"]["options"]["database"] = str((EXAMPLES / values["task"]["options"]["database"]).resolve())
    values["teacher"] = {"model": "teacher", "base_url": llm_stub.url, "concurrency": 1}
    values["embedding"] = {"model": str(tiny_slm)}
    (tmp_path / "notebook.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "notebook.yaml"


def test_it_runs_to_its_end(config, tmp_path, llm_stub, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "test-key")
    parameters = {"config": str(config), "folder": str(tmp_path / "out")}
    done = papermill.execute_notebook(
        EXAMPLES / "failure_patterns.ipynb",
        tmp_path / "done.ipynb",
        parameters,
        cwd=EXAMPLES,
        progress_bar=False,
        kernel_name="python3",
    )
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    tables = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert len(tables) == 2 and "grouping" in tables[0] and "accepted" in tables[1]
    assert [o for o in outputs if "image/png" in o.get("data", {})], "no figure"
    found = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert (found["answers"], found["failures"], found["analysed"]) == (80, 36, 16)
    assert sum(p["size"] for p in found["patterns"]) == 16
    assert "of 10 rows let in" in "".join(o.get("text", "") for o in outputs)

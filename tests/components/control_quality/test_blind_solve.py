"""Multiple choice: the judge solves each sample without its key."""

import pytest

from pada_agent.components.backends.llm.client import open_llm
from pada_agent.components.control_quality.control import Known, Tools, control
from pada_agent.components.core.records import Batch, Provenance, Sample, SyntheticRow
from pada_agent.components.core.settings import BudgetSettings, ControlSettings, GenerateSettings, LlmSettings
from pada_agent.components.core.tasks.registry import load_task


@pytest.fixture
def tools(llm_stub):
    llm = open_llm(LlmSettings(model="judge", base_url=llm_stub.url), BudgetSettings(), "")
    return Tools(llm, lambda program, seconds: pytest.fail("no code to run"), lambda texts: "")


def sample(number: int, question: str, key: str) -> Sample:
    provenance = Provenance(branch="error", parent_ids=["t"], iteration=1, batch_id="b", attempt=0, request_hash="h")
    choices = {"text": ["frost", "steam", "sand", "smoke"], "label": ["A", "B", "C", "D"]}
    fields = load_task("arc_challenge", {}).read({"question": question, "choices": choices, "answerKey": key})
    return Sample(row=SyntheticRow(id=f"r{number}", fields=fields, provenance=provenance))


def test_a_key_the_judge_does_not_find_sends_the_sample_back(tools, llm_stub):
    llm_stub.on(lambda ask: "Labels:" in ask.text, reply={"answer": "B"})
    llm_stub.on("The batch:", reply={"utility": 9, "relevance": 9, "feedback": "none"})
    samples = [sample(1, "What rises from boiling water?", "B"), sample(2, "What covers a cold window in winter?", "C")]
    batch = Batch(id="b", branch="error", seed_ids=["t"], wanted=2, samples=samples)
    task = load_task("arc_challenge", {})
    (checked,) = control(task, [batch], [], Known([], []), ControlSettings(), GenerateSettings(), tools)
    assert [s.status for s in checked.samples] == ["accepted", "rejected"]
    assert checked.samples[1].kind == "doubtful key"
    assert checked.samples[1].reason == "doubtful key: solved blind, the answer is B"
    blind = [a for a in llm_stub.asks if "Labels:" in a.text]
    assert len(blind) == 2
    assert not any("best answer is" in a.text for a in blind)
    judged = next(a for a in llm_stub.asks if "The batch:" in a.text)
    assert "cold window" not in judged.text, "what failed a rule is not judged"

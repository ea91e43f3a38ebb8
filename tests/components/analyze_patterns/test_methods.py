"""What the analysis does for methods that use no patterns, and when clusters are shuffled; no embedding model is there."""

from collections import Counter

import numpy as np
import pytest

from pada_agent.components.analyze_patterns.__main__ import run
from pada_agent.components.analyze_patterns.analyze import Tools, analyze
from pada_agent.components.backends.artifacts.plan import read_plan
from pada_agent.components.backends.record_files import read_json, read_records, write_records
from pada_agent.components.core.llm_interface import LlmReply
from pada_agent.components.core.methods.registry import METHODS
from pada_agent.components.core.patterns.clustering import Clustering
from pada_agent.components.core.records import HeldOutRow, Pattern, Prediction, Score, TrainRow
from pada_agent.components.core.settings import AnalyzeSettings
from pada_agent.components.core.tasks.registry import load_task


def predictions(rows, split):
    """Every second row is answered wrongly."""
    scores = [Score(correct=bool(n % 2), valid=True) for n in range(len(rows))]
    return [
        Prediction(id=r.id, split=split, prompt="p", output="o", reference="r", score=score, fields=r.fields)
        for r, score in zip(rows, scores, strict=True)
    ]


@pytest.fixture
def plan(stage, data, sql_settings, tmp_path, llm_stub):
    """plan(generate) -> strategies, training errors, the outputs."""
    folder = tmp_path / "predictions"
    for artifact, split, kind in (("heldout_data", "validation", HeldOutRow), ("train_data", "train", TrainRow)):
        write_records(folder / f"{split}.jsonl", predictions(read_records(data[artifact] / f"{split}.jsonl", kind), split))

    def start(**generate):
        changes = {"generate": sql_settings.generate.model_copy(update=generate)}
        changes["embedding"] = sql_settings.embedding.model_copy(update={"model": "/nowhere"})
        inputs = {"train_data": data["train_data"], "predictions": folder}
        outputs, _ = stage(run, sql_settings.model_copy(update=changes), inputs)
        strategies, errors, _ = read_plan(outputs["plan"])
        return strategies, errors, outputs

    return start


@pytest.mark.parametrize(
    "generate", [*({"method": m} for m in METHODS if m != "pada"), {"pattern_share": 0.0}], ids=lambda g: str(*g.values())
)
def test_who_uses_no_patterns_pays_for_none_and_has_the_training_errors(plan, llm_stub, generate):
    strategies, errors, outputs = plan(**generate)
    assert not llm_stub.asks and len(errors) == 60
    assert read_json(outputs["analyses"] / "usage.json")["analyze_patterns"]["calls"] == 0
    assert read_json(outputs["analyses"] / "summary.json") == {"failures": 40, "analysed": 0}
    assert read_records(outputs["analyses"] / "patterns.jsonl", Pattern) == []
    assert bool(strategies) == (generate.get("method") == "random_strategy")


def test_without_a_share_for_patterns_there_is_no_random_strategy_either(plan):
    assert plan(method="random_strategy", pattern_share=0.0)[0] == []


class Echo:
    """An LLM that names what it is shown: the analyses in the prompt."""

    def __init__(self):
        self.asked = []

    def ask_all(self, what, requests):
        self.asked += [(what, request) for request in requests]
        values = [request.parse(self._reply(request)) for request in requests]
        return [LlmReply(value, "h") for value in values]

    def _reply(self, request):
        return dict.fromkeys(request.schema["properties"], request.messages[-1]["content"])


def clusters(shuffle, iteration=1, seed=0):
    """Ids of the failures in each pattern, where k-means would say: the first five, the next three, the last two."""
    task = load_task("gsm8k", {})
    rows = [
        HeldOutRow(id=f"v{n}", split="validation", fields={"question": f"What is {n}?", "answer": "#### 1"}) for n in range(10)
    ]
    wrong = [p.model_copy(update={"score": Score(correct=False, valid=True)}) for p in predictions(rows, "validation")]
    train = [TrainRow(id="t", fields={"question": "What is 1?", "answer": "1 + 0 = 1\n#### 1"})]
    tools = Tools(
        llm=Echo(),
        embed=lambda texts: np.ones((len(texts), 2)),
        cluster=lambda vectors: Clustering([0] * 5 + [1] * 3 + [2] * 2, 3, structure=True),
        match=lambda old, new: [],
        screen=lambda text: "",
    )
    found = analyze(task, wrong, train, AnalyzeSettings(shuffle=shuffle), tools, iteration, seed)
    assert len(found.analyses) == 10
    return [frozenset(p.row_ids) for p in found.patterns], [p.size for p in found.patterns]


def test_shuffled_clusters_keep_their_sizes_and_change_their_failures():
    (own, sizes), (other, same_sizes) = clusters(False), clusters(True)
    assert sizes == same_sizes == [5, 3, 2]
    assert own != other and Counter(i for ids in own for i in ids) == Counter(i for ids in other for i in ids)
    assert clusters(True) == (other, sizes), "the same seed shuffles alike"
    assert clusters(True, seed=1)[0] != other

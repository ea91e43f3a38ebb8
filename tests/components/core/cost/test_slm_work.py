"""How much is trained and answered, and the GPU hours of it, by hand."""

import pytest

from pada_agent.components.core.cost.prompt_sizes import CHAT
from pada_agent.components.core.cost.slm_work import Rows, Work, gpu_hours, size_by_name, work_before, work_of_loop
from pada_agent.components.core.cost.tokens import token_count
from pada_agent.components.core.settings import Settings
from pada_agent.components.core.tasks.registry import load_task

LLM = {"model": "t", "base_url": "http://127.0.0.1:9/v1"}
ROWS = Rows(train=100, validation=20, reported=50)
GSM8K = load_task("gsm8k", {})
FIELDS = [{"question": "How many legs have three dogs?", "answer": "3 * 4 = 12 legs.\n#### 12"}]


def settings(**changes):
    run = {
        "task": {"name": "gsm8k", "train": "-", "validation": "-", "test": "-"},
        "slm": {"model": "a/b"},
        "teacher": LLM,
        "judge": {**LLM, "model": "j"},
        "train": {"epochs": 3},
        "generate": {"share": 0.5, "scope": "per_iteration"},
        "loop": {"iterations": 2},
    }
    return Settings.model_validate(run | changes)


def test_a_loop_trains_an_adapter_for_each_iteration_and_one_of_as_many_steps_as_the_last():
    assert work_before(settings(), ROWS) == Work(1, 300, 170 + 50)
    assert work_of_loop(settings(step_matched=True), ROWS) == Work(3, 3 * (150 + 200 + 200), 2 * 170 + 50)
    assert work_of_loop(settings(step_matched=False), ROWS) == Work(2, 3 * (150 + 200), 2 * 170)


def test_hours_are_operations_over_a_share_of_the_cards_speed():
    tokens = sum(token_count(text) + CHAT for text in (GSM8K.messages(FIELDS[0])[0]["content"], GSM8K.target(FIELDS[0])))
    found = gpu_hours(2e9, Work(1, 7e6, 7e5), GSM8K, FIELDS, settings())
    assert found.training == pytest.approx(6 * 2e9 * 7e6 * tokens / 21e12 / 3600)
    assert found.answering == pytest.approx(2 * 2e9 * 7e5 * tokens / 7e12 / 3600)
    short = gpu_hours(2e9, Work(1, 7e6, 7e5), GSM8K, FIELDS, settings(slm={"model": "a/b", "max_length": 32}))
    assert tokens > 32 and short.training == pytest.approx(found.training * 32 / tokens), "longer rows are dropped"


def test_what_a_server_answers_takes_no_time_here():
    endpoint = {"model": "m", "base_url": "http://127.0.0.1:9/v1", "adapter_folder": "/adapters"}
    found = gpu_hours(2e9, Work(1, 7e6, 7e5), GSM8K, FIELDS, settings(slm={"model": "a/b", "endpoint": endpoint}))
    assert found.training > 0 and found.answering == 0


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("meta-llama/Llama-3.2-1B-Instruct", 1e9),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 135e6),
        ("Qwen/Qwen2.5-Coder-0.5B-Instruct", 0.5e9),
        ("/models/gemma-2-2b-it/", 2e9),
        ("gs://bucket/models/phi-3.8b.gguf", 3.8e9),
        ("microsoft/phi-2", 0),
        ("mistralai/Mixtral-8x7B-v0.1", 0),
        ("Qwen/Qwen3-30B-A3B", 30e9),
        ("a/merge-of-3b-and-7b", 0),
        ("70b-lab/small", 0),
    ],
)
def test_a_name_may_say_the_size(name, size):
    assert size_by_name(name) == size

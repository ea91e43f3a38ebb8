"""What doctor, estimate and the config say of how the SLM is trained and of who answers for it."""

import json
from pathlib import Path

import pytest
import slm_server
from pydantic import ValidationError

from pada_agent.components.backends.slm.adapters import with_lora
from pada_agent.components.backends.slm.loading import load_slm
from pada_agent.components.backends.slm.sizes import parameters_of, training_memory
from pada_agent.components.core.cost.slm_work import Work
from pada_agent.components.core.settings import Settings, SlmSettings, TrainSettings
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.pipelines import doctor, gpu_time
from pada_agent.pipelines.config import read_config
from pada_agent.pipelines.cost_table import show_estimate, show_training
from pada_agent.pipelines.gpu_time import GpuTime
from pada_agent.pipelines.local.run_directory import task_key, without_reach
from pada_agent.pipelines.student_checks import student_checks

QUICKSTART = Path(__file__).parents[2] / "pipelines" / "quickstart" / "config.yaml"
LLM = {"model": "t", "base_url": "http://127.0.0.1:9/v1"}
RUN = {
    "task": {"name": "gsm8k", "train": "-", "validation": "-", "test": "-"},
    "slm": {"model": "a/b"},
    "teacher": LLM,
    "judge": {**LLM, "model": "j"},
}


def settings(**changes) -> Settings:
    return Settings.model_validate({**RUN, **{name: {**RUN.get(name, {}), **part} for name, part in changes.items()}})


def said(chosen: Settings) -> list[str]:
    return [str(check) for check in student_checks(chosen)]


@pytest.mark.parametrize(
    "train",
    [{}, {"rank": 3}, {"use_dora": True}, {"target_modules": ["q_proj", "down_proj"], "use_dora": True}, {"method": "full"}],
)
def test_memory_is_that_of_what_is_trained(tiny_slm, train):
    slm, chosen = SlmSettings(model=str(tiny_slm), dtype="float32", device="cpu"), TrainSettings.model_validate(train)
    found = training_memory(slm, chosen)
    loaded = load_slm(slm)
    whole = sum(p.numel() for p in loaded.model.parameters())
    if chosen.method == "full":
        assert (found.frozen, found.trained) == (0, 16 * whole)
        return
    model = with_lora(loaded, chosen)
    assert found.trained == 16 * sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert found.frozen == 4 * whole
    assert training_memory(slm.model_copy(update={"dtype": "bfloat16"}), chosen).frozen == 2 * whole
    quarter = training_memory(slm.model_copy(update={"quantization": "nf4"}), chosen)
    assert 0.12 * 4 * whole < quarter.frozen < 4 * whole
    assert found.fits


def test_what_training_takes_is_said_where_it_is_known(tiny_slm, monkeypatch):
    lines = []
    show_training(settings(slm={"model": str(tiny_slm), "dtype": "float32", "device": "cpu"}), lines.append)
    assert len(lines) == 1 and "GiB for the adapter with gradients and optimizer" in lines[0]
    show_training(settings(), lines.append)
    assert len(lines) == 1, "a model that is not here yet"
    monkeypatch.setattr("pada_agent.components.backends.slm.sizes.memory_limit", lambda: 1000)
    (line,) = said(settings(slm={"model": str(tiny_slm), "dtype": "float32", "device": "cpu"}))
    assert line.startswith("note     memory of training") and "->   take slm.quantization: nf4" in line


def hours_of(chosen: Settings) -> list[str]:
    time = GpuTime()
    rows = [{"question": "How many legs have three dogs?", "answer": "#### 12"}]
    if time.takes("sums", chosen):
        time.add(chosen, Work(1, 1e9, 1e6), load_task("gsm8k", {}), rows)
    return list(time.lines())


def test_gpu_hours_are_by_the_parameters_that_are_counted_or_else_by_the_name(tiny_slm):
    (counted,) = hours_of(settings(slm={"model": str(tiny_slm)}))
    assert counted.endswith(f"{tiny_slm} has {parameters_of(str(tiny_slm)) / 1e6:.3g} million parameters, counted.")
    (named,) = hours_of(settings(slm={"model": "nobody/has-1.5B"}))
    assert named.startswith("GPU hours on one A10G: about ") and named.endswith(" has 1.5 billion parameters, by its name.")
    assert "6 operations a parameter and token in training, at 30 % of its 70 TFLOPS, 2 in answering, at 10 %;" in named


def test_there_are_no_gpu_hours_on_cpus_or_of_a_model_whose_size_is_not_known(monkeypatch):
    named = {"model": "nobody/has-1.5B"}
    assert hours_of(settings(slm={"model": "nobody/has-it"})) == hours_of(settings(slm={**named, "device": "cpu"})) == []
    here = settings(slm=named, teacher={"base_url": "embedded"})
    for cuda in (False, True):
        monkeypatch.setattr(gpu_time, "_cuda", lambda cuda=cuda: cuda)
        assert bool(hours_of(here)) == cuda, "a teacher in a child process is a run on this machine"


def test_the_estimate_of_a_run_has_its_gpu_hours():
    run = read_config(QUICKSTART)
    lines: list[str] = []
    show_estimate(run.model_copy(update={"slm": run.slm.model_copy(update={"device": "cuda"})}), lines.append)
    (hours,) = [line for line in lines if "GPU hours" in line]
    assert "less than 1 to train, less than 1 to answer" in hours


def test_doctor_asks_a_server_of_the_slm_and_says_what_it_answers_for(llm_stub, tiny_slm, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "ENDPOINT_SECONDS", 2.0)
    llm_stub.on("Say ready.", text="ready")
    endpoint = {"model": "m", "base_url": llm_stub.url}
    lines = said(settings(slm={"endpoint": endpoint}))
    assert lines[0].startswith("ok       slm.endpoint")
    assert "for the untuned model alone; adapters answer here, by transformers" in lines[1]
    slm = load_slm(SlmSettings(model=str(tiny_slm), dtype="float32", device="cpu"))
    for loads, folder, expected in (
        (False, tmp_path, "VLLM_ALLOW_RUNTIME_LORA_UPDATING"),
        (True, tmp_path, "with the first adapter"),
    ):
        with slm_server.serving(slm, loads) as server:
            endpoint = {"model": "base", "base_url": server.url, "adapter_folder": str(folder)}
            assert expected in said(settings(slm={"endpoint": endpoint}))[1]
            gone = settings(slm={"endpoint": {**endpoint, "adapter_folder": "/nowhere/at/all"}})
            assert not loads or "there is no folder /nowhere/at/all" in said(gone)[1]
    (line,) = said(settings(slm={"endpoint": {**endpoint, "timeout_seconds": 1}}))
    assert line.startswith("MISSING  slm.endpoint"), "nobody is there any more"


def test_doctor_looks_at_the_student_too(monkeypatch):
    monkeypatch.setattr(doctor, "ENDPOINT_SECONDS", 0.2)
    monkeypatch.setattr(doctor, "_sandbox", lambda needed: iter(()))
    lines = []
    assert not doctor.examine(settings(evaluate={"engine": "vllm"}), lines.append)
    assert any(line.startswith("MISSING  evaluate.engine") for line in lines)


def test_doctor_says_what_a_gpu_is_missing_for():
    (engine,) = said(settings(evaluate={"engine": "vllm"}))
    assert engine.startswith("MISSING  evaluate.engine") and "vLLM" in engine
    (four,) = said(settings(slm={"quantization": "nf4", "device": "cpu"}))
    assert four.startswith("MISSING  slm.quantization") and "no CUDA device" in four
    (rate,) = said(settings(train={"method": "full"}))
    assert rate.startswith("note     train.learning_rate") and "try 2e-5" in rate
    assert not said(settings(train={"method": "full", "learning_rate": 2e-5}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"use_dora": True}, "evaluate": {"engine": "vllm"}}, "train.use_dora: vLLM serves no such adapter"),
        (
            {"train": {"use_dora": True}, "slm": {"endpoint": {**LLM, "adapter_folder": "/both"}}},
            "or slm.endpoint.adapter_folder",
        ),
        ({"slm": {"quantization": "nf4"}, "evaluate": {"engine": "vllm"}}, "nf4 is rounded otherwise by vLLM"),
        ({"slm": {"device": "cpu"}, "evaluate": {"engine": "vllm"}}, "needs a GPU"),
        ({"slm": {"quantization": "nf4"}, "train": {"method": "full"}}, "weights of nf4 cannot be trained"),
        (
            {"slm": {"endpoint": {**LLM, "adapter_folder": "/both"}}, "train": {"method": "full"}},
            "train.method: full makes no adapters",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_config(changes, message):
    with pytest.raises(ValidationError, match=message):
        settings(**changes)
    settings(**dict(list(changes.items())[:1]))


def test_tasks_know_what_they_were_made_with_and_no_more():
    def keys(chosen):
        whole = chosen.model_dump(mode="json")
        parts = {"train_lora": ("task", "slm", "train", "seed"), "evaluate_slm": ("task", "slm", "evaluate", "seed")}
        return {stage: task_key(stage, {"settings": {s: whole[s] for s in names}}, {}, {}) for stage, names in parts.items()}

    plain = keys(settings())
    for change in ({"use_dora": True}, {"use_rslora": True}, {"target_modules": ["q_proj"]}, {"method": "full"}):
        assert keys(settings(train=change))["train_lora"] != plain["train_lora"]
    assert keys(settings(slm={"quantization": "nf4"})).items().isdisjoint(plain.items())
    there = keys(settings(slm={"endpoint": LLM}))
    assert there["train_lora"] == plain["train_lora"], "who answers in evaluation does not change what is trained"
    assert there["evaluate_slm"] != plain["evaluate_slm"] != keys(settings(evaluate={"engine": "vllm"}))["evaluate_slm"]
    moved = keys(settings(slm={"endpoint": {**LLM, "base_url": "http://127.0.0.1:10/v1", "concurrency": 2}}))
    assert moved == there, "where a server is does not change its answers"


def test_a_run_begun_before_there_were_these_settings_goes_on():
    before = json.loads(json.dumps(RUN)) | {"train": {"rank": 16}, "evaluate": {"batch": 16}}
    now = settings().model_dump(mode="json")
    kept = without_reach(now)
    for section in ("slm", "train", "evaluate"):
        old = {key: value for key, value in now[section].items() if key in kept[section]}
        assert without_reach({section: old})[section] == kept[section]
    assert not {"quantization", "endpoint"} & kept["slm"].keys() and "engine" not in kept["evaluate"]
    assert not {"method", "target_modules", "use_dora", "use_rslora", "gradient_checkpointing"} & kept["train"].keys()
    assert without_reach(before)["train"] == {"rank": 16}

"""A server answers for the SLM: a stub, llama.cpp, and one with the real model and real adapters."""

import json

import pytest
import slm_server
import tiny_slm as tiny
from city_rows import examples, run
from pydantic import ValidationError
from slm_server import PROMPTS

from pada_agent.components.backends.llm.embedded.server import embedded_server
from pada_agent.components.backends.llm.lora_adapters import check_loads
from pada_agent.components.backends.slm.answering import student
from pada_agent.components.backends.slm.inference import Generator
from pada_agent.components.backends.slm.loading import load_slm
from pada_agent.components.core.errors import EndpointError, InputError, ModelError
from pada_agent.components.core.settings import EvaluateSettings, SlmEndpoint, SlmSettings
from pada_agent.components.core.slm_interface import Prompt


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("pada_agent.components.backends.llm.pace.BACKOFF_SECONDS", 0.02)


def settings(url, model="unused", **endpoint) -> SlmSettings:
    made = {"model": slm_server.BASE, "base_url": url, "timeout_seconds": 20, "give_up_seconds": 20, "concurrency": 2, **endpoint}
    return SlmSettings(model=str(model), dtype="float32", device="cpu", endpoint=SlmEndpoint(**made))


def answers(chosen, prompts=PROMPTS, most=12, adapter=None, ledger=""):
    with student(chosen, EvaluateSettings(), adapter, ledger) as who:
        return who.generate(prompts, most)


# what is sent, and what becomes of replies


def test_it_is_asked_for_the_likeliest_text_and_nothing_is_asked_twice(llm_stub, tmp_path):
    llm_stub.on("Oslo?", text="  SELECT 1;\n")
    llm_stub.on("city", text="")
    llm_stub.on("", text="cut", finish="length", tokens=(9, 12))
    ledger = str(tmp_path / "ledger.jsonl")
    chosen = settings(llm_stub.url, extra_body={"chat_template_kwargs": {"enable_thinking": False}})
    assert answers(chosen, ledger=ledger) == ["  SELECT 1;\n", "", "cut", "cut", "cut"]
    for ask in llm_stub.asks:
        said = {key: value for key, value in ask.body.items() if key not in ("messages", "chat_template_kwargs")}
        greedy = {"temperature": 0.0, "seed": 0, "repeat_penalty": 1.0, "repetition_penalty": 1.0}
        assert said == {"model": slm_server.BASE, "max_tokens": 12, **greedy}
        assert ask.body["chat_template_kwargs"] == {"enable_thinking": False}
    asked = len(llm_stub.asks)
    with student(chosen, EvaluateSettings(), None, ledger) as who:
        assert who.generate(PROMPTS, 12) == ["  SELECT 1;\n", "", "cut", "cut", "cut"]
        assert who.bill()["calls paid before"] == 5
    assert len(llm_stub.asks) == asked
    answers(chosen, most=13, ledger=ledger)
    assert len(llm_stub.asks) == 2 * asked, "longer answers are other answers"


def test_penalties_that_a_server_does_not_know_are_left_out(llm_stub):
    for name in ("repeat_penalty", "repetition_penalty"):
        llm_stub.on(lambda a, n=name: n in a.body, status=400, error=f"Unrecognized request argument supplied: {name}")
    llm_stub.on("", text="fine")
    assert answers(settings(llm_stub.url, concurrency=1)) == ["fine"] * 5
    assert llm_stub.paid == 5
    assert len(llm_stub.asks) == 7


def test_rows_without_an_answer_are_named_and_the_others_kept(llm_stub, tmp_path, capsys):
    llm_stub.on("Oslo?", status=400, error="This model's maximum context length is 8 tokens", times=1)
    llm_stub.on("0123", text="", message={"reasoning_content": "Hm."}, times=1)
    llm_stub.on("How many live?", text="SELECT", finish="length", tokens=(9, 3), times=1)
    llm_stub.on("", text="fine")
    ledger = str(tmp_path / "ledger.jsonl")
    with pytest.raises(EndpointError) as e:
        answers(settings(llm_stub.url), ledger=ledger)
    said = str(e.value)
    assert "3 of 5 rows got no answer: row test/0: HTTP 400" in said
    assert "maximum context length" in said
    assert "row test/2: the server put the whole reply into reasoning_content" in said
    assert "row test/4: the server cut the answer after 3 of 12 tokens: its context is full" in said
    assert "start again" in said
    asked = len(llm_stub.asks)
    assert answers(settings(llm_stub.url), ledger=ledger) == ["fine"] * 5
    assert len(llm_stub.asks) == asked + 3


def test_an_answer_that_the_chat_begins_is_continued_where_the_server_can(llm_stub):
    begun = Prompt(id="test/7", messages=[*PROMPTS[0].messages, {"role": "assistant", "content": "SELECT"}])
    with pytest.raises(InputError, match=r"row test/7: .*extra_body: \{continue_final_message: true"):
        answers(settings(llm_stub.url), [begun])
    llm_stub.on("", text=" 1")
    extra = {"continue_final_message": True, "add_generation_prompt": False}
    assert answers(settings(llm_stub.url, extra_body=extra), [begun]) == [" 1"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"base_url": ""}, "base_url: give the URL"),
        ({"base_url": "embedded"}, "base_url: give the URL"),
        ({"mode": "batch"}, "mode: batch is for teacher and judge"),
        ({"max_tokens": 100}, "max_tokens: answers are as long as evaluate.max_new_tokens"),
        ({"adapter_folder": "adapters"}, "adapter_folder: adapters is no absolute path"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        settings(**{"url": "http://127.0.0.1:1/v1", **({"url": wrong.pop("base_url")} if "base_url" in wrong else {}), **wrong})


# llama.cpp


def test_llama_cpp_answers_as_transformers_does_from_the_same_file(tmp_path, tiny_slm, monkeypatch):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    monkeypatch.setenv("PADA_MODELS", str(tmp_path / "models"))
    # Taught what it is asked: its answers are text, and no close calls, which llama.cpp's float16 keys and values may turn.
    _, taught = run(tmp_path, tiny_slm, max_steps=120, method="full", learning_rate=0.003)
    gguf = tiny.build_gguf(tmp_path / "gguf", taught)
    prompts = [Prompt(id=example.id, messages=example.messages) for example in examples()[::3]]
    here = Generator(load_slm(SlmSettings(model=str(gguf), dtype="float32", device="cpu")), 1)(prompts, 24)
    assert len(set(here)) == len(here) and all(text.startswith("SELECT") for text in here)
    ledger = str(tmp_path / "ledger.jsonl")
    with embedded_server(str(gguf), 512) as url:
        assert answers(settings(url), prompts, 24, ledger=ledger) == here
        long = Prompt(id="test/0", messages=[{"role": "user", "content": "0123 " * 300}])
        with pytest.raises(EndpointError, match=r"1 of 2 rows got no answer: row test/0: HTTP 400.*512 tokens"):
            answers(settings(url), [long, prompts[0]])
        with pytest.raises(EndpointError, match="it loads no adapters: start vLLM"):
            check_loads(settings(url).endpoint)
    assert answers(settings(url), prompts, 24, ledger=ledger) == here, "the server is gone, the ledger is not"


# adapters


def test_an_adapter_is_served_while_it_is_asked_and_answers_as_it_does_here(tmp_path, tiny_slm, adapter, capsys):
    here = Generator(load_slm(SlmSettings(model=str(tiny_slm), dtype="float32", device="cpu"), adapter), 1)(PROMPTS, 12)
    both = tmp_path / "both see this"
    with slm_server.serving(load_slm(SlmSettings(model=str(tiny_slm), dtype="float32", device="cpu"))) as server:
        chosen = settings(server.url, tiny_slm, adapter_folder=str(both))
        check_loads(chosen.endpoint)
        ledger = str(tmp_path / "ledger.jsonl")
        untuned = answers(chosen, ledger=ledger)
        assert answers(chosen, adapter=adapter, ledger=ledger) == here != untuned
        [name] = {ask["model"] for ask in server.asked} - {slm_server.BASE}
        assert name.startswith("pada-")
        assert not server.adapters and not list(both.iterdir()), "nothing stays behind"
        asked = len(server.asked)
        assert answers(chosen, adapter=adapter, ledger=ledger) == here
        assert len(server.asked) == asked
        server.adapters[name] = server._answer  # somebody else's
        answers(chosen, adapter=adapter)
        assert name in server.adapters, "what was there before stays"


def test_without_a_folder_that_both_see_an_adapter_answers_here(tiny_slm, adapter):
    chosen = settings("http://127.0.0.1:9/v1", tiny_slm)  # where nobody listens
    with student(chosen, EvaluateSettings(), adapter, "") as who:
        assert who.engine == "transformers"
        assert len(who.generate(PROMPTS, 4)) == 5


def test_adapters_that_a_server_cannot_have_are_told(tmp_path, tiny_slm, adapter):
    slm = load_slm(SlmSettings(model=str(tiny_slm), dtype="float32", device="cpu"))
    with slm_server.serving(slm) as server:
        chosen = settings(server.url, tiny_slm, adapter_folder=str(tmp_path / "both"))
        server.blind = True
        with pytest.raises(
            EndpointError, match=r"cannot load the adapter at .*No adapter found.*must see slm.endpoint.adapter_folder"
        ):
            answers(chosen, adapter=adapter)
        server.blind = False
        with pytest.raises(ModelError, match=r"trained on .*, but slm.model is other"):
            answers(settings(server.url, "other", adapter_folder=str(tmp_path)), adapter=adapter)
        config = json.loads((adapter / "adapter_config.json").read_text())
        dora = tmp_path / "dora"
        dora.mkdir()
        (dora / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
        with pytest.raises(ModelError, match="it is a DoRA, which vLLM does not serve"):
            answers(chosen, adapter=dora)
    with slm_server.serving(slm, loads=False) as server:
        chosen = settings(server.url, tiny_slm, adapter_folder=str(tmp_path / "both"))
        for ask in (lambda: answers(chosen, adapter=adapter), lambda: check_loads(chosen.endpoint)):
            with pytest.raises(EndpointError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"):
                ask()
    with pytest.raises(EndpointError, match="cannot be reached"):
        check_loads(chosen.endpoint)

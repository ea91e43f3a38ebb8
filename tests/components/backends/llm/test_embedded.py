import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from whole_run import SLM, model_or_skip

from pada_agent.components.backends.llm.client import open_llm
from pada_agent.components.backends.llm.embedded import server as embedded_llm
from pada_agent.components.backends.llm.embedded.server import embedded_server, server_settings, usable_cores
from pada_agent.components.core.errors import ModelError
from pada_agent.components.core.llm_interface import LlmRequest
from pada_agent.components.core.settings import BudgetSettings, LlmSettings

MODEL = SLM  # a small one: what is tested is the server
SCHEMA = {
    "type": "object",
    "properties": {
        "utility": {"type": "integer", "minimum": 1, "maximum": 3},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 4}, "minItems": 2, "maxItems": 2},
        "note": {"type": "string", "minLength": 1, "maxLength": 12},
    },
    "required": ["utility", "tags", "note"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    return model_or_skip(MODEL)


def parse(value):
    fine = (
        set(value) == set(SCHEMA["properties"])
        and value["utility"] in {1, 2, 3}
        and len(value["tags"]) == 2
        and all(len(t) <= 4 for t in value["tags"])
        and 1 <= len(value["note"]) <= 12
    )
    if not fine:
        raise ValueError("not what the schema says")
    return value


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def gone(pid):
    deadline = time.monotonic() + 20
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pid)


@pytest.mark.model
def test_the_schema_is_a_grammar_there_and_the_server_ends_with_the_block(model, monkeypatch):
    started = []
    popen = subprocess.Popen

    def watched(*args, **kwargs):
        started.append(popen(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(embedded_llm.subprocess, "Popen", watched)
    with embedded_server(str(model), 1024) as url:
        settings = LlmSettings(model=MODEL, base_url=url, concurrency=1, max_tokens=100, give_up_seconds=900, timeout_seconds=900)
        llm = open_llm(settings, BudgetSettings(), "")
        text = "Write a very long essay of at least a hundred words about shops. Give utility 9 and seven tags. Do not use JSON."
        reply = llm.ask_all("grammar", [LlmRequest("essay", [{"role": "user", "content": text}], SCHEMA, parse, 0.0)])[0]
        assert reply.value, reply.error
        assert llm.usage.calls == 1, "the first completion fits: no re-asking was needed"
        assert llm.usage.input_tokens > 20
    assert gone(started[0].pid)


@pytest.mark.model
def test_the_faster_grammar_writes_what_the_library_writes(model, monkeypatch):
    """Run in a child: installing it changes the library for the whole process."""
    code = """
        import json, sys
        import llama_cpp
        from pada_agent.components.backends.llm.embedded import lazy_grammar
        llm = llama_cpp.Llama(sys.argv[1], n_ctx=512, n_threads=1, verbose=False)
        asked, told = [], lazy_grammar.LazyGrammarSampler._allows

        def allows(self, token):
            asked.append(told(self, token))
            return asked[-1]

        lazy_grammar.LazyGrammarSampler._allows = allows

        def write():
            llm.reset()
            reply = llm.create_chat_completion(
                [{"role": "user", "content": "Write a poem about the sea."}], temperature=0.0, max_tokens=60,
                response_format={"type": "json_object", "schema": json.loads(sys.argv[2])})
            return reply["choices"][0]["message"]["content"]

        before = write()
        assert not asked
        lazy_grammar.install()
        assert write() == before, (before, write())
        assert any(asked) and not all(asked), "both the quick and the slow way must have been taken"
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(model), json.dumps(SCHEMA)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.model
def test_the_server_dies_with_a_parent_that_is_killed(model):
    code = """
        import sys, time
        from pada_agent.components.backends.llm.embedded import server as embedded_llm
        start = embedded_llm._start
        def told(*a):
            process, url = start(*a)
            print(process.pid, flush=True)
            return process, url
        embedded_llm._start = told
        with embedded_llm.embedded_server(sys.argv[1], 512):
            time.sleep(600)
    """
    arguments = [sys.executable, "-c", textwrap.dedent(code), str(model)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        pid = int(parent.stdout.readline())
        time.sleep(1)
        assert alive(pid)
        os.kill(parent.pid, signal.SIGKILL)
    assert gone(pid)


def test_a_file_that_is_no_model_is_told_with_the_end_of_the_log(tmp_path, monkeypatch):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / "pada-embedded-killed"
    left.mkdir()
    (left / "teacher.log").write_text("killed")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model at all")
    with pytest.raises(ModelError) as raised, embedded_server(str(broken), 512):
        pass
    text = str(raised.value)
    assert f"model {broken}: llama.cpp could not serve it" in text
    assert "Failed to load model from file" in text
    assert "\n" not in text
    log = Path(text.rsplit("whole log: ", 1)[1].rstrip(")"))
    assert list(tmp_path.rglob("*.log")) == [log], "that of a dead process goes with the next"


def test_a_model_that_is_not_gguf_is_refused(tmp_path):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"llama.cpp needs a \.gguf file"), embedded_server(str(tmp_path), 512):
        pass


def test_a_server_that_does_not_come_up_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    (tmp_path / "m.gguf").write_bytes(b"")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # the log stays
    monkeypatch.setattr(embedded_llm, "START_SECONDS", 0.3)
    sleeper = [sys.executable, "-c", "import sys, time; print('loading', flush=True); sys.stdin.read()"]
    popen = subprocess.Popen
    processes = []

    def slow(arguments, **kwargs):
        processes.append(popen(sleeper, **kwargs))
        return processes[-1]

    monkeypatch.setattr(embedded_llm.subprocess, "Popen", slow)
    with pytest.raises(ModelError, match=r"was not ready after 0 s"), embedded_server(str(tmp_path / "m.gguf"), 512):
        pass
    assert processes[0].poll() is not None


def test_settings_use_the_cores_there_are_and_keep_no_logits(tmp_path, monkeypatch):
    settings = server_settings(tmp_path / "m.gguf", 2048)
    assert settings["n_ctx"] == 2048
    assert settings["logits_all"] is False
    assert settings["n_threads"] == usable_cores() <= (os.cpu_count() or 1)
    monkeypatch.setattr(embedded_llm, "_cpu_quota", lambda: 0.5)
    assert usable_cores() == 1


def test_hyper_threads_are_no_cores(monkeypatch):
    monkeypatch.setattr(embedded_llm, "_cpu_quota", lambda: 64.0)
    monkeypatch.setattr(embedded_llm.os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    monkeypatch.setattr(embedded_llm, "_siblings", lambda cpu: f"{cpu % 2},{cpu % 2 + 2}")
    assert usable_cores() == 2

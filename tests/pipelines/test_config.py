"""What a config file may say, and what is said about one that is wrong."""

import re

import pytest
import yaml

from pada_agent.components.core.errors import InputError
from pada_agent.pipelines.config import read_config

GOOD = {
    "task": {"name": "gsm8k", "train": "train.jsonl", "validation": "org/data#validation", "test": "gs://b/test.jsonl"},
    "slm": {"model": "org/slm"},
    "teacher": {"model": "big"},
    "judge": {"model": "other"},
}


@pytest.fixture
def config(tmp_path):
    """Writes a config from text or values; returns its path."""

    def write(content):
        file = tmp_path / "config.yaml"
        file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return file

    return write


def complaint(file):
    with pytest.raises(InputError) as caught:
        read_config(file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_paths_are_taken_from_the_files_own_folder(config, tmp_path, monkeypatch):
    (tmp_path / "models" / "slm").mkdir(parents=True)
    (tmp_path / "question").touch()
    options = {"prompt": "question", "answer": "answer", "scorer": "python", "description": "d", "python": "scorer.py:close"}
    file = config(
        {
            **GOOD,
            "slm": {"model": "models/slm"},
            "judge": {"model": "./judge.gguf", "base_url": "embedded"},
            "task": {**GOOD["task"], "name": "custom", "selection": "/data/selection", "options": options},
        }
    )
    monkeypatch.chdir("/")
    settings = read_config(file)
    assert settings.task.train == str(tmp_path / "train.jsonl")  # also when it is not there: the error then names it
    assert settings.task.validation == "org/data#validation"
    assert settings.task.selection == "/data/selection"
    assert settings.task.test == "gs://b/test.jsonl"
    assert settings.slm.model == str(tmp_path / "models" / "slm")
    assert settings.teacher.model == "big"
    assert settings.judge.model == str(tmp_path / "judge.gguf")
    # a field's name stays one, though a file has it too
    assert settings.task.options == {**options, "python": f"{tmp_path / 'scorer.py'}:close"}


def test_another_run_is_named_by_a_path_from_there_too_and_must_be_of_use(config, tmp_path):
    taken = {"analyze": {"patterns_from": "runs/gsm8k"}}
    assert read_config(config({**GOOD, **taken})).analyze.patterns_from == str(tmp_path / "runs" / "gsm8k")
    stored = {"analyze": {"patterns_from": "gs://b/gsm8k"}}
    assert read_config(config({**GOOD, **stored})).analyze.patterns_from == "gs://b/gsm8k"
    assert "generate.method llm2llm writes against no pattern" in complaint(
        config({**GOOD, **taken, "generate": {"method": "llm2llm"}})
    )
    assert "generate.pattern_share 0" in complaint(config({**GOOD, **taken, "generate": {"pattern_share": 0}}))
    assert "shuffle" in complaint(config({**GOOD, "analyze": {**taken["analyze"], "shuffle": True}}))


def test_a_name_that_a_server_knows_its_model_by_is_left_alone(config, tmp_path):
    (tmp_path / "big").touch()
    settings = read_config(config({**GOOD, "teacher": {"model": "big", "base_url": "https://llm.example.org/v1"}}))
    assert settings.teacher.model == "big"


@pytest.mark.parametrize("python", ["s3://b/scorer.py:close", "minio://b/scorer.py:close", "package.module:close"])
def test_an_option_that_is_no_path_is_left_alone(config, python):
    options = {"prompt": "question", "answer": "answer", "scorer": "python", "description": "d", "python": python}
    settings = read_config(config({**GOOD, "task": {**GOOD["task"], "name": "custom", "options": options}}))
    assert settings.task.options == options


def test_a_task_that_there_is_not_is_named_with_the_file(config):
    file = config({**GOOD, "task": {**GOOD["task"], "name": "squid"}})
    assert complaint(file).startswith(f"{file}: task.name: there is no task 'squid'; there are squad, ")


def test_the_seed_of_the_command_line_wins(config):
    file = config({**GOOD, "seed": 3})
    assert read_config(file).seed == 3
    assert read_config(file, seed=8).seed == 8


def test_an_unknown_key_is_named_with_the_one_that_was_meant(config):
    assert complaint(config({**GOOD, "train": {"epoch": 3}})).endswith("unknown key 'train.epoch' (did you mean 'train.epochs'?)")
    assert complaint(config({**GOOD, "techer": {}})).endswith("unknown key 'techer' (did you mean 'teacher'?)")
    assert complaint(config({**GOOD, "zzz": 1})).endswith("config.yaml, line 12: unknown key 'zzz'")


def test_a_missing_section_and_a_value_out_of_bounds(config):
    assert "'judge' is missing" in complaint(config({k: v for k, v in GOOD.items() if k != "judge"}))
    assert re.search(r"train\.epochs: .*100.*\(it is 500\)", complaint(config({**GOOD, "train": {"epochs": 500}})))
    assert "k_max 2 is below k_min 5" in complaint(config({**GOOD, "analyze": {"k_min": 5, "k_max": 2}}))
    assert "and 1 more" in complaint(config({**GOOD, "train": {"epochs": 500, "rank": 0}}))


def test_more_for_the_requests_to_a_teacher(config):
    text = """
teacher:
  model: big
  reasoning_effort: low
  extra_body: {chat_template_kwargs: {enable_thinking: false}, top_k: 20}
  headers: {X-Tenant: "7"}
  usd_per_million_cached_input: 0.1
"""
    teacher = read_config(config({**GOOD, **yaml.safe_load(text)})).teacher
    assert teacher.body_extras == {
        "reasoning_effort": "low",
        "chat_template_kwargs": {"enable_thinking": False},
        "top_k": 20,
    }
    assert (teacher.headers, teacher.usd_per_million_cached_input) == ({"X-Tenant": "7"}, 0.1)


@pytest.mark.parametrize("headers", ["X-Key: hush", {"X-Key": "hush\n"}, {"X-Key": ["hush"]}, {"Authorization": "hush"}])
def test_a_header_s_value_is_not_in_the_complaint(config, headers):
    said = complaint(config({**GOOD, "teacher": {"model": "big", "headers": headers}}))
    assert "teacher.headers: " in said and "hush" not in said


def test_the_embedded_server_has_no_batches(config):
    said = complaint(config({**GOOD, "teacher": {"model": "big", "base_url": "embedded", "mode": "batch"}}))
    assert "teacher" in said and "the embedded server has none, leave mode: chat" in said


def test_broken_yaml_is_told_with_its_line(config):
    assert "config.yaml, line 3: not valid YAML" in complaint(config("task:\n  name: gsm8k\n train: [\n"))
    assert "line 4: not valid YAML (key 'seed' is given twice)" in complaint(config("seed: 1\ntask:\n  name: x\nseed: 2\n"))
    assert "expected sections" in complaint(config("- a list\n"))
    assert "expected sections" in complaint(config(""))


def test_a_file_that_cannot_be_read(tmp_path):
    assert "--config" in complaint(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in complaint(tmp_path / "bytes.yaml")


def test_anchors_and_numbers_as_people_write_them(config):
    text = """
task: {name: gsm8k, train: a.jsonl, validation: b.jsonl, test: c.jsonl}
slm: {model: org/slm}
teacher: &llm {model: big, concurrency: 2}
judge: {<<: *llm, model: other}
train: {learning_rate: 1e-4}
control: {solve: off}
"""
    settings = read_config(config(text))
    assert (settings.judge.model, settings.judge.concurrency) == ("other", 2)
    assert settings.train.learning_rate == 1e-4
    assert settings.control.solve == "off", "to YAML it is false"


def test_a_misspelt_key_is_named_before_what_is_missing_because_of_it(tmp_path):
    (tmp_path / "c.yaml").write_text("task: {name: squad, trian: x}\n")
    with pytest.raises(InputError, match=r"unknown key 'task\.trian' \(did you mean 'task\.train'\?\); and \d+ more"):
        read_config(tmp_path / "c.yaml")


def test_a_judge_that_is_the_teacher_is_refused_before_anything_runs(config):
    same = {"judge": GOOD["teacher"]}
    assert complaint(config({**GOOD, **same})).endswith("one in control.allow_judge if there is no other")
    assert read_config(config({**GOOD, **same, "control": {"verdict": "checks"}})).judge.model == GOOD["teacher"]["model"]


def test_an_order_that_the_task_cannot_be_written_in_is_refused_before_anything_runs(config):
    order = {"generate": {"order": "answer_first"}}
    assert read_config(config({**GOOD, **order})).generate.order == "answer_first"
    said = complaint(config({**GOOD, **order, "task": {**GOOD["task"], "name": "squad"}}))
    assert said.endswith("generate.order: answer_first needs answers that can be run, and squad has none; leave it out")

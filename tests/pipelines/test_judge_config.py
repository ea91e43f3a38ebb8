"""Who scores answers, in a config: named, another one than teacher and judge unless by its word, and by one for all methods."""

import json

import advice_rows
import jsonschema
import pytest
import yaml

from pada_agent.components.core.addresses import addresses
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import Settings
from pada_agent.components.stages import STAGES
from pada_agent.pipelines.alone.config import read_partial
from pada_agent.pipelines.config import read_config
from pada_agent.pipelines.config_schema import config_schema
from pada_agent.pipelines.doctor import endpoint
from pada_agent.pipelines.local.run_directory import RunDirectory, task_key
from pada_agent.pipelines.study.study_file import read_study

URL = "http://127.0.0.1:1/v1"


def values(folder, scorer="judge", **sections):
    llms = {role: {"model": role, "base_url": URL} for role in ("teacher", "judge")}
    task = {"name": "custom", **advice_rows.write(folder), "options": advice_rows.options()}
    own = {} if scorer is None else {"scorer": scorer}
    return {"task": task, "slm": {"model": "some/slm"}, **llms, **own, **sections}


def config(folder, **changes):
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(values(folder, **changes)))
    return file


@pytest.mark.parametrize("word", ["teacher", "judge"])
def test_a_word_names_the_teacher_or_the_judge(tmp_path, word):
    settings = read_config(config(tmp_path, scorer=word))
    assert settings.scorer.model == settings.scorer.same_as == word and settings.scorer.base_url == URL
    assert list(settings.llms) == ["teacher", "judge"], "nobody is examined or priced twice"
    assert settings.control.solve == "off"
    assert Settings.model_validate(settings.model_dump(mode="json")) == settings
    jsonschema.validate(values(tmp_path, scorer=word), config_schema())


def test_another_model_is_a_third_endpoint(tmp_path, llm_stub, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "test-key")
    llm_stub.on("", reply={"word": "ready"})
    settings = read_config(config(tmp_path, scorer={"model": "third", "base_url": llm_stub.url}))
    assert list(settings.llms) == ["teacher", "judge", "scorer"]
    assert STAGES["score_answers"].asks(settings.model_dump()) == ("scorer",)
    here = read_config(config(tmp_path, scorer={"model": "some/gguf", "base_url": "embedded"}))
    assert ("scorer.model", "some/gguf") in {(a.key, a.value) for a in addresses(here)}
    assert str(endpoint("scorer", settings.llms["scorer"])).endswith(f"third at {llm_stub.url} answers")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scorer": None}, "scorer: missing; task.options.scorer is judge: say which model scores answers"),
        ({"scorer": "boss"}, "scorer: give a model with its base_url, as for the judge, or the word teacher or judge (it is"),
        ({"scorer": {"model": "judge", "base_url": f"{URL}/"}}, "scorer.model: 'judge' is the judge too, and may favour"),
        ({"scorer": {"model": "teacher", "base_url": URL}}, "use another model, or say so by name: `scorer: teacher`"),
        ({"scorer": {"model": "x", "base_ur": URL}}, "unknown key 'scorer.base_ur' (did you mean 'scorer.base_url'?)"),
        ({"control": {"solve": "once"}}, "control.solve: is once, but where task.options.scorer is judge two good answers need"),
        ({"score": {"checks": -1}}, "score.checks: Input should be greater than or equal to 0"),
    ],
)
def test_a_config_that_is_wrong(tmp_path, changes, said):
    with pytest.raises(InputError) as caught:
        read_config(config(tmp_path, **changes))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_another_task_takes_no_scorer(tmp_path):
    file = config(tmp_path)
    whole = yaml.safe_load(file.read_text())
    whole["task"]["options"] = {"prompt": "question", "answer": "answer", "scorer": "rouge", "description": "d"}
    file.write_text(yaml.safe_dump(whole))
    with pytest.raises(InputError, match=r"scorer: belongs to task\.options\.scorer: judge of the task custom; leave it out"):
        read_config(file)
    assert read_config(config(tmp_path)).control.solve == "off"


def test_a_rubric_s_file_is_taken_from_the_config_s_folder(tmp_path):
    (tmp_path / "rubric.md").write_text("Be kind.")
    file = config(tmp_path)
    whole = yaml.safe_load(file.read_text())
    whole["task"]["options"]["rubric"] = "rubric.md"
    file.write_text(yaml.safe_dump(whole))
    settings = read_config(file)
    assert settings.task.options["rubric"] == str(tmp_path / "rubric.md")
    (found,) = [a for a in addresses(settings) if a.key == "task.options.rubric"]
    assert found.kind == "file" and found.readers == ("prepare_data",) and found.is_known_by_content


def test_an_analysis_alone_needs_no_scorer(tmp_path):
    settings = read_partial({key: part for key, part in values(tmp_path, None).items() if key in ("task", "teacher")})
    assert settings.task.scored_by_llm


def test_methods_of_a_study_are_scored_by_one(tmp_path):
    entry = values(tmp_path)
    study = {"tasks": {"advice": entry}, "methods": {"pada": {}, "other": {"judge": {"model": "another"}}}, "seeds": [0]}
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(study))
    with pytest.raises(InputError, match=r"methods.other: changes who scores the answers of advice, and all methods are to be"):
        read_study(file)
    entry["scorer"] = {"model": "third", "base_url": URL}
    file.write_text(yaml.safe_dump(study))
    assert {of.scorer.model for of in read_study(file).tasks["advice"].values()} == {"third"}


def test_how_the_scorer_is_reached_decides_nothing(tmp_path):
    one, other = (
        read_config(config(tmp_path, scorer={"model": "third", "base_url": url, "concurrency": n}))
        for url, n in ((URL, 1), ("http://127.0.0.1:2/v1", 9))
    )
    keys = {task_key("score_answers", {"settings": STAGES["score_answers"].sections(s)}, {}, {}) for s in (one, other)}
    assert len(keys) == 1


def test_a_run_that_was_begun_before_there_were_scorers_goes_on_and_caps_may_change(tmp_path):
    file = config(tmp_path)
    whole = yaml.safe_load(file.read_text())
    whole["task"]["options"] = {"prompt": "question", "answer": "answer", "scorer": "rouge", "description": "d"}
    file.write_text(yaml.safe_dump({name: part for name, part in whole.items() if name != "scorer"}))
    directory, settings = RunDirectory(tmp_path / "run"), read_config(file)
    directory.keep_settings(settings)
    kept = yaml.safe_load((directory.path / "settings.json").read_text())
    before = {name: part for name, part in kept.items() if name not in ("scorer", "score")}
    (directory.path / "settings.json").write_text(json.dumps(before))
    directory.keep_settings(settings)
    sections = STAGES["update_state"].sections(settings)
    old = {name: part for name, part in sections.items() if name not in ("scorer", "score")}
    assert len({task_key("update_state", {"settings": s}, {}, {}) for s in (sections, old)}) == 1
    directory.keep_settings(Settings.model_validate(settings.model_dump() | {"budget": {"calls": 7}}))
    with pytest.raises(InputError, match="was started with other settings: seed"):
        directory.keep_settings(settings.model_copy(update={"seed": 5}))

"""What a study file says, and what is told of a wrong one: which file, which line, what to do."""

import textwrap
from pathlib import Path

import pytest
import yaml

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import Settings
from pada_agent.pipelines.study.methods import ALWAYS, BUILT_IN, EQUAL_FOR_ALL, MAY_CHANGE, merged
from pada_agent.pipelines.study.packed import pack
from pada_agent.pipelines.study.study_file import read_study

PACKAGED = Path(__file__).parents[3] / "pipelines" / "study"
RUN = {
    "task": {"name": "gsm8k", "train": "train.jsonl", "validation": "v.jsonl", "test": "t.jsonl", "train_size": 50},
    "slm": {"model": "some/slm"},
    "teacher": {"model": "big", "base_url": "http://127.0.0.1:1/v1"},
    "judge": {"model": "other"},
    "loop": {"iterations": 2},
    "step_matched": False,
    "seed": 9,
}


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "configs" / "run.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(RUN))
    return file


@pytest.fixture
def read(tmp_path, config):
    """The study in a file with this text."""

    def read_text(text, **given):
        file = tmp_path / "study.yaml"
        file.write_text(textwrap.dedent(text))
        return read_study(file, **given)

    return read_text


def test_every_task_gets_every_methods_changes_at_every_size_and_seed(read, config):
    study = read(
        """
        tasks:
          sums: configs/run.yaml
          small: {config: configs/run.yaml, regimes: [20], slm: {max_length: 99}}
        settings: {teacher: {model: bigger}, slm: {max_length: 50}}
        regimes: [100, 300, 0]
        methods:
          pada_without_errors:
          pada_without_patterns: {teacher: {model: biggest}}
          hot: {generate: {temperature: 1.5}}
        seeds: [4, 2]
        iterations: 5
        jobs: 3
        """
    )
    assert (study.methods, study.seeds, study.jobs) == (["pada_without_errors", "pada_without_patterns", "hot"], [4, 2], 3)
    assert study.regimes == {"sums": [100, 300, 0], "small": [20]}
    hot = study.settings("sums", 300, "hot", 2)
    assert (hot.task.train_size, hot.seed, hot.generate.temperature, hot.teacher.model) == (300, 2, 1.5, "bigger")
    assert hot.task.train == str(config.parent / "train.jsonl"), "a path is meant from the file that it stands in"
    assert (hot.step_matched, hot.loop.iterations, hot.slm.max_length) == (True, 5, 50)
    without = study.settings("small", 20, "pada_without_patterns", 4)
    assert (without.generate.pattern_share, without.teacher.model, without.slm.max_length) == (0, "biggest", 99)
    vanilla = study.settings("sums", 0, "vanilla", 4)
    assert (vanilla.generate.pattern_share, vanilla.teacher.model, vanilla.task.train_size) == (0.5, "bigger", 0)


def test_sections_may_stand_in_the_study_itself(read, tmp_path):
    study = read(yaml.safe_dump({"tasks": {"sums": RUN}, "methods": ["vanilla", "pada", "untuned"]}))
    settings = study.settings("sums", 50, "pada", 0)
    assert settings.task.train == str(tmp_path / "train.jsonl")
    assert (study.regimes, study.seeds, settings.loop.iterations) == ({"sums": [50]}, [0, 1, 2], 2)
    assert study.methods == ["pada"], "the others are always there"


def test_the_config_of_a_run_is_a_study_of_pada(config):
    study = read_study(config, [3, 1], 2)
    assert (study.methods, study.seeds, study.jobs, study.regimes) == (["pada"], [3, 1], 2, {"gsm8k": [50]})
    settings = study.settings("gsm8k", 50, "pada", 1)
    assert (settings.step_matched, settings.seed, settings.loop.iterations) == (True, 1, 2)


def test_seeds_and_jobs_of_the_command_line_go_over_the_files(read):
    study = read("tasks: {sums: configs/run.yaml}\nseeds: [0]\njobs: 1\n", seeds=[5], jobs=4)
    assert (study.seeds, study.jobs) == ([5], 4)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_method_is_a_change_of_settings_that_there_are(name, read):
    study = read(f"tasks: {{sums: configs/run.yaml}}\nmethods: [{name}]\n")
    changed, plain = (study.settings("sums", 50, method, 0).model_dump() for method in (name, "vanilla"))
    assert (changed == plain) == (name == "pada")
    assert changed == merged(plain, BUILT_IN[name])
    assert set(BUILT_IN[name]) <= set(MAY_CHANGE) and not set(BUILT_IN) & set(ALWAYS)


def test_what_is_left_out_of_pada_and_of_others(read):
    changes = {
        "pada_without_patterns": {"generate": {"pattern_share": 0}},
        "pada_without_errors": {"generate": {"pattern_share": 1}},
        "pada_shuffled_clusters": {"analyze": {"shuffle": True}},
        "pada_without_quality_control": {"control": {"verdict": "none"}},
        "auggpt": {"generate": {"method": "auggpt"}},
        "auggpt_without_quality_control": {"generate": {"method": "auggpt"}, "control": {"verdict": "none"}},
    }
    study = read(yaml.safe_dump({"tasks": {"sums": "configs/run.yaml"}, "methods": list(changes)}))
    assert pack(study)["changes"]["sums"] == changes
    assert "duplicate_without_quality_control" not in BUILT_IN, "of copies nothing but leaks is checked anyway"


def test_what_methods_may_change_is_none_of_what_the_shared_models_are_made_of():
    assert set(MAY_CHANGE) <= set(Settings.model_fields)
    assert not {"task", "slm", "train", "evaluate", "loop", "seed", "budget", "step_matched"} & set(MAY_CHANGE)
    assert EQUAL_FOR_ALL == {"generate": ("share", "scope")}


ONE = "tasks: {sums: configs/run.yaml}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tasks: {}\n", r"study.yaml, line 1: tasks: .* at least 1 item"),
        (ONE + "taks: {}\n", r"study.yaml, line 2: unknown key 'taks' \(did you mean 'tasks'\?\)"),
        (ONE + "regimes: [300, 300]\n", r"study.yaml, line 2: regimes: each must occur once"),
        (ONE + "seeds: [-1]\n", r"study.yaml, line 2: seeds.0: .* greater than or equal to 0"),
        (ONE + "seeds: []\n", r"study.yaml, line 2: seeds"),
        (ONE + "methods: [pada, pada]\n", r"study.yaml, line 2: methods: each must occur once"),
        (ONE + "methods: [vanilla]\n", r"study.yaml, line 2: methods: name at least one beside untuned"),
        (
            ONE + "methods:\n  pada:\n  padda:\n",
            r"study.yaml, line 4: methods.padda: it is not built in, .*; built in are pada, ",
        ),
        (ONE + "methods:\n  vanilla: {slm: {model: x}}\n", r"study.yaml, line 3: methods.vanilla: it is in every study"),
        (
            ONE + "methods:\n  mine:\n    train: {epochs: 9}\n",
            r"study.yaml, line 4: methods.mine.train: a method may change teacher, .*; the rest is the same for all",
        ),
        (
            ONE + "methods:\n  mine:\n    generate:\n      share: 2\n",
            r"study.yaml, line 5: methods.mine.generate.share: all methods write as many rows",
        ),
        (
            ONE + "methods:\n  mine:\n    generate:\n      temprature: 2\n",
            r"study.yaml, line 5: methods.mine: unknown key 'generate.temprature' \(did you mean 'generate.temperature'\?\)",
        ),
        (
            ONE + "settings:\n  generate: {shots: 99}\nmethods:\n  mine:\n    generate: {batch: 2}\n",
            r"study.yaml, line 3: settings: generate.shots: .* less than or equal to 10 \(it is 99\)",
        ),
        (
            "tasks:\n  sums: {config: configs/run.yaml, slm: {lenght: 3}}\n",
            r"line 2: tasks.sums: unknown key 'slm.lenght'",
        ),
        ("tasks:\n  sums:\n    slm: {model: x}\n", r"study.yaml, line 2: tasks.sums: 'task' is missing; and 2 more"),
        ("tasks:\n  sums: configs/none.yaml\n", r"none.yaml: cannot be read"),
        ("tasks:\n  a/b: configs/run.yaml\n", r"study.yaml, line 2: .*'a/b' names a folder: use letters"),
        ("tasks: [sums]\n", r"study.yaml, line 1: tasks: "),
    ],
)
def test_a_wrong_file_is_told_by_its_line(text, said, read):
    with pytest.raises(InputError, match=said):
        read(text)


@pytest.mark.parametrize(
    ("name", "tasks"), [("small", ["messages", "squad", "arc"]), ("paper", ["arc_challenge", "gsm8k", "hellaswag", "squad"])]
)
def test_the_studies_that_come_with_the_package_can_be_read(name, tasks):
    study = read_study(PACKAGED / f"{name}.yaml")
    assert list(study.regimes) == tasks
    assert {"auggpt", "random_strategy", "duplicate", "pada_shuffled_clusters"} <= set(study.methods)
    assert ("learning_from_error" in study.methods) is (name == "paper")  # small's SLMs make no error on their training rows


def test_patterns_of_another_run_are_a_method(read, tmp_path):
    study = read(
        """
        tasks: {sums: configs/run.yaml}
        methods: {pada: {}, transfer: {analyze: {patterns_from: runs/squad}}}
        """
    )
    taken = {method: study.settings("sums", 0, method, 0).analyze.patterns_from for method in ("vanilla", *study.methods)}
    assert taken == {"vanilla": "", "pada": "", "transfer": str(tmp_path / "runs" / "squad")}

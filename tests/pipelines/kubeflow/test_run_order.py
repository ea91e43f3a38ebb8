"""What is found wrong with a run before anything is sent to a cluster."""

import json
from dataclasses import replace
from functools import reduce

import pytest
import yaml
from cluster_cases import ON_VERTEX, compile_with_volumes, write_config

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.form import FIELDS, filled_in
from pada_agent.components.core.settings import Settings
from pada_agent.pipelines.config import read_config
from pada_agent.pipelines.kubeflow.package import TARGETS, package_file, read_package
from pada_agent.pipelines.kubeflow.run_order import arguments_for, cut_short, is_loopback

NO_URIS = {"work_uri": "gs://work/w/", "export_uri": ""}


@pytest.fixture
def arguments(tmp_path, packages):
    """The arguments of a run with some keys of the config changed."""

    def build(changes=None, target="kubernetes", values=(), uris=NO_URIS, limit=10_000):
        outside = ON_VERTEX if target == "vertex" else {}
        settings = read_config(write_config(tmp_path / "config.yaml", changes or outside))
        return arguments_for(read_package(packages[target], target), settings, uris, values, limit)

    return build


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """A package whose stages have volumes."""
    return read_package(compile_with_volumes(tmp_path_factory.mktemp("volumes")), "kubernetes")


def _refused(arguments, **given):
    with pytest.raises(InputError) as caught:
        arguments(**given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_values_take_the_types_of_the_package(arguments):
    values = ["rounds=-2", "share=1e-1", "dry=false", 'names=["a", 1]']
    found = arguments(values=values)
    assert {name: found[name] for name in ("rounds", "share", "dry", "names")} == {
        "rounds": -2,
        "share": 0.1,
        "dry": False,
        "names": ["a", 1],
    }
    assert isinstance(found["rounds"], int) and not isinstance(found["rounds"], bool)
    assert found["settings"]["task"]["name"] == "gsm8k", "a package without fields is given all of it in settings"
    assert "loop" not in found["settings"], "and no default"
    assert found["work_uri"] == "gs://work/w"  # stages put a slash and a name behind it
    assert "export_uri" not in found  # the package's own default


@pytest.mark.parametrize(
    "value, expected",
    [
        ("round=2", "--set round: {package} has no such parameter; did you mean rounds?"),
        ("zzz=2", "it has dry, export_uri, names, rounds, settings, share, work_uri"),
        ("rounds=two", "--set rounds: 'two' is not a whole number"),
        ("rounds=2.5", "is not a whole number"),
        ("rounds=true", "is not a whole number"),
        ("share=nan", "--set share: 'nan' is not a number"),
        ("dry=1", "--set dry: '1' is not true or false"),
        ("dry=True", "is not true or false"),
        ("names={}", "--set names: '{{}}' is not a JSON list"),
        ("rounds", "--set rounds: give it as name=value"),
        ("settings={}", "--set settings: comes from --config; change it there"),
        ("export_uri=/tmp/x", "--set export_uri: /tmp/x cannot be read on kubernetes"),
    ],
)
def test_wrong_values(arguments, packages, value, expected):
    assert expected.format(package=packages["kubernetes"]) in _refused(arguments, values=[value])


@pytest.mark.parametrize("target", TARGETS)
def test_a_config_fills_the_form(tmp_path, target):
    """Each field from the config; in settings what has no field and is not the default."""
    changes = {**(ON_VERTEX if target == "vertex" else {}), "loop": {"iterations": 2, "patience": 1}, "train": {"rank": 16}}
    settings = read_config(write_config(tmp_path / "config.yaml", changes))
    package = read_package(package_file(target), target)
    found = arguments_for(package, settings, NO_URIS, ["data_version=1"])
    whole = settings.model_dump()
    assert {name: found[name] for name in FIELDS} == {
        name: reduce(lambda part, key: part[key], field.key.split("."), whole) for name, field in FIELDS.items()
    }
    secrets = {role: {"api_key_secret": of["api_key_secret"]} for role, of in ON_VERTEX.items()} if target == "vertex" else {}
    keys = {role: {"api_key_env": f"{role.upper()}_API_KEY", **secrets.get(role, {})} for role in ("teacher", "judge")}
    assert found["settings"] == {"loop": {"patience": 1}, **keys}, "train.rank is the default"
    assert Settings.model_validate(filled_in(found["settings"], {name: found[name] for name in FIELDS})) == settings


def test_a_field_of_the_config_is_not_set_by_hand(tmp_path):
    settings = read_config(write_config(tmp_path / "config.yaml"))
    package = read_package(package_file("kubernetes"), "kubernetes")
    for value, there in (("iterations=2", "--config (loop.iterations)"), ("judge_url=", "--config (judge.base_url)")):
        with pytest.raises(InputError) as caught:
            arguments_for(package, settings, NO_URIS, [value])
        assert str(caught.value) == f"--set {value.partition('=')[0]}: comes from {there}; change it there"


def test_the_parameters_of_a_usual_run_are_small(tmp_path):
    """KFP allows 10,000 bytes, and node status holds them several times; all settings with their defaults take 2,000."""
    settings = read_config(write_config(tmp_path / "config.yaml"))
    found = arguments_for(read_package(package_file("kubernetes"), "kubernetes"), settings, NO_URIS, ["data_version=1"])
    assert len(json.dumps(found["settings"])) < 120 and len(json.dumps(found)) < 700


def test_a_uri_is_given_once(arguments):
    uris = {"work_uri": "gs://b/w", "export_uri": ""}
    assert "--set work_uri: comes from its own option" in _refused(arguments, values=["work_uri=gs://b/x"], uris=uris)


SCORER = {"prompt": "q", "answer": "a", "scorer": "python", "description": "d"}


def _with(key, value):
    """Changes of a config that put an address into a setting."""
    if key == "task.options.database":
        return {"task": {"name": "text_to_sql", "options": {"database": value}}}
    if key == "task.options.python":
        return {"task": {"name": "custom", "options": {**SCORER, "python": f"{value}:close"}}}
    section, name = key.split(".")
    return {section: {name: value}}


ROWS = {f"task.{split}": ("rows.jsonl", "prepare_data") for split in ("train", "validation", "selection", "test")}
FILES = {"task.options.database": ("shop.sql", "prepare_data"), "task.options.python": ("scorer.py", "prepare_data")}
MODELS = {"slm.model": ("slm", "train_lora"), "embedding.model": ("mpnet", "analyze_patterns")}
ADDRESSES = [(key, *case) for key, case in {**ROWS, **FILES, **MODELS}.items()]


@pytest.mark.parametrize("key, name, reader", ADDRESSES)
def test_an_address_that_a_cluster_can_read(tmp_path, volumes, key, name, reader):
    places = ["gs://b/x/", "s3://b/x/", "minio://b/x/", "/models/x/"] + (["/data/"] if reader == "prepare_data" else [])
    values = [f"{place}{name}" for place in places] + ([HUB[reader]] if key not in FILES else [])
    for value in values:
        settings = read_config(write_config(tmp_path / "config.yaml", _with(key, value)))
        assert arguments_for(volumes, settings, {"work_uri": "minio://w/x"}, ())["work_uri"] == "minio://w/x"


HUB = {"prepare_data": "org/x#a", "train_lora": "org/model", "analyze_patterns": "org/model"}


@pytest.mark.parametrize("key, name, reader", ADDRESSES)
def test_an_address_that_no_pod_sees(tmp_path, volumes, packages, key, name, reader):
    def refused(value, package):
        target = ON_VERTEX if package.target == "vertex" else {}
        changes = {section: {**target.get(section, {}), **_with(key, value).get(section, {})} for section in SECTIONS}
        settings = read_config(write_config(tmp_path / "config.yaml", changes))
        with pytest.raises(InputError) as caught:
            arguments_for(package, settings, {"work_uri": "gs://w/x"}, ())
        assert "\n" not in str(caught.value)
        return str(caught.value)

    hub = "" if key in FILES else ", or give a hub id"
    upload = f"upload it to gs:// or s3:// or minio://{hub}, or mount a volume with it into"
    has = "/data, /models" if reader == "prepare_data" else "/models"
    for value in (f"./{name}", f"/mnt/{name}", f"/database/{name}", f"/models/../{name}"):
        said = refused(value, volumes)
        full = str(tmp_path / name) if value.startswith(".") else value
        assert said.startswith(f"{key}: {full} is on no volume that {reader} has; {upload} {reader} (`pada compile --placement F")
        assert has in said.partition(f"{volumes.path} mounts ")[2]
    assert f"{key}: /models/{name} is on no volume that {reader} has" in refused(f"/models/{name}", read_package(*SHIPPED))
    vertex = read_package(packages["vertex"], "vertex")
    assert f"; upload it to gs://{hub}, or give it below /gcs/" in refused(f"/models/{name}", vertex)
    assert f"{key}: minio://b/{name} cannot be read on vertex; give a gs:// URI" in refused(f"minio://b/{name}", vertex)


SECTIONS = ("task", "slm", "embedding", "teacher", "judge")
SHIPPED = (package_file("kubernetes"), "kubernetes")


def test_a_model_is_read_by_two_stages_and_both_must_have_its_volume(tmp_path, volumes):
    settings = read_config(write_config(tmp_path / "config.yaml", {"slm": {"model": "/scratch/slm"}}))
    with pytest.raises(InputError, match=r"^slm\.model: /scratch/slm is on no volume that evaluate_slm has"):
        arguments_for(volumes, settings, {"work_uri": "gs://w/x"}, ())


def test_every_task_of_a_stage_must_have_the_volume(volumes):
    executors = volumes.spec["deploymentSpec"]["executors"]
    again = {**executors, "exec-again": executors["exec-evaluate-slm"]}  # of which the second document says nothing
    package = replace(volumes, spec={**volumes.spec, "deploymentSpec": {"executors": again}})
    assert volumes.mounts("evaluate_slm") == {"/models"}
    assert package.mounts("evaluate_slm") == volumes.mounts("generate_data") == set()


def test_what_vertex_mounts(arguments):
    for key, name, _ in ADDRESSES:
        changes = {
            section: {**ON_VERTEX.get(section, {}), **_with(key, f"/gcs/b/{name}").get(section, {})} for section in SECTIONS
        }
        assert arguments(changes, target="vertex")


def test_a_server_may_know_its_model_by_a_path(arguments, tmp_path):
    (tmp_path / "teacher.gguf").touch()
    settings = arguments({"teacher": {"model": "./teacher.gguf"}, "judge": {"model": "/opt/judge"}})["settings"]
    assert (settings["teacher"]["model"], settings["judge"]["model"]) == ("./teacher.gguf", "/opt/judge")


def test_an_earlier_run_must_be_exported_to_a_store(tmp_path, packages):
    for target, place, expected in (
        ("kubernetes", "/exports/a", "earlier: /exports/a is on no volume; give a gs:// or s3:// or minio:// URI"),
        ("vertex", "s3://b/x", "earlier: s3://b/x cannot be read on vertex; give a gs:// URI"),
    ):
        settings = read_config(write_config(tmp_path / "config.yaml", ON_VERTEX if target == "vertex" else None))
        with pytest.raises(InputError) as caught:
            arguments_for(read_package(packages[target], target), settings.model_copy(update={"earlier": place}), NO_URIS, ())
        assert str(caught.value) == expected


def test_patterns_are_taken_from_where_pods_see_them_and_not_from_where_the_run_exports(tmp_path, packages):
    def order(place, **uris):
        changes = {"analyze": {"patterns_from": place}}
        settings = read_config(write_config(tmp_path / "config.yaml", changes))
        return arguments_for(read_package(packages["kubernetes"], "kubernetes"), settings, {"work_uri": "gs://w/x", **uris}, ())

    with pytest.raises(InputError, match=r"analyze.patterns_from: /runs/a is on no volume that analyze_patterns has"):
        order("/runs/a")
    with pytest.raises(InputError, match=r"analyze.patterns_from: gs://e/a is --export-uri too"):
        order("gs://e/a/", export_uri="gs://e/a")
    arguments = order("gs://e/a", export_uri="gs://e/b")
    assert arguments["settings"]["analyze"] == {"patterns_from": "gs://e/a"}


def test_a_folder_of_prompts_must_be_one_that_pods_see(tmp_path, packages, volumes):
    def order(prompts, package, changes=None):
        settings = read_config(write_config(tmp_path / "config.yaml", changes)).model_copy(update={"prompts": prompts})
        return arguments_for(package, settings, {"work_uri": "gs://w/x"}, ())

    for prompts in ("gs://b/p", "minio://b/p", "/data/p"):
        assert order(prompts, volumes)["settings"]["prompts"] == prompts
    with pytest.raises(
        InputError, match=r"^prompts: /mnt/p is on no volume that prepare_data has; upload it to .*minio://, or mount"
    ):
        order("/mnt/p", volumes)
    vertex = read_package(packages["vertex"], "vertex")
    with pytest.raises(InputError, match=r"^prompts: s3://b/p cannot be read on vertex; give a gs:// URI$"):
        order("s3://b/p", vertex, ON_VERTEX)


@pytest.mark.parametrize(
    "changes, target, expected",
    [
        (
            {"task": {"train": "hf://x/y"}},
            "kubernetes",
            "task.train: hf://x/y cannot be read on kubernetes; give a gs://",
        ),
        ({"slm": {"model": "gs:///x"}}, "kubernetes", "slm.model: gs:///x names no bucket; give it as gs://bucket/folder"),
        ({"task": {"train": "s3://b/x"}}, "vertex", "task.train: s3://b/x cannot be read on vertex; give a gs:// URI"),
        ({"teacher": {"base_url": "embedded"}}, "kubernetes", "teacher.base_url: there is no embedded server on a cluster"),
        (
            {"judge": {"base_url": "http://localhost:8000/v1"}},
            "kubernetes",
            "judge.base_url: http://localhost:8000/v1 is",
        ),
        ({"judge": {"base_url": "http://[::1]:8000/v1"}}, "vertex", "is this machine"),
        (
            {"judge": {"api_key_secret": ""}},
            "vertex",
            "judge.api_key_secret: missing; Vertex gives its tasks no secrets: put the key into Secret Manager",
        ),
        ({}, "vertex", "teacher.base_url: http://teacher.pada-agent.svc:8000/v1 is a Kubernetes service"),
    ],
)
def test_what_a_cluster_cannot_reach(tmp_path, packages, changes, target, expected):
    if target == "vertex" and changes:
        changes = {section: {**ON_VERTEX.get(section, {}), **changes.get(section, {})} for section in {*ON_VERTEX, *changes}}
    settings = read_config(write_config(tmp_path / "config.yaml", changes))
    with pytest.raises(InputError) as caught:
        arguments_for(read_package(packages[target], target), settings, NO_URIS, ())
    assert expected in str(caught.value)


def test_a_key_that_the_tasks_will_not_have(arguments):
    said = _refused(arguments, changes={"judge": {"api_key_env": "OPENAI_API_KEY"}})
    assert said == (
        "judge.api_key_env: control_quality gets JUDGE_API_KEY from a secret, not OPENAI_API_KEY; set it to that name"
    )


def test_a_teacher_that_solves_needs_its_key_where_samples_are_checked(arguments):
    said = _refused(arguments, changes={"control": {"solver": "teacher"}})
    assert said.startswith("teacher.api_key_env: control_quality gets JUDGE_API_KEY from a secret, not TEACHER_API_KEY;")


def test_keys_are_told_apart_by_stage(arguments):
    said = _refused(arguments, changes={"teacher": {"api_key_env": "JUDGE_API_KEY"}})
    assert said.startswith("teacher.api_key_env: analyze_patterns gets TEACHER_API_KEY from a secret, not JUDGE_API_KEY;")


def test_more_iterations_than_there_is_room_for(arguments, packages):
    said = _refused(arguments, changes={"loop": {"iterations": 4}})
    assert said.startswith(f"loop.iterations: is 4, but {packages['kubernetes']} has room for 3; lower it")


def test_the_folder_for_paid_replies_must_be_given(arguments):
    said = _refused(arguments, uris={"work_uri": "", "export_uri": "gs://out/e"})
    assert said.startswith("--work-uri: missing; parameter 'work_uri' of ")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "api.localhost"])
def test_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "10.0.0.1", "teacher.pada-agent.svc", "localhost.example.org"])
def test_no_loopback(host):
    assert not is_loopback(host)


def test_the_parameters_limit(arguments):
    options = {"task": {"options": {"note": "ü<" * 1000}}}
    size = int(_refused(arguments, changes=options, limit=100).split(" take ")[1].split()[0])
    assert 8000 < size < 8000 + 4000  # a letter of two bytes, and < as six
    assert arguments(options, limit=size)
    assert "take" in _refused(arguments, changes=options, limit=size - 1)
    assert "MAX_PARAMETER_BYTES" in _refused(arguments, changes={"task": {"options": {"note": "x" * 10_000}}})


def test_a_package_with_other_parameters(tmp_path, packages, cluster_config):
    spec, platform = yaml.safe_load_all(packages["kubernetes"].read_text())
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    settings = read_config(cluster_config)
    file = tmp_path / "loop.yaml"

    def refused(**changes):
        spec["root"]["inputDefinitions"]["parameters"] = {n: p for n, p in {**parameters, **changes}.items() if p}
        file.write_text(yaml.safe_dump_all([spec, platform]))
        with pytest.raises(InputError) as caught:
            arguments_for(read_package(file, "kubernetes"), settings, NO_URIS, ())
        return str(caught.value)

    assert "has no parameter 'settings'" in refused(settings=None)
    assert "its parameter 'settings' is not an object" in refused(settings={"parameterType": "STRING"})
    assert "--set card=...: missing; parameter 'card' of" in refused(card={"parameterType": "STRING"})


@pytest.mark.parametrize(
    "text, expected",
    [
        (
            None,
            "cannot be read (No such file or directory); write it with `pada compile --target kubernetes --registry ... --output",
        ),
        ("a: [", "is not YAML"),
        ("[1, 2]", "is not a compiled pipeline"),
        ("", "is not a compiled pipeline"),
        ("name: evaluate\nimplementation: {}", "is not a compiled pipeline"),
    ],
)
def test_no_package(tmp_path, text, expected):
    file = tmp_path / "x.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError) as caught:
        read_package(file, "kubernetes")
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_a_package_of_another_kind_or_target(tmp_path, packages):
    with pytest.raises(InputError, match=r"a package is a \.yaml file"):
        read_package(tmp_path / "x.json", "vertex")
    with pytest.raises(InputError, match="has two documents, so it is a package for Kubernetes"):
        read_package(packages["kubernetes"], "vertex")
    with pytest.raises(InputError, match="asks for the accelerator NVIDIA_L4, so it is a package for vertex"):
        read_package(packages["vertex"], "kubernetes")
    first = packages["kubernetes"].read_text().split("\n---\n")[0]
    (tmp_path / "one.yaml").write_text(first)
    with pytest.raises(InputError, match=r"asks for the accelerator nvidia\.com/gpu, so it is a package for kubernetes"):
        read_package(tmp_path / "one.yaml", "vertex")


def test_the_shipped_package_lies_beside_the_code():
    assert package_file("vertex").parts[-3:] == ("pipelines", "packages", "improvement_loop.vertex.yaml")


def test_settings_that_allow_more_tries_than_the_package_has_are_told_so(tmp_path, packages):
    shipped = read_package(package_file("kubernetes"), "kubernetes")
    settings = read_config(write_config(tmp_path / "config.yaml", {}))
    assert shipped.attempts == 4 and cut_short(shipped, settings) == ""
    more = settings.generate.model_copy(update={"refills": 1})
    more = settings.model_copy(update={"generate": more})
    assert "4 times where the settings allow 8" in cut_short(shipped, more)
    assert "`pada compile --attempts 8` makes room" in cut_short(shipped, more)
    fewer = settings.generate.model_copy(update={"regenerations": 2, "refills": 0})
    assert cut_short(shipped, settings.model_copy(update={"generate": fewer})) == ""
    other = read_package(packages["kubernetes"], "kubernetes")  # a pipeline without that pair
    assert cut_short(other, more) == ""

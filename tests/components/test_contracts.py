"""Each stage's Kubeflow contract: the committed component.yaml, the program behind it, and the local engine say the same."""

import ast
import re
import tomllib
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest
import yaml
from compiled import without_sdk_version
from kfp import components as kfp_components

from pada_agent.components.core.form import SETTING_OF
from pada_agent.components.core.settings import LlmStage
from pada_agent.components.images import image
from pada_agent.components.stages import CONTAINERS, IMAGES, LLM_STAGES, STAGES
from pada_agent.pipelines.kubeflow.compile import component_yaml

ROOT = Path(__file__).parents[2] / "components"
READ = dict.fromkeys(("input", "optional_input", "input_uri", "has_input"), "artifacts") | {"parameter": "parameters"}


def committed(stage):
    return ROOT / stage / "component.yaml"


def spec_of(stage):
    return yaml.safe_load(committed(stage).read_text())


def interface(stage):
    (component,) = spec_of(stage)["components"].values()
    return component


@pytest.mark.parametrize("stage", STAGES)
def test_the_committed_component_is_what_the_source_says(stage):
    assert without_sdk_version(committed(stage).read_text()) == without_sdk_version(component_yaml(stage)), (
        "write it again: python -m pada_agent.pipelines.kubeflow.compile"
    )


def test_a_folder_is_a_component_if_and_only_if_it_is_a_stage():
    for name in ("component.py", "component.yaml", "metadata.yaml"):
        assert {p.parent.name for p in ROOT.glob(f"*/{name}")} == set(STAGES), name


@pytest.mark.parametrize("stage", STAGES)
def test_the_container_runs_the_stage_and_nothing_else(stage):
    (executor,) = spec_of(stage)["deploymentSpec"]["executors"].values()
    assert executor["container"] == {
        "image": image(stage),
        "command": ["python", "-m", f"pada_agent.components.{stage}"],
        "args": ["--executor-input", "{{$}}"],
    }


def names_in(node, tables):
    """The ports that the first argument of a call can name: a word, or the keys of a module's table."""
    match node:
        case ast.Constant(value=str(word)):
            return {word}
        case ast.Name(id=loop):
            return tables.get(loop, set())
    return set()


@pytest.mark.parametrize("stage", STAGES)
def test_the_program_reads_and_writes_exactly_what_the_contract_names(stage):
    """Every name that the entry asks the executor for is an input or output, and every one of those is asked for."""
    program = import_module(f"pada_agent.components.{stage}.__main__")
    tree = ast.parse(Path(program.__file__).read_text())
    tables = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.For) and isinstance(node.target, ast.Tuple) and "OUTPUTS" in ast.unparse(node.iter):
            tables[node.target.elts[0].id] = set(program.OUTPUTS)
    asked = {"artifacts": set(), "parameters": {"work_uri"} | ({"settings"} if STAGES[stage].settings.model_fields else set())}
    made = {"artifacts": set(), "parameters": set()}
    for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
        names = names_in(call.args[0], tables) if call.args else set()
        match call.func:
            case ast.Attribute(attr=verb) if verb in READ:
                asked[READ[verb]] |= names
            case ast.Attribute(attr="output"):
                made["artifacts"] |= names
            case ast.Attribute(attr="set_parameter"):
                made["parameters"] |= names
            case ast.Attribute(attr="fill_in"):
                asked["parameters"] |= SETTING_OF.keys()
    component = interface(stage)
    for kind in ("artifacts", "parameters"):
        takes, gives = (set(component[side].get(kind, {})) for side in ("inputDefinitions", "outputDefinitions"))
        assert takes - {"iteration"} == asked[kind] - {"iteration"}
        assert gives == made[kind]


@pytest.mark.parametrize("stage", STAGES)
def test_the_program_says_by_which_file_it_knows_each_folder(stage):
    """Else a file where a folder is expected, or a folder half-written, is found out late or not at all."""
    calls = [n for n in ast.walk(ast.parse((ROOT / stage / "__main__.py").read_text())) if isinstance(n, ast.Call)]
    reads = [c for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr in ("input", "optional_input")]
    bare = {ast.unparse(c.args[0]) for c in reads if len(c.args) == 1}
    # Predictions to analyse may be a file, an adapter a whole model; of held-out rows a stage reads the splits it is told.
    either = {"analyze_patterns": {"'predictions'"}, "evaluate_slm": {"'adapter'"}}.get(stage, set())
    assert bare <= {"'heldout_data'"} | either


@pytest.mark.parametrize("stage", STAGES)
def test_the_table_of_stages_names_the_same_ports(stage):
    inputs, outputs, known = interface(stage)["inputDefinitions"], interface(stage)["outputDefinitions"], STAGES[stage]
    needed = [name for name, of in inputs.get("artifacts", {}).items() if not of.get("isOptional")]
    assert set(known.inputs.needed) == set(needed)
    assert {*known.inputs.needed, *known.inputs.optional} == set(inputs.get("artifacts", {}))
    assert set(known.outputs) == set(outputs["artifacts"])
    assert set(known.values) == set(outputs.get("parameters", {}))
    assert known.checkpoints == ("checkpoint_uri" in inputs["parameters"])
    assert known.exports == ("export_uri" in inputs["parameters"])
    assert bool(known.llm) == ("ledger" in inputs["parameters"])


def test_the_folders_with_a_component_are_the_stages_of_the_table():
    assert {file.parent.name for file in ROOT.glob("*/component.py")} == set(STAGES)


def test_caps_can_be_set_for_each_stage_that_asks_an_llm():
    assert set(get_args(LlmStage)) == set(LLM_STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_every_input_and_output_is_told_to_whoever_reads_the_component(stage):
    for side in (interface(stage)[side] for side in ("inputDefinitions", "outputDefinitions")):
        assert [name for ports in side.values() for name, of in ports.items() if not of.get("description")] == []


@pytest.mark.parametrize("stage", STAGES)
def test_another_pipeline_can_load_it(stage):
    loaded = kfp_components.load_component_from_file(str(committed(stage)))
    assert loaded.name == stage.replace("_", "-")
    assert loaded.description


def test_each_stage_has_one_image():
    assert {one.image for one in CONTAINERS.values()} == set(IMAGES)
    assert image("train_lora", "registry.example/team/", "1.2") == "registry.example/team/pada-agent/slm:1.2"


@pytest.mark.parametrize("stage", STAGES)
def test_the_metadata_has_the_layout_of_kubeflows_component_repository(stage):
    """kubeflow/pipelines-components, scripts/validate_metadata: these keys in this order, semantic versions, a date with time."""
    metadata = yaml.safe_load((ROOT / stage / "metadata.yaml").read_text())
    assert list(metadata) == ["name", "stability", "dependencies", "lastVerified", "tags", "ci"]
    assert metadata["name"] == stage and metadata["stability"] in ("experimental", "alpha", "beta", "stable")
    assert isinstance(metadata["lastVerified"], datetime)
    dependencies = metadata["dependencies"]
    assert [d["name"] for d in dependencies["kubeflow"]] == ["Pipelines"]
    for dependency in [*dependencies["kubeflow"], *dependencies.get("external_services", [])]:
        assert re.fullmatch(r"(>=|<=|==)?\d+\.\d+\.\d+", dependency["version"])
    asks_an_llm = {"teacher", "judge", "scorer"} & set(STAGES[stage].settings.model_fields) and stage != "update_state"
    assert ("external_services" in dependencies) == bool(asks_an_llm)


def test_each_rule_on_imports_that_names_stages_names_all():
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())
    for contract in project["tool"]["importlinter"]["contracts"]:
        named = {stage for stage in STAGES if re.search(rf"pada_agent\.components\.{stage}\b", str(contract))}
        assert named in (set(), set(STAGES)), contract["name"]

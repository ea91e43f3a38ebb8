"""Small compiled packages and a config for the tests that send runs to clusters."""

from pathlib import Path
from typing import Any

import yaml

CONFIG: dict[str, Any] = {
    "task": {"name": "gsm8k", "train": "gs://data/train.jsonl", "validation": "gs://data/val.jsonl", "test": "openai/gsm8k#test"},
    "slm": {"model": "HuggingFaceTB/SmolLM2-135M-Instruct"},
    "teacher": {"model": "big", "base_url": "http://teacher.pada-agent.svc:8000/v1", "api_key_env": "TEACHER_API_KEY"},
    "judge": {"model": "other", "base_url": "https://llm.example.org/v1", "api_key_env": "JUDGE_API_KEY"},
}
# What a config for Vertex has besides: endpoints that it reaches, and keys from Secret Manager.
ON_VERTEX: dict[str, dict[str, Any]] = {
    "teacher": {"base_url": "https://llm.example.org/v1", "api_key_secret": "projects/p/secrets/teacher/versions/latest"},
    "judge": {"api_key_secret": "projects/p/secrets/judge/versions/latest"},
}


def compile_packages(folder: Path) -> dict[str, Path]:
    """By target: a pipeline of two container components, with kfp.kubernetes' second document for Kubernetes."""
    from kfp import compiler, dsl, kubernetes

    @dsl.container_component
    def analyze(settings: dict, place: str, max_iterations: int):  # type: ignore[no-untyped-def]
        return dsl.ContainerSpec(
            image="registry.example/pada-agent/analysis:0.1.0", command=["python", "-m", "pada_agent.components.analyze_patterns"]
        )

    @dsl.container_component
    def control(settings: dict, export_uri: str):  # type: ignore[no-untyped-def]
        return dsl.ContainerSpec(
            image="registry.example/pada-agent/agents:0.1.0", command=["python", "-m", "pada_agent.components.control_quality"]
        )

    def build(target: str) -> Any:
        @dsl.pipeline(name="improvement-loop")
        def loop(  # type: ignore[no-untyped-def]
            settings: dict,
            work_uri: str,
            export_uri: str = "",
            rounds: int = 3,
            share: float = 0.5,
            dry: bool = False,
            names: list = [],  # noqa: B006
        ):
            first = analyze(settings=settings, place=work_uri, max_iterations=3)  # called work_uri, the task would tell events
            first.set_accelerator_type("nvidia.com/gpu" if target == "kubernetes" else "NVIDIA_L4").set_accelerator_limit(1)
            with dsl.If(dry == False, name="iteration-2"):  # noqa: E712
                again = control(settings=settings, export_uri=export_uri)
            for task, key in ((first, "TEACHER_API_KEY"), (again, "JUDGE_API_KEY")) if target == "kubernetes" else ():
                kubernetes.use_secret_as_env(task, "pada-agent-llm", {key: key})
                kubernetes.use_secret_as_env(task, "pada-agent-hub", {"HF_TOKEN": "HF_TOKEN"}, optional=True)

        return loop

    packages = {target: folder / f"loop.{target}.yaml" for target in ("kubernetes", "vertex")}
    for target, file in packages.items():
        compiler.Compiler().compile(build(target), str(file))
    return packages


def compile_telling(folder: Path) -> dict[str, Path]:
    """By target: a pipeline of two tasks that tell how far they are, one of them in a layer, called as the recipe calls them."""
    from kfp import compiler, dsl

    def component(stage: str, name: str) -> Any:
        def run(settings: dict, work_uri: str):  # type: ignore[no-untyped-def]
            command = ["python", "-m", f"pada_agent.components.{stage}"]
            return dsl.ContainerSpec(image="registry.example/pada-agent/slm:0.1.0", command=command)

        run.__name__ = name
        return dsl.container_component(run)

    prepare, train = component("prepare_data", "prepare"), component("train_lora", "train_1")

    @dsl.pipeline(name="improvement-loop")
    def loop(settings: dict, work_uri: str, dry: bool = False):  # type: ignore[no-untyped-def]
        first = prepare(settings=settings, work_uri=work_uri)
        with dsl.If(dry == False, name="iteration-1"):  # noqa: E712
            train(settings=settings, work_uri=work_uri).after(first)

    packages = {target: folder / f"telling.{target}.yaml" for target in ("kubernetes", "vertex")}
    for file in packages.values():
        compiler.Compiler().compile(loop, str(file))
    return packages


def compile_with_volumes(folder: Path) -> Path:
    """A package for Kubernetes whose stages have volumes: /data where rows are read, /models where models are."""
    from kfp import compiler, dsl, kubernetes

    volumes = {
        "prepare_data": ("/data", "/models"),
        "train_lora": ("/models", "/scratch"),
        "evaluate_slm": ("/models",),
        "analyze_patterns": ("/models/",),
    }

    def component(stage: str) -> Any:
        def run(settings: dict, work_uri: str):  # type: ignore[no-untyped-def]
            return dsl.ContainerSpec(image="pada-agent", command=["python", "-m", f"pada_agent.components.{stage}"])

        run.__name__ = stage
        return dsl.container_component(run)

    stages = {stage: component(stage) for stage in volumes}

    @dsl.pipeline(name="improvement-loop")
    def loop(settings: dict, work_uri: str):  # type: ignore[no-untyped-def]
        for stage, paths in volumes.items():
            task = stages[stage](settings=settings, work_uri=work_uri)
            for path in paths:
                kubernetes.mount_pvc(task, pvc_name=f"claim{path.strip('/')}", mount_path=path)

    compiler.Compiler().compile(loop, str(folder / "volumes.yaml"))
    return folder / "volumes.yaml"


def write_config(file: Path, changes: dict[str, dict[str, Any]] | None = None) -> Path:
    """`CONFIG` with `changes` of some keys of some sections."""
    more = changes or {}
    values = {name: {**CONFIG.get(name, {}), **more.get(name, {})} for name in [*CONFIG, *(more.keys() - CONFIG.keys())]}
    file.write_text(yaml.safe_dump(values))
    return file

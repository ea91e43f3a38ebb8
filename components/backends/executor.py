"""The contract between a stage and whatever runs it: Kubeflow, Vertex, KFP's DockerRunner or the local engine.

A stage is started with one argument, the executor input, and reads and writes everything through it. Cut short:

    {"inputs":  {"parameterValues": {"settings": {...}, "iteration": 1},
                 "artifacts": {"train_data": {"artifacts": [{"name": "train_data", "uri": "gs://b/run/train", "metadata": {}}]}}},
     "outputs": {"artifacts": {"adapter": {"artifacts": [{"name": "adapter", "uri": "gs://b/run/adapter"}]}},
                 "parameters": {"go_on": {"outputFile": "/tmp/go_on"}},
                 "outputFile": "/tmp/executor_output.json"}}

The shape is Kubeflow's ExecutorInput message (kubeflow/pipelines api/v2alpha1/pipeline_spec.proto).
"""

import json
import os
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pada_agent.components.backends.files import room_at, write_atomic
from pada_agent.components.backends.mounts import local_path
from pada_agent.components.backends.progress import notice, quiet_libraries
from pada_agent.components.backends.signals import STOPPED, ending_in_order
from pada_agent.components.backends.store.events import events_below
from pada_agent.components.backends.store.outbox import Outbox, destination
from pada_agent.components.backends.telling import sentence, telling
from pada_agent.components.backends.threads import wait_briefly
from pada_agent.components.core.errors import InputError, PadaError
from pada_agent.components.core.figures import Numbers, outcome
from pada_agent.components.core.form import SETTING_OF, filled_in
from pada_agent.components.core.settings import Settings, whole_numbers
from pada_agent.components.core.validation import validation_message
from pada_agent.components.stages import STAGES

SETTINGS_FILE = "settings.json"  # in `train_data`: those of a whole run
S = TypeVar("S", bound=BaseModel)


class Executor:
    """Typed reading of one executor input and writing of its executor output.

    With a `label` output artifacts may be called NAME_LABEL there: so those of two tasks of a stage are told apart in a graph.
    """

    def __init__(self, text: str, label: str = "") -> None:
        try:
            doc = json.loads(text)
            self._inputs: dict[str, Any] = doc.get("inputs", {})
            self._outputs: dict[str, Any] = doc["outputs"]
            self._output_file = Path(self._outputs["outputFile"])
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise InputError(f"--executor-input is not a Kubeflow executor input ({type(e).__name__}: {e})") from e
        self._label = label
        self._parameters: dict[str, Any] = {}
        self._metadata: dict[str, dict[str, Any]] = {}
        self._written: set[str] = set()
        self._elsewhere: dict[str, str] = {}  # URIs of outputs that need no copy
        self._outbox = Outbox()
        self.numbers: dict[str, bool | int | float | str] = {}
        self.seconds = 0.0  # how long the stage took, once it has come to its end

    def settings(self, model: type[S]) -> S:
        """The sections of `model`, validated. Raises InputError that names the key.

        They are in the parameter `settings`, which may be a whole run's: each stage checks all it is given, so that the first one
        finds every mistake. Where it is absent or empty, they are those of the run that `train_data` was prepared for.
        """
        chosen = self._settings(model)
        return (
            model.model_validate(chosen.model_dump(include=set(model.model_fields))) if isinstance(chosen, Settings) else chosen
        )

    def run_settings(self, model: type[BaseModel]) -> Settings | None:
        """The settings of a whole run, None where only the sections of `model` are given. Raises InputError."""
        chosen = self._settings(model)
        return chosen if isinstance(chosen, Settings) else None

    def fill_in(self) -> None:
        """Put the parameters that say one setting each into `settings`; an empty one is not given. Raises InputError."""
        parameters = self._inputs.get("parameterValues", {})
        given = {name: self.parameter(name) for name in SETTING_OF if parameters.get(name) not in (None, "")}
        if given:
            _, settings = self._given_settings()
            if not isinstance(settings, dict):
                raise InputError(f"settings: is {settings!r}; give a JSON object")
            parameters["settings"] = filled_in(settings, given)

    def _given_settings(self, of_the_run: bool = False) -> tuple[str, Any]:
        """Where the settings stand, and their values; with `of_the_run` those beside `train_data` if none are given."""
        where, raw = "settings", self._inputs.get("parameterValues", {}).get("settings") or {}
        if of_the_run and raw in ("{}", {}):
            where, raw = self._of_the_run()
        try:
            return where, whole_numbers(json.loads(raw) if isinstance(raw, str | bytes) else raw)
        except ValueError as e:
            raise InputError(f"{where}: not JSON ({e})") from e

    def _settings(self, model: type[S]) -> S | Settings:
        where, values = self._given_settings(of_the_run=True)
        of_run = isinstance(values, dict) and not values.keys() <= model.model_fields.keys()
        checked: type[S] | type[Settings] = Settings if of_run else model
        try:
            return checked.model_validate(values)
        except ValidationError as e:
            raise InputError(f"{where}: {validation_message(e, checked)}") from e

    def _of_the_run(self) -> tuple[str, bytes]:
        """The settings beside the rows that prepare_data wrote: where they are, and their JSON."""
        rows = self.optional_input("train_data")
        file = rows / SETTINGS_FILE if rows else None
        if file is None or not file.exists():
            raise InputError(
                "input parameter 'settings' is missing"
                + (f", and {rows} has no {SETTINGS_FILE}: prepare_data writes it if it is given a whole run's" if rows else "")
            )
        return str(file), file.read_bytes()

    def parameter(self, name: str, default: Any = None) -> Any:
        """An input parameter; without a default it must be there. Kubeflow sends whole numbers as 3.0: they come back as int."""
        value = self._inputs.get("parameterValues", {}).get(name, default)
        if value is None:
            raise InputError(f"input parameter '{name}' is missing")
        return whole_numbers(value)

    def below_work_uri(self, name: str) -> str:
        """Where the run keeps `name`; '' if it has no `work_uri`."""
        return f"{self._work_uri}/{name}" if self._work_uri else ""

    @property
    def events_uri(self) -> str:
        """Where the stages of a run tell how far they are; '' for nowhere."""
        return events_below(self._work_uri) if self._work_uri else ""

    @property
    def _work_uri(self) -> str:
        return str(self.parameter("work_uri", "")).rstrip("/")

    def input(self, name: str, holds: str = "") -> Path:
        """Path of an input artifact that must be there; see `optional_input`."""
        path = self.optional_input(name, holds)
        if path is None:
            raise InputError(f"input artifact '{name}' is missing")
        return path

    def optional_input(self, name: str, holds: str = "") -> Path | None:
        """Path of an input artifact, or None when it was not passed. If it was passed but is not there, that is an error.

        `holds` is a file that the artifact's folder must have: without it, it is half-written or another artifact.
        """
        if not self.has_input(name):
            return None
        artifact = self._inputs["artifacts"][name]["artifacts"][0]
        path = local_path(artifact["uri"], artifact.get("customPath", ""))
        with room_at(path):
            if not path.exists():
                raise InputError(f"input artifact '{name}': there is nothing at {path}")
            if holds and not (path / holds).is_file():
                kind = "a file" if path.is_file() else f"a folder without {holds}"
                raise InputError(f"input artifact '{name}': {path} is {kind}; a folder with {holds} is needed")
        return path

    def given(self) -> set[str]:
        """Names of the input artifacts that were passed."""
        return {name for name in self._inputs.get("artifacts", {}) if self.has_input(name)}

    def has_input(self, name: str) -> bool:
        """Whether an input artifact was passed."""
        return bool(self.input_uri(name))

    def input_uri(self, name: str) -> str:
        """URI of an input artifact, '' when it was not passed."""
        artifacts = self._inputs.get("artifacts", {}).get(name, {}).get("artifacts", [])
        uri = str(artifacts[0].get("uri") or "") if artifacts else ""
        return "" if uri.startswith("{{") else uri  # Kubeflow leaves a placeholder for an optional artifact that is not there

    def check_contract(self, file: Path) -> None:
        """Compare with the stage's component.yaml: another release may name artifacts differently. Raises InputError.

        Outputs that the stage does not know are the backend's own, such as the `executor-logs` of Kubeflow, and none of its
        business.
        """
        may_lack = STAGES[file.parent.name].may_lack
        (component,) = yaml.safe_load(file.read_text(encoding="utf-8"))["components"].values()
        for kind, given in (("input", self._inputs), ("output", self._outputs)):
            known = component.get(f"{kind}Definitions", {}).get("artifacts", {})
            needed = {name for name, of in known.items() if not of.get("isOptional")}.difference(may_lack)
            names = {self._plain(name, known) for name in given.get("artifacts", {})}
            unknown = sorted(names - known.keys()) if kind == "input" else []
            missing = sorted(needed - names)
            if unknown or missing:
                what = f"unknown {kind} artifact '{unknown[0]}'" if unknown else f"no {kind} artifact '{missing[0]}'"
                raise InputError(
                    f"{what}: this {file.parent.name} (release {version('pada-agent')}) "
                    f"{'takes' if kind == 'input' else 'writes'} {', '.join(known)}; "
                    "compile the package with the release that built its images"
                )

    def output(self, name: str, holds: str = "") -> Path:
        """Path to write an output artifact to; its parent exists afterwards. In a mounted bucket it appears with `finish`.

        `holds` is the file by which readers know that a folder is whole (`input`): there it comes after all others.
        """
        self._begin(name)
        return self._place(self._output_path(name), holds)

    def point(self, name: str, uri: str) -> None:
        """Let an output artifact be what lies at `uri`, without a copy. Kubeflow takes no URI outside of its own run's folder."""
        self._begin(name)
        self._elsewhere[name] = uri
        path = local_path(uri)
        if not destination(path):  # Kubeflow's launcher uploads what the container has at that place: nothing
            with room_at(path):
                path.mkdir(parents=True, exist_ok=True)

    def _begin(self, name: str) -> None:
        if not self._written and (said := destination(self._output_file)):
            self._outbox.clear(said)  # of an earlier attempt: it would speak for outputs that are no more
        self._written.add(name)

    def beside_output(self, name: str, ending: str) -> str:
        """Path or URI beside an output artifact, for what is to outlive this process without being an artifact."""
        path = self._output_path(name)
        uri = destination(path)
        if uri and not self._outbox.uploads:
            notice(f"{uri}{ending}: kept only as long as this container; pip install 'pada-agent[storage]' into its image")
        return f"{uri if uri and self._outbox.uploads else self._place(path)}{ending}"

    def _output_path(self, name: str) -> Path:
        return local_path(self.output_uri(name), self._output_artifact(name).get("customPath", ""))

    def _place(self, path: Path, holds: str = "", fresh: bool = True) -> Path:
        if uri := destination(path):
            return self._outbox.place(uri, holds, fresh)
        with room_at(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def output_uri(self, name: str) -> str:
        """URI of an output artifact."""
        return str(self._output_artifact(name).get("uri", ""))

    def has_output(self, name: str) -> bool:
        """Whether the runner asks for this output artifact."""
        return self._called(name) in self._outputs.get("artifacts", {})

    def _called(self, name: str) -> str:
        """What the runner calls an output artifact of the stage."""
        labelled = f"{name}_{self._label}"
        return labelled if labelled in self._outputs.get("artifacts", {}) else name

    def _plain(self, called: str, known: Mapping[str, Any]) -> str:
        """What the stage calls an artifact, one of `known`, that the runner may have labelled."""
        name = called.removesuffix(f"_{self._label}")
        return name if self._label and name in known else called

    def _output_artifact(self, name: str) -> dict[str, Any]:
        try:
            artifact: dict[str, Any] = self._outputs["artifacts"][self._called(name)]["artifacts"][0]
        except (KeyError, IndexError) as e:
            raise InputError(f"output artifact '{name}' is not in the executor input") from e
        return artifact

    def set_parameter(self, name: str, value: bool | int | float | str | dict[str, Any] | list[str]) -> None:
        """Set an output parameter."""
        self._parameters[name] = value

    def set_metadata(self, name: str, **values: bool | int | float | str) -> None:
        """Add metadata to an output artifact; scalars only, they show in the Kubeflow UI."""
        self._metadata.setdefault(name, {}).update(values)

    def metadata(self, name: str) -> dict[str, Any]:
        """What was added to an output artifact so far."""
        return self._metadata.get(name, {})

    def say_numbers(self, numbers: Numbers) -> None:
        """What came out, by words (`core.figures.listed`): the last line of the log, and what the run tells of the task."""
        self.numbers.update(numbers)

    @contextmanager
    def told(self, name: str = "") -> Iterator[None]:
        """The block is the stage: tell at `events_uri` that it started, how far it is, and how it ended.

        What is told is of the task `name`, by default as the runner calls it.
        """
        started = time.monotonic()
        outputs = [self.output_uri(name) for name in self._outputs.get("artifacts", {})]
        with telling(self.events_uri, outputs, name) as teller:
            yield
            self.seconds = round(time.monotonic() - started, 1)
            teller.tell("ended", seconds=self.seconds, numbers=self.numbers)

    def finish(self) -> None:
        """Write parameters and the executor output, the last of all. The last thing a stage does."""
        for name, value in self._parameters.items():
            target = self._outputs.get("parameters", {}).get(name, {}).get("outputFile")
            if target:
                write_atomic(self._place(Path(target), fresh=False), value if isinstance(value, str) else json.dumps(value))
        artifacts = {}
        for name in sorted(self._written):
            artifact = self._output_artifact(name)
            metadata = {**artifact.get("metadata", {}), **self._metadata.get(name, {})}
            artifacts[self._called(name)] = {
                "artifacts": [
                    {
                        "name": artifact.get("name", name),
                        "uri": self._elsewhere.get(name, self.output_uri(name)),
                        "metadata": metadata,
                    }
                ]
            }
        said = json.dumps({"parameterValues": self._parameters, "artifacts": artifacts}, indent=1)
        write_atomic(self._place(self._output_file, fresh=False), said)
        self._outbox.upload()

    def close(self) -> None:
        """Remove what lies on the local disk for a bucket."""
        self._outbox.close()


def main(stage: Callable[[Executor], None], task_name: Callable[[Executor], str] = lambda executor: "") -> None:
    """Entry point of every stage: `python -m pada_agent.components.<stage> --executor-input JSON [--label LABEL]`.

    So of other programs that a package runs, which have no component.yaml. `task_name` is what they tell of; '': their task.

    A PadaError, or a file that may not be touched, becomes one line on stderr and exit code 1; whatever else goes wrong keeps its
    traceback. SIGTERM ends the stage in order, with exit code 143. The line is also Kubernetes' termination message.
    A stage that ends well ends its log with its numbers.
    """
    quiet_libraries()
    wait_briefly()
    module = sys.modules[stage.__module__]
    file = Path(module.__file__ or "")
    executor_input, label = _arguments(module.__spec__.name if module.__spec__ else file.parent.name, module.__doc__ or "")
    try:
        with ending_in_order():
            executor = Executor(executor_input, label)
            with closing(executor), executor.told(task_name(executor)):
                if file.parent.name in STAGES:
                    executor.check_contract(file.with_name("component.yaml"))
                stage(executor)
        print(outcome(executor.seconds, executor.numbers), file=sys.stderr)
    except Exception as e:
        message = sentence(e)
        _tell_kubernetes(message)
        if isinstance(e, PadaError) or (isinstance(e, PermissionError) and e.filename):
            sys.exit(f"{type(e).__name__}: {e}" if "\n" in str(e) else message)  # refused rows, a line each
        raise
    except SystemExit as e:
        if e.code in STOPPED:
            message = sentence(e)
            _tell_kubernetes(message)
            print(message, file=sys.stderr)
        raise


def _arguments(module: str, what: str) -> tuple[str, str]:
    program = f"python -m {module.removesuffix('.__main__')}"
    parser = ArgumentParser(program, f"{program} --executor-input JSON", what, allow_abbrev=False)
    parser.add_argument("--executor-input", metavar="JSON", required=True, help="Kubeflow's executor input; README.md shows one")
    parser.add_argument("--label", default="", help="outputs may be called NAME_LABEL, to be told apart in a graph")
    parser.add_argument("--version", action="version", version=version("pada-agent"))
    given = parser.parse_args()
    return str(given.executor_input), str(given.label)


def _tell_kubernetes(message: str) -> None:
    with suppress(OSError):  # outside a Kubernetes pod there is no such file
        log = os.open("/dev/termination-log", os.O_WRONLY | os.O_TRUNC)
        os.write(log, message.encode())
        os.close(log)

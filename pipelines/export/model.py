"""`pada export --out`: the model that a run ships, in the forms that people load, each with its card and checked.

OUT/adapter/     adapter, tokenizer, chat template, README.md
OUT/merged/      the full model
OUT/gguf/        pada-sql-q8_0.gguf  Modelfile
OUT/model/       in place of the first two where all weights were trained (train.method: full)
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pada_agent.components.backends.artifacts.exported import Exported, card_of, model_name, read_exported
from pada_agent.components.backends.files import whole_directory, write_atomic
from pada_agent.components.backends.models.licences import licence_of
from pada_agent.components.backends.models.upload import check_repository, push
from pada_agent.components.backends.record_files import write_json
from pada_agent.components.backends.store.export import fetch_shipped
from pada_agent.components.backends.temporary import OwnFolder
from pada_agent.components.core.errors import InputError, ModelError
from pada_agent.components.core.report.cards import ADAPTER, CARD, GGUF, MERGED, WHOLE, Form
from pada_agent.components.core.slm_interface import ADAPTER_FILE
from pada_agent.pipelines.export import serving
from pada_agent.pipelines.export.alike import LEAST, Comparison
from pada_agent.pipelines.export.source import Source, opened

Say = Callable[[str], object]
SUFFIX = {"adapter": "", "model": "", "merged": "-merged", "gguf": "-gguf"}  # of a repository's name
FORMS = {"adapter": ADAPTER, "model": WHOLE, "merged": MERGED, "gguf": GGUF}
MODELFILE = "Modelfile"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Wanted:
    """What to make of the adapter; `least` is the share of answers that must be equal, `name` what the model is called."""

    merge: bool = False
    gguf: str = ""
    push: str = ""
    public: bool = False
    name: str = ""
    least: float = LEAST


def export_model(run_dir: str, out: Path, wanted: Wanted, say: Say) -> None:
    """Export what the run in `run_dir` ships into `out`. Nothing that fails its check is left there, or pushed.

    Raises InputError for a run that ships nothing or a name that cannot be, ModelError for a form that is another model.
    """
    _check_names(wanted)
    kinds = _types(wanted.gguf)
    with opened(run_dir) as source:
        first = _first_form(source.exported, wanted)
        name = wanted.name or model_name(source.exported.state.run.task)
        _Export(source, out, name, wanted.least, say).all(wanted.merge, kinds)
    if wanted.push:
        made = [first, *(["merged"] if wanted.merge else []), *(["gguf"] if kinds else [])]
        for form in made:
            url = push(out / form, f"{wanted.push}{SUFFIX[form]}", "model", wanted.public, f"{name}: {FORMS[form].what}")
            say(f"pushed: {url}")


def fetch_model(export_uri: str, out: Path, wanted: Wanted, say: Say) -> None:
    """The same of what lies at an export place, which has no rows to check other forms on. Raises InputError."""
    if wanted.merge or wanted.gguf:
        raise InputError("--merge and --gguf: need --run-dir, whose rows the result is checked on")
    _check_names(wanted)
    exported = read_exported(export_uri)
    first = _first_form(exported, wanted)
    place, form, run = out / first, FORMS[first], exported.state.run
    name = wanted.name or model_name(run.task)
    with OwnFolder("pada-export-") as work, whole_directory(place) as folder:
        shutil.copytree(fetch_shipped(export_uri, work), folder, dirs_exist_ok=True)
        (folder / CARD).write_text(card_of(exported, name, form, licence_of(run.slm)), encoding="utf-8")
    dtype = str(exported.training.get("dtype") or "auto")
    say(_made(place, exported))
    if exported.is_whole:
        commands = serving.for_merged(place.resolve(), dtype, name)
    else:
        commands = serving.for_adapter(place.resolve(), run.slm, dtype, int(exported.config["r"]), name)
    for command in commands:
        say(f"  {command}")
    if wanted.push:
        say(f"pushed: {push(place, wanted.push, 'model', wanted.public, f'{name}: {form.what}')}")


def _first_form(exported: Exported, wanted: Wanted) -> str:
    """The form that a run trained, `adapter` or `model`. Raises InputError where there is nothing to be merged."""
    if not exported.is_whole:
        return "adapter"
    if wanted.merge:
        raise InputError(
            "--merge: this run trained all weights (train.method: full) and ships a full model as it is; leave it out"
        )
    return "model"


def _made(place: Path, exported: Exported) -> str:
    what = "a model of its own, fine-tuned from" if exported.is_whole else "an adapter for"
    return f"{place}: {exported.name}, {what} {exported.state.run.slm}"


class _Export:
    """One export: what its forms share."""

    def __init__(self, source: Source, out: Path, name: str, least: float, say: Say) -> None:
        self._source, self._out, self._name, self._least, self._say = source, out.resolve(), name, least, say
        self._licence, self._checked = licence_of(source.settings.slm.model), list[str]()
        self._dtype = str(source.exported.training.get("dtype") or "float32")

    def all(self, merge: bool, kinds: list[str]) -> None:
        """The adapter or the whole model, then what else is wanted."""
        if self._source.exported.is_whole:
            self._whole(kinds)
            return
        self._adapter()
        if not merge and not kinds:
            return
        comparison = Comparison(self._source)
        with OwnFolder("pada-merged-", self._out) as work:
            if merge:
                with whole_directory(self._out / "merged") as folder:
                    template = self._merged(folder, comparison)
                folder = self._out / "merged"
                self._commands(serving.for_merged(folder, self._dtype, self._name))
            else:
                folder = work / "merged"
                template = self._merge(folder)
            if kinds:
                self._gguf(folder, template, kinds, comparison)

    def _adapter(self) -> None:
        from pada_agent.components.backends.slm.formats.merged import save_tokenizer

        source, place = self._source, self._out / "adapter"
        with whole_directory(place) as folder:
            shutil.copytree(source.adapter, folder, dirs_exist_ok=True)
            if not (folder / "tokenizer_config.json").exists():
                save_tokenizer(source.slm, folder)
            exported, base = source.exported, source.exported.state.run.slm
            # Releases before this one left PEFT's word for the base: where it lay on the machine that trained.
            write_json(folder / ADAPTER_FILE, {**exported.config, "base_model_name_or_path": base})
            self._card(folder, ADAPTER)
        self._say(_made(place, exported))
        self._commands(serving.for_adapter(place, base, self._dtype, int(exported.config["r"]), self._name))

    def _whole(self, kinds: list[str]) -> None:
        from pada_agent.components.backends.slm.formats.merged import tell_beginning
        from pada_agent.components.backends.slm.loading import load_chat

        source, place = self._source, self._out / "model"
        chat = load_chat(source.slm, source.adapter).chat
        with whole_directory(place) as folder:
            shutil.copytree(source.adapter, folder, dirs_exist_ok=True)
            tell_beginning(chat, folder)
            self._card(folder, WHOLE)
        self._say(_made(place, source.exported))
        self._commands(serving.for_merged(place, self._dtype, self._name))
        if kinds:
            self._gguf(place, self._template(chat), kinds, Comparison(source))

    def _merge(self, folder: Path) -> str:
        """Merge into `folder`; the Modelfile's template."""
        from pada_agent.components.backends.slm.formats.merged import merge

        return self._template(merge(self._source.slm, self._source.adapter, folder))

    def _template(self, chat: Any) -> str:
        """Of a Modelfile, from a ChatFormat; '' if Ollama cannot have one."""
        from pada_agent.components.backends.slm.formats.ollama import template_lines

        try:
            return template_lines(chat)
        except ModelError as e:
            self._say(f"no Modelfile: {e}")
            return ""

    def _merged(self, folder: Path, comparison: Comparison) -> str:
        from pada_agent.components.backends.slm.formats.answering import answers

        template = self._merge(folder)
        settings = self._source.slm.model_copy(update={"model": str(folder)})
        found = answers(settings, None, comparison.prompts, comparison.most).texts
        alike = comparison.check("--merge", found, self._least)
        self._checked.append(f"merged, {self._dtype}: {alike}")
        self._card(folder, MERGED)
        self._say(f"{self._out / 'merged'}: the full model; {alike}")
        return template

    def _gguf(self, merged: Path, template: str, kinds: list[str], comparison: Comparison) -> None:
        from pada_agent.components.backends.slm.formats.answering import answers_of_server
        from pada_agent.components.backends.slm.formats.gguf_file import write_gguf

        place = self._out / "gguf"
        context = max(comparison.context, self._source.settings.slm.max_length + comparison.most)
        with whole_directory(place) as folder:
            files = write_gguf(merged, self._dtype, kinds, folder, self._name)
            for kind, file in files.items():
                found = answers_of_server(file, comparison.prompts, comparison.most, comparison.context)
                alike = comparison.check(f"--gguf {kind}", found, self._least)
                self._checked.append(f"{file.name}: {alike}")
                self._say(f"{place / file.name}: {file.stat().st_size / 1e6:.0f} MB; {alike}")
            if template:
                first = next(iter(files.values())).name
                write_atomic(folder / MODELFILE, f"FROM ./{first}\n{template}PARAMETER num_ctx {context}\n")
            self._card(folder, GGUF)
        modelfile = place / MODELFILE if template else None
        for kind in files:
            self._commands(serving.for_gguf(place / files[kind].name, modelfile, context, self._name))
            modelfile = None

    def _card(self, folder: Path, form: Form) -> None:
        write_atomic(folder / CARD, card_of(self._source.exported, self._name, form, self._licence, self._checked))

    def _commands(self, commands: list[str]) -> None:
        for command in commands:
            self._say(f"  {command}")


def _check_names(wanted: Wanted) -> None:
    if wanted.name and not _NAME.fullmatch(wanted.name):
        raise InputError(f"--name {wanted.name}: it is part of files' names; give letters, digits, '.', '_' and '-'")
    if wanted.push:
        check_repository(wanted.push)


def _types(gguf: str) -> list[str]:
    if not gguf:
        return []
    from pada_agent.components.backends.slm.formats.gguf_file import parse_types

    return parse_types(gguf)

"""`pada init FILE`: from a file with rows to a config that runs."""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from pada_agent.components.backends.artifacts.row_sources import read_all
from pada_agent.components.core.addresses import is_rows
from pada_agent.components.core.errors import InputError, refused
from pada_agent.components.core.figures import plural
from pada_agent.components.core.records import Fields
from pada_agent.components.core.tasks.task import Task
from pada_agent.components.core.tasks.trial import try_reading
from pada_agent.pipelines.config import read_config
from pada_agent.pipelines.config_schema import SCHEMA_FILE
from pada_agent.pipelines.init.config_text import Models, Sizes, Split, config_text, effect
from pada_agent.pipelines.init.labels import all_labels
from pada_agent.pipelines.init.look import Ask, Look, look
from pada_agent.pipelines.init.splits import SHARES, assigned, key_of, write_splits

LOOKED_AT = 2000  # rows
MOST_LEFT_OUT = 0.1  # of the rows of a file that is divided; where more cannot be used, something is wrong with all
HELD_OUT = ("validation", "selection", "test")
# What files of a split are called, in a folder that holds several.
NAMES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "selection": ("selection",), "test": ("test",)}
Say = Callable[[str], object]


@dataclass(frozen=True)
class Wanted:
    """What a person said on the command line; what is empty is looked for, or asked."""

    source: str
    output: Path
    splits: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    models: Models = field(default_factory=Models)


def write_config(wanted: Wanted, ask: Ask, say: Say) -> Path:
    """Look at the rows, divide them where splits are missing, and write the config. Raises InputError; nothing is overwritten."""
    if wanted.output.exists():
        raise InputError(f"{wanted.output}: is there already; name another --output, or take it away")
    sources = _sources(wanted)
    rows = [row for _, row in islice(read_all(sources["train"]), LOOKED_AT) if not isinstance(row, InputError)]
    if not rows:
        first = next((row for _, row in read_all(sources["train"]) if isinstance(row, InputError)), None)
        raise first or InputError(f"{sources['train']}: it has no rows")
    found = look(rows, wanted.options, ask)
    taken = f"{wanted.source}: {plural(len(rows), 'row')} looked at, read as {_read_as(found, rows[0])}"
    say(taken)
    models = _models(wanted.models, ask)
    splits = _divided(sources, found.task, wanted.output, say)
    if found.labelled:
        rows_of = {split: read_all(_place(given.source, wanted.output)) for split, given in splits.items()}
        labels, notes = all_labels(found.task, found.answer_column, rows_of)
        found.notes += notes
        if labels:
            found.options["labels"] = dict.fromkeys(labels, "")
            say(f"The answers are {len(labels)} labels: {', '.join(labels)}.")
    schema = wanted.output.with_name("pada.schema.json")
    shutil.copyfile(SCHEMA_FILE, schema)
    sizes = Sizes(found.longest, found.mean, found.notes)
    text = config_text(f"Written by `pada init`. {taken}.", splits, found.options, models, sizes, schema.name)
    wanted.output.write_text(text, encoding="utf-8")
    read_config(wanted.output)
    _tell(splits, found, wanted.output, say)
    return wanted.output


def _read_as(found: Look, row: Fields) -> str:
    named = [f"{name} from '{found.options[name]}'" for name in ("prompt", "answer") if name in found.options]
    said = ", ".join([*named, *filter(None, [found.task.recognised(row)])])
    return f"{' '.join(said.split())}; scorer {found.options['scorer']}"


def _sources(wanted: Wanted) -> dict[str, str]:
    """Where each split is, as far as it is known: from a folder with a file each, from what was named."""
    sources = {"train": wanted.source}
    folder = Path(wanted.source)
    if folder.is_dir():
        files = [path for path in sorted(folder.iterdir()) if is_rows(path.name)]
        by_split = {split: [p for p in files if p.name.lower().startswith(names)] for split, names in NAMES.items()}
        if by_split["train"] and any(by_split[split] for split in HELD_OUT):
            if several := [split for split, paths in by_split.items() if len(paths) > 1]:
                raise InputError(
                    f"{folder}: holds several files for {several[0]}; name one for each split (--validation, --test)"
                )
            sources = {split: str(paths[0]) for split, paths in by_split.items() if paths}
    return {**sources, **{split: place for split, place in wanted.splits.items() if place}}


def _divided(sources: dict[str, str], task: Task, output: Path, say: Say) -> dict[str, Split]:
    """All splits; those that are missing are cut from the training rows, into files beside the config."""
    missing = [split for split in SHARES if split not in sources]
    if "validation" not in missing and "selection" in missing:
        missing.remove("selection")  # half of validation is set aside then
    if not missing:
        tried = try_reading(task, read_all(sources["train"]), LOOKED_AT)
        if tried.complaints:
            raise refused(tried.complaints)
        return {split: Split(_relative(sources[split], output)) for split in ("train", *HELD_OUT) if split in sources}
    folder = output.with_name(f"{output.stem}-splits")
    if folder.exists():
        raise InputError(f"{folder}: is there already; take it away, or name another --output")
    sizes, complaints = _groups(sources["train"], task)
    if complaints:
        if len(complaints) > MOST_LEFT_OUT * (sizes.total() + len(complaints)):
            raise refused(complaints)
        say(f"Left out: {refused(complaints)}")
    split_of = assigned(sizes, missing)
    counts, groups = write_splits(read_all(sources["train"]), task, split_of, folder)
    say(
        f"{sources['train']} is divided into {folder}/: "
        + ", ".join(f"{split} {counts[split]:,}" for split in ("train", *missing))
    )
    made = {split: Split(f"{folder.name}/{split}.jsonl", counts[split], groups[split]) for split in counts}
    given = {split: Split(_relative(place, output)) for split, place in sources.items() if split != "train"}
    both = made | given
    return {split: both[split] for split in ("train", *HELD_OUT) if split in both}


def _groups(source: str, task: Task) -> tuple[Counter[bytes], list[InputError]]:
    """How many rows each group has, and why other rows cannot be used."""
    sizes: Counter[bytes] = Counter()
    complaints = []
    for where, row in read_all(source):
        try:
            if isinstance(row, InputError):
                raise row
            sizes[key_of(task, row)] += 1
        except InputError as e:
            complaints.append(e if e is row else InputError(f"{where}: {e}"))
    return sizes, complaints


def _relative(place: str, output: Path) -> str:
    """A path as seen from the config's folder."""
    path = Path(place)
    if not path.exists():
        return place
    here = output.resolve().parent
    return str(path.resolve().relative_to(here)) if path.resolve().is_relative_to(here) else str(path.resolve())


def _place(source: str, output: Path) -> str:
    """A split's source as seen from here."""
    path = output.parent / source
    return str(path) if path.exists() else source


def _models(given: Models, ask: Ask) -> Models:
    """Who is trained and who teaches, with what is not given asked for."""
    slm = given.slm or ask("Which small model is to be tuned? (a folder, or a hub id)", Models.slm)
    url = given.teacher_url or ask(
        "Address of the teacher, which speaks the OpenAI API? (empty: a small model on this machine)", ""
    )
    if not url:
        return replace(given, slm=slm, teacher=given.teacher or Models.teacher)
    teacher = given.teacher or ask("Name of the teacher's model there?", "")
    judge = given.judge or ask("Name of the judge's model? It must be another one.", "")
    if not teacher or not judge or teacher == judge:
        raise InputError("a teacher at an address needs two models' names, which differ: --teacher and --judge")
    return replace(given, slm=slm, teacher_url=url, teacher=teacher, judge=judge)


def _tell(splits: dict[str, Split], found: Look, output: Path, say: Say) -> None:
    test = splits["test"]
    if test.rows:
        tied = f" in {test.groups:,} groups" if test.groups < test.rows else ""
        say(f"The test split has {test.rows:,} rows{tied}: {effect(test.groups)}.")
    for note in found.notes:
        say(f"Note: {note}.")
    say(f"{output} is written. Look at it, then:")
    for command in ("doctor", "estimate", "run"):
        say(f"  pada {command} --config {output}")

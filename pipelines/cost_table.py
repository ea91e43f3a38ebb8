"""`pada estimate`: what a run will ask of the LLMs, as a table, from the config and its rows."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pada_agent.components.backends.artifacts.row_sources import read_all, read_rows
from pada_agent.components.backends.artifacts.task_files import open_task
from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.cost.estimate import StageEstimate, estimate
from pada_agent.components.core.cost.slm_work import Rows, work_before, work_of_loop
from pada_agent.components.core.errors import InputError, PadaError, refused
from pada_agent.components.core.records import Fields
from pada_agent.components.core.settings import CAPS, EMBEDDED, Caps, Settings, TaskSettings
from pada_agent.components.core.tasks.task import Task
from pada_agent.components.core.tasks.trial import try_reading
from pada_agent.pipelines.gpu_time import GpuTime

HEADINGS = ("stage", "calls", "tokens in", "tokens out", "USD")
ROWS_READ = 2000  # whose sizes are measured


def show_estimate(settings: Settings, say: Callable[[str], object] = print) -> None:
    """Print calls, tokens and money by stage, expected and from least to most, and GPU hours.

    Raises InputError for rows that cannot be read.
    """
    rows = rows_of(settings)
    stages, train, validation = estimated(settings, rows)
    aligned([list(HEADINGS), *([s.stage, *cells(s)] for s in stages), ["together", *cells(together(stages))]], say)
    say(f"{train:,} training rows, {validation:,} validation rows, iterations: {settings.loop.iterations}.")
    say(
        "Expected (least to most). The least: no sample is sent back. The most: every one is, each time. Expected: two of three "
        "batches go back for half of their rows, as with a small teacher."
    )
    for line in _caps(settings, stages):
        say(line)
    for role, llm in settings.llms.items():
        if llm.base_url == EMBEDDED:
            say(f"The {role} runs on this machine and costs nothing but time.")
        elif not llm.priced:
            say(f"No price is set for {llm.model}: {role}.usd_per_million_input, {role}.usd_per_million_output.")
        if llm.mode == "batch":
            say(f"The {role} is asked in batches, {llm.batch_discount:.0%} off its prices; each step may take up to a day.")
    time = GpuTime()
    if time.takes(settings.task.name, settings):
        known = Rows(train, validation, rows.reported or reported_rows(settings.task))
        work = work_before(settings, known) + work_of_loop(settings, known)
        time.add(settings, work, open_task(settings.task, settings.prompts), rows.first)
    for line in time.lines():
        say(line)


def show_training(settings: Settings, say: Callable[[str], object] = print) -> None:
    """Print what is known of the SLM's side: memory of training, and who answers for it."""
    from pada_agent.components.backends.slm.sizes import training_memory

    with suppress(PadaError, OSError, ValueError):  # `pada doctor` says what is wrong with the model
        if memory := training_memory(settings.slm, settings.train):
            say(f"Training takes {memory.said(settings.train)}.")
    if settings.slm.endpoint:
        say(f"What {settings.slm.endpoint.base_url} is asked for the SLM is not in this table.")


@dataclass(frozen=True)
class RowsRead:
    """Training rows: their number and the first of them; the number of validation rows; and of selection and test rows.

    The last is 0 where nobody asks for it: only an LLM that scores answers makes it cost anything.
    """

    train: int
    first: list[Fields]
    validation: int
    reported: int = 0


def rows_of(settings: Settings) -> RowsRead:
    """Read what an estimate is made from. Raises InputError for rows that cannot be read."""
    own = settings.task
    train, rows = _train_rows(open_task(own, settings.prompts), own.train, own.train_size)
    validation = own.validation_size or count_rows(own.validation)
    if not own.selection and not own.validation_size:
        validation = (validation + 1) // 2  # the other half becomes the selection rows
    return RowsRead(train, rows, validation, reported_rows(own) if settings.scorer else 0)


def reported_rows(own: TaskSettings) -> int:
    """How many selection and test rows a task has. Raises InputError for none."""
    selection = own.selection_size or (count_rows(own.selection) if own.selection else count_rows(own.validation) // 2)
    return selection + (own.test_size or count_rows(own.test))


def estimated(
    settings: Settings, known: RowsRead | None = None, vanilla_scored: bool = False
) -> tuple[list[StageEstimate], int, int]:
    """The estimate by stage, and the training and validation rows it is for; of `known` rows, if they were read before."""
    rows = known or rows_of(settings)
    task = open_task(settings.task, settings.prompts)
    stages = estimate(settings, task, rows.first, rows.train, rows.validation, rows.reported, vanilla_scored)
    return stages, rows.train, rows.validation


def together(stages: Sequence[StageEstimate]) -> StageEstimate:
    """The sums over all stages."""
    low, expected, high = (sum((getattr(s, end) for s in stages), Usage()) for end in ("low", "expected", "high"))
    return StageEstimate("together", low, expected, high)


def _caps(settings: Settings, stages: Sequence[StageEstimate]) -> Iterator[str]:
    budget = settings.budget
    limited: list[tuple[str, Caps, StageEstimate]] = [("budget", budget, together(stages))]
    limited += [(f"budget.stages.{s.stage}", budget.stages[s.stage], s) for s in stages if s.stage in budget.stages]
    for where, caps, needs in limited:
        for name in CAPS:
            cap, expected = getattr(caps, name), getattr(needs.expected, name)
            if cap and expected > cap:
                say = f"{expected:,.2f}" if name == "usd" else f"{expected:,}"
                yield f"{where}.{name}: {cap:g} will end it early: {say} expected."


def cells(stage: StageEstimate) -> list[str]:
    """Calls, tokens in, tokens out and USD, each as `expected (least to most)`."""
    ends = (stage.expected, stage.low, stage.high)
    counts = [
        "{:,} ({:,} to {:,})".format(*(getattr(end, name) for end in ends)) for name in ("calls", "input_tokens", "output_tokens")
    ]
    return [*counts, "{:,.2f} ({:,.2f} to {:,.2f})".format(*(end.usd for end in ends))]


def aligned(lines: Sequence[Sequence[str]], say: Callable[[str], object]) -> None:
    """A table of equally long lines: names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, *numbers in lines:
        right = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
        say("  ".join([name.ljust(widths[0]), *right]))


def _train_rows(task: Task, source: str, size: int) -> tuple[int, list[Fields]]:
    """How many training rows there are, `size` if it is given, and the first of them."""
    rows = read_all(source)
    tried = try_reading(task, rows, ROWS_READ)
    if tried.complaints:
        raise refused(tried.complaints)
    fields = tried.fields
    count = size or len(fields) + sum(1 for _ in rows)
    if not fields:
        raise InputError(f"{source}: it has no rows")
    return count, fields


def count_rows(source: str) -> int:
    """How many rows there are. Raises InputError for none."""
    count = sum(1 for _ in read_rows(source))
    if not count:
        raise InputError(f"{source}: it has no rows")
    return count

"""`pada estimate` of a study: what its runs will ask of the LLMs, and how much they train and answer.

    method         runs           calls            tokens in           tokens out                  USD
    pada              6  612 (594 to 900)  526,302 (511,986 to ...
    duplicate         6                 0 ...

    24 adapters are trained, on 27,000 rows in all epochs; 12,240 rows are answered.

Work that runs share is counted once. For hours divide by what the report of one run says of its own training and evaluation.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.cost.estimate import StageEstimate
from pada_agent.components.core.row_quotas import iteration_rows
from pada_agent.components.core.settings import Settings
from pada_agent.pipelines.cost_table import HEADINGS, RowsRead, aligned, cells, count_rows, estimated, rows_of, together
from pada_agent.pipelines.study.outcomes import VANILLA
from pada_agent.pipelines.study.study_file import Study


@dataclass(frozen=True)
class Work:
    """Adapters trained; rows they are trained on, in all epochs; rows that are answered."""

    adapters: int = 0
    trained: float = 0
    answered: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.adapters + other.adapters, self.trained + other.trained, self.answered + other.answered)

    def times(self, runs: int) -> "Work":
        """That of so many runs."""
        return Work(self.adapters * runs, self.trained * runs, self.answered * runs)


@dataclass(frozen=True)
class Rows:
    """Of one task at one size."""

    train: int
    validation: int
    reported: int  # selection and test

    @property
    def all(self) -> int:
        """What an adapter answers whose failures are analysed."""
        return self.train + self.validation + self.reported


def show_study_estimate(study: Study, say: Callable[[str], object] = print) -> None:
    """Print calls, tokens and money by method, and the work of all. Raises InputError for rows that cannot be read."""
    asked = {method: StageEstimate(method, Usage(), Usage(), Usage()) for method in study.methods}
    work, seeds, runs = Work(), len(study.seeds), dict.fromkeys(study.methods, 0)
    for task, regimes in study.regimes.items():
        whole = study.settings(task, 0, VANILLA, study.seeds[0])
        read, selection, test = _read(whole)
        for regime in regimes:
            known = replace(read, train=regime or read.train)
            rows = Rows(known.train, known.validation, selection + test)
            work += _vanilla(whole, rows).times(seeds)
            for method in study.methods:
                settings = study.settings(task, regime, method, study.seeds[0])
                stages = together(estimated(settings, known)[0])
                asked[method] = together([asked[method], *[stages] * seeds])
                runs[method] += seeds
                work += _augmented(settings, rows).times(seeds)
    lines = [["method", "runs", *HEADINGS[1:]]]
    lines += [[method, str(runs[method]), *cells(found)] for method, found in asked.items()]
    lines.append(["together", str(sum(runs.values())), *cells(together(list(asked.values())))])
    aligned(lines, say)
    say(f"{work.adapters:,} adapters are trained, on {work.trained:,.0f} rows in all epochs; {work.answered:,} are answered.")
    say("Expected (least to most) as for a run. Work that runs share is counted once, a step-matched model for each method.")


def _read(settings: Settings) -> tuple[RowsRead, int, int]:
    """A task's rows, read once for all sizes and methods; and the numbers of selection and test rows."""
    read, own = rows_of(settings), settings.task
    selection = own.selection_size or (count_rows(own.selection) if own.selection else read.validation)
    return read, selection, own.test_size or count_rows(own.test)


def _vanilla(settings: Settings, rows: Rows) -> Work:
    """The vanilla adapter, and the untuned model's answers."""
    return Work(1, settings.train.epochs * rows.train, rows.all + rows.reported)


def _augmented(settings: Settings, rows: Rows) -> Work:
    """An adapter for each iteration, all rows asked for let in, and one that takes as many steps as the last."""
    total, synthetic = Work(), 0
    for iteration in range(1, settings.loop.iterations + 1):
        synthetic += iteration_rows(settings.generate, rows.train, iteration, settings.loop.iterations)
        total += Work(1, settings.train.epochs * (rows.train + synthetic), rows.all)
    return total + Work(1, settings.train.epochs * (rows.train + synthetic), rows.reported)

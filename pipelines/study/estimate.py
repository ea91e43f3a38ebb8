"""`pada estimate` of a study: what its runs will ask of the LLMs, and how much they train and answer.

    method         runs           calls            tokens in           tokens out                  USD
    vanilla           6                     0 ...
    pada              6  612 (594 to 900)  526,302 (511,986 to ...
    duplicate         6                 0 ...

    24 adapters are trained, on 27,000 rows in all epochs; 12,240 rows are answered.
    GPU hours on one A10G: about 1.4 to train, less than 1 to answer. Assumed: ...

Work that runs share is counted once.
"""

from collections.abc import Callable
from dataclasses import replace

from pada_agent.components.backends.artifacts.task_files import open_task
from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.cost.estimate import StageEstimate, scoring_of_vanilla
from pada_agent.components.core.cost.slm_work import Rows, Work, work_before, work_of_loop
from pada_agent.pipelines.cost_table import HEADINGS, aligned, cells, estimated, reported_rows, rows_of, together
from pada_agent.pipelines.gpu_time import GpuTime
from pada_agent.pipelines.study.outcomes import VANILLA
from pada_agent.pipelines.study.study_file import Study


def show_study_estimate(study: Study, say: Callable[[str], object] = print) -> None:
    """Print calls, tokens and money by method, the work of all, and GPU hours. Raises InputError for rows that cannot be read."""
    asked = {method: StageEstimate(method, Usage(), Usage(), Usage()) for method in (VANILLA, *study.methods)}
    whole_work, time, seeds, runs = Work(), GpuTime(), len(study.seeds), dict.fromkeys(asked, 0)
    for task, regimes in study.regimes.items():
        whole = study.settings(task, 0, VANILLA, study.seeds[0])
        read, own, work = rows_of(whole), open_task(whole.task, whole.prompts), Work()
        reported = read.reported or reported_rows(whole.task)
        for regime in regimes:
            known = replace(read, train=regime or read.train)
            rows = Rows(known.train, known.validation, reported)
            work += work_before(whole, rows).times(seeds)
            scored = scoring_of_vanilla(whole, own, read.first, rows.train, rows.validation, reported)
            asked[VANILLA] = together([asked[VANILLA], *[StageEstimate(VANILLA, scored, scored, scored)] * seeds])
            runs[VANILLA] += seeds
            for method in study.methods:
                settings = study.settings(task, regime, method, study.seeds[0])
                stages = together(estimated(settings, known, vanilla_scored=True)[0])
                asked[method] = together([asked[method], *[stages] * seeds])
                runs[method] += seeds
                work += work_of_loop(settings, rows).times(seeds)
        if time.takes(task, whole):
            time.add(whole, work, own, read.first)
        whole_work += work
    lines = [["method", "runs", *HEADINGS[1:]]]
    lines += [[method, str(runs[method]), *cells(found)] for method, found in asked.items()]
    lines.append(["together", str(sum(runs.values())), *cells(together(list(asked.values())))])
    aligned(lines, say)
    said = f"{whole_work.adapters:,} adapters are trained, on {whole_work.trained:,.0f} rows in all epochs"
    say(f"{said}; {whole_work.answered:,} are answered.")
    for line in time.lines():
        say(line)
    say("Expected (least to most) as for a run. Work that runs share is counted once, a step-matched model for each method.")

"""Entry point: answers whose scores are pending in, the same with scores out."""

from pathlib import Path

from pada_agent.components.backends.artifacts.evaluated import (
    OUTPUTS,
    USAGE_FILE,
    numbers_of,
    read_answers,
    spent_on,
    validation_accuracy,
    write_evaluated,
)
from pada_agent.components.backends.executor import Executor, main
from pada_agent.components.backends.llm.client import OpenAiLlm, open_llm
from pada_agent.components.backends.progress import notice
from pada_agent.components.backends.record_files import read_records
from pada_agent.components.core.cost.budget import Usage, by_stage
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.quality.scorer_check import SCORER_CHECK_FILE, ScorerCheck
from pada_agent.components.core.records import TrainRow
from pada_agent.components.core.settings import ScoreAnswers
from pada_agent.components.core.state import STATE_FILE, State
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.score_answers.measure_scorer import measure_scorer
from pada_agent.components.score_answers.score import STAGE, score_answers


def run(ex: Executor) -> None:
    """Read, score, write."""
    settings = ex.settings(ScoreAnswers)
    if not settings.task.scored_by_llm:
        raise InputError("task.options.scorer: is not judge, so that evaluate_slm scores; leave score_answers out")
    if settings.scorer is None:
        raise InputError("scorer: missing; say which model scores answers, with model and base_url")
    data = ex.input("train_data", "train.jsonl")
    task = load_task(settings.task.name, settings.task.options, data / "assets")
    open_answers, held_out = ex.optional_input("answers", "metrics.json"), ex.input("report_answers", "metrics.json")
    answers, facts = read_answers([held_out, *([open_answers] if open_answers else [])])
    ledger = str(ex.parameter("ledger", "")) or ex.below_work_uri(f"ledger/{STAGE}")
    llm = open_llm(settings.scorer, settings.budget, ledger, STAGE, _spent(ex))
    scored = score_answers(task, answers, str(facts.get("name", "model")), settings.score, llm)
    beside = {}
    if ex.parameter("measure", False) and settings.score.checks:
        # After the answers: a cap must not take from them what this costs.
        own = {p.id: p.output for p in answers.get("train", ())}
        beside[SCORER_CHECK_FILE] = _measured(settings, data, own, llm).model_dump(mode="json")
    usage = {USAGE_FILE: {STAGE: llm.usage.model_dump()}}
    for output, members in OUTPUTS.items():
        if ex.has_output(output):
            chosen = {split: scored.predictions[split] for split in members if split in scored.predictions}
            files = usage | (beside if output == "predictions" else {})
            told = {**facts, "scorer": settings.scorer.model}
            ex.set_metadata(output, **write_evaluated(ex.output(output, "metrics.json"), chosen, told, settings.evaluate, files))
    ex.say_numbers(numbers_of(scored.predictions))
    ex.say_numbers({**({"without a usable score": scored.unscored} if scored.unscored else {}), **llm.bill()})
    ex.set_parameter("validation_accuracy", validation_accuracy(scored.predictions))
    ex.finish()


def _spent(ex: Executor) -> dict[str, Usage]:
    """What the run has spent so far: by its state, and on the answers of a model that is in none yet."""
    state, scored = ex.optional_input("state", STATE_FILE), ex.optional_input("scored", "metrics.json")
    return by_stage(State.load(state).usage_by_stage if state else {}, spent_on(scored) if scored else {})


def _measured(settings: ScoreAnswers, data: Path, answers: dict[str, str], llm: OpenAiLlm) -> ScorerCheck:
    train = read_records(data / "train.jsonl", TrainRow)
    task = load_task(settings.task.name, settings.task.options, data / "assets")
    field = settings.task.options.get("human_score")
    if field and not any("human_score" in row.fields for row in train):
        notice(f"task.options.human_score: no training row has a score in '{field}'; agreement with people cannot be told")
    return measure_scorer(task, train, answers, settings.score, settings.seed, llm)


if __name__ == "__main__":
    main(run)

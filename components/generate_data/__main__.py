"""Entry point: plan (and the checked batches of the link before) in, batches with new samples out."""

from collections.abc import Sequence

from pada_agent.components.backends.artifacts.plan import carry_plan, read_plan
from pada_agent.components.backends.executor import Executor, main
from pada_agent.components.backends.llm.client import open_llm
from pada_agent.components.backends.progress import notice
from pada_agent.components.backends.record_files import read_json, read_records, write_json, write_records
from pada_agent.components.backends.sandbox.run import run_code
from pada_agent.components.core.cost.budget import Usage, by_stage
from pada_agent.components.core.methods.method import FromRow, Method, load_method
from pada_agent.components.core.quality.judge_check import JUDGE_CHECK_FILE
from pada_agent.components.core.records import Batch, TrainRow
from pada_agent.components.core.row_quotas import allocation, iteration_rows
from pada_agent.components.core.settings import GenerateData
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.generate_data.batches import RowBatches, Sources, first_batches, next_batches
from pada_agent.components.generate_data.bounds import Forms
from pada_agent.components.generate_data.generate import Tools, generate


def run(ex: Executor) -> None:
    """Read, generate, write."""
    settings = ex.settings(GenerateData)
    data, iteration = ex.input("train_data", "train.jsonl"), ex.parameter("iteration", 1)
    task = load_task(settings.task.name, settings.task.options, data / "assets")
    before = ex.optional_input("checked_batches", "batches.jsonl")
    plan = before or ex.input("plan", "strategies.yaml")
    strategies, errors, spent = read_plan(plan)
    train = read_records(data / "train.jsonl", TrainRow)
    method = load_method(settings.generate.method)
    method.check(task)
    form = method.form(task, settings.generate.context)
    sources, forms = Sources(task, train, strategies, errors), Forms.of(task, train, settings.slm.max_length, form)
    if before:
        written = read_records(before / "batches.jsonl", Batch)
        batches = next_batches(sources, written, settings.generate, iteration, settings.seed)
        usage = {k: Usage.model_validate(v) for k, v in read_json(before / "usage.json").items()}
    else:
        batches, usage = _begin(sources, method, settings, iteration), {}
    most = max((b.wanted for b in batches), default=1)
    if method.repeats != "rows" and (warning := forms.check_room(most, settings.teacher.max_tokens)):
        notice(warning)
    ledger = str(ex.parameter("ledger", "")) or ex.below_work_uri("ledger/generate_data")
    llm = open_llm(settings.teacher, settings.budget, ledger, "generate_data", by_stage(spent, usage))
    written_before = _samples(batches)
    batches = generate(sources, batches, settings.generate, forms, Tools(llm, run_code), iteration)
    usage["generate_data"] = usage.get("generate_data", Usage()) + llm.usage
    out = ex.output("batches", "batches.jsonl")
    carry_plan(plan, out)
    write_records(out / "batches.jsonl", batches)
    write_json(out / "usage.json", {k: v.model_dump() for k, v in usage.items()})
    if before and (before / JUDGE_CHECK_FILE).exists():  # the last batches carry it to update_state
        write_json(out / JUDGE_CHECK_FILE, read_json(before / JUDGE_CHECK_FILE))
    open_batches, samples = sum(b.status == "open" for b in batches), _samples(batches)
    ex.say_numbers({"rows written": samples - written_before, "open batches": open_batches, **llm.bill()})
    ex.set_parameter("open_batches", open_batches)
    ex.set_metadata("batches", batches=len(batches), samples=samples)
    ex.finish()


def _begin(sources: Sources, method: Method, settings: GenerateData, iteration: int) -> list[Batch]:
    iterations, rows = settings.loop.iterations, len(sources.train)
    if isinstance(method, FromRow):
        wanted = iteration_rows(settings.generate, rows, iteration, iterations)
        return RowBatches(sources, method, settings.generate, iteration, settings.seed).first(wanted)
    spread = allocation(
        settings.generate, rows, iteration, iterations, patterns=len(sources.strategies), errors=len(sources.errors)
    )
    return first_batches(sources, spread, settings.generate, iteration, settings.seed)


def _samples(batches: Sequence[Batch]) -> int:
    return sum(len(b.samples) for b in batches)


if __name__ == "__main__":
    main(run)

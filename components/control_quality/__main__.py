"""Entry point: batches in, batches with verdicts out."""

from pada_agent.components.backends.artifacts.plan import carry_plan, read_plan
from pada_agent.components.backends.executor import Executor, main
from pada_agent.components.backends.llm.client import open_llm
from pada_agent.components.backends.record_files import read_json, read_records, write_json, write_records
from pada_agent.components.backends.sandbox.run import run_code
from pada_agent.components.control_quality.control import Known, Tools, control
from pada_agent.components.control_quality.measure_judge import measure_judge
from pada_agent.components.core.cost.budget import Usage, by_stage
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.quality.chain import work_left
from pada_agent.components.core.quality.judge_check import JUDGE_CHECK_FILE
from pada_agent.components.core.quality.rules import check_judge
from pada_agent.components.core.records import Batch, SyntheticRow, TrainRow
from pada_agent.components.core.separation.leakage import FINGERPRINTS_FILE, Fingerprints
from pada_agent.components.core.settings import ControlQuality
from pada_agent.components.core.tasks.registry import load_task


def run(ex: Executor) -> None:
    """Read, check and judge, write."""
    settings = ex.settings(ControlQuality)
    check_judge(settings.teacher, settings.judge, settings.control.allow_judge)
    data, source = ex.input("train_data", "train.jsonl"), ex.input("batches", "batches.jsonl")
    prints = Fingerprints.beside(data)
    if prints is None:
        raise InputError(
            f"input artifact 'train_data': {data} has no {FINGERPRINTS_FILE}, by which held-out rows are known, so that a leak "
            "would be let in; give the train_data of this release's prepare_data"
        )
    task = load_task(settings.task.name, settings.task.options, data / "assets")
    strategies, _, spent = read_plan(source)
    earlier = ex.optional_input("synthetic_data", "synthetic.jsonl")
    known = Known(
        read_records(data / "train.jsonl", TrainRow),
        read_records(earlier / "synthetic.jsonl", SyntheticRow) if earlier else [],
    )
    usage = {k: Usage.model_validate(v) for k, v in read_json(source / "usage.json").items()}
    ledger = str(ex.parameter("ledger", "")) or ex.below_work_uri("ledger/control_quality")
    llm = open_llm(settings.judge, settings.budget, ledger, "control_quality", by_stage(spent, usage))
    written = read_records(source / "batches.jsonl", Batch)
    batches = control(
        task,
        written,
        strategies,
        known,
        settings.control,
        settings.generate,
        Tools(llm, run_code, prints.hits),
    )
    check = read_json(source / JUDGE_CHECK_FILE) if (source / JUDGE_CHECK_FILE).exists() else None
    if check is None and ex.parameter("iteration", 1) == 1 and settings.control.judge_checks and any(b.scores for b in batches):
        # Once a run, of a judge that is needed, and after the batches: a cap must not take from them what this costs.
        check = measure_judge(task, known.train, settings.control, settings.generate.batch, settings.seed, llm)
    usage["control_quality"] = usage.get("control_quality", Usage()) + llm.usage
    out = ex.output("checked_batches", "batches.jsonl")
    if check is not None:
        write_json(out / JUDGE_CHECK_FILE, check)
    carry_plan(source, out)
    write_records(out / "batches.jsonl", batches)
    write_json(out / "usage.json", {k: v.model_dump() for k, v in usage.items()})
    accepted = sum(len(b.accepted) for b in batches)
    wanted = sum(b.wanted for b in batches if not b.refill_of)
    let_in = accepted - sum(len(b.accepted) for b in written)
    refused = sum(s.status == "new" for b in written for s in b.samples) - let_in
    open_batches = work_left(batches, settings.generate.refills)
    counts = {"rows let in": let_in, "refused": refused, "open batches": open_batches}
    ex.say_numbers({**counts, "so far": f"{accepted} of {wanted} rows", **llm.bill()})
    ex.set_parameter("accepted", accepted)
    ex.set_parameter("open_batches", open_batches)
    ex.set_metadata("checked_batches", accepted=accepted, wanted=wanted)
    ex.finish()


if __name__ == "__main__":
    main(run)

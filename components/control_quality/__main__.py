"""Entry point: batches in, batches with verdicts out."""

from collections.abc import Mapping, Sequence

from pada_agent.components.backends.artifacts.plan import carry_plan, read_plan
from pada_agent.components.backends.executor import Executor, main
from pada_agent.components.backends.llm.client import OpenAiLlm, open_llm
from pada_agent.components.backends.record_files import read_json, read_records, write_json, write_records
from pada_agent.components.backends.sandbox.run import run_code
from pada_agent.components.control_quality.control import Known, Tools, judge_verified, verify
from pada_agent.components.control_quality.measure_judge import measure_judge
from pada_agent.components.core.cost.budget import Usage, by_stage
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.methods.method import load_method
from pada_agent.components.core.quality.chain import work_left
from pada_agent.components.core.quality.judge_check import JUDGE_CHECK_FILE
from pada_agent.components.core.quality.rules import check_judge
from pada_agent.components.core.records import Batch, SyntheticRow, TrainRow
from pada_agent.components.core.separation.leakage import FINGERPRINTS_FILE, Fingerprints
from pada_agent.components.core.settings import ControlQuality, Role
from pada_agent.components.core.tasks.registry import load_task

STAGE = "control_quality"


def run(ex: Executor) -> None:
    """Read, check and judge, write."""
    settings = ex.settings(ControlQuality)
    method = load_method(settings.generate.method)
    control = method.checked_by(settings.control)
    check_judge(settings.teacher, settings.judge, control)
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
    written = read_records(source / "batches.jsonl", Batch)
    spent = by_stage(spent, usage)

    def opened(role: Role, spent: Mapping[str, Usage]) -> OpenAiLlm:
        return open_llm(getattr(settings, role), settings.budget, ledger, STAGE, spent)

    solver = opened(control.solver, spent) if control.solutions else None
    verified = verify(task, written, known, control, Tools(solver, run_code, prints.hits), method)
    judge = None
    if control.judges:  # one that is another is opened only now, so that caps count what the solver took
        same = solver is not None and control.solver == "judge"
        judge = solver if same else opened("judge", by_stage(spent, {STAGE: solver.usage if solver else Usage()}))
    batches = judge_verified(task, verified, strategies, known, control, settings.generate, judge)
    check = read_json(source / JUDGE_CHECK_FILE) if (source / JUDGE_CHECK_FILE).exists() else None
    if judge and check is None and ex.parameter("iteration", 1) == 1 and control.judge_checks and any(b.scores for b in batches):
        # Once a run, of a judge that is needed, and after the batches: a cap must not take from them what this costs.
        check = measure_judge(task, known.train, control, settings.generate.batch, settings.seed, judge)
    clients = list(dict.fromkeys(client for client in (solver, judge) if client))
    usage[STAGE] = sum((client.usage for client in clients), usage.get(STAGE, Usage()))
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
    # Beyond a cap nothing can be checked, so that nothing more is to be written.
    open_batches = 0 if usage[STAGE].unasked else work_left(batches, settings.generate.refills)
    counts = {"rows let in": let_in, "refused": refused, "open batches": open_batches}
    ex.say_numbers({**counts, "so far": f"{accepted} of {wanted} rows", **_bill(clients)})
    ex.set_parameter("accepted", accepted)
    ex.set_parameter("open_batches", open_batches)
    ex.set_metadata("checked_batches", accepted=accepted, wanted=wanted)
    ex.finish()


def _bill(clients: Sequence[OpenAiLlm]) -> dict[str, int | float]:
    bills = [client.bill() for client in clients]
    return {name: sum(bill.get(name, 0) for bill in bills) for name in dict.fromkeys(name for bill in bills for name in bill)}


if __name__ == "__main__":
    main(run)

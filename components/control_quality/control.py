"""Lets in only rows that are right, new, on the pattern, free of held-out text and, as a batch, good enough for the judge."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pada_agent.components.control_quality.judge import Judgement, item, judge_request, parent_items, room
from pada_agent.components.control_quality.solve import Finding, solve
from pada_agent.components.core.llm_interface import Llm, LlmReply, LlmRequest
from pada_agent.components.core.methods.method import Method
from pada_agent.components.core.patterns.feature_pairs import with_pairs
from pada_agent.components.core.quality.rules import feedback_text, let_in, mean_score
from pada_agent.components.core.records import Batch, Fields, Sample, Strategy, SyntheticRow, TrainRow
from pada_agent.components.core.separation.duplicates import NearDuplicates
from pada_agent.components.core.settings import ControlSettings, GenerateSettings
from pada_agent.components.core.tasks.task import CodeRunner, Task
from pada_agent.components.core.tasks.turns import system_and_chat

METHOD = Method()  # one without rules of its own


@dataclass(frozen=True)
class Tools:
    """The outside world, handed in; no solver where `control.solve` is off.

    `leak` tells why texts are too close to held-out rows, '' if they are not.
    """

    solver: Llm | None
    run_code: CodeRunner
    leak: Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class Known:
    """Rows a sample must differ from."""

    train: Sequence[TrainRow]
    accepted: Sequence[SyntheticRow]


@dataclass(frozen=True)
class Verified:
    """Batches after the rules and the solver: what is still new in them is for the judge. `findings` are by row id."""

    batches: list[Batch]
    findings: dict[str, Finding]


def verify(
    task: Task, batches: Sequence[Batch], known: Known, settings: ControlSettings, tools: Tools, method: Method = METHOD
) -> Verified:
    """A verdict on every new sample that a rule or the solver rejects. Batches without new work pass through unchanged."""
    todo = [b.model_copy(update={"feedback": ""}) for b in batches if b.status == "open"]
    checked = _check_rules(task, todo, _seen(task, batches, known, settings, method), tools, settings.verdict != "none")
    rows = [s.row for b in checked for s in b.samples if s.status == "new"]
    findings = solve(task, rows, [r.fields for r in known.train], settings, tools.solver, tools.run_code)
    solved = {b.id: _with_verdicts(b, partial(_solved, findings)) for b in checked}
    return Verified([solved.get(b.id, b) for b in batches], findings)


def judge_verified(
    task: Task,
    verified: Verified,
    strategies: Sequence[Strategy],
    known: Known,
    settings: ControlSettings,
    generate: GenerateSettings,
    judge: Llm | None,
) -> list[Batch]:
    """The batches with a verdict on every sample, closed, or open again with what to mend; no judge where checks alone decide."""
    bench = _Bench(task, {s.id: s.text for s in strategies}, {r.id: r.fields for r in known.train}, verified.findings, settings)
    work = [b for b in verified.batches if b.status == "open"]
    todo = [b for b in work if new_rows(b)]
    if not settings.judges:
        judged = {b.id: _with_verdicts(b, lambda s: s.model_copy(update={"status": "accepted"})) for b in todo}
    else:
        assert judge is not None
        replies = judge.ask_all("batches judged", [bench.request(b) for b in todo])
        judged = {b.id: bench.verdicts(b, reply) for b, reply in zip(todo, replies, strict=True)}
    closed = {b.id: _close(judged.get(b.id, b), generate.regenerations) for b in work}
    return [closed.get(b.id, b) for b in verified.batches]


class _Seen:
    """Rows so far. One is repeated by nearly the same words, or by the same answer in whatever words; and as its method says."""

    def __init__(self, task: Task, settings: ControlSettings, method: Method) -> None:
        self._task, self._repeats = task, method.repeats
        self._texts = NearDuplicates(settings.near_duplicate)
        self._answers: dict[str, str] = {}
        self._own = method.novelty(task)

    def add(self, row: TrainRow | SyntheticRow) -> None:
        if self._own:
            self._own.add(row.fields)
        self._texts.add(row.id, *self._identity(row.fields))
        if answer := self._task.same_answer(row.fields):
            self._answers.setdefault(answer, row.id)

    def twin(self, fields: Fields) -> str:
        """Which row it repeats and how, '' if none."""
        if self._repeats == "rows":
            return ""
        if near := self._texts.closest(*self._identity(fields)):
            return f"nearly the same as {near[0]}"
        if self._own and (own := self._own.twin(fields)):
            return own
        answer = self._task.same_answer(fields) if self._repeats != "answers" else ""
        return f"the same answer as {self._answers[answer]} in other words" if answer in self._answers else ""

    def _identity(self, fields: Fields) -> tuple[str, str]:
        """Question and all that the SLM is shown: one question about two passages is two rows."""
        return self._task.question(fields), system_and_chat(self._task.messages(fields))[1]


def _seen(task: Task, batches: Sequence[Batch], known: Known, settings: ControlSettings, method: Method) -> _Seen:
    seen = _Seen(task, settings, method)
    rows: list[TrainRow | SyntheticRow] = [*known.train, *known.accepted]
    rows += [row for b in batches for row in b.accepted]
    for row in rows:
        seen.add(row)
    return seen


def _check_rules(task: Task, batches: Sequence[Batch], seen: _Seen, tools: Tools, quality: bool) -> list[Batch]:
    """`quality`: also by what makes a row a good one, beside what no method may let in."""

    def check(batch: Batch, sample: Sample) -> Sample:
        row = sample.row
        if leak := tools.leak(task.private_texts(row.fields)):  # first, so that nothing else of such a row is told to anybody
            return sample.rejected("leak", leak)
        if quality and (wrong := task.verify(row.fields, tools.run_code)):
            return sample.rejected("wrong answer", wrong)
        if quality and batch.focus and batch.focus not in with_pairs(task.features(row.fields)):
            return sample.rejected("off the pattern", f"the answer does not use {batch.focus}")
        if twin := seen.twin(row.fields):
            return sample.rejected("not new", twin)
        seen.add(row)
        return sample

    return [_with_verdicts(b, partial(check, b)) for b in batches]


def _solved(findings: Mapping[str, Finding], sample: Sample) -> Sample:
    found = findings.get(sample.row.id)
    return sample.rejected(found.kind, found.detail) if found and found.kind else sample


def new_rows(batch: Batch) -> list[SyntheticRow]:
    """Those without a verdict."""
    return [s.row for s in batch.samples if s.status == "new"]


@dataclass(frozen=True)
class _Bench:
    """What a judge is told of batches, and what its scores make of them."""

    task: Task
    strategies: Mapping[str, str]
    train: Mapping[str, Fields]
    findings: Mapping[str, Finding]
    settings: ControlSettings

    def request(self, batch: Batch) -> LlmRequest[Judgement]:
        rows = new_rows(batch)
        found = {r.id: self.findings[r.id].text for r in rows if r.id in self.findings}
        items = [item(self.task, r.fields, solved=found.get(r.id, ""), length=room(len(rows))) for r in rows]
        ids = dict.fromkeys(i for r in rows for i in r.provenance.parent_ids if i in self.train)
        parents = parent_items(self.task, [self.train[i] for i in ids])
        key, strategy = f"judge/{batch.id}/{batch.attempt}", self.strategies.get(batch.strategy_id, "")
        return judge_request(self.task, key, batch.branch, strategy, items, parents, batch.missing, self.settings)

    def verdicts(self, batch: Batch, reply: LlmReply[Judgement]) -> Batch:
        """Each sample is let in by its own scores or, as in the paper, all by the mean scores of the batch."""
        judgement = reply.value
        if judgement is None:
            return _with_verdicts(batch, lambda s: s.rejected("not judged", reply.error))
        passed = let_in(judgement.rows, self.settings)
        numbers = {row.id: n for n, row in enumerate(new_rows(batch))}
        whole = f"the batch's {mean_score(judgement.scores):.1f} is below {self.settings.threshold:g}"

        def verdict(sample: Sample) -> Sample:
            n = numbers[sample.row.id]
            own, change = judgement.rows[n], judgement.changes.get(n + 1, "")
            scored = sample.model_copy(update={"row": sample.row.model_copy(update={"scores": own})})
            if passed[n]:
                return scored.model_copy(update={"status": "accepted"})
            low = ", ".join(f"{name} {score:g}" for name, score in own.items())
            why = whole if self.settings.verdict == "batch" else low
            return scored.rejected("judge", f"{change.rstrip('.')} ({why})" if change else why)

        judged = _with_verdicts(batch, verdict)
        return judged.model_copy(update={"scores": judgement.scores, "feedback": judgement.changes.get(0, "")})


def _with_verdicts(batch: Batch, verdict: Callable[[Sample], Sample]) -> Batch:
    """The batch with a verdict on each sample that has none yet."""
    return batch.model_copy(update={"samples": [verdict(s) if s.status == "new" else s for s in batch.samples]})


def _close(batch: Batch, regenerations: int) -> Batch:
    """Done, exhausted after the last regeneration, or open again with what to mend."""
    if not batch.missing:
        return batch.model_copy(update={"status": "done", "feedback": ""})
    status = "exhausted" if batch.attempt >= regenerations else "open"
    return batch.model_copy(update={"status": status, "feedback": feedback_text(batch.refused, batch.feedback)})

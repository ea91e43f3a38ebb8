"""Measures the checks of quality control on the labelled set: what each finds of what is wrong, and loses of what is right.

    python -m tests.components.control_quality.measure_checks                                       the rules, without an LLM
    python -m tests.components.control_quality.measure_checks --base-url http://127.0.0.1:8080/v1 --model NAME --ledger FILE
    python -m tests.components.control_quality.measure_checks --embedded --checks solve,judge --tasks text_to_sql --ledger FILE

`rules`, `solve` and `judge` are checks alone, each shown all samples; `sequence` is quality control as it runs. What is asked
`once` is the first vote of a vote. An LLM is asked for nothing twice: with a ledger an interrupted measurement resumes.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from pada_agent.components.backends.llm.client import open_llm
from pada_agent.components.backends.llm.embedded.server import embedded_server
from pada_agent.components.core.llm_interface import Llm
from pada_agent.components.core.quality.rules import mean_score
from pada_agent.components.core.settings import BudgetSettings, ControlSettings, LlmSettings
from tests.components.control_quality.labelled_checks import RULES, Verdicts, in_sequence, judged, rule, solved, together
from tests.components.control_quality.labelled_rows import OPTIONS, LabelledSample, samples

EMBEDDED_MODEL = "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF"
CHECKS = ("rules", "solve", "once", "judge", "sequence")
WRONG = ("subtly wrong", "off the pattern", "copied")
LABELS = ("right", *WRONG)
HEADER = ("check", "saw", "flagged", "of these unanswered", "precision", *WRONG, "right rows lost", "right of the rest")
DIMENSIONS = ("adherence", "utility", "relevance")
BY_SAMPLE, ALL = "judge, verdict by sample", "all together"


def measured(
    checks: Sequence[str], chosen: Sequence[LabelledSample], settings: ControlSettings, llm: Llm | None
) -> Iterator[tuple[str, dict[str, Verdicts]]]:
    """The verdicts of `checks` under a heading; without an LLM those of the rules alone."""
    if "rules" in checks:
        rules: dict[str, Verdicts] = {kind: rule(kind, chosen, settings) for kind in RULES}
        yield "Each rule alone", {**rules, ALL: together(rules.values())}

    def with_(**changes: str) -> ControlSettings:
        return settings.model_copy(update=changes)

    if llm and {"solve", "once"} & {*checks}:
        votes = {f"{settings.votes} votes": solved(chosen, llm, with_(solve="vote"))} if "solve" in checks else {}
        yield "Solved blind, alone", {"once": solved(chosen, llm, with_(solve="once")), **votes}
    if llm and "judge" in checks:
        by_sample = judged(chosen, llm, with_(verdict="sample"))
        yield "The judge alone", {BY_SAMPLE: by_sample, "judge, verdict by batch": judged(chosen, llm, with_(verdict="batch"))}
    if "sequence" in checks:
        sequence = in_sequence(chosen, llm, settings)
        yield "In sequence", {**sequence, ALL: together(sequence.values())}


@dataclass(frozen=True)
class Measured:
    """What a check made of the samples it saw: of each label, how many it saw and how many it flagged."""

    saw: dict[str, int]
    flagged: dict[str, int]
    unanswered: int  # flagged because the LLM gave no usable answer

    @classmethod
    def of(cls, verdicts: Verdicts, chosen: Sequence[LabelledSample]) -> "Measured":
        """`verdicts` are on some of `chosen`."""
        seen = [(s.label, verdicts[s.id].kind) for s in chosen if s.id in verdicts]
        return cls(
            {label: sum(own == label for own, _ in seen) for label in LABELS},
            {label: sum(own == label and kind is not None for own, kind in seen) for label in LABELS},
            sum(kind in ("not verified", "not judged") for _, kind in seen),
        )

    def row(self, name: str) -> list[str]:
        """As one of the table: precision is the share of what is flagged that is not right."""
        saw, flagged = sum(self.saw.values()), sum(self.flagged.values())
        recall = [f"{self.flagged[label]} of {self.saw[label]}" for label in (*WRONG, "right")]
        passed = self.saw["right"] - self.flagged["right"]
        precision = _percent(flagged - self.flagged["right"], flagged)
        return [name, str(saw), str(flagged), str(self.unanswered), precision, *recall, _percent(passed, saw - flagged)]


def table(found: Mapping[str, Verdicts], chosen: Sequence[LabelledSample]) -> str:
    """A row for each check."""
    return _markdown(HEADER, [Measured.of(verdicts, chosen).row(name) for name, verdicts in found.items()])


def score_table(verdicts: Verdicts, chosen: Sequence[LabelledSample]) -> str:
    """The judge's mean scores by label."""
    rows = []
    for label in LABELS:
        own = [verdicts[s.id].row.scores for s in chosen if s.label == label and s.id in verdicts]
        scored = [scores for scores in own if scores]
        of_each = [[scores[name] for scores in scored if name in scores] for name in DIMENSIONS]
        rows.append([label, str(len(scored)), *(_mean(values) for values in [[*map(mean_score, scored)], *of_each])])
    return _markdown(("scores of", "samples", "mean", *DIMENSIONS), rows)


def reason_list(found: Mapping[str, Verdicts], chosen: Sequence[LabelledSample]) -> str:
    """What was flagged by which check, and why."""
    flagged = ((name, s, found[name][s.id]) for name in found if name != ALL for s in chosen if s.id in found[name])
    return "\n".join(f"- {name}: {s.id} ({s.label}): {verdict.reason}" for name, s, verdict in flagged if verdict.kind)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *rows])


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else ""


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.1f}" if values else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the arguments say and print the tables."""
    a = _parser().parse_args(arguments)
    settings = ControlSettings() if a.solve_shots is None else ControlSettings(solve_shots=a.solve_shots)
    chosen = [s for s in samples() if s.task in a.tasks]
    with ExitStack() as stack:
        reach, llm = LlmSettings(model=a.model or EMBEDDED_MODEL, concurrency=a.concurrency, **PATIENCE), None
        url = stack.enter_context(embedded_server(reach.model, reach.embedded_context)) if a.embedded else a.base_url
        if url:
            llm = open_llm(reach.model_copy(update={"base_url": url}), BudgetSettings(), a.ledger)
        for title, found in measured(a.checks, chosen, settings, llm):
            print(f"## {title}\n\n{table(found, chosen)}\n", flush=True)
            if BY_SAMPLE in found:
                print(f"{score_table(found[BY_SAMPLE], chosen)}\n", flush=True)
            if a.reasons:
                print(f"{reason_list(found, chosen)}\n", flush=True)


# As in the quickstart: a small model on two cores takes minutes for a long prompt.
PATIENCE: dict[str, Any] = {"max_tokens": 700, "timeout_seconds": 600, "give_up_seconds": 1200}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    llm = parser.add_mutually_exclusive_group()
    llm.add_argument("--base-url", default="", help="of an LLM that speaks the OpenAI API; without one only the rules")
    llm.add_argument("--embedded", action="store_true", help="start llama.cpp's server for the time of the measurement")
    parser.add_argument("--model", default="", help=f"its name there; by default {EMBEDDED_MODEL}")
    parser.add_argument(
        "--checks", type=_some_of(CHECKS), default=list(CHECKS), help=f"some of {','.join(CHECKS)}; solve has once"
    )
    parser.add_argument("--tasks", type=_some_of(tuple(OPTIONS)), default=list(OPTIONS), help=f"some of {','.join(OPTIONS)}")
    parser.add_argument("--solve-shots", type=int, help="training rows that a solver is shown; by default as in a run")
    parser.add_argument("--ledger", default="", help="file that keeps replies, so that the measurement resumes; else in memory")
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--reasons", action="store_true", help="also list what each check flagged, and why")
    return parser


def _some_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        if unknown := set(text.split(",")) - set(known):
            raise argparse.ArgumentTypeError(f"'{min(unknown)}' is none of {', '.join(known)}")
        return text.split(",")

    return read


if __name__ == "__main__":
    main()

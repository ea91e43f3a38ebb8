"""The quickstart's messages: the promised sizes, none twice, splits that share no phrase, and what its README says of them."""

import json
import re
from collections import Counter
from difflib import SequenceMatcher
from itertools import combinations
from pathlib import Path
from statistics import fmean, median

import pytest
import yaml

from pada_agent.components.backends.artifacts.row_sources import read_all
from pada_agent.components.backends.artifacts.task_files import open_task
from pada_agent.components.backends.record_files import read_record
from pada_agent.components.core.settings import PrepareData
from pada_agent.components.prepare_data.prepare import prepare
from pada_agent.pipelines.config import read_config
from pada_agent.pipelines.study.compare import compare
from pada_agent.pipelines.study.outcomes import StudyFacts

FOLDER = Path(__file__).parents[2] / "pipelines" / "quickstart"
SIZES = {"train": 121, "validation": 80, "selection": 80, "test": 200}
RARE = {"change", "warranty", "voucher"}
PHRASE = 6  # words


@pytest.fixture(scope="module")
def splits() -> dict[str, list[dict[str, str]]]:
    return {s: [json.loads(line) for line in (FOLDER / f"{s}.jsonl").read_text(encoding="utf-8").splitlines()] for s in SIZES}


@pytest.fixture(scope="module")
def readme() -> str:
    return " ".join((FOLDER / "README.md").read_text(encoding="utf-8").split())


def phrases(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + PHRASE]) for i in range(len(words) - PHRASE + 1)}


def test_sizes_and_kinds(splits: dict[str, list[dict[str, str]]]) -> None:
    assert {split: len(rows) for split, rows in splits.items()} == SIZES
    labels = yaml.safe_load((FOLDER / "config.yaml").read_text(encoding="utf-8"))["task"]["options"]["labels"]
    for split, rows in splits.items():
        counts = Counter(row["kind"] for row in rows)
        assert set(counts) == set(labels)
        expected = (
            {kind: 3 if kind in RARE else 16 for kind in labels} if split == "train" else dict.fromkeys(labels, len(rows) // 10)
        )
        assert counts == expected


def test_the_model_is_told_the_kinds_that_there_are() -> None:
    options = yaml.safe_load((FOLDER / "config.yaml").read_text(encoding="utf-8"))["task"]["options"]
    assert re.findall(r"\w[\w ]*", options["system"].split(":")[1].replace(" or ", ", ")) == list(options["labels"])


def test_no_message_twice_and_no_phrase_in_two_splits(splits: dict[str, list[dict[str, str]]]) -> None:
    assert Counter(row["message"].lower() for rows in splits.values() for row in rows).most_common(1)[0][1] == 1
    for one, two in combinations(splits, 2):
        held = set().union(*(phrases(row["message"]) for row in splits[two]))
        assert [row for row in splits[one] if phrases(row["message"]) & held] == []


def test_the_readme_shows_rows_that_are_there(splits: dict[str, list[dict[str, str]]]) -> None:
    lines = (FOLDER / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| `([\w ]+)`( \(rare\))? \| (.+?) \| (\d+) \|", lines, re.M)
    assert {kind: bool(rare) for kind, rare, *_ in shown} == {row["kind"]: row["kind"] in RARE for row in splits["test"]}
    for kind, _, message, count in shown:
        assert {"message": message, "kind": kind} in splits["test"]
        assert sum(row["kind"] == kind for row in splits["train"]) == int(count)


def test_how_alike_the_splits_are(splits: dict[str, list[dict[str, str]]], readme: str) -> None:
    train = [row["message"] for row in splits["train"]]
    closest = [max(SequenceMatcher(None, text, row["message"]).ratio() for text in train) for row in splits["test"]]
    assert f"{median(closest):.0%}".replace("%", " %") + " similar to it in its characters in the median" in readme
    assert f"{max(closest):.0%}".replace("%", " %") + " at most" in readme


def accuracies(facts: StudyFacts) -> dict[tuple[str, str], list[float]]:
    """Percent of the test rows, by method and model, of each seed."""
    right: dict[tuple[str, str], list[float]] = {}
    for cell in facts.cells:
        for model in cell.models:
            share = 100 * fmean(verdict == "1" for verdict in model.outcomes["test"])
            right.setdefault((cell.method, model.name), []).append(share)
    return right


def table_row(name: str, shares: list[float]) -> str:
    """As the READMEs have it: the mean, and each seed."""
    return f"| {name} | {fmean(shares):.1f} % | {' | '.join(f'{share:.1f}' for share in shares)} |"


def test_the_projects_readme_has_the_numbers_of_the_study() -> None:
    facts = read_record(FOLDER / "study.json", StudyFacts)
    study = yaml.safe_load((FOLDER / "study.yaml").read_text(encoding="utf-8"))
    assert (list(facts.methods), list(facts.seeds)) == (study["methods"], study["seeds"])
    right = accuracies(facts)
    names = {
        ("vanilla", "untuned"): "untuned",
        ("vanilla", "vanilla"): "vanilla",
        ("pada", "step-matched"): "step-matched vanilla",
        ("duplicate", "iteration-1"): "training rows repeated",
        ("auggpt", "iteration-1"): "AugGPT",
        ("pada", "iteration-1"): "PaDA, last iteration",
    }
    text = (FOLDER.parents[1] / "README.md").read_text(encoding="utf-8")
    for name, shown in names.items():
        assert table_row(shown, right[name]) in text
    runs = [cell for cell in facts.cells if cell.method == "pada"]
    shipped = [right["vanilla" if c.shipped == "vanilla" else "pada", c.shipped][n] for n, c in enumerate(runs)]
    assert table_row("PaDA, shipped", shipped) in text
    let_in = [cell.samples.accepted for cell in runs]
    assert f"asked for {min(let_in)} to {max(let_in)} are let in" in " ".join(text.split())
    flat, of_pada = " ".join(text.split()), [c for c in compare(facts).comparisons if c.method == "pada"]
    corrected = {c.baseline: f"{c.p_holm:.2f}" for c in of_pada if c.asked}
    assert "p is {step-matched vanilla}, {auggpt} and {duplicate}.".format_map(corrected) in flat
    for comparison in of_pada:
        gain = comparison.found.difference
        above = "repeated rows" if comparison.baseline == "duplicate" else comparison.baseline.replace("auggpt", "AugGPT")
        interval = f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
        said = rf"{100 * gain.mean:.1f} (points )?above {above} \((95 % interval )?{re.escape(interval)}"
        assert re.search(said, flat), said


def test_the_projects_readme_counts_the_rare_kinds_as_the_study_found_them() -> None:
    settings = read_config(FOLDER / "config.yaml")
    own = PrepareData.model_validate(settings.model_dump(include=set(PrepareData.model_fields)))
    sources = {split: read_all(getattr(settings.task, split)) for split in SIZES}
    kinds = {row.id: row.fields["answer"] for row in prepare(open_task(settings.task), sources, own).held_out["test"]}
    facts = read_record(FOLDER / "study.json", StudyFacts)
    ((_, task),) = facts.tasks.items()
    right: Counter[tuple[str, bool]] = Counter()
    for cell in facts.cells:
        for model in cell.models:
            verdicts = zip(task.rows["test"].ids, model.outcomes["test"], strict=True)
            right.update((f"{cell.method} {model.name}", kinds[row] in RARE) for row, verdict in verdicts if verdict == "1")
    (rare, matched, rephrased), (others, matched_others, rephrased_others) = (
        [right[name, is_rare] for name in ("pada iteration-1", "pada step-matched", "auggpt iteration-1")]
        for is_rare in (True, False)
    )
    text = " ".join((FOLDER.parents[1] / "README.md").read_text(encoding="utf-8").split())
    assert (
        f"{rare} right answers of 300, step-matched vanilla {matched}, AugGPT {rephrased}; on the others {others} of 700, "
        f"{matched_others} and {rephrased_others}." in text
    )


def test_the_readme_has_the_numbers_of_the_ablations(readme: str) -> None:
    facts = read_record(FOLDER / "ablations.json", StudyFacts)
    study = yaml.safe_load((FOLDER / "ablations.yaml").read_text(encoding="utf-8"))
    assert facts.methods == study["methods"] and set(facts.seeds) <= set(study["seeds"])
    right = accuracies(facts)
    names = {
        ("vanilla", "vanilla"): "vanilla",
        ("pada", "step-matched"): "step-matched vanilla",
        ("pada", "iteration-1"): "PaDA",
        ("random_strategy", "iteration-1"): "strategies drawn at random",
        ("pada_shuffled_clusters", "iteration-1"): "failures in clusters by chance",
    }
    for name, shown in names.items():
        assert len(right[name]) == len(facts.seeds)
        assert table_row(shown, right[name]) in readme
    for comparison in compare(facts).comparisons:
        if comparison.method == "pada" and comparison.asked:
            gain = comparison.found.difference
            said = f"{100 * gain.mean:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
            assert said in readme.replace("95 % interval ", ""), said

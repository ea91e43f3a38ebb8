"""A made-up study of any size: every cell of it, with rows drawn at given accuracies."""

import random
from collections.abc import Mapping, Sequence

from pada_agent.pipelines.study.outcomes import CellFacts, ModelFacts, PatternFacts, Rows, Samples, Spent, StudyFacts, TaskFacts

SPLITS = {"validation": 0.5, "selection": 0.5, "test": 1.0}  # rows of each, of those of the test split

REJECTED = {"leak": 3, "not new": 67}
SAMPLES = Samples(wanted=150, unwritten=5, written=190, accepted=120, repaired=20, rejected=REJECTED)
SPENT = {
    "generate_data": Spent(calls=40, input_tokens=50_000, output_tokens=9_000, usd=0.5),
    "control_quality": Spent(calls=30, input_tokens=20_000, output_tokens=1_000, usd=0.25),
}


def made_up(
    accuracy: Mapping[str, float],
    tasks: Mapping[str, float],
    rows: int = 200,
    seeds: Sequence[int] = (0, 1, 2),
    regimes: Sequence[int] = (300,),
    iterations: int = 1,
    slm: str = "small",
) -> StudyFacts:
    """`accuracy`: of untuned, vanilla, step-matched and each method; `tasks`: what each adds to all of them.

    A task's kind is its name. Of the methods, `pada` finds patterns.
    """
    draw = random.Random(0)
    methods = [name for name in accuracy if name not in {"untuned", "vanilla", "step-matched"}]
    sizes = {split: round(rows * share) for split, share in SPLITS.items()}

    def model(name: str, share: float, splits: Sequence[str], iteration: int = 0) -> ModelFacts:
        outcomes = {s: "".join("1" if draw.random() < share else draw.choice("00x") for _ in range(sizes[s])) for s in splits}
        return ModelFacts(name=name, iteration=iteration, steps=100, outcomes=outcomes)

    reported = ("selection", "test")
    cells = []
    for seed in seeds:
        for task, more in tasks.items():
            for regime in regimes:
                facts = {"task": task, "regime": regime, "seed": seed, "train_rows": regime}
                before = [model("untuned", accuracy["untuned"] + more, reported)]
                before.append(model("vanilla", accuracy["vanilla"] + more, tuple(SPLITS)))
                cells.append(CellFacts(**facts, method="vanilla", models=before))
                for method in methods:
                    last = [model(f"iteration-{k}", accuracy[method] + more, tuple(SPLITS), k) for k in range(1, iterations + 1)]
                    models = [*last, model("step-matched", accuracy["step-matched"] + more, reported)]
                    more_facts = {"samples": SAMPLES, "spent": SPENT, "struck": 2, "shipped": f"iteration-{iterations}"}
                    if method == "pada":
                        more_facts["patterns"] = patterns([before[1], *last])
                    cells.append(CellFacts(**facts, method=method, models=models, **more_facts))
    ids = {split: Rows(ids=[f"{split}-{i:05d}" for i in range(size)]) for split, size in sizes.items()}
    return StudyFacts(
        methods=methods,
        seeds=list(seeds),
        regimes={task: list(regimes) for task in tasks},
        tasks={task: TaskFacts(kind=task, slm=slm, metric="exact match", rows=ids, removed={"train": 4}) for task in tasks},
        cells=cells,
    )


def patterns(models: Sequence[ModelFacts]) -> list[PatternFacts]:
    """Two for each iteration: the first 7 and the next 4 failures of the model that it begins with."""
    found = []
    for number, model in enumerate(models[:-1], 1):
        failures = [f"validation-{i:05d}" for i, verdict in enumerate(model.outcomes["validation"]) if verdict != "1"]
        for name, rows in (("Joins", failures[:7]), ("Dates | times", failures[7:11])):
            text = f"of iteration {number}"
            found.append(
                PatternFacts(iteration=number, name=name, description=f"What fails {text}.", strategy=f"Write {text}.", rows=rows)
            )
    return found

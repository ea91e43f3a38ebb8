"""A study as study.json holds one, made up: methods differ by what is asked for and by chance."""

from collections.abc import Mapping, Sequence
from random import Random

from pada_agent.pipelines.study.outcomes import (
    STEP_MATCHED,
    UNTUNED,
    VANILLA,
    CellFacts,
    ModelFacts,
    PatternFacts,
    Rows,
    Samples,
    Spent,
    StudyFacts,
    TaskFacts,
)

ROWS = 120
PARTS = {
    "Joins over three tables": "The model joins two tables where the question needs a third.",
    "Dates": "Comparisons of dates are made as text.",
    "Counting distinct values": "COUNT is written without DISTINCT.",
}


def made_up(
    methods: Sequence[str] = ("pada", "auggpt"),
    tasks: Sequence[str] = ("sql",),
    regimes: Sequence[int] = (300,),
    seeds: Sequence[int] = (0, 1),
    gains: Mapping[str, float] | None = None,
    missing: Sequence[tuple[str, int, int, str]] = (),
    kinds: Mapping[str, str] | None = None,
    slm: str = "HuggingFaceTB/SmolLM2-135M-Instruct",
    usd: float = 0.0,
    iterations: int = 2,
) -> StudyFacts:
    """`gains`: by method, over vanilla's accuracy of 0.5; `missing`: task, regime, seed and method of absent cells."""
    rng = Random(5)
    cells = []
    for place in [(t, r, s) for s in seeds for t in tasks for r in regimes]:
        start = _model(rng, VANILLA, 0.5)
        of = [_start(rng, place, start)]
        of += [_cell(rng, place, method, start, (gains or {}).get(method, 0.0), usd, iterations) for method in methods]
        cells += [cell for cell in of if (*place, cell.method) not in missing]
    rows = {split: Rows(ids=[f"{split}-{i}" for i in range(ROWS)]) for split in ("validation", "selection", "test")}
    kinds = kinds or {}
    facts = {t: TaskFacts(kind=kinds.get(t, "text_to_sql"), slm=slm, metric="exact match", rows=rows) for t in tasks}
    return StudyFacts(
        methods=list(methods), seeds=list(seeds), regimes={t: list(regimes) for t in tasks}, tasks=facts, cells=cells
    )


def _start(rng: Random, place: tuple[str, int, int], start: ModelFacts) -> CellFacts:
    task, regime, seed = place
    models = [_model(rng, UNTUNED, 0.1, splits=("test",)), start]
    return CellFacts(task=task, regime=regime, seed=seed, method=VANILLA, train_rows=regime, models=models)


def _cell(
    rng: Random, place: tuple[str, int, int], method: str, start: ModelFacts, gain: float, usd: float, iterations: int
) -> CellFacts:
    task, regime, seed = place
    models = [_model(rng, f"iteration-{k}", 0.5 + gain * k / iterations, k) for k in range(1, iterations + 1)]
    models.append(_model(rng, STEP_MATCHED, 0.5, splits=("test",)))
    accepted = rng.randint(60, 140)
    return CellFacts(
        task=task,
        regime=regime,
        seed=seed,
        method=method,
        train_rows=regime,
        models=models,
        shipped="iteration-1",
        samples=Samples(
            wanted=150,
            written=220,
            accepted=accepted,
            repaired=accepted // 6,
            rejected={"judge": 20, "wrong answer": rng.randint(0, 60)},
        ),
        spent={
            stage: Spent(calls=40, input_tokens=rng.randint(20_000, 90_000), output_tokens=12_000, usd=usd * rng.random())
            for stage in ("analyze_patterns", "generate_data", "control_quality")
        },
        patterns=_patterns(rng, [start, *models[: iterations - 1]]) if method.startswith("pada") else [],
    )


def _model(
    rng: Random, name: str, accuracy: float, iteration: int = 0, splits: Sequence[str] = ("validation", "selection", "test")
) -> ModelFacts:
    outcomes = {split: "".join("1" if rng.random() < accuracy else rng.choice("0x") for _ in range(ROWS)) for split in splits}
    return ModelFacts(name=name, iteration=iteration, steps=90, outcomes=outcomes)


def _patterns(rng: Random, models: Sequence[ModelFacts]) -> list[PatternFacts]:
    """In the failures of each model that an iteration begins with."""
    return [
        PatternFacts(
            iteration=model.iteration + 1,
            name=name,
            description=description,
            strategy=f"Write questions that need it: {description.lower()}",
            rows=[f"validation-{i}" for i in rng.sample(_wrong(model), rng.randint(3, 20))],
        )
        for model in models
        for name, description in PARTS.items()
    ]


def _wrong(model: ModelFacts) -> list[int]:
    return [i for i, verdict in enumerate(model.outcomes["validation"]) if verdict != "1"]

"""A control: PaDA in all but what its strategies aim at, which has nothing to do with any failure.

Each aim is a feature of a training row that is drawn, or the task at large where that row has none. What PaDA gains over this is
due to its analysis; what this gains over vanilla is due to more rows of the task.
"""

import random
from collections.abc import Sequence

from pada_agent.components.core.methods.method import Method
from pada_agent.components.core.records import Strategy, TrainRow
from pada_agent.components.core.settings import AnalyzeSettings
from pada_agent.components.core.tasks.task import Task


class RandomStrategy(Method):
    """See the module. It has as many strategies as PaDA is expected to have."""

    def strategies(
        self, task: Task, train: Sequence[TrainRow], settings: AnalyzeSettings, iteration: int, seed: int
    ) -> list[Strategy]:
        draw = random.Random(f"{seed}/{iteration}")
        features = {r.id: sorted(task.features(r.fields)) for r in train}
        drawn = draw.sample(list(features), min((settings.k_min + settings.k_max + 1) // 2, len(features)))
        aims = dict.fromkeys(draw.choice(features[i]) if features[i] else "" for i in drawn)
        return [
            Strategy(
                id=f"it{iteration}-s{number}",
                pattern_id="",
                pattern_name=aim or "the task at large",
                text=f"Write varied examples {f'whose answer needs {aim}' if aim else 'of this task'}, from simple to hard.",
                features=[aim] if aim else [],
                seed_ids=_drawn(draw, [i for i, own in features.items() if not aim or aim in own], settings.seeds),
            )
            for number, aim in enumerate(aims, 1)
        ]


def _drawn(draw: random.Random, ids: list[str], most: int) -> list[str]:
    return draw.sample(ids, min(most, len(ids)))

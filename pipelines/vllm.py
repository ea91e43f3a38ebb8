"""What vLLM takes, for whoever writes a command or a service for it."""

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.lora_ranks import RANKS, fitting_rank


def max_rank(rank: int) -> int:
    """The smallest that vLLM takes for an adapter of this rank. Raises InputError."""
    fits = fitting_rank(rank)
    if fits is None:
        raise InputError(f"the adapter's rank is {rank}, and vLLM serves at most {RANKS[-1]}; train with a lower train.rank")
    return fits

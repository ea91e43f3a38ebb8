"""What vLLM takes, for whoever writes a command or a service for it."""

from pada_agent.components.core.errors import InputError

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM takes as --max-lora-rank


def max_rank(rank: int) -> int:
    """The smallest that vLLM takes for an adapter of this rank. Raises InputError."""
    fits = next((most for most in RANKS if most >= rank), None)
    if fits is None:
        raise InputError(f"the adapter's rank is {rank}, and vLLM serves at most {RANKS[-1]}; train with a lower train.rank")
    return fits

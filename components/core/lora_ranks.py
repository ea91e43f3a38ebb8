"""The ranks of adapters that vLLM is told to make room for."""

# What releases of vLLM take in common as --max-lora-rank; newer ones take 1 too.
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


def fitting_rank(rank: int) -> int | None:
    """The smallest that an adapter of this rank fits in, None if there is none."""
    return next((most for most in RANKS if most >= rank), None)

"""How threads that compute together wait for each other. PyTorch's builds for Linux and llama.cpp's server use GNU OpenMP."""

import os
from collections.abc import MutableMapping

# Turns of the loop in which a thread waits before it sleeps. With GNU OpenMP's default of 300,000 a training step of 0.7 s on two
# cores took more than 30 s beside one busy program; with these 3 s. With none (OMP_WAIT_POLICY=passive) 1.5 s, but 1.0 s alone.
TURNS = "3000"


def wait_briefly(environment: MutableMapping[str, str] = os.environ) -> None:
    """To be called before PyTorch is loaded; child processes inherit it. What the user has set stays."""
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", TURNS)

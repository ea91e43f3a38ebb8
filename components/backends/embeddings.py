"""Sentence embeddings with sentence-transformers."""

from collections.abc import Callable, Sequence
from typing import Any

from pada_agent.components.backends.models.sources import resolve_model
from pada_agent.components.core.errors import ModelError

Embedder = Callable[[Sequence[str]], Any]


def embedder(model: str) -> Embedder:
    """A function from n texts to an (n, dimension) float32 array of L2-normalised rows; 768 for all-mpnet-base-v2.

    Raises ModelError when the model is not found or is no sentence-transformers model.
    """
    path = resolve_model(model)
    from sentence_transformers import SentenceTransformer

    try:
        loaded = SentenceTransformer(str(path), local_files_only=True)
    except (OSError, ValueError, KeyError) as e:
        raise ModelError(f"embedding model {model}: cannot be loaded from {path} ({str(e).splitlines()[0]})") from e

    def embed(texts: Sequence[str]) -> Any:
        return loaded.encode(
            list(texts), batch_size=32, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )

    return embed

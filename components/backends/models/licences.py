"""Under which licence a model is, as far as it says so itself."""

from pathlib import Path

from pada_agent.components.backends.models.sources import model_here
from pada_agent.components.core.errors import ModelError
from pada_agent.components.core.report.cards import hub_id

SECONDS = 10.0  # for an answer of the hub


def licence_of(name: str) -> str:
    """The licence that a model names: in its GGUF file or its card, if it is here, or on the hub; else ''. Fetches none."""
    try:
        source = model_here(name)
    except ModelError:
        source = None
    said = (_of_gguf if source.path.suffix == ".gguf" else _of_card)(source.path) if source else ""
    return said or _of_hub(name)


def _of_gguf(file: Path) -> str:
    try:
        from gguf import GGUFReader

        field = GGUFReader(file).get_field("general.license")
        return str(field.contents()) if field else ""
    except (ImportError, OSError, ValueError, KeyError, IndexError):
        return ""


def _of_card(folder: Path) -> str:
    try:
        from huggingface_hub import ModelCard

        return str(ModelCard.load(folder / "README.md").data.get("license") or "")
    except Exception:  # no card, or one whose metadata is none: its parser has errors of three libraries
        return ""


def _of_hub(name: str) -> str:
    repository = "/".join(name.split("/")[:2])
    if not hub_id(repository) or "://" in name:
        return ""
    try:
        from huggingface_hub import HfApi

        card = HfApi().model_info(repository, timeout=SECONDS).card_data
        return str((card.get("license") if card else "") or "")
    except Exception:  # the hub client passes on errors of its HTTP library, which differ between versions
        return ""

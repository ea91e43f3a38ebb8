"""Puts a folder on the model hub: a model or a data set, private unless said otherwise."""

from pathlib import Path
from typing import Literal

from pada_agent.components.backends.models.hub import said_by_hub
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.report.cards import hub_id

Kind = Literal["model", "dataset"]


def check_repository(name: str) -> None:
    """Raises InputError for what is no repository of a hub."""
    if not hub_id(name):
        raise InputError(f"--push {name}: give owner/name, in letters, digits, '.', '_' and '-'")


def push(folder: Path, name: str, kind: Kind, public: bool, message: str) -> str:
    """Upload what is in `folder` as one commit to the repository `name`, made if there is none; the commit's URL.

    Files of the repository that `folder` has not stay. The token is huggingface_hub's own ($HF_TOKEN or `hf auth login`), the
    hub that of $HF_ENDPOINT. Raises InputError with what the hub said.
    """
    check_repository(name)
    try:
        from huggingface_hub import HfApi
    except ImportError as e:
        raise InputError("--push needs huggingface_hub; install it with: pip install 'pada-agent[hub]'") from e
    api = HfApi()
    try:
        api.create_repo(name, repo_type=kind, private=not public, exist_ok=True)
        done = api.upload_folder(repo_id=name, folder_path=folder, repo_type=kind, commit_message=message)
    except Exception as e:  # the hub client passes on errors of its HTTP library, which differ between versions
        raise InputError(
            f"--push {name}: the hub refused ({said_by_hub(e)}); check the name, and that $HF_TOKEN may write there"
        ) from e
    return str(done.commit_url)

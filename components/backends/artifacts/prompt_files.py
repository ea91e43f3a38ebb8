"""A user's own prompts: a folder on a disk or in a store, with files named as the package's."""

from collections.abc import Callable
from pathlib import Path

from pada_agent.components.backends.files import write_atomic
from pada_agent.components.backends.progress import notice
from pada_agent.components.backends.store.objects import names, read_all
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.prompt_check import check_names, checked, left_out
from pada_agent.components.core.prompts import package_prompts, package_text


def read_prompts(address: str, say: Callable[[str], object] = notice) -> dict[str, str]:
    """The texts in the folder that differ from the package's own, by file name; `say` is told which variables they leave out.

    Raises InputError with the file, the line and what is wrong.
    """
    own = {}
    for name, content in _contents(address).items():
        text = checked(name, content, f"{address.rstrip('/')}/{name}")
        if text != package_text(name):
            own[name] = text
            if without := left_out(name, text):
                say(f"{name} does without {', '.join(without)}, which the package's own uses")
    return own


def write_prompts(folder: Path) -> list[Path]:
    """Write the package's prompts into a folder; their paths. Raises InputError if one is there already."""
    files = {folder / name: package_text(name) for name in package_prompts()}
    if there := next((file for file in files if file.exists()), None):
        raise InputError(f"{there}: is there already, and may have been edited; give another folder")
    for file, text in files.items():
        write_atomic(file, text)
    return list(files)


def _contents(address: str) -> dict[str, bytes]:
    """By file name. Other files than prompts are not read."""
    try:
        found = [name for name in names(address) if not _left_behind(name)]
        check_names(found, address)
        return dict(zip(found, read_all(address, found), strict=True))
    except InputError as e:
        raise InputError(f"prompts: {e}") from e


def _left_behind(name: str) -> bool:
    """By an editor or a file manager."""
    return any(part.startswith(".") for part in name.split("/")) or name.endswith("~")

"""Entry point: study.json of all cells that are finished below work_uri, and the tables and the page made of it."""

import html
import shutil
from pathlib import Path

from pada_agent.components.backends.executor import Executor, main
from pada_agent.components.backends.files import write_atomic
from pada_agent.components.backends.temporary import OwnFolder
from pada_agent.pipelines.study.cluster.book import facts_of, open_book
from pada_agent.pipelines.study.outcomes import StudyFacts
from pada_agent.pipelines.study.run import FACTS_FILE, TABLES_FILE, write_facts, write_tables

PAGE_FILE = "study.html"


def run(ex: Executor) -> None:
    """Gather, and write what `pada study` writes."""
    facts = facts_of(open_book(ex.parameter("study"), str(ex.parameter("work_uri"))))
    with OwnFolder("pada-study-") as folder:
        write_facts(facts, folder)
        text = write_tables(facts, folder) if facts.cells else _nothing(facts, folder)
        if not (folder / PAGE_FILE).exists():
            page = f"<!DOCTYPE html><meta charset=utf-8><title>Study</title><pre>{html.escape(text)}</pre>"
            write_atomic(folder / PAGE_FILE, page)
        for artifact, file in {"facts": FACTS_FILE, "tables": TABLES_FILE, "page": PAGE_FILE}.items():
            shutil.copyfile(folder / file, ex.output(artifact))
    counts = {"finished": len(facts.cells), "missing": len(facts.failed)}
    for artifact in ("facts", "tables", "page"):
        ex.set_metadata(artifact, **counts)
    ex.say_numbers(counts)
    ex.finish()


def _nothing(facts: StudyFacts, folder: Path) -> str:
    lines = "\n".join(f"- {one.cell}: {one.line}" for one in facts.failed)
    text = f"# Study\n\nNo cell is finished yet.\n\n{lines}\n"
    write_atomic(folder / TABLES_FILE, text)
    return text


if __name__ == "__main__":
    main(run)

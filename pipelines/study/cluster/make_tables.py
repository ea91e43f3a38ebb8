"""Entry point: study.json of all cells that are finished below work_uri, and the tables and the page made of it."""

import shutil

from pada_agent.components.backends.executor import Executor, main
from pada_agent.components.backends.temporary import OwnFolder
from pada_agent.pipelines.study.cluster.book import facts_of, open_book
from pada_agent.pipelines.study.run import FACTS_FILE, PAGE_FILE, TABLES_FILE, write_facts, write_tables


def run(ex: Executor) -> None:
    """Gather, and write what `pada study` writes."""
    facts = facts_of(open_book(ex))
    with OwnFolder("pada-study-") as folder:
        write_facts(facts, folder)
        write_tables(facts, folder)
        for artifact, file in {"facts": FACTS_FILE, "tables": TABLES_FILE, "page": PAGE_FILE}.items():
            shutil.copyfile(folder / file, ex.output(artifact))
    counts = {"finished": len(facts.cells), "missing": len(facts.failed)}
    for artifact in ("facts", "tables", "page"):
        ex.set_metadata(artifact, **counts)
    ex.say_numbers(counts)
    ex.finish()


if __name__ == "__main__":
    main(run)

"""Cells of a study in a store: what another machine goes on with, and what cells share there."""

import threading

import pytest
from llm_stub import serving
from small_student import no_report, students, teach, write_study

from pada_agent.components.backends.record_files import read_record
from pada_agent.components.backends.store import objects
from pada_agent.components.backends.store.events import told
from pada_agent.components.backends.store.lease import Held, leased
from pada_agent.pipelines.local.run import Parts, entry
from pada_agent.pipelines.study import cell as study_cell
from pada_agent.pipelines.study.cell import CellFile, run_cell
from pada_agent.pipelines.study.run import cells
from pada_agent.pipelines.study.study_file import read_study

METHODS = {name: {"teacher": {"model": name}} for name in ("planted", "random")}


class Lost(BaseException):
    """Stands for the end of a pod."""


@pytest.fixture(scope="module", autouse=True)
def student():
    with students():
        yield


@pytest.fixture(scope="module")
def stub():
    with serving() as server:
        teach(server)
        yield server


@pytest.fixture
def work(gs_server, stub, tmp_path, monkeypatch):
    """Run cells on machines of given names, each with a disk of its own."""
    file = write_study(tmp_path, stub.url, methods=METHODS, seeds=[0])

    class Work:
        def __init__(self, place):
            self.uri = place
            self.plan = {cell.method: cell for cell in cells(read_study(file), place)}

        def run(self, method, machine, lost_in=""):
            def stage(name):
                def start(executor):
                    if lost_in and executor.output_uri(next(iter(executor._outputs["artifacts"]))).split("/")[-2].endswith(
                        lost_in
                    ):
                        raise Lost
                    entry(name)(executor)

                return start

            monkeypatch.setenv("PADA_RUNS", str(tmp_path / machine))
            run_cell(self.plan[method], Parts(stage=stage, publish=no_report))

        def began(self, method):
            events = told(f"{self.plan[method].place}/events", "here").values()
            return [event.task for event in events if event.kind == "started"]

    with gs_server.elsewhere().used() as found:
        yield Work(f"{found.uri}/study"), Work(tmp_path / "here")


def test_a_cell_goes_on_on_another_machine_and_ends_with_the_facts_of_one_here(work, stub):
    there, here = work
    here.run("vanilla", "-")
    here.run("planted", "-")
    before = len(stub.asks)
    there.run("vanilla", "a")
    with pytest.raises(Lost):
        there.run("planted", "b", lost_in="train-1")
    assert there.plan["planted"].finished() is None
    asked = len(stub.asks)
    assert asked > before
    there.run("planted", "c")
    assert len(stub.asks) == asked, "all that was paid is in the store"
    for method in ("vanilla", "planted"):
        of_here = read_record(here.plan[method].folder / "cell.json", CellFile)
        assert there.plan[method].finished() == of_here
    assert not {"prepare", "train-vanilla", "evaluate-vanilla", "evaluate-untuned"} & set(there.began("planted"))
    assert there.began("planted").count("analyze-1") == 1


def test_a_shared_task_that_lost_something_in_the_store_is_done_again(work):
    there, _ = work
    there.run("vanilla", "a")
    (words,) = [name for name in objects.names(f"{there.uri}/shared") if name.endswith("adapter/words.json")]
    objects.remove(f"{there.uri}/shared/{words}")
    there.run("planted", "b")
    assert "train-vanilla" in there.began("planted") and "prepare" not in there.began("planted")
    there.run("random", "c")
    assert "train-vanilla" not in there.began("random"), "and shared again"


def test_a_cell_waits_for_whoever_holds_it_and_not_for_ever(work, monkeypatch):
    there, _ = work
    monkeypatch.setattr(study_cell, "REFRESH_SECONDS", 0.1)
    place, taken, let_go = there.plan["vanilla"].place, threading.Event(), threading.Event()

    def hold():
        with leased(place):
            taken.set()
            let_go.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait(60)
    monkeypatch.setattr(study_cell, "STALE_SECONDS", 0.0)
    with pytest.raises(Held, match="is running here"):
        there.run("vanilla", "a")
    monkeypatch.setattr(study_cell, "STALE_SECONDS", 60.0)
    threading.Timer(0.5, let_go.set).start()
    there.run("vanilla", "a")
    holder.join()
    assert there.plan["vanilla"].finished()

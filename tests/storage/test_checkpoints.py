"""Checkpoints in both stores: whole ones only, of one's own run only, and for the next machine."""

import pytest

from pada_agent.components.backends.slm.checkpoints import Checkpoints
from pada_agent.components.backends.store import objects
from pada_agent.components.core.errors import InputError


def save(checkpoints, step, content="weights"):
    folder = checkpoints.folder / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "optimizer.pt").write_text(content)
    (folder / "trainer_state.json").write_text("{}")
    checkpoints.saved(step)


def begin(store, identity="run one"):
    checkpoints = Checkpoints(f"{store.uri}/checkpoints/")
    return checkpoints, checkpoints.resume(identity)


def test_the_next_machine_goes_on_from_the_last_one(store):
    first, resumed = begin(store)
    assert resumed is None
    save(first, 4, "four")
    save(first, 8, "eight")
    _, resumed = begin(store)
    assert resumed.name == "checkpoint-8" and (resumed / "optimizer.pt").read_text() == "eight"
    kept = {name.split("/")[-2] for name in objects.names(f"{store.uri}/checkpoints") if "checkpoint-" in name}
    assert kept == {"checkpoint-8"}


def test_one_that_was_being_uploaded_is_not_gone_on_from(store):
    first, _ = begin(store)
    save(first, 4)
    place = f"{store.uri}/checkpoints/{first._identity[:12]}"
    objects.write(f"{place}/checkpoint-8/optimizer.pt", b"half of it")
    assert begin(store)[1].name == "checkpoint-4"


def test_runs_in_one_place_do_not_mix(store):
    save(begin(store)[0], 4, "one")
    other, resumed = begin(store, "run two")
    assert resumed is None
    save(other, 4, "two")
    assert (begin(store)[1] / "optimizer.pt").read_text() == "one"
    assert (begin(store, "run two")[1] / "optimizer.pt").read_text() == "two"


def test_after_the_end_they_stay_until_the_adapter_is_safe(store):
    first, _ = begin(store)
    save(first, 4)
    first.remove()
    assert not first.folder.exists()
    assert begin(store)[1].name == "checkpoint-4"


def test_one_whose_files_were_cleared_away_is_no_error(store):
    first, _ = begin(store)
    save(first, 4)
    objects.remove(f"{store.uri}/checkpoints/{first._identity[:12]}/checkpoint-4")
    assert begin(store)[1] is None


def test_a_place_that_cannot_be_written_is_said_at_the_start(s3):
    with (
        s3.at(s3.endpoint, AWS_ACCESS_KEY_ID="reader").used(),
        pytest.raises(InputError, match=r"^s3://.*run.json: no permission"),
    ):
        begin(s3)


def test_an_upload_that_fails_later_does_not_end_the_training(s3, capsys):
    first, _ = begin(s3)
    save(first, 4)
    with s3.at(s3.endpoint, AWS_SECRET_ACCESS_KEY="expired").used():
        save(first, 8)
    assert "checkpoint-8 is not kept, the training goes on: s3://" in capsys.readouterr().err
    save(first, 12)
    assert begin(s3)[1].name == "checkpoint-12"

"""A real disk that is full, a few MiB of tmpfs in a mount namespace of its own: what was paid and received is kept."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

MOUNT = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"'
PROGRAM = """
    import os, sys
    from pathlib import Path
    from pada_agent.components.backends.llm.ledger.calls import open_ledger
    from pada_agent.components.backends.llm.client import open_llm
    from pada_agent.components.core.errors import InputError
    from pada_agent.components.core.llm_interface import LlmRequest
    from pada_agent.components.core.settings import BudgetSettings, LlmSettings

    disk, url = Path(sys.argv[1]), sys.argv[2]

    def fill(left):
        filler = os.open(disk / "filler", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            while True:
                os.write(filler, bytes(4096))
        except OSError:
            os.ftruncate(filler, max(0, os.fstat(filler).st_size // 4096 * 4096 - left))
        os.close(filler)

    def ask():
        llm = open_llm(LlmSettings(model="stub", base_url=url, concurrency=4), BudgetSettings(), str(disk / "ledger.jsonl"))
        schema = {"type": "object", "properties": {"why": {"type": "string"}}, "required": ["why"]}
        requests = [LlmRequest(f"k{n}", [{"role": "user", "content": f"rate {n}."}], schema, str, 0) for n in range(40)]
        replies = llm.ask_all("rate", requests)
        print("values", sum(bool(r.value) for r in replies), "paid", llm.usage.paid_calls, "replayed", llm.usage.replayed)

    def refused():
        try:
            ask()
        except InputError as e:
            print("refused", e)
"""


@pytest.fixture
def on_small_disk(tmp_path, llm_stub):
    """Run the program and more lines on a disk of `size`; its standard output."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def run(size: str, lines: str) -> str:
        code = textwrap.dedent(PROGRAM) + textwrap.dedent(lines)
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh", size, str(disk)]
        done = subprocess.run(
            [*command, sys.executable, "-c", code, str(disk), llm_stub.url],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        if "unshare" in done.stderr or "mount:" in done.stderr or "permission denied" in done.stderr:
            pytest.skip(f"no disk of its own to fill: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        assert not list(Path(disk).iterdir()), "the disk was not its own"
        return done.stdout

    return run


def test_replies_on_their_way_to_a_full_disk_are_kept_and_no_more_are_paid(on_small_disk, llm_stub):
    llm_stub.on("rate", reply={"why": "x" * 3000}, delay=0.02)
    lines = """
        ledger = open_ledger(str(disk / "ledger.jsonl"))
        fill(left=12288)
        refused()
        kept = len(ledger)
        ledger.close()
        del ledger
        print("kept", kept)
        refused()
        os.remove(disk / "filler")
        ask()
    """
    full, kept, still_full, again = on_small_disk("2m", lines).splitlines()
    kept = int(kept.removeprefix("kept "))
    assert 3 <= kept < 20
    assert f"No space left on device: the {kept} replies paid so far are kept, no more are asked for; make room" in full
    assert "no room for paid replies (No space left on device); make room" in still_full
    assert again == f"values 40 paid {40 - kept} replayed {kept}"
    assert llm_stub.paid == 40, "nothing is paid twice, so nothing was lost"


def test_on_a_full_disk_no_call_is_paid(on_small_disk, llm_stub):
    said = on_small_disk("512k", "refused()")
    assert said.startswith("refused ledger ") and said.endswith("no room for paid replies (No space left on device); make room\n")
    assert not llm_stub.asks


def test_in_one_process_it_goes_on_when_there_is_room_again(on_small_disk, llm_stub):
    llm_stub.on("rate", reply={"why": "x" * 3000})
    lines = """
        ledger = open_ledger(str(disk / "ledger.jsonl"))
        fill(left=12288)
        refused()
        os.remove(disk / "filler")
        ask()
    """
    assert on_small_disk("2m", lines).splitlines()[1].startswith("values 40")
    assert llm_stub.paid == 40


def test_what_a_stage_writes_to_a_full_disk_is_one_line_and_leaves_what_was_there(on_small_disk):
    lines = """
        from pada_agent.components.backends.files import write_atomic

        write_atomic(disk / "state.json", "old")
        fill(left=4096)
        try:
            write_atomic(disk / "state.json", "n" * 40_000)
        except InputError as e:
            print(e)
        print((disk / "state.json").read_text(), sorted(f.name for f in disk.iterdir()))
    """
    said, left = on_small_disk("512k", lines).splitlines()
    assert said.endswith("/state.json: No space left on device; make room and start again: what is finished is kept")
    assert left == "old ['filler', 'state.json']"


def test_a_checkpoint_and_an_adapter_that_do_not_fit_are_one_line(on_small_disk, tiny_slm):
    lines = f"""
        import torch
        from safetensors.torch import save_file
        from pada_agent.components.backends.slm.training import fit
        from pada_agent.components.backends.files import whole_directory
        from pada_agent.components.backends.slm.checkpoints import Checkpoints
        from pada_agent.components.core.settings import TrainLora
        from pada_agent.components.core.slm_interface import Example

        chat = [{{"role": "user", "content": "Where?"}}]
        rows = [Example(id=f"row-{{i}}", messages=chat, target=f"in {{i}}") for i in range(4)]
        task = dict(name="squad", train="-", validation="-", test="-")
        slm = dict(model={str(tiny_slm)!r}, dtype="float32", device="cpu")
        train = dict(epochs=2, micro_batch=1, accumulate=1, learning_rate=0.01, rank=64)
        settings = TrainLora.model_validate(dict(task=task, slm=slm, train=train))

        def refused(left, write):
            fill(left)
            try:
                write()
            except InputError as e:
                print(e)
            finally:
                os.remove(disk / "filler")

        def train():
            fit(rows, settings, disk / "adapter", Checkpoints(str(disk / "checkpoints")))
            print("trained")

        def save():
            with whole_directory(disk / "model") as folder:
                save_file({{"weights": torch.zeros(300_000)}}, folder / "model.safetensors")

        refused(65536, train)
        refused(1 << 18, train)
        refused(1 << 19, save)
        refused(1 << 30, train)
    """
    *refused, at_last = on_small_disk("8m", lines).splitlines()
    assert len(refused) == 3
    for line in refused:
        assert line.endswith(": No space left on device; make room and start again: what is finished is kept")
    assert at_last == "trained"

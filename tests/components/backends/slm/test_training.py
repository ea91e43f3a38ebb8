import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from city_rows import SYSTEM, examples, plain_losses, run, settings

from pada_agent.components.backends.record_files import read_json, write_json
from pada_agent.components.backends.slm import adapters
from pada_agent.components.backends.slm.checkpoints import Checkpoints, Watch
from pada_agent.components.backends.slm.cpu.lora_linear import use_lean_layers
from pada_agent.components.backends.slm.loading import load_slm
from pada_agent.components.backends.slm.shared_prefix import shared_length
from pada_agent.components.backends.slm.training import CompletionTrainer, fit
from pada_agent.components.backends.slm.training_rows import NO_LOSS, Collator, row_order, tokenise
from pada_agent.components.core.errors import InputError, ModelError
from pada_agent.components.core.settings import SlmSettings


@pytest.mark.parametrize("system", [SYSTEM, None], ids=["rows with a common beginning", "rows with little in common"])
def test_losses_are_those_of_a_plain_loop(tmp_path, tiny_slm, system):
    rows = examples(system)
    made, _ = run(tmp_path, tiny_slm, rows)
    chosen = settings(tiny_slm)
    tokenised, _ = tokenise(rows, load_slm(chosen.slm), 512)
    assert bool(shared_length([r.tokens[: r.prompt] for r in tokenised])) is bool(system)
    assert made.steps == 6  # 11 rows, 2 passes, 4 rows a step: 22 / 4
    assert made.losses == pytest.approx(plain_losses(tiny_slm, chosen, tokenised, 6), rel=2e-5)
    assert made.losses[-1] < made.losses[0]


def test_without_attention_in_blocks_losses_are_the_same(tmp_path, tiny_slm, monkeypatch):
    for system in (SYSTEM, None):
        blocks, _ = run(tmp_path, tiny_slm, examples(system), name=f"blocks-{bool(system)}")
        with monkeypatch.context() as patched:  # as on a GPU
            patched.setattr(adapters, "use_causal_blocks", lambda model: None)
            patched.setattr(adapters, "use_lean_blocks", lambda model: None)
            plain, _ = run(tmp_path, tiny_slm, examples(system), name=f"plain-{bool(system)}")
        assert blocks.losses == pytest.approx(plain.losses, rel=2e-5)


def test_training_on_a_cpu_keeps_no_more_than_it_must(tmp_path, tiny_slm, monkeypatch):
    found, set_up = [], CompletionTrainer.__init__

    def watched(self, slm, *rest):
        set_up(self, slm, *rest)
        found.append((slm.model.config._attn_implementation, "forward" in vars(slm.model.model.norm)))

    monkeypatch.setattr(CompletionTrainer, "__init__", watched)
    run(tmp_path, tiny_slm, max_steps=1)
    assert found == [("causal_blocks", True)]


def test_logits_are_made_where_there_is_loss_and_nowhere_else(tmp_path, tiny_slm, monkeypatch):
    made, set_up = [], CompletionTrainer.__init__

    def watch(module, inputs, logits):
        if module.training:
            made.append(tuple(logits.shape[:-1]))

    def watched(self, slm, *rest):
        set_up(self, slm, *rest)
        slm.model.get_output_embeddings().register_forward_hook(watch)

    monkeypatch.setattr(CompletionTrainer, "__init__", watched)
    training, _ = run(tmp_path, tiny_slm, examples(None))
    assert sum(shape[0] for shape in made if len(shape) == 1) == training.trained_tokens
    assert {shape for shape in made if len(shape) > 1} <= {(1, 1)}  # the last token of what a batch has in common


def test_loss_is_on_the_completion_and_its_end_to_the_token(tiny_slm):
    slm = load_slm(settings(tiny_slm).slm)
    rows, _ = tokenise(examples()[:2], slm, 512)
    batch = Collator(pad=0)(rows)
    for example, row, labels, mask in zip(examples(), rows, batch["labels"], batch["attention_mask"], strict=False):
        trained = labels[labels != NO_LOSS].tolist()
        assert slm.chat.decode(trained, False) == f"{example.target}<|im_end|>"
        assert labels.tolist().index(trained[0], row.prompt) == row.prompt
        assert mask.sum() == len(row.tokens)
    assert batch["labels"].shape == batch["input_ids"].shape


def test_training_teaches_to_end_the_answer(tmp_path, tiny_slm):
    chosen = settings(tiny_slm)
    base = load_slm(chosen.slm)
    rows, _ = tokenise(examples(), base, 512)

    def share_that_ends(slm):
        with torch.inference_mode():
            logits = [slm.model(input_ids=torch.tensor([row.tokens[:-1]])).logits[0, -1] for row in rows]
        return torch.stack([one.softmax(-1)[slm.chat.end_of_turn] for one in logits]).mean().item()

    _, adapter = run(tmp_path, tiny_slm, max_steps=60, rank=16)
    assert share_that_ends(load_slm(chosen.slm, adapter)) > max(0.1, 10 * share_that_ends(base))


def test_same_seed_same_losses_and_another_seed_others(tmp_path, tiny_slm):
    one, _ = run(tmp_path, tiny_slm, name="a", dropout=0.1)
    two, _ = run(tmp_path, tiny_slm, name="b", dropout=0.1)
    chosen = settings(tiny_slm, dropout=0.1)
    other = chosen.model_copy(update={"seed": 1, "slm": chosen.slm.model_copy(update={"thinking": True})})
    three = fit(examples(), other, tmp_path / "c", Checkpoints(str(tmp_path / "c.checkpoints")))
    assert one.losses == two.losses
    assert one.losses != three.losses
    assert (one.thinking, three.thinking) == (False, True), "its template has no word for it, so that no token is another"


def test_dropout_is_drawn_in_training_at_its_rate_and_in_the_mean_changes_nothing():
    from pada_agent.components.backends.slm.cpu.lora_linear import LoraProduct

    torch.manual_seed(0)
    x, a = torch.ones(4000, 32), torch.ones(1, 32)
    outs = LoraProduct.apply(x, torch.zeros(1, 32), None, a, torch.ones(1, 1), 1.0, 0.25)[:, 0]
    kept = outs * 0.75
    assert kept.mean() == pytest.approx(24, rel=0.01)  # 32 x (1 - 0.25)
    assert kept.var() == pytest.approx(32 * 0.25 * 0.75, rel=0.1)  # of independent draws
    assert outs.mean() == pytest.approx(32, rel=0.01)


def test_lean_layers_give_peft_s_outputs_and_gradients(tiny_slm):
    from peft import LoraConfig, get_peft_model

    slm = load_slm(settings(tiny_slm).slm)
    model = get_peft_model(slm.model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")).train()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    tokens = torch.randint(3, 300, (3, 20))
    weights = [p for p in model.parameters() if p.requires_grad]
    slow = model(input_ids=tokens).logits
    slow_gradients = torch.autograd.grad(slow.square().mean(), weights)
    assert use_lean_layers(model) == 14  # 7 in each of 2 layers
    fast = model(input_ids=tokens).logits
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-4)
    for one, two in zip(torch.autograd.grad(fast.square().mean(), weights), slow_gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5 * two.abs().max().item())
    with model.disable_adapter():
        assert not torch.allclose(model(input_ids=tokens).logits, fast)


def test_resumed_run_has_the_losses_of_an_unbroken_one(tmp_path, tiny_slm, monkeypatch):
    unbroken, whole = run(tmp_path, tiny_slm, name="unbroken", dropout=0.1, epochs=4, checkpoints=3)
    saved = Checkpoints.saved

    def killed(self, step):
        saved(self, step)
        if step >= 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "saved", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, tiny_slm, name="broken", dropout=0.1, epochs=4, checkpoints=3)
    monkeypatch.setattr(Checkpoints, "saved", saved)
    (tmp_path / "broken.checkpoints" / "checkpoint-99").mkdir()  # one that was being written when the run was killed
    resumed, again = run(tmp_path, tiny_slm, name="broken", dropout=0.1, epochs=4, checkpoints=3)
    assert (unbroken.resumed_from, resumed.resumed_from) == (0, 6)
    assert resumed.losses == unbroken.losses
    assert (again / "adapter_model.safetensors").read_bytes() == (whole / "adapter_model.safetensors").read_bytes()


def test_checkpoints_of_another_run_are_not_gone_on_from(tmp_path, tiny_slm):
    run(tmp_path, tiny_slm, checkpoints=2)
    other, _ = run(tmp_path, tiny_slm, checkpoints=2, learning_rate=0.005)
    same, _ = run(tmp_path, tiny_slm, checkpoints=2, learning_rate=0.005)
    assert (other.resumed_from, same.resumed_from) == (0, 6)


def test_checkpoints_are_counted_from_the_steps_of_the_run(tmp_path, tiny_slm, monkeypatch):
    steps = []
    monkeypatch.setattr(Checkpoints, "saved", lambda self, step: steps.append(step))
    run(tmp_path, tiny_slm, epochs=8, checkpoints=3)  # 22 steps
    assert steps[:3] == [6, 12, 18]
    steps.clear()
    run(tmp_path, tiny_slm, checkpoints=0)
    assert steps == []


def test_checkpoints_in_an_object_store(tmp_path, tiny_slm):
    def start(steps_until_killed):
        checkpoints = Checkpoints("memory://bucket/run")
        if steps_until_killed:
            saved = checkpoints.saved
            checkpoints.saved = lambda step: (saved(step), exec("raise KeyboardInterrupt"))
        return checkpoints, fit(examples(), settings(tiny_slm, checkpoints=2), tmp_path / "a", checkpoints)

    with pytest.raises(KeyboardInterrupt):
        start(2)
    checkpoints, made = start(0)
    assert made.resumed_from == 2
    checkpoints.remove()
    assert not checkpoints.folder.exists()
    # They stay at the URI: an adapter that is lost on its way out is not trained again.
    again = start(0)[1]
    assert (again.resumed_from, again.losses) == (made.steps, made.losses)


TESTS = Path(__file__).parents[3]
PROGRAM = """
    import sys
    sys.path.insert(0, {tests!r})
    import torch; torch.set_num_threads(1)
    from pathlib import Path
    from pada_agent.components.backends import progress
    from city_rows import run
    progress.SOONEST = 0.1
    made, _ = run(Path({tmp!r}), Path({model!r}), name="a", max_steps=3000, checkpoints=1)
    print(made.resumed_from)
"""


def test_sigterm_saves_a_checkpoint_to_go_on_from(tmp_path, tiny_slm):
    text = textwrap.dedent(PROGRAM.format(tests=str(TESTS), tmp=str(tmp_path), model=str(tiny_slm)))
    child = subprocess.Popen(
        [sys.executable, "-c", text], stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    lines = []
    assert child.stderr
    for line in child.stderr:
        lines.append(line)
        if " of 3,000 training steps" in line:  # the first of the lines that come now and then
            break
    child.send_signal(signal.SIGTERM)
    rest = child.stderr.read()
    assert child.wait(60) == 128 + signal.SIGTERM, "".join(lines) + rest
    last = json.loads((tmp_path / "a.checkpoints" / "run.json").read_text())["last"]
    assert not (tmp_path / "a").exists()
    step = int(last.rsplit("-", 1)[1])
    assert 0 < step < 3000
    state = json.loads((tmp_path / "a.checkpoints" / last / "trainer_state.json").read_text())
    assert len(state["log_history"]) == step


def test_a_sigterm_while_processes_agree_is_heard_by_all_at_the_next_step(tmp_path, monkeypatch):
    """One that only this process knew of would let it leave the others alone; one forgotten would let all train on."""
    watch = Watch(Checkpoints(str(tmp_path)))
    two = SimpleNamespace(world_size=2, device="cpu")
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda *given: os.kill(os.getpid(), signal.SIGTERM))
    stops = []
    with watch.signals():
        for _ in range(2):
            control = SimpleNamespace(should_save=False, should_training_stop=False)
            watch.on_step_end(two, None, control)
            stops.append(control.should_training_stop)
    assert stops == [False, True]
    with pytest.raises(SystemExit):
        watch.stop_if_asked()


def test_max_steps_goes_over_the_rows_as_often_as_it_takes(tmp_path, tiny_slm):
    made, _ = run(tmp_path, tiny_slm, max_steps=9)
    assert made.steps == len(made.losses) == 9
    assert made.epochs == pytest.approx(36 / 11, abs=0.001)


def test_the_adapter_names_its_base_model_as_the_settings_do(tmp_path, tiny_slm, monkeypatch):
    monkeypatch.setenv("PADA_MODELS", str(tmp_path / "models"))
    size = sum(p.stat().st_size for p in tiny_slm.rglob("*") if p.is_file())
    marker = {"name": "org/slm", "source": "model hub", "sha256": "5b1f", "file": "", "path": str(tiny_slm), "size": size}
    write_json(tmp_path / "models" / "org--slm" / "source.json", marker)
    _, adapter = run(tmp_path, "org/slm", max_steps=2)
    config = read_json(adapter / "adapter_config.json")
    assert (config["base_model_name_or_path"], config["r"], config["peft_type"]) == ("org/slm", 4, "LORA")


def test_each_row_is_trained_once_a_pass_and_micro_batches_have_like_lengths():
    lengths = [7, 90, 15, 60, 33, 8, 70, 24] * 8
    order = row_order(lengths, steps=32, micro=4, accumulate=2, seed=0)
    assert sorted(order[:64]) == sorted(range(64))  # 8 steps of 8 rows: one pass
    assert all(order.count(i) == 4 for i in range(64))
    batches = [[lengths[i] for i in order[k : k + 4]] for k in range(0, 256, 4)]
    assert sum(max(b) * 4 for b in batches) <= 1.05 * sum(map(sum, batches))  # padding
    steps = [sum(batches[k] + batches[k + 1]) for k in range(0, 64, 2)]
    assert steps != sorted(steps)
    assert order != row_order(lengths, 32, 4, 2, seed=1)


def test_rows_that_are_too_long_are_left_out_by_name(tmp_path, tiny_slm):
    rows = examples()
    long = rows[3].model_copy(update={"messages": [{"role": "user", "content": "very " * 800}]})
    made, _ = run(tmp_path, tiny_slm, [*rows[:3], long, *rows[4:]])
    assert made.dropped_too_long == [long.id]
    shortest = min(r.tokens for r in tokenise(rows, load_slm(settings(tiny_slm).slm), 512)[0])
    assert shortest  # nothing is cut: a row is trained whole or not at all
    with pytest.raises(InputError, match=r"all 1 rows are longer than 1024 tokens \(e.g. row-Turku\); raise slm.max_length"):
        run(tmp_path, tiny_slm, [long])


def test_adapter_that_changes_nothing_is_an_error(tmp_path, tiny_slm):
    with pytest.raises(ModelError, match="does not change the model's outputs"):
        run(tmp_path, tiny_slm, learning_rate=1e-12)


def test_diverged_training_is_an_error(tmp_path, tiny_slm, monkeypatch):
    compute = CompletionTrainer.compute_loss
    monkeypatch.setattr(CompletionTrainer, "compute_loss", lambda *a, **k: compute(*a, **k) * float("nan"))
    with pytest.raises(ModelError, match=r"diverged: the loss is not a number at step 1; lower train.learning_rate"):
        run(tmp_path, tiny_slm)
    assert not (tmp_path / "a").exists()


def test_answer_with_the_end_of_turn_token_in_it_names_the_row(tmp_path, tiny_slm):
    bad = examples()[0].model_copy(update={"target": "SELECT 1<|im_end|>"})
    with pytest.raises(InputError, match="row row-Oslo: the answer holds the model's end-of-turn token"):
        run(tmp_path, tiny_slm, [bad])


def test_missing_device_and_model_are_one_line(tiny_slm, tmp_path):
    with pytest.raises(ModelError, match="no CUDA device") if not torch.cuda.is_available() else pytest.raises(ModelError):
        load_slm(SlmSettings(model=str(tiny_slm), device="cuda"))
        load_slm(SlmSettings(model=str(tmp_path / "nowhere")))
    with pytest.raises(ModelError, match="no such file or folder"):
        load_slm(SlmSettings(model=str(tmp_path / "nowhere")))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelError, match="cannot be loaded from"):
        load_slm(SlmSettings(model=str(tmp_path)))


def test_rows_that_processes_cannot_share_are_told(tmp_path, tiny_slm, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")  # that two train as one does, train_lora's tests see
    with pytest.raises(InputError, match=r"2 x 2 rows a step, which 3 processes, one for each GPU, cannot share equally"):
        run(tmp_path, tiny_slm)

import pytest
import tiny_slm as tiny
import torch

from pada_agent.components.backends.slm import inference as slm_inference
from pada_agent.components.backends.slm.inference import Generator
from pada_agent.components.backends.slm.loading import load_slm
from pada_agent.components.backends.slm.shared_prefix import can_share, shared_length
from pada_agent.components.core.errors import InputError, ModelError
from pada_agent.components.core.settings import SlmSettings
from pada_agent.components.core.slm_interface import Prompt

pytestmark = pytest.mark.filterwarnings("error:.*past_key_values:FutureWarning")  # of every stage, for every newcomer

SYSTEM = "Answer with one query for the table customers(id, name, city)."


def prompts(count=13, system=SYSTEM):
    head = [{"role": "system", "content": system}] if system else []
    return [Prompt(id=f"row-{i}", messages=[*head, {"role": "user", "content": f"{'ab ' * (i % 5)}{i}?"}]) for i in range(count)]


@pytest.fixture(scope="module")
def slm(tiny_slm):
    return load_slm(SlmSettings(model=str(tiny_slm), dtype="float32", device="cpu"))


def by_generate(slm, prompt: Prompt, most: int) -> str:
    """transformers' own greedy generation of one row."""
    tokens = torch.tensor([slm.chat.prompt(prompt.messages)])
    stops = sorted(slm.chat.stop_ids)
    out = slm.model.generate(
        tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=most, do_sample=False, eos_token_id=stops
    )
    answer = out[0, tokens.shape[1] :].tolist()
    return slm.chat.decode(answer[:-1] if answer[-1] in stops else answer)


@pytest.fixture
def stopping(slm):
    """Has the model's answers end at different lengths: a random model nearly never says the end-of-turn token."""
    more = set(range(3, 90))
    slm.chat.stop_ids |= more
    yield slm
    slm.chat.stop_ids -= more - {slm.chat.end_of_turn}


@pytest.mark.parametrize("system", [SYSTEM, ""], ids=["common beginning", "nothing in common"])
@pytest.mark.parametrize(("batch", "at_once"), [(1, 512), (5, 512), (64, 512), (64, 60), (64, 1)])
def test_batches_answer_as_single_rows_do(stopping, monkeypatch, batch, at_once, system):
    monkeypatch.setattr(slm_inference, "READ_TOGETHER", at_once)
    rows = prompts(system=system)
    tokens = [stopping.chat.prompt(p.messages) for p in rows]
    assert bool(shared_length(tokens)) is bool(system)
    answers = Generator(stopping, batch)(rows, 12)
    assert answers == [by_generate(stopping, p, 12) for p in rows]
    lengths = {len(stopping.chat.tokenizer(a).input_ids) for a in answers}
    assert len(lengths) > 3  # rows did leave the batch at different times
    assert any(answers)


def test_a_model_leaves_the_arithmetic_of_the_process_alone(slm):
    """Stages run in one process: flushing denormals would change the statistics that follow."""
    Generator(slm, 4)(prompts(2), 2)
    assert 5e-324 * 1.0 > 0


def test_models_whose_cache_cannot_drop_rows_go_through_generate(stopping, monkeypatch):
    rows = prompts()
    expected = Generator(stopping, 5)(rows, 12)
    monkeypatch.setattr(slm_inference, "can_share", lambda model: False)
    monkeypatch.setattr(Generator, "_greedy", None)
    assert Generator(stopping, 5)(rows, 12) == expected


def test_finished_rows_leave_the_batch(stopping, monkeypatch):
    generator, sizes = Generator(stopping, 64), []
    forward = stopping.model.forward
    monkeypatch.setattr(stopping.model, "forward", lambda **k: (sizes.append(len(k["input_ids"])), forward(**k))[1])
    generator(prompts(), 12)
    assert sizes[0] == 1  # the common beginning
    steps = sizes[1:]
    assert steps[0] == 13
    assert steps[-1] < 13
    assert steps == sorted(steps, reverse=True)


def test_long_prompts_are_read_in_groups_without_much_padding(slm, monkeypatch):
    generator, shapes = Generator(slm, 64), []
    forward = slm.model.forward
    monkeypatch.setattr(slm.model, "forward", lambda **k: (shapes.append(tuple(k["input_ids"].shape)), forward(**k))[1])
    monkeypatch.setattr(slm_inference, "READ_TOGETHER", 60)
    rows = prompts(system="")
    generator(rows, 1)
    assert sum(count for count, _ in shapes) == len(rows)
    assert all(count * length <= 60 or count == 1 for count, length in shapes)
    lengths = [len(slm.chat.prompt(p.messages)) for p in rows]
    padding = sum(count * length for count, length in shapes) / sum(lengths) - 1
    assert padding < 0.5 * (len(rows) * max(lengths) / sum(lengths) - 1)


def test_answers_stop_at_the_limit(slm, monkeypatch):
    limit = []
    monkeypatch.setattr(slm.chat, "decode", lambda tokens: limit.append(len(tokens)) or "")
    assert Generator(slm, 8)(prompts(3), 7) == ["", "", ""]
    assert limit == [7, 7, 7]


def test_prompt_longer_than_the_context_names_the_row(tmp_path):
    slm = load_slm(SlmSettings(model=str(tiny.build(tmp_path, context=64)), dtype="float32"))
    rows = prompts(4, system="")
    assert len(Generator(slm, 2)(rows, 8)) == 4
    rows[2].messages[0]["content"] = "ab " * 60
    with pytest.raises(
        InputError, match=r"row row-2: a prompt of \d+ tokens and an answer of up to 8 exceed the model's context of 64"
    ):
        Generator(slm, 2)(rows, 8)


def test_out_of_memory_is_one_line(slm, monkeypatch):
    def exhausted(**_):
        raise torch.OutOfMemoryError("no")

    generator = Generator(slm, 4)
    monkeypatch.setattr(slm.model, "forward", exhausted)
    with pytest.raises(ModelError, match=r"out of memory with 4 rows at once; lower evaluate\.batch"):
        generator(prompts(), 4)


def test_adapter_of_another_model_and_of_another_shape_is_refused(tmp_path, tiny_slm):
    from peft import LoraConfig, get_peft_model

    settings = SlmSettings(model=str(tiny_slm), dtype="float32")
    peft = get_peft_model(load_slm(settings).model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    peft.save_pretrained(tmp_path)
    load_slm(settings, tmp_path)
    (tmp_path / "train.json").write_text('{"base_model": "another/model"}')
    with pytest.raises(ModelError, match=r"trained on another/model, but slm\.model is"):
        load_slm(settings, tmp_path)
    (tmp_path / "train.json").write_text("{half")
    with pytest.raises(ModelError, match=r"train\.json:1: not JSON"):
        load_slm(settings, tmp_path)
    (tmp_path / "train.json").unlink()
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(ModelError, match="does not fit"):
        load_slm(settings, tmp_path)


def test_shared_length():
    assert shared_length([[1] * 30 + [2], [1] * 30 + [3, 4]]) == 30
    assert shared_length([[1] * 30, [1] * 30]) == 29  # each row keeps one token of its own
    assert shared_length([[1] * 30 + [2], [1] * 20]) == 19
    assert shared_length([[1] * 9 + [2], [1] * 9 + [3]]) == 0  # not worth a pass
    assert shared_length([[1] * 30]) == 0


def test_a_model_without_plain_keys_and_values_shares_nothing(slm):
    assert can_share(slm.model)
    slm.model.config.layer_types = ["sliding_attention"] * 2
    slm.model.config.sliding_window = 8
    try:
        assert not can_share(slm.model)
    finally:
        del slm.model.config.layer_types, slm.model.config.sliding_window


@pytest.mark.parametrize("thinking", [False, True])
def test_the_setting_reaches_the_template_and_a_thought_that_it_opens_the_answer(tmp_path, thinking):
    template = tiny.TEMPLATE.replace(
        "assistant\n{% endif %}", "assistant\n{% if enable_thinking %}<think>\n{% endif %}{% endif %}"
    )
    settings = SlmSettings(model=str(tiny.build(tmp_path, template)), dtype="float32", device="cpu", thinking=thinking)
    slm = load_slm(settings)
    assert slm.chat.decode(slm.chat.prompt(prompts(1)[0].messages), False).endswith("<think>\n") == thinking
    assert all(answer.startswith("<think>") == thinking for answer in Generator(slm, 4)(prompts(3), 4))

import pytest
import tiny_slm as tiny
from transformers import AutoTokenizer

from pada_agent.components.backends.slm.chat_format import ChatFormat
from pada_agent.components.core.errors import InputError, ModelError

CHAT = [{"role": "system", "content": "Write SQL."}, {"role": "user", "content": "How many?"}]


@pytest.fixture
def tokenizer(tiny_slm):
    return AutoTokenizer.from_pretrained(tiny_slm)


def test_prompt_and_completion_are_the_template_s_tokens(tokenizer):
    chat = ChatFormat(tokenizer)
    whole = chat.prompt(CHAT) + chat.completion("SELECT 1")
    rendered = tokenizer.apply_chat_template([*CHAT, {"role": "assistant", "content": "SELECT 1"}], tokenize=False)
    assert chat.decode(whole, False) == rendered.rstrip("\n")
    assert chat.decode(chat.completion("SELECT 1"), False) == "SELECT 1<|im_end|>"
    assert chat.end_of_turn == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_answer_begun_by_the_prompt_goes_on(tokenizer):
    chat = ChatFormat(tokenizer)
    prompt = chat.prompt([*CHAT, {"role": "assistant", "content": "SELECT"}])
    assert chat.decode(prompt, False).endswith("<|im_start|>assistant\nSELECT")


def test_stop_tokens_of_the_generation_settings_count_too(tokenizer):
    assert ChatFormat(tokenizer, [7]).stop_ids == {7, tokenizer.eos_token_id}


def test_template_without_an_end_of_turn_is_refused(tokenizer):
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    with pytest.raises(ModelError, match="ends the assistant's turn with no special token"):
        ChatFormat(tokenizer)


def test_model_without_a_template_is_refused(tokenizer):
    tokenizer.chat_template = None
    with pytest.raises(ModelError, match="no chat template"):
        ChatFormat(tokenizer)


def test_system_message_is_folded_in_where_the_template_has_none(tokenizer):
    tokenizer.chat_template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + tiny.TEMPLATE
    text = ChatFormat(tokenizer).prompt(CHAT)
    assert "user\nWrite SQL.\n\nHow many?<|im_end|>" in tokenizer.decode(text)


def test_template_never_gets_today_s_date(tokenizer):
    tokenizer.chat_template = "{{ date_string if date_string is defined else strftime_now('%d') }}" + tiny.TEMPLATE
    assert tokenizer.decode(ChatFormat(tokenizer).prompt(CHAT)).startswith("26 Jul 2024")


def test_answer_that_holds_the_end_of_turn_token_is_refused(tokenizer):
    with pytest.raises(InputError, match="end-of-turn"):
        ChatFormat(tokenizer).completion("one<|im_end|>two")

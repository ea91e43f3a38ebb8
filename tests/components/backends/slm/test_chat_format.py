import pytest
import tiny_slm as tiny
from transformers import AutoTokenizer

from pada_agent.components.backends.slm.chat_format import ChatFormat
from pada_agent.components.core.errors import InputError, ModelError
from pada_agent.components.core.thoughts import without_thoughts

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


QWEN = tiny.TEMPLATE.replace(
    "<|im_start|>assistant\n{% endif %}",
    "<|im_start|>assistant\n{% if enable_thinking is defined and enable_thinking is false %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}",
)
R1 = tiny.TEMPLATE.replace("<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\n<think>\n{% endif %}")


@pytest.mark.parametrize(("thinking", "ending"), [(False, "<think>\n\n</think>\n\n"), (True, "assistant\n")])
def test_a_template_that_asks_is_told_whether_to_think(tokenizer, thinking, ending):
    tokenizer.chat_template = QWEN
    chat = ChatFormat(tokenizer, thinking=thinking)
    assert tokenizer.decode(chat.prompt(CHAT)).endswith(ending)
    assert chat.begun(CHAT) == "" and chat.decode(chat.completion("4")) == "4"


def test_a_template_may_open_a_thought_itself(tokenizer):
    """Trained on answers without thoughts, the model closes it first, so that what it says is not taken for a thought."""
    tokenizer.chat_template = R1
    chat = ChatFormat(tokenizer)
    assert chat.begun(CHAT) == "<think>"
    assert chat.begun([*CHAT, {"role": "assistant", "content": "SELECT"}]) == ""
    whole = chat.decode(chat.prompt(CHAT)[-8:]) + chat.decode(chat.completion("4"))
    assert whole.endswith("<think>\n\n</think>\n\n4")
    assert chat.decode(chat.completion("2 and 2</think>4")) == "2 and 2</think>4"
    assert without_thoughts(chat.begun(CHAT) + chat.decode(chat.completion("4"))).strip() == "4"

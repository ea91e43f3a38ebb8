"""Turns chats into tokens, the same way for training and for generation.

    <|im_start|>user\\nHow many customers live in Oslo?<|im_end|>\\n<|im_start|>assistant\\n   the prompt, no loss
    SELECT COUNT(*) FROM customers WHERE city = 'Oslo'<|im_end|>                               the completion

Prompt and completion are tokenised apart, because generation starts from the tokens of the prompt alone. Some templates of models
that think end the prompt with `<think>`, whatever they are told: a completion without thoughts then closes it first.
"""

from collections.abc import Sequence
from typing import Any

from pada_agent.components.core.errors import InputError, ModelError
from pada_agent.components.core.tasks.task import Message

DATE = "26 Jul 2024"  # Llama 3.2's template writes today's date unless told one: prompts would change every day
MARK = "ANSWER-GOES-HERE"
THINK, THOUGHT = "<think>", "</think>"


class ChatFormat:
    """The chat template of one tokenizer. Raises ModelError when it has none, or none that ends the assistant's turn."""

    def __init__(self, tokenizer: Any, stop_ids: Sequence[int] = (), thinking: bool = False) -> None:
        """`stop_ids`: end tokens that the model's generation settings name beside the template's. `thinking`: SlmSettings'."""
        self.tokenizer, self._thinking = tokenizer, thinking
        if not getattr(tokenizer, "chat_template", None):
            raise ModelError("the model's tokenizer has no chat template; use an instruct model")
        self._ending = self._end_of_turn()
        question = self._render([{"role": "user", "content": "question"}], add_generation_prompt=True)
        self._opens_thought = question.rstrip().endswith(THINK)
        self.stop_ids = {self._ending[-1], *stop_ids} | ({tokenizer.eos_token_id} - {None})

    @property
    def end_of_turn(self) -> int:
        """Token that ends an answer: trained, and waited for in generation."""
        return self._ending[-1]

    def begun(self, messages: Sequence[Message]) -> str:
        """What the prompt of a chat has already written of the answer's thoughts: the tag that opens them, or nothing."""
        return THINK if self._opens_thought and messages[-1]["role"] != "assistant" else ""

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Tokens up to where the answer begins. A last message of the assistant is the beginning of the answer."""
        if messages[-1]["role"] == "assistant":
            return self._tokens(self._render(messages, continue_final_message=True))
        return self._tokens(self._render(messages, add_generation_prompt=True))

    def completion(self, target: str) -> list[int]:
        """Tokens of the answer, the end-of-turn token last and only there. Raises InputError for a text that holds it."""
        closed = self._opens_thought and THOUGHT not in target
        tokens = self._tokens(f"\n{THOUGHT}\n\n{target}" if closed else target)
        if self.end_of_turn in tokens:
            raise InputError(f"the answer holds the model's end-of-turn token {self.decode([self.end_of_turn], False)}")
        return tokens + self._ending

    def decode(self, tokens: Sequence[int], skip_special: bool = True) -> str:
        """Text of tokens."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=skip_special))

    def _tokens(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def _render(self, messages: Sequence[Message], **options: Any) -> str:
        from jinja2 import TemplateError

        fixed = {"tokenize": False, "date_string": DATE, "enable_thinking": self._thinking, "thinking": self._thinking}
        try:
            return str(self.tokenizer.apply_chat_template(list(messages), **fixed, **options))
        except TemplateError as e:
            if messages[0]["role"] != "system" or len(messages) < 2:
                raise ModelError(f"the model's chat template refuses a chat ({e})") from e
            # Some templates (Gemma's) have no system role.
            merged = {**messages[1], "content": f"{messages[0]['content']}\n\n{messages[1]['content']}"}
            return str(self.tokenizer.apply_chat_template([merged, *messages[2:]], **fixed, **options))

    def _end_of_turn(self) -> list[int]:
        chat = [{"role": "user", "content": "question"}, {"role": "assistant", "content": MARK}]
        _, found, tail = self._render(chat).rpartition(MARK)
        tokens = self._tokens(tail) if found else []
        special = set(self.tokenizer.all_special_ids) | set(self.tokenizer.get_added_vocab().values())
        end = next((i for i, token in enumerate(tokens) if token in special), None)
        if end is None:
            raise ModelError(
                "the model's chat template ends the assistant's turn with no special token; "
                "a model trained with it would never stop. Use a model whose template has one"
            )
        return tokens[: end + 1]

"""Takes out what a model thought aloud before its answer: the SLM, and an LLM whose server has not done so itself.

<think>...</think>{"score": 7}          also thinking, thought, reasoning, seed:think; [THINK] of Mistral, ◁think▷ of Kimi
...</think>{"score": 7}                 the chat template had opened the thought: DeepSeek-R1, Qwen's thinking models
<|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final<|message|>{"score": 7}          gpt-oss, and
analysis...assistantfinal{"score": 7}   the same from a server that drops special tokens
<|channel>thought ...<channel|>         Gemma 4;  <|START_THINKING|>...<|END_THINKING|>  Cohere
"""

import json
import re

_NAME = r"(?:\w+:)?(?:think(?:ing)?|thoughts?|reasoning)"
_TO_MESSAGE = r"[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>"
_OPEN = (
    rf"<{_NAME}>|\[THINK\]|◁think▷|<\|START_THINKING\|>|<\|channel>thought"
    rf"|<\|channel\|>(?:analysis|commentary){_TO_MESSAGE}|\A\s*analysis(?=\w|<\|message\|>)"
)
_CLOSE = (
    rf"</{_NAME}>|\[/THINK\]|◁/think▷|<\|END_THINKING\|>|<channel\|>"
    rf"|<\|channel\|>final{_TO_MESSAGE}|assistantfinal"
)
_TAG = re.compile(rf"{_OPEN}|{_CLOSE}", re.IGNORECASE)
_MARK = re.compile(rf"(?P<open>{_OPEN})|(?P<close>{_CLOSE})|(?P<json>[{{\[])", re.IGNORECASE)
_BRACKETS = re.compile(r"[{\[]+")
_DECODER = json.JSONDecoder(strict=False)


def without_thoughts(text: str) -> str | None:
    """The text without its thoughts, None if the last one has no end. Tags inside a JSON value are part of that value."""
    if not _TAG.search(text):
        return text
    kept: list[str] = []
    start = at = 0
    thinking = False
    while mark := _MARK.search(text, at):
        at = mark.end()
        if mark["json"]:
            at = _after_json(text, mark.start())
        elif mark["close"]:
            if not thinking:  # it was opened in the prompt: all so far is thought
                kept.clear()
            start, thinking = at, False
        elif not thinking:
            kept.append(text[start : mark.start()])
            thinking = True
    return None if thinking else "".join(kept) + text[start:]


def _after_json(text: str, start: int) -> int:
    """Where the JSON value that starts here ends; the next place to look where there is none."""
    try:
        return _DECODER.raw_decode(text, start)[1]
    except ValueError:
        return start + 1
    except RecursionError:
        brackets = _BRACKETS.match(text, start)
        return brackets.end() if brackets else start + 1

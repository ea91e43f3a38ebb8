"""Answers of the same rows by an adapter, a full model and a GGUF file: is what was exported still the same model?"""

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pada_agent.components.backends.llm.embedded.server import embedded_server
from pada_agent.components.backends.progress import track
from pada_agent.components.backends.slm.inference import Generator
from pada_agent.components.backends.slm.loading import load_slm
from pada_agent.components.core.errors import ModelError
from pada_agent.components.core.settings import SlmSettings
from pada_agent.components.core.slm_interface import Prompt

BATCH = 16
SPARE = 64  # tokens, for a template that a server fills in otherwise
SECONDS = 600.0  # for one answer


@dataclass(frozen=True)
class Answers:
    """In the order of the prompts, and the tokens that the longest prompt and its answer may take together."""

    texts: list[str]
    context: int


def answers(settings: SlmSettings, adapter: Path | None, prompts: Sequence[Prompt], most: int) -> Answers:
    """Greedy answers of up to `most` tokens, as evaluate_slm gets them. Raises ModelError, InputError."""
    slm = load_slm(settings, adapter)
    longest = max((len(slm.chat.prompt(prompt.messages)) for prompt in prompts), default=0)
    return Answers(Generator(slm, BATCH)(prompts, most), longest + most)


def answers_of_server(gguf: Path, prompts: Sequence[Prompt], most: int, context: int) -> list[str]:
    """The same of a GGUF file that llama.cpp serves over OpenAI's API, with the tokenizer and template in the file.

    Raises ModelError when it cannot be served or does not answer.
    """
    found = []
    with embedded_server(str(gguf), context + SPARE) as url, track(f"answers of {gguf.name}", len(prompts)) as progress:
        for prompt in prompts:
            found.append(_answer(f"{url}/chat/completions", prompt, most))
            progress.advance()
    return found


def _answer(url: str, prompt: Prompt, most: int) -> str:
    body = json.dumps({"model": "it", "messages": prompt.messages, "max_tokens": most, "temperature": 0}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=SECONDS) as reply:
            return str(json.load(reply)["choices"][0]["message"]["content"] or "")
    except (OSError, ValueError, KeyError, IndexError) as e:
        said = ""
        with suppress(OSError, AttributeError):
            said = e.read().decode(errors="replace")[:300] if isinstance(e, urllib.error.HTTPError) else ""
        raise ModelError(f"row {prompt.id}: llama.cpp gave no answer ({e}) {said}".rstrip()) from e

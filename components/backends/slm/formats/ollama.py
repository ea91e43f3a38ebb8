"""A Modelfile: how Ollama is told to run a GGUF file with the chat template that the model was trained with.

Ollama has templates of its own kind (Go's) and knows only well-known ones of Hugging Face's, so the template is read off what it
writes for a chat with a system message and for one without.
"""

from pada_agent.components.backends.slm.chat_format import ChatFormat
from pada_agent.components.core.errors import ModelError

SYSTEM, USER = "SYSTEM-GOES-HERE", "USER-GOES-HERE"


def template_lines(chat: ChatFormat) -> str:
    """The lines of a Modelfile that follow from the template, answering greedily. Raises ModelError if Go's cannot say it."""
    stop = chat.decode([chat.end_of_turn], skip_special=False)
    return f'TEMPLATE """{go_template(chat)}"""\nPARAMETER temperature 0\nPARAMETER stop "{stop}"\n'


def go_template(chat: ChatFormat) -> str:
    """The chat template of one turn, system message or not, in Go's notation. Raises ModelError."""
    user = {"role": "user", "content": USER}
    before, found, end = _text(chat, [user]).partition(USER)
    whole = _text(chat, [{"role": "system", "content": SYSTEM}, user])
    opening, system, rest = whole.partition(SYSTEM)
    middle, again, end_with_system = rest.partition(USER)
    odd = not (found and system and again) or end != end_with_system
    if odd or any(mark in opening + middle + before + end for mark in ("{{", "}}", '"""')):
        raise ModelError("the chat template cannot be written as one of Ollama's; serve the model with llama.cpp or vLLM")
    with_system = f"{{{{ if .System }}}}{opening}{{{{ .System }}}}{middle}{{{{ else }}}}{before}{{{{ end }}}}"
    return f"{with_system}{{{{ .Prompt }}}}{end}{{{{ .Response }}}}"


def _text(chat: ChatFormat, messages: list[dict[str, str]]) -> str:
    """What the model is shown, without the token that begins every text: llama.cpp adds that."""
    text = chat.decode(chat.prompt(messages), skip_special=False)
    return text.removeprefix(chat.tokenizer.bos_token) if chat.tokenizer.bos_token else text

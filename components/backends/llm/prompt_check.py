"""Notices a server that drops a part of the prompt without a word, as Ollama does beyond its context."""

from pada_agent.components.backends.progress import notice
from pada_agent.components.core.cost.tokens import fewest_tokens

# No server's context is smaller. Lower counts are of servers that leave out what they had cached, or do not count.
LEAST_CONTEXT = 500


class PromptCheck:
    """Of one endpoint; `name` is what it is called. It tells once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._told = False

    def counted(self, prompt: str, tokens: int | None) -> None:
        """Compare a prompt with how many tokens the server says that it had."""
        if self._told or tokens is None or tokens < LEAST_CONTEXT:
            return
        fewest = fewest_tokens(prompt)
        if tokens < fewest:
            self._told = True
            notice(
                f"{self._name}: read {tokens:,} tokens of a prompt that has at least {fewest:,}: it cuts prompts to its context, "
                "and the model answers what it has not read whole. Give the server a longer context (Ollama: "
                "OLLAMA_CONTEXT_LENGTH=16384, or PARAMETER num_ctx in the Modelfile) or show fewer and shorter rows"
            )

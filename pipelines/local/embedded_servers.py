"""Keeps llama.cpp's server up for `base_url: embedded`: started when first asked, stopped while the SLM works."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any, Self

from pada_agent.components.core.settings import EMBEDDED, Settings

Server = Callable[[str, int], AbstractContextManager[str]]


class EmbeddedServers:
    """The embedded servers of one run: one for each model, even when several roles share it."""

    def __init__(self, settings: Settings, server: Server | None = None) -> None:
        llms = settings.llms.values()
        self._context = {
            llm.model: max(other.embedded_context for other in llms if other.model == llm.model and other.base_url == EMBEDDED)
            for llm in llms
            if llm.base_url == EMBEDDED
        }
        self._server = server
        self._up: dict[str, str] = {}
        self._stack = ExitStack()

    def reach(self, settings: dict[str, Any], roles: Sequence[str]) -> dict[str, Any]:
        """Stage settings with the URL of a running server for each of `roles` that is embedded."""
        for role in roles:
            if settings[role]["base_url"] == EMBEDDED:
                self._start(settings[role]["model"])
        return {name: self._located(section) for name, section in settings.items()}

    def stop(self) -> None:
        """Stop what runs; the next `reach` starts it again."""
        self._stack.close()
        self._up.clear()

    def _start(self, model: str) -> None:
        if model not in self._up:
            if self._server is None:
                from pada_agent.components.backends.llm.embedded.server import embedded_server

                self._server = embedded_server
            self._up[model] = self._stack.enter_context(self._server(model, self._context[model]))

    def _located(self, section: Any) -> Any:
        embedded = isinstance(section, dict) and section.get("base_url") == EMBEDDED
        return {**section, "base_url": self._up[section["model"]]} if embedded and section["model"] in self._up else section

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

"""Has vLLM's server load an adapter, and forget it again, while it runs.

POST /v1/load_lora_adapter    {"lora_name": "pada-5b1f", "lora_path": "/adapters/pada-5b1f"}
POST /v1/unload_lora_adapter  {"lora_name": "pada-5b1f"}

It does so when started with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True (vLLM's documentation, "LoRA Adapters").
"""

import asyncio
from typing import Any

from pada_agent.components.backends.llm.endpoint import Endpoint, lost_connection
from pada_agent.components.backends.llm.reply import one_line
from pada_agent.components.core.errors import EndpointError
from pada_agent.components.core.settings import LlmSettings

LOADED = "already been loaded"
NO_ROUTE = (
    "it loads no adapters: start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True; other servers cannot, leave "
    "slm.endpoint.adapter_folder out for them"
)


def load_adapter(settings: LlmSettings, name: str, path: str) -> bool:
    """Have the server load the adapter at its `path` as `name`; whether it had not before. Raises EndpointError."""
    status, text = _post(settings, "load_lora_adapter", {"lora_name": name, "lora_path": path})
    if status == 400 and LOADED in text:
        return False
    if status != 200:
        raise EndpointError(
            f"{Endpoint(settings)}: cannot load the adapter at {path} (HTTP {status}: {one_line(text)}); the server must see "
            "slm.endpoint.adapter_folder at this very path, and --max-lora-rank must not be below train.rank"
        )
    return True


def unload_adapter(settings: LlmSettings, name: str) -> None:
    """Have the server forget the adapter. Raises EndpointError."""
    status, text = _post(settings, "unload_lora_adapter", {"lora_name": name})
    if status != 200:
        raise EndpointError(f"{Endpoint(settings)}: does not unload adapter {name} (HTTP {status}: {one_line(text)})")


def check_loads(settings: LlmSettings) -> None:
    """Raises EndpointError for a server that loads no adapters: it is asked to load none, which vLLM refuses otherwise."""
    _post(settings, "load_lora_adapter", {"lora_name": "", "lora_path": ""})


def _post(settings: LlmSettings, route: str, body: dict[str, Any]) -> tuple[int, str]:
    return asyncio.run(_send(Endpoint(settings), route, body))


async def _send(endpoint: Endpoint, route: str, body: dict[str, Any]) -> tuple[int, str]:
    import httpx2
    import openai

    timeout = endpoint.settings.timeout_seconds
    async with endpoint.client() as client:
        try:
            async with asyncio.timeout(timeout):
                reply = await client.post(f"/{route}", cast_to=httpx2.Response, body=body)
        except openai.APIStatusError as e:
            text = e.response.text
            if e.status_code in {404, 405} and "error" not in text:  # vLLM's own 404 has an error: it found no adapter there
                raise EndpointError(f"{endpoint}: {NO_ROUTE}") from e
            if e.status_code in {401, 403}:
                raise EndpointError(str(endpoint.refusal(e.status_code, text, e.response.headers))) from e
            return e.status_code, text
        except openai.APIConnectionError as e:
            raise EndpointError(f"{endpoint}: cannot be reached ({lost_connection(e)}); start it, or correct base_url") from e
        except TimeoutError as e:
            raise EndpointError(f"{endpoint}: no answer to /{route} within {timeout:g} s (timeout_seconds)") from e
    return 200, reply.text

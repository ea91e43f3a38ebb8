"""A loopback server of an SLM with the routes of vLLM's that evaluation asks; it answers with the real model and real adapters.

    with slm_server.serving(load_slm(settings.slm)) as server:
        SlmEndpoint(model="base", base_url=server.url, adapter_folder=str(folder))

Statuses and texts of the adapters' routes are those of vLLM 0.33.0 (vllm/entrypoints/openai/models/serving.py).
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pada_agent.components.backends.slm.inference import Generator
from pada_agent.components.core.slm_interface import Prompt

BASE = "base"
QUESTIONS = ["How many customers live in Oslo?", "city = 'Oslo'", "0123", "SELECT COUNT(*) FROM", "How many live?"]
PROMPTS = [Prompt(id=f"test/{i}", messages=[{"role": "user", "content": text}]) for i, text in enumerate(QUESTIONS)]


class SlmServer:
    """`loads` false is a server without routes for adapters, a `blind` one does not see the folder with them.

    `asked` are the bodies of chats, `adapters` what is loaded.
    """

    def __init__(self, slm: Any, loads: bool = True) -> None:
        self.loads, self.asked, self.adapters, self.blind = loads, [], {}, False
        self._slm, self._answer, self._lock = slm, Generator(slm, 1), threading.Lock()
        self.url = ""

    def reply(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        with self._lock:
            if path == "/v1/chat/completions":
                self.asked.append(body)
                return self._chat(body)
            if self.loads and path == "/v1/load_lora_adapter":
                return self._load(body["lora_name"], body["lora_path"])
            if self.loads and path == "/v1/unload_lora_adapter":
                self.adapters.pop(body["lora_name"])
                return 200, f"Success: LoRA adapter '{body['lora_name']}' removed successfully."
            return 404, {"detail": "Not Found"}

    def _chat(self, body: dict[str, Any]) -> tuple[int, Any]:
        name = body["model"]
        if name not in (BASE, *self.adapters):
            return 404, {"error": {"message": f"The model `{name}` does not exist.", "type": "NotFoundError", "code": 404}}
        answer = self.adapters.get(name, self._answer)
        [text] = answer([Prompt(id="-", messages=body["messages"])], body["max_tokens"])
        usage = {"prompt_tokens": 9, "completion_tokens": body["max_tokens"]}
        return 200, {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}], "usage": usage}

    def _load(self, name: str, path: str) -> tuple[int, Any]:
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        wrong = ""
        if not name or not path:
            wrong = "Both 'lora_name' and 'lora_path' must be provided."
        elif name in self.adapters:
            wrong = f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, set it."
        if wrong:
            return 400, {"error": {"message": wrong, "type": "InvalidUserInput", "code": 400}}
        if self.blind or not Path(path).exists():
            said = f"Loading lora {name} failed: No adapter found for {path}"
            return 404, {"error": {"message": said, "type": "NotFoundError", "code": 404}}
        base = AutoModelForCausalLM.from_pretrained(self._slm.source.path, dtype="float32")
        tuned = type(self._slm)(PeftModel.from_pretrained(base, path).eval(), self._slm.chat, self._slm.source, "cpu", "float32")
        self.adapters[name] = Generator(tuned, 1)
        return 200, f"Success: LoRA adapter '{name}' added successfully."


@contextmanager
def serving(slm: Any, loads: bool = True) -> Iterator[SlmServer]:
    """The server, until the block ends."""
    served = SlmServer(slm, loads)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, value = served.reply(self.path, body)
            raw = (value if isinstance(value, str) else json.dumps(value)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    served.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()

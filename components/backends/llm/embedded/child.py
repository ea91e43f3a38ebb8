"""The child process behind `server`: llama.cpp's server (llama-cpp-python) on a socket it was given.

`python -m pada_agent.components.backends.llm.embedded.child FD SETTINGS-JSON`. It ends when its standard input does: that
pipe's other end is in the parent, and the kernel closes it however the parent dies.
"""

import json
import os
import socket
import sys
import threading


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    """Load the model and serve until told to stop."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import uvicorn
    from llama_cpp.server.app import create_app
    from llama_cpp.server.settings import ModelSettings, ServerSettings

    try:
        from pada_agent.components.backends.llm.embedded.lazy_grammar import install

        install()
    except (ImportError, AttributeError) as e:  # it reaches into the library's inside, which may change
        print(f"grammars are sampled the slow way: {e}", file=sys.stderr)
    # The field `model` starts with a prefix that pydantic protects; the server's own command line builds it likewise.
    settings = ModelSettings(**json.loads(sys.argv[2]))
    app = create_app(server_settings=ServerSettings(), model_settings=[settings])
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()

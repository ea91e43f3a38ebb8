"""The process behind `gguf_file`: `python -m pada_agent.components.backends.slm.formats.quantise FROM TO TYPE`."""

import os
import sys

from pada_agent.components.backends.slm.formats.gguf_file import types


def main(whole: str, file: str, kind: str) -> None:
    """Write one GGUF file as another of less precision; ends with 1 where llama.cpp refuses."""
    import llama_cpp

    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype = types()[kind]
    options.nthread = os.cpu_count() or 1
    sys.exit(int(llama_cpp.llama_model_quantize(os.fsencode(whole), os.fsencode(file), options) != 0))


if __name__ == "__main__":
    main(*sys.argv[1:])

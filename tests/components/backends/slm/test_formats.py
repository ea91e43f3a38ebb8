"""Forms of a full model: what can be checked without a run."""

import pytest
import tiny_slm

from pada_agent.components.backends.slm.formats import converter
from pada_agent.components.backends.slm.formats.gguf_file import parse_types
from pada_agent.components.backends.slm.formats.ollama import go_template, template_lines
from pada_agent.components.backends.slm.loading import load_slm
from pada_agent.components.core.errors import InputError, ModelError
from pada_agent.components.core.settings import SlmSettings

DEFAULT_SYSTEM = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are Tiny.<|im_end|>\n{% endif %}" + tiny_slm.TEMPLATE
)


def chat(folder, template=tiny_slm.TEMPLATE):
    return load_slm(SlmSettings(model=str(tiny_slm.build(folder, template)), device="cpu", dtype="float32")).chat


def filled(template: str, prompt: str, system: str = "") -> str:
    """What Go makes of a template of one turn."""
    head, _, rest = template.removeprefix("{{ if .System }}").partition("{{ else }}")
    without, _, tail = rest.partition("{{ end }}")
    text = (head.replace("{{ .System }}", system) if system else without) + tail
    return text.replace("{{ .Prompt }}", prompt).replace("{{ .Response }}", "")


@pytest.mark.parametrize("template", [tiny_slm.TEMPLATE, DEFAULT_SYSTEM])
def test_ollama_is_told_the_template_that_the_model_was_trained_with(tmp_path, template):
    format_ = chat(tmp_path, template)
    user = {"role": "user", "content": "How many?"}
    go = go_template(format_)
    assert filled(go, "How many?") == format_.decode(format_.prompt([user]), False)
    asked = [{"role": "system", "content": "Be brief."}, user]
    assert filled(go, "How many?", "Be brief.") == format_.decode(format_.prompt(asked), False)
    assert 'PARAMETER stop "<|im_end|>"\n' in template_lines(format_)


def test_a_template_that_go_cannot_say(tmp_path):
    odd = tiny_slm.TEMPLATE + "{% if add_generation_prompt and messages | length > 1 %}So: {% endif %}"
    with pytest.raises(ModelError, match="cannot be written as one of Ollama's"):
        go_template(chat(tmp_path, odd))


def test_types():
    pytest.importorskip("llama_cpp")
    assert parse_types("Q8_0, q4_k_m,q8_0") == ["q8_0", "q4_k_m"]
    for text, said in (("", "no type is named"), ("q8_0,zip", "no type 'zip'"), ("iq1_s", "no type 'iq1_s'")):
        with pytest.raises(InputError, match=said):
            parse_types(text)


def test_a_tokenizer_that_llama_cpp_does_not_know_is_told(tmp_path):
    pytest.importorskip("llama_cpp")
    model = tiny_slm.build(tmp_path / "slm")
    with pytest.raises(ModelError, match=r"llama.cpp's converter does not take this model: .*pre-tokenizer was not recognized"):
        converter.convert(model, tmp_path / "it.gguf", "f32")


def test_a_checkout_without_the_converter(tmp_path, monkeypatch):
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path))
    with pytest.raises(ModelError, match=r"\$LLAMA_CPP is .*, where there is no convert_hf_to_gguf.py"):
        converter.converter()


def test_a_source_that_cannot_be_fetched(tmp_path, monkeypatch):
    pytest.importorskip("llama_cpp")
    monkeypatch.setenv("PADA_MODELS", str(tmp_path / "cache" / "models"))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    for variable in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(ModelError, match=r"holds the converter, cannot be fetched .*set \$LLAMA_CPP to a checkout"):
        converter.converter()
    assert not list((tmp_path / "cache").rglob("*.py"))

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model

from pada_agent.components.backends.slm.loading import load_slm
from pada_agent.components.core.settings import SlmSettings


@pytest.fixture(scope="session")
def adapter(tmp_path_factory, tiny_slm):
    """One that changes answers."""
    folder = tmp_path_factory.mktemp("adapter")
    slm = load_slm(SlmSettings(model=str(tiny_slm), dtype="float32", device="cpu"))
    tuned = get_peft_model(slm.model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    torch.manual_seed(1)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    tuned.save_pretrained(folder)
    (folder / "train.json").write_text(json.dumps({"base_model": str(tiny_slm)}))
    return folder

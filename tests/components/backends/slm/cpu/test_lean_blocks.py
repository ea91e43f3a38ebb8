import torch
from torch import nn
from torch.nn import functional

from pada_agent.components.backends.slm.cpu.lean_blocks import ROWS, RmsNorm, SiluGate, use_lean_blocks
from pada_agent.components.backends.slm.loading import load_slm
from pada_agent.components.core.settings import SlmSettings


def kept_by(forward):
    """Elements that autograd keeps for the backward pass, by storage."""
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.update({t.data_ptr(): t.nbytes}) or t, lambda t: t):
        out = forward()
    return sum(kept.values()), out


def gradients(out, inputs):
    torch.manual_seed(1)
    return torch.autograd.grad(out, inputs, torch.randn_like(out))


def test_norm_has_autograd_s_gradient_and_keeps_half_of_what_it_keeps():
    torch.manual_seed(0)
    norm = _norm(48)
    for dtype, close in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
        norm.to(dtype)
        x = torch.randn(3, ROWS, 48).to(dtype).requires_grad_()
        plain_bytes, plain = kept_by(lambda x=x: norm(x))
        lean_bytes, lean = kept_by(lambda x=x: RmsNorm.apply(x, norm.weight, norm.variance_epsilon))
        assert torch.equal(plain, lean)
        torch.testing.assert_close(gradients(lean, [x]), gradients(plain, [x]), rtol=close, atol=close)
        assert dtype is torch.float32 or lean_bytes <= 0.6 * plain_bytes


def test_gate_has_autograd_s_gradients_and_keeps_its_inputs_alone():
    torch.manual_seed(0)
    gate, up = (torch.randn(20, 32, requires_grad=True) for _ in range(2))
    plain_bytes, plain = kept_by(lambda: functional.silu(gate) * up)
    lean_bytes, lean = kept_by(lambda: SiluGate.apply(gate, up))
    assert torch.equal(plain, lean)
    torch.testing.assert_close(gradients(lean, [gate, up]), gradients(plain, [gate, up]))
    assert lean_bytes == gate.nbytes + up.nbytes < plain_bytes


def test_a_model_s_norms_and_mlps_are_found_and_its_logits_stay(tiny_slm):
    slm = load_slm(SlmSettings(model=str(tiny_slm), dtype="float32", device="cpu"))
    slm.model.requires_grad_(False)
    tokens = torch.randint(3, 300, (2, 30))
    before = slm.model(input_ids=tokens).logits
    assert use_lean_blocks(slm.model) == 7  # two norms and an MLP in each of two layers, and the last norm
    assert torch.equal(slm.model(input_ids=tokens).logits, before)


def test_what_computes_something_else_is_left_alone():
    class OnePlus(nn.Module):
        """Gemma's norm."""

        def __init__(self):
            super().__init__()
            self.weight, self.variance_epsilon = nn.Parameter(torch.zeros(8)), 1e-6

        def forward(self, x):
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (1 + self.weight)

    class Gelu(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate_proj, self.up_proj, self.down_proj = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(16, 8)

        def forward(self, x):
            return self.down_proj(functional.gelu(self.gate_proj(x)) * self.up_proj(x))

    model = nn.ModuleList([OnePlus(), Gelu()])
    assert use_lean_blocks(model) == 0
    assert not any("forward" in vars(module) for module in model)


def test_a_norm_that_is_trained_gets_its_gradient():
    norm = _norm(8)
    assert use_lean_blocks(nn.ModuleList([norm])) == 1
    norm.weight.requires_grad_()
    norm(torch.randn(2, 8)).sum().backward()
    assert norm.weight.grad.abs().sum() > 0


def _norm(width):
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    norm = LlamaRMSNorm(width).requires_grad_(False)
    norm.weight.data.normal_(1.0, 0.2)
    return norm

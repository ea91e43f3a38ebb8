import pytest
import torch
from torch.nn import functional

from pada_agent.components.backends.slm.cpu.causal_attention import BLOCK, NAME, CausalAttention, use_causal_blocks
from pada_agent.components.backends.slm.loading import load_slm
from pada_agent.components.backends.slm.shared_prefix import cache_word
from pada_agent.components.core.settings import SlmSettings


@pytest.mark.parametrize(("own", "every"), [(5, 5), (BLOCK, BLOCK), (2 * BLOCK + 9, 2 * BLOCK + 9), (BLOCK + 40, 2 * BLOCK)])
def test_values_and_gradients_are_pytorch_s(own, every):
    torch.manual_seed(0)
    q = torch.randn(2, 6, own, 16, requires_grad=True)
    k, v = (torch.randn(2, 3, every, 16, requires_grad=True) for _ in range(2))
    seen = torch.ones(own, every, dtype=torch.bool).tril(every - own)
    expected = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True).transpose(1, 2)
    product = CausalAttention.apply(q, k, v, 0.25)
    torch.testing.assert_close(product, expected, rtol=1e-5, atol=1e-6)
    weight = torch.randn_like(product)
    for one, two in zip(
        torch.autograd.grad(product, (q, k, v), weight), torch.autograd.grad(expected, (q, k, v), weight), strict=True
    ):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_nothing_of_length_times_length_is_kept():
    q, k, v = (torch.randn(1, 2, 300, 4, requires_grad=True) for _ in range(3))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t.numel()), t)[1], lambda t: t):
        CausalAttention.apply(q, k, v, 0.5).sum().backward()
    assert kept
    assert max(kept) <= q.numel()


@pytest.fixture
def slm(tiny_slm):
    return load_slm(SlmSettings(model=str(tiny_slm), dtype="float32", device="cpu"))


def logits(slm, tokens, **how):
    with torch.no_grad():
        return slm.model(input_ids=tokens, **how).logits


def test_a_model_gives_the_same_logits_with_padding_with_a_prefix_and_token_by_token(slm, monkeypatch):
    tokens = torch.randint(3, 300, (3, 150))
    padded = torch.ones_like(tokens)
    padded[1, :20] = 0  # on the left, as in generation
    plain, masked = logits(slm, tokens), logits(slm, tokens, attention_mask=padded)
    use_causal_blocks(slm.model)
    assert slm.model.config._attn_implementation == NAME
    blocks = []
    apply = CausalAttention.apply
    monkeypatch.setattr(CausalAttention, "apply", lambda *a: (blocks.append(a[0].shape[2]), apply(*a))[1])
    torch.testing.assert_close(logits(slm, tokens), plain, rtol=1e-4, atol=1e-4)
    assert set(blocks) == {150}
    word = cache_word(slm.model)
    prefix = getattr(slm.model(input_ids=tokens[:, :60], use_cache=True), word)
    rest = logits(slm, tokens[:, 60:149], **{word: prefix})
    torch.testing.assert_close(rest, plain[:, 60:149], rtol=1e-4, atol=1e-4)
    last = logits(slm, tokens[:, 149:], **{word: prefix})
    torch.testing.assert_close(last, plain[:, 149:], rtol=1e-4, atol=1e-4)
    assert set(blocks) == {150, 60, 89}
    seen = padded.bool()
    torch.testing.assert_close(logits(slm, tokens, attention_mask=padded)[seen], masked[seen], rtol=1e-4, atol=1e-4)
    assert set(blocks) == {150, 60, 89}  # padding goes the usual way


def test_layers_that_see_a_window_go_the_usual_way(slm, monkeypatch):
    from transformers.masking_utils import causal_mask_function, sliding_window_causal_mask_function

    from pada_agent.components.backends.slm.cpu.causal_attention import attend, mask

    sizes = {"batch_size": 1, "q_length": 8, "kv_length": 8}
    assert mask(**sizes, mask_function=causal_mask_function) is None
    assert mask(**sizes, mask_function=sliding_window_causal_mask_function(4), local_size=4).sum() < 8 * 9 / 2
    monkeypatch.setattr(CausalAttention, "apply", None)
    q = torch.randn(1, 2, 8, 4)
    layer = slm.model.model.layers[0].self_attn
    layer.num_key_value_groups = 1
    seen = torch.ones(8, 8, dtype=torch.bool).tril()[None, None]
    given = attend(layer, q, q, q, seen)[0]
    dropped = attend(layer.eval(), q, q, q, None, dropout=1e-9)[0]  # what the blocks cannot do is given a mask
    torch.testing.assert_close(given, dropped)

import pytest
import torch

from bundle.inferers.autocast import AutocastInferer


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_precision_inside_the_network_only(precision, dtype):
    network = torch.nn.Linear(3, 2)
    output = AutocastInferer(precision)(torch.ones(4, 3), lambda x, scale: network(x) * scale, scale=2)
    assert output.dtype == dtype
    assert network(torch.ones(4, 3)).dtype == torch.float32


def test_unknown_precision_is_named():
    with pytest.raises(ValueError, match="not 'int8'"):
        AutocastInferer("int8")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_attention_is_computed_with_the_kernel_that_is_asked_for(precision):
    attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    words = torch.randn(2, 5, 8, requires_grad=True)

    def operators(inferer):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
            inferer(words, lambda x: attention(x, x, x, need_weights=False)[0]).sum().backward()
        return {event.key for event in seen.key_averages()}

    assert "aten::_scaled_dot_product_attention_math" in operators(AutocastInferer(precision, attention="math"))
    assert "aten::_scaled_dot_product_attention_math" not in operators(AutocastInferer(precision))


def test_unknown_attention_is_named():
    with pytest.raises(ValueError, match="not 'fast'"):
        AutocastInferer("fp32", attention="fast")

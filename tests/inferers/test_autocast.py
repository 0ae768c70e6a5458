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

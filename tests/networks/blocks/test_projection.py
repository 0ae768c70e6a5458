import pytest
import torch

from bundle.networks.blocks.projection import AllTokensProjection, PatchProjection, Projection


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_published_parameter_counts():
    assert count(PatchProjection(2048, 128)) == 278_528
    assert count(Projection(768, 128)) == 114_688
    assert count(AllTokensProjection(768, 128)) == 114_688


def test_shapes_and_norms():
    assert PatchProjection(32, 8)(torch.randn(2, 32, 3, 5)).shape == (2, 8, 3, 5)
    assert Projection(16, 8, norm="layer")(torch.randn(1, 16)).shape == (1, 8)  # one row: no batch statistics needed
    with pytest.raises(ValueError, match=r"\['batch', 'layer'\], not 'group'"):
        Projection(16, 8, norm="group")


def test_statistics_of_the_released_form_include_padding():
    torch.manual_seed(0)
    released = AllTokensProjection(6, 4)
    tokens = torch.randn(3, 5, 6)
    padded = torch.cat([tokens, torch.zeros(3, 7, 6)], 1)
    assert released(tokens).shape == (3, 4)
    assert not torch.allclose(released(tokens), released(padded), atol=1e-3)

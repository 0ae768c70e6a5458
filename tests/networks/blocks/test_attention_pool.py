import pytest
import torch

from bundle.networks.blocks.attention_pool import AttentionPool, IdentityAttentionPool, PlacedAttentionPool


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("side", "parameters"), [(8, 90_880), (7, 88_960)])
def test_published_parameter_counts(side, parameters):
    assert count(AttentionPool(128, 4, (side, side))) == parameters


def test_published_form_equals_multihead_attention():
    torch.manual_seed(0)
    pool = AttentionPool(16, 4, (3, 3))
    reference = torch.nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([pool.query.weight, pool.key.weight, pool.value.weight]))
        reference.in_proj_bias.copy_(torch.cat([pool.query.bias, pool.key.bias, pool.value.bias]))
        reference.out_proj.weight.copy_(pool.output.weight)
        reference.out_proj.bias.copy_(pool.output.bias)
    patches = torch.randn(2, 16, 3, 3)
    tokens = patches.flatten(2).transpose(1, 2)
    tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1) + pool.positions
    attended, weights = reference(tokens[:, :1], tokens, tokens, average_attn_weights=False)
    pooled, attention = pool(patches)
    torch.testing.assert_close(pooled, pool.final(attended[:, 0]), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(attention.flatten(2), weights[:, :, 0, 1:], atol=1e-6, rtol=1e-5)


def test_maps_lack_the_share_of_the_mean_token_in_the_published_form_only():
    patches = torch.randn(2, 8, 4, 4)
    _, published = AttentionPool(8, 2, (4, 4))(patches)
    _, identity = IdentityAttentionPool(8, 2, (4, 4))(patches)
    assert (published.sum((-2, -1)) < 1).all()
    torch.testing.assert_close(identity.sum((-2, -1)), torch.ones(2, 2))


def test_identity_pools_the_patches_themselves():
    pool = IdentityAttentionPool(8, 2, (4, 4))
    patches = torch.randn(3, 8, 4, 4)
    pooled, attention = pool(patches)
    expected = (patches * attention.mean(1, keepdim=True)).sum((-2, -1))
    torch.testing.assert_close(pooled, expected)
    assert pool.patch_values(patches) is patches
    constant = torch.ones(1, 8, 1, 1).expand(1, 8, 4, 4) * torch.arange(8.0)[None, :, None, None]
    torch.testing.assert_close(pool(constant)[0][0], torch.arange(8.0))


def test_places_enter_the_vector_and_not_the_map():
    pool = PlacedAttentionPool(8, 2, (4, 4))
    patches = torch.randn(3, 8, 4, 4)
    pooled, attention = pool(patches)
    placed = patches + pool.places.T.unflatten(1, (4, 4))
    torch.testing.assert_close(pooled, (placed * attention.mean(1, keepdim=True)).sum((-2, -1)))
    assert pool.patch_values(patches) is patches
    mirrored, _ = pool(patches.flip(-1))
    assert not torch.allclose(mirrored, pooled), "left is not right"


def test_value_path_of_one_patch_is_what_full_attention_to_it_would_pool():
    pool = AttentionPool(8, 2, (2, 2))
    patches = torch.randn(1, 8, 2, 2)
    values = pool.patch_values(patches)
    token = patches[0, :, 1, 0] + pool.positions[1 + 2]
    torch.testing.assert_close(values[0, :, 1, 0], pool.final(pool.output(pool.value(token))))


@pytest.mark.parametrize("form", [AttentionPool, IdentityAttentionPool, PlacedAttentionPool])
def test_every_parameter_gets_a_gradient_and_other_sizes_interpolate_positions(form):
    pool = form(8, 2, (4, 4))
    pooled, attention = pool(torch.randn(2, 8, 6, 5))
    assert attention.shape == (2, 2, 6, 5)
    pooled.square().sum().backward()
    assert all(p.grad is not None for p in pool.parameters())


def test_three_heads_need_an_inner_width():
    with pytest.raises(ValueError, match=r"3 heads do not divide.*128.*inner_width"):
        AttentionPool(128, 3, (8, 8))
    _, attention = AttentionPool(128, 3, (8, 8), inner_width=192)(torch.randn(1, 128, 8, 8))
    assert attention.shape == (1, 3, 8, 8)

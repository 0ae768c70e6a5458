"""Encoders and Adaptor together: what is trained, and the vectors of a model in use."""

from __future__ import annotations

import torch
from adaptor_parts import BERT, SMALL, image_encoder, pair, reports

from bundle.losses.contrastive import ContrastiveLoss
from bundle.networks.encoders.frozen_text import FrozenText, feature_mask
from bundle.networks.nets.frozen_pair import FrozenPair
from bundle.networks.nets.token_adaptor import TokenAdaptor

LENGTHS = [3, 5, 8]


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(0)), *reports(LENGTHS)


def test_only_the_adaptor_is_trained() -> None:
    network = pair().train()
    ContrastiveLoss(temperature=None)(network(*inputs(), LENGTHS)).backward()
    assert not any(
        module.training for part in (network.image_encoder, network.text_encoder) for module in part.modules()
    )
    assert network.adaptor.training
    graded = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert graded == {name for name, _ in network.named_parameters() if name.startswith("adaptor.")}
    assert [name for name, _ in network.named_children()] == ["image_encoder", "text_encoder", "adaptor"]


def test_embeddings_are_those_of_the_features() -> None:
    network = pair().eval()
    image, ids, mask = inputs()
    output = network(image, ids, mask, LENGTHS)
    features = network.image_encoder(image), network.text_encoder(ids, mask)
    expected = network.adaptor(*features)
    assert all(torch.equal(output[name], expected[name]) for name in expected)
    assert torch.equal(network.encode_image(image)["image_embedding"], output["image_embedding"])
    assert torch.equal(network.embed_image(image), output["image_embedding"])
    assert torch.equal(network.encode_text(ids, mask, LENGTHS), output["text_embedding"])


def test_patches_lie_as_in_the_image() -> None:
    network = pair().eval()
    image = torch.randn(2, 1, 32, 64)
    projected, adapted = network.encode_patches(image)
    assert projected.shape == adapted.shape == (2, 24, 4, 8)
    features = network.image_encoder(image)[:, [1 + 2 * 8 + 3]]
    torch.testing.assert_close(projected[:, :, 2, 3], network.adaptor.project_image(features)[:, 0])
    torch.testing.assert_close(adapted[:, :, 2, 3], network.adaptor.encode_image(features))


def test_tokens_reach_an_adaptor_that_reads_them() -> None:
    image, text = image_encoder("pyramid"), FrozenText(BERT)
    network = FrozenPair(image, text, TokenAdaptor(image.width, 16, **SMALL)).eval()
    images, ids, mask = inputs()
    output = network(images, ids, mask, LENGTHS, text_id=torch.tensor([0, 0, 1]))
    assert output["matching_logits"].shape == (9,)
    expected = network.adaptor(image(images), text(ids, mask), feature_mask(mask), torch.tensor([0, 0, 1]))
    assert torch.equal(output["matching_logits"], expected["matching_logits"])
    assert torch.equal(network.encode_text(ids, mask, LENGTHS), output["text_embedding"])

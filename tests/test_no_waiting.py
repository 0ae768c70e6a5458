"""A training step reads nothing back from the device.

It runs here on PyTorch's meta device, whose tensors have shapes but no values: whatever needs a value on the host
(`item`, `bool`, `nonzero`, indexing by a mask, ...), and would make a step wait for a GPU, raises.
"""

import pytest
import torch
from m3ae_runs import M3AE, SMALL
from monai.bundle import ConfigParser
from supervised_runs import ENCODER

G2D = ("pretrain", "demo")
PARTS = ("network", "loss", "optimizer", "train::prepare_batch", "train::inferer", "train::dataset")


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"text_pooling": "cls"},
        {"network_def::pool::_target_": "bundle.networks.blocks.attention_pool.AttentionPool"},
        {"loss::terms::contrastive::exclude_same": "study_id"},
        {"thin_reports": None, "augment::warps": [], "augment::intensities": []},
    ],
)
def test_a_step_needs_no_values(repository, phantom_store, overrides):
    target, _ = step(repository, phantom_store, G2D, overrides)
    assert target["image"].is_meta


FROZEN = {
    "image_encoder": ENCODER,
    "vision_transformer": {"image_size": 64, "patch_size": 16, "width": 16, "depth": 1, "heads": 2, "mlp": 32},
}


@pytest.mark.parametrize(
    ("overlays", "overrides"),
    [
        ((), {}),
        ((), {"network_def::pairs::_target_": "bundle.networks.blocks.matching_pairs.SimilarPairs"}),
        ((), {"mask_tokens::_target_": "bundle.transforms.mask_tokens.MaskWords"}),
        (("frozen_m3ae", "encoder_resnet50"), FROZEN),
        (("without_masked_image",), {}),
        (("without_masked_language",), {}),
        (("baseline_text_only",), {}),
        (("aligned_m3ae",), {}),
    ],
)
def test_a_step_of_m3ae_needs_no_values(repository, phantom_store, overlays, overrides):
    """Words are masked on the host, before the device has seen them; patches and pairs are drawn on the device."""
    _, text = step(repository, phantom_store, (*M3AE, *overlays), {**SMALL, **overrides})
    assert all(text[name].is_meta for name in ("masked_ids", "masked_positions", "masked_labels"))


def step(repository, phantom_store, names, overrides):
    """One step of training on the meta device; what it was compared with, and its texts."""
    parser = ConfigParser()
    parser.read_config([str(repository / "configs" / f"{name}.yaml") for name in names])
    sizes = {"dataset_dir": str(phantom_store), "crop_size": 64, "batch_size": 8}
    if "cell_offset" in parser.get():  # measured once, before the first step
        sizes["cell_offset"] = -8
    parser.update(sizes | {"device": torch.device("meta"), "precision": "fp32", "optimizer::fused": False} | overrides)
    network, loss, optimizer, prepare, inferer, dataset = (parser.get_parsed_content(name) for name in PARTS)
    network.train()
    image, target, _, text = prepare(dataset.__getitems__(list(range(8))), torch.device("meta"))
    assert image.is_meta
    value = loss(inferer(image, network, **text), target)
    value.backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    torch.nn.utils.clip_grads_with_norm_(network.parameters(), 1.0, torch.nn.utils.get_total_norm(gradients))
    optimizer.step()
    assert value.is_meta
    assert all(gradient.is_meta for gradient in gradients)
    return target, text


def test_the_check_bites():
    with pytest.raises(RuntimeError, match="meta"):
        torch.ones(3, device="meta").sum().item()
    with pytest.raises(NotImplementedError):
        torch.ones(3, device="meta").nonzero()

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pretrained import pretrained_run

from bundle.data.packed import PackedDataset
from bundle.inferers.pair_embedder import PairEmbedder
from bundle.inferers.vision_language import VisionLanguageModel


@pytest.fixture(scope="module")
def trained(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Module]:
    return pretrained_run(phantom_store, tmp_path_factory.mktemp("runs"))


def test_embeddings_are_those_of_the_network_without_decoding(
    trained: tuple[Path, torch.nn.Module], phantom_store: Path
) -> None:
    model = VisionLanguageModel.from_run(trained[0], device="cpu")
    batch = PackedDataset(phantom_store, "test").__getitems__(range(7))
    image = model.prepare(batch["image"])
    text = batch["input_ids"], batch["attention_mask"], batch["lengths"]
    with torch.no_grad():
        expected = trained[1](image, *text)
    model.network.decoder = None
    found = PairEmbedder(model)(image, *text)
    assert found.keys() == {"image_embedding", "text_embedding"}
    for name, embedding in found.items():
        torch.testing.assert_close(embedding, expected[name], atol=1e-6, rtol=0)


def test_blank_image_is_black(trained: tuple[Path, torch.nn.Module]) -> None:
    embedder = PairEmbedder(VisionLanguageModel.from_run(trained[0], device="cpu", precision="bf16"))
    black = torch.full((1, 1, 64, 64), -0.449 / 0.226)
    torch.testing.assert_close(embedder.blank_image(), embedder.model.embed(black)[0], atol=0.02, rtol=0)
    assert embedder.blank_image().dtype == torch.float32
    assert float(embedder.blank_image().norm()) == pytest.approx(1, abs=1e-5)

import torch

from bundle.engines.prepare_batch import PrepareReportBatch
from bundle.transforms.batch_augment import CenterCrop


def batch() -> dict:
    image = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    image[0, 0, 3, 4] = 255
    return {
        "image": image,
        "body": image > 0,
        "input_ids": torch.tensor([[1, 5, 2, 0], [1, 5, 6, 2]]),
        "attention_mask": torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]),
        "sentence": torch.tensor([[-1, 0, -1, -1], [-1, 0, 1, -1]]),
        "lengths": [3, 4],
        "text_id": torch.tensor([4, 5]),
        "study_id": torch.tensor([6, 7]),
        "index": torch.tensor([8, 9]),
        "id": ["a", "b"],
    }


def test_bytes_become_normalised_floats_and_nothing_else_changes():
    image, target, args, kwargs = PrepareReportBatch(mean=0.5, std=0.25)(batch(), "cpu")
    assert image.dtype == torch.float32
    assert image[0, 0, 3, 4] == 2  # (255 / 255 - .5) / .25
    assert image[1].unique().tolist() == [-2]
    assert target["image"].max() == 1
    assert target["body"].sum() == 1
    assert {name: target[name].tolist() for name in ("text_id", "study_id", "index")} == {
        "text_id": [4, 5],
        "study_id": [6, 7],
        "index": [8, 9],
    }
    assert args == ()
    assert set(kwargs) == {"input_ids", "attention_mask", "lengths"}
    assert kwargs["lengths"] == [3, 4]


def test_augmentation_and_thinning_are_applied():
    def first_word(ids, mask, sentence):
        return ids[:, :2], mask[:, :2], [2, 2]

    prepare = PrepareReportBatch(0, 1, augment=CenterCrop(4), thin=first_word)
    image, target, _, kwargs = prepare(batch(), "cpu")
    assert image.shape == target["body"].shape == (2, 1, 4, 4)
    assert image[0, 0, 1, 2] == 1
    assert kwargs["input_ids"].shape == (2, 2)
    assert kwargs["lengths"] == [2, 2]

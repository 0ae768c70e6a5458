import math

import pytest
import torch
from torch.nn import functional as F

from bundle.data.errors import DataError
from bundle.inferers.prompt_embeddings import PromptEmbeddings
from bundle.inferers.prompt_scores import ExclusivePrompts, LogSumExpPrompts, MeanPrompts
from bundle.inferers.zero_shot import ZeroShotClassifier

VECTORS = {
    "left edema": [1.0, 0.0, 0.0],
    "right edema": [0.0, 1.0, 0.0],
    "no edema": [0.0, 0.0, 1.0],
    "fracture": [0.6, 0.8, 0.0],
    "no fracture": [0.0, 0.6, 0.8],
    "intact": [0.0, 0.0, -1.0],
}
PROMPTS = {
    "edema": {"pos": ["left edema", "right edema"], "neg": ["no edema"]},
    "fracture": {"pos": ["fracture"], "neg": ["no fracture", "intact"]},
}
IMAGES = F.normalize(torch.tensor([[1.0, 0.0, 0.0], [1.0, 2.0, 2.0]]), dim=1)
ROOT2 = math.sqrt(2)


class Space(torch.nn.Module):
    """In place of a `VisionLanguageModel`: an image is its own vector, and each prompt has one."""

    image_size = 1

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.images = 0

    def embed_texts(self, texts):
        self.texts += list(dict.fromkeys(texts))
        return torch.tensor([VECTORS[text] for text in texts])

    def embed(self, image):
        self.images += len(image)
        return image

    def embed_images(self, images):
        assert not images.any()
        return self.embed(torch.tensor([[0.0, 0.0, 1.0]]))

    def embed_files(self, paths):
        return IMAGES[[int(path) for path in paths]]


@pytest.fixture
def space():
    return Space()


def test_mean_prompts_by_hand(space):
    """The ensembles: edema (1, 1, 0) / root 2; intact or no fracture (0, .3, -.1) / root .1 = (0, .9487, -.3162)."""
    output = ZeroShotClassifier(space, PROMPTS, MeanPrompts(temperature=0.5))(IMAGES)
    third = 1 / 3
    positive = torch.tensor([[1 / ROOT2, 0.6], [3 * third / ROOT2, 2.2 * third]])
    negative = torch.tensor([[0.0, 0.0], [2 * third, (2 * 0.3 - 2 * 0.1) * third / math.sqrt(0.1)]])
    torch.testing.assert_close(output["positive"], positive)
    torch.testing.assert_close(output["negative"], negative)
    torch.testing.assert_close(output["scores"], (positive - negative) / 0.5)
    torch.testing.assert_close(output["side"][:, 0], torch.tensor([1.0, -third]))
    assert output["side"][:, 1].isnan().all()
    black = torch.tensor([-1.0, 0.1 / math.sqrt(0.1)]) / 0.5
    torch.testing.assert_close(output["blank"], black.expand(2, 2))


def test_pairs_are_single_prompts_and_begin_again(space):
    pairs = ZeroShotClassifier(space, PROMPTS, MeanPrompts(1.0))(IMAGES)["pairs"]
    assert pairs.shape == (2, 2, 2)
    torch.testing.assert_close(pairs[0], torch.tensor([[1.0, 0.0], [0.6, 0.6]]))
    torch.testing.assert_close(pairs[1], torch.tensor([[-1 / 3, 0.0], [-0.6 / 3, 4.2 / 3]]))


def test_log_sum_exp_lies_between_mean_and_maximum(space):
    """T log((exp(s1 / T) + exp(s2 / T)) / 2) with s = 1 and 0."""
    output = ZeroShotClassifier(space, PROMPTS, LogSumExpPrompts(temperature=0.25))(IMAGES)
    assert float(output["positive"][0, 0]) == pytest.approx(0.25 * math.log((math.exp(4) + 1) / 2))
    single = ZeroShotClassifier(space, PROMPTS, MeanPrompts(temperature=0.25))(IMAGES)
    torch.testing.assert_close(output["positive"][:, 1], single["positive"][:, 1])
    torch.testing.assert_close(output["negative"], single["negative"])
    sharp = ZeroShotClassifier(space, PROMPTS, LogSumExpPrompts(temperature=1e-3))(IMAGES)
    torch.testing.assert_close(sharp["positive"][:, 0], torch.tensor([1.0, 2 / 3]), atol=1e-3, rtol=0)
    flat = ZeroShotClassifier(space, PROMPTS, LogSumExpPrompts(temperature=100.0))(IMAGES)
    torch.testing.assert_close(flat["positive"][:, 0], torch.tensor([0.5, 0.5]), atol=2e-3, rtol=0)


def test_exclusive_classes_need_no_negatives(space):
    prompts = {name: {"pos": sides["pos"]} for name, sides in PROMPTS.items()}
    classifier = ZeroShotClassifier(space, prompts, ExclusivePrompts(temperature=1.0))
    probabilities = classifier.probabilities(["0", "1"])
    odds = math.exp(1 / ROOT2 - 0.6)
    assert probabilities[0].tolist() == pytest.approx([odds / (1 + odds), 1 / (1 + odds)])
    output = classifier(IMAGES)
    torch.testing.assert_close(output["scores"].exp(), probabilities)
    torch.testing.assert_close(output["pairs"].exp().sum(1), torch.ones(2, 2))
    assert output["negative"].isnan().all()


def test_probability_is_the_softmax_over_both_sides(space):
    classifier = ZeroShotClassifier(space, PROMPTS, MeanPrompts(1.0))
    output = classifier(IMAGES)
    both = torch.stack([output["positive"], output["negative"]]).softmax(0)[0]
    torch.testing.assert_close(classifier.probabilities(["0", "1"]), both)


def test_prompts_are_embedded_once(space):
    prompts = PROMPTS | {"break": {"pos": ["fracture"], "neg": ["intact"]}}
    classifier = ZeroShotClassifier(space, prompts)
    for _ in range(3):
        classifier(IMAGES)
    assert sorted(space.texts) == sorted(VECTORS)
    assert space.images == 1 + 3 * 2  # a black image, and each image in each of three calls
    assert classifier.classes == ["edema", "fracture", "break"]


def test_words_of_sides_count_only_alone(space):
    space.embed_texts = lambda texts: torch.eye(len(texts))
    texts = ["left edema", "Edema, LEFT.", "left and right edema", "cleft", "on the right"]
    embeddings = PromptEmbeddings.of(space, {"edema": {"pos": texts, "neg": []}})
    torch.testing.assert_close(embeddings.left[0], torch.tensor([1.0, 1.0, 0, 0, 0]) / ROOT2)
    torch.testing.assert_close(embeddings.right[0], torch.tensor([0.0, 0, 0, 0, 1]))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({}, "needs at least one class"),
        ({"edema": {"pos": [], "neg": ["no edema"]}}, "for each class a prompt in 'pos'"),
        ({"edema": {"pos": ["left edema"]}}, "the class 'edema' has no prompt in 'neg'.* take ExclusivePrompts"),
    ],
)
def test_missing_prompts_are_refused(space, prompts, message):
    with pytest.raises(DataError, match=message):
        ZeroShotClassifier(space, prompts)


def test_temperature_is_checked():
    with pytest.raises(ValueError, match="must be above 0, not 0"):
        MeanPrompts(0)

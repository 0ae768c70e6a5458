"""Products of a coarse score and the decoder, by hand."""

import torch

from bundle.transforms.refined_score import RefinedScore


def test_an_even_decoder_leaves_the_source_as_it_is() -> None:
    coarse = torch.tensor([[[-1.0, 2.0], [4.0, 0.0]]])
    score = RefinedScore(lambda prediction: coarse)({"logits": torch.zeros(1, 1, 2, 2)})
    assert score.tolist() == [[[0.0, 1.0], [2.0, 0.0]]]


def test_the_source_is_moved_to_where_its_cells_look_and_the_decoder_is_not() -> None:
    coarse = torch.zeros(1, 4, 4)
    coarse[0, 2, 2] = 1.0
    logits = torch.full((1, 1, 4, 4), -50.0)
    logits[0, 0, 1, 1] = logits[0, 0, 2, 2] = 50.0
    prediction = {"logits": logits}
    assert RefinedScore(lambda _: coarse, offset=-1)(prediction).nonzero().tolist()[0] == [0, 1, 1]
    assert RefinedScore(lambda _: coarse, offset=-1)(prediction)[0, 2, 2] < 1e-6
    assert RefinedScore(lambda _: coarse)(prediction)[0, 2, 2] == 1

import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.transforms.sentence_subset import SentenceSubset


def report(sentences: list[int]) -> tuple[list[int], list[int]]:
    """Tokens of a report with sentences of the given lengths: [CLS] 1, words 10 * sentence + place, [SEP] 2."""
    ids, numbers = [1], [-1]
    for number, length in enumerate(sentences):
        ids += [10 * (number + 1) + place for place in range(length)]
        numbers += [number] * length
    return [*ids, 2], [*numbers, -1]


def batch(reports: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rows = [report(sentences) for sentences in reports]
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in rows])
    numbers = torch.tensor([n + [-1] * (width - len(n)) for _, n in rows])
    mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in rows])
    return ids, mask, numbers


@given(
    reports=st.lists(st.lists(st.integers(1, 5), min_size=0, max_size=5), min_size=1, max_size=6),
    p=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 1000),
)
def test_whole_sentences_in_order_between_the_special_tokens(reports, p, seed):
    torch.manual_seed(seed)
    ids, mask, sentence = batch(reports)
    thin, thin_mask, lengths = SentenceSubset(p)(ids, mask, sentence)
    assert thin_mask.sum(1).tolist() == lengths
    for row, sentences in enumerate(reports):
        tokens = thin[row, : lengths[row]].tolist()
        assert thin[row, lengths[row] :].eq(0).all()
        assert tokens[0] == 1
        assert tokens[-1] == 2
        kept = sorted({token // 10 - 1 for token in tokens[1:-1]})
        words = [10 * (n + 1) + place for n in kept for place in range(sentences[n])]
        assert tokens[1:-1] == words
        assert kept or not sentences
        if p == 0:
            assert len(kept) == len(sentences)


def test_half_of_the_sentences_go():
    torch.manual_seed(0)
    ids, mask, sentence = batch([[1] * 9] * 400)
    _, _, lengths = SentenceSubset(1.0)(ids, mask, sentence)
    assert abs(sum(lengths) / 400 - 2 - 4.5) < 0.3

"""How the network names masked words of the first reports, one text file a validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from monai.engines import Workflow
from torch import Tensor

from .atomic import replacing
from .sheets import Place, Sheets

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["MaskedExample", "MaskedExamples", "MaskedPlace"]

_UNJUDGED = -100  # label of a place that has no masked word
_GUESSES = 3
_HEAD = """\
The masked words of the first reports after epoch {epoch}, and what the network named: the probability that it gave the
right word of each place, and how many of the {words} words it held at least as likely as that one (1: it named it).
"""


@dataclass(frozen=True)
class MaskedPlace:
    """One masked word.

    Attributes:
        position: of the token in its report, 0 for the first one.
        shown: what the network was shown there: "masked", "replaced" (by a random word) or "kept".
        probability: of the right word.
        rank: number of words that were held at least as likely as the right one, itself included.
        right: id of the right word.
        guesses: ids of the most probable words, with their probabilities.
    """

    position: int
    shown: str
    probability: float
    rank: int
    right: int
    guesses: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class MaskedExample:
    """One report.

    Attributes:
        ids: of its tokens, without padding.
        places: masked words by position.
        vocabulary: number of words among which they were to be found.
    """

    ids: tuple[int, ...]
    places: tuple[MaskedPlace, ...]
    vocabulary: int


class MaskedExamples(Sheets[MaskedExample]):
    """Write `epoch_0003.txt` about the masked words of the first reports of the validation list after each validation.

    By default only numbers are written, no word of a report. Nothing is written where the network has no
    masked-language head.

    Args:
        folder: where the files go; it is made.
        mask: that of the evaluator's batches, with a seed: maps `input_ids` and `attention_mask` `[B, L]` to
            `masked_ids`, `masked_positions` and `masked_labels`, as `MaskTokens`.
        tokenizer: whose ids they are.
        count: number of reports.
        every: epochs between two files.
        words: whether reports are written out, with the right words and the network's guesses. Only for reports that
            may be read by whoever reads the run's folder, such as synthetic or public ones.

    Raises:
        ValueError: in a validation, when `mask` gives other words than those that the network was asked for.

    Example:
        >>> MaskedExamples("runs/pretrain/m3ae/examples", MaskTokens(folder, seed=0), load_tokenizer(folder))
    """

    def __init__(
        self,
        folder: str | Path,
        mask: Callable[[Tensor, Tensor], Mapping[str, Tensor]],
        tokenizer: PreTrainedTokenizerFast,
        count: int = 8,
        every: int = 1,
        words: bool = False,
    ) -> None:
        super().__init__(folder, count, every)
        self.mask = mask
        self.tokenizer: Any = tokenizer  # its methods return one thing or a list of such
        self.words = words
        self._batch: Mapping[str, Any] = {}

    def places(self, engine: Workflow) -> list[Place]:
        """Items in the order of the list."""
        if "mlm_logits" not in engine.state.output["pred"]:
            return []
        self._batch = engine.state.batch  # `take` is given the output alone
        return [(False, number) for number in engine.state.batch["index"].tolist()]

    def take(self, output: Mapping[str, Any], items: Sequence[int]) -> list[MaskedExample]:
        """The masked words of some items."""
        ids, attended = self._batch["input_ids"], self._batch["attention_mask"]
        masked, asked = self.mask(ids, attended), output["pred"]["mlm_labels"].cpu()
        if not torch.equal(asked, masked["masked_labels"].cpu()):
            raise ValueError(
                "masked examples were asked for other words than the network: give MaskedExamples the mask of the "
                "evaluator's own batches, with a seed"
            )
        columns = (ids, attended, masked["masked_ids"], masked["masked_positions"], asked, output["pred"]["mlm_logits"])
        return [self._example(*(column[item].cpu() for column in columns)) for item in items]

    def draw(self, pictures: Mapping[int, MaskedExample], path: Path) -> None:
        """Write one paragraph a report, to `path` with the ending `.txt`."""
        vocabulary = next(iter(pictures.values())).vocabulary
        paragraphs = [_HEAD.format(epoch=int(path.stem.split("_")[-1]), words=vocabulary)]
        paragraphs += ["\n".join(self._lines(number, example)) + "\n" for number, example in pictures.items()]
        with replacing(path.with_suffix(".txt")) as partial:
            partial.write_text("\n".join(paragraphs), encoding="utf-8")

    def _example(
        self, ids: Tensor, attended: Tensor, shown: Tensor, positions: Tensor, labels: Tensor, logits: Tensor
    ) -> MaskedExample:
        judged = (labels != _UNJUDGED).nonzero()[:, 0]
        judged = judged[positions[judged].argsort()]
        places = (self._place(int(positions[j]), int(labels[j]), int(shown[positions[j]]), logits[j]) for j in judged)
        return MaskedExample(tuple(ids[attended.bool()].tolist()), tuple(places), logits.shape[-1])

    def _place(self, position: int, right: int, shown: int, logits: Tensor) -> MaskedPlace:
        rank = int((logits >= logits[right]).sum())
        probability = logits.float().softmax(0)
        best = probability.topk(min(_GUESSES, len(probability)))
        guesses = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
        name = "masked" if shown == self.tokenizer.mask_token_id else "kept" if shown == right else "replaced"
        return MaskedPlace(position, name, float(probability[right]), rank, right, guesses)

    def _lines(self, number: int, example: MaskedExample) -> list[str]:
        lines = [f"row {number}"] + ([self._blanked(example)] if self.words else [])
        lines.append("position  shown     probability    rank" + ("  right word: guesses" if self.words else ""))
        for place in example.places:
            line = f"{place.position:8d}  {place.shown:<8}  {place.probability:11.4f}  {place.rank:6d}"
            lines.append(line + (f"  {self._named(place)}" if self.words else ""))
        return lines

    def _blanked(self, example: MaskedExample) -> str:
        """The report, with positions in the place of masked words."""
        masked = {place.position for place in example.places}
        tokens = self.tokenizer.convert_ids_to_tokens(list(example.ids))
        special = set(self.tokenizer.all_special_ids) - {self.tokenizer.unk_token_id}
        kept = [
            f"[{position}]" if position in masked else token
            for position, (number, token) in enumerate(zip(example.ids, tokens, strict=True))
            if number not in special
        ]
        return self.tokenizer.convert_tokens_to_string(kept)

    def _named(self, place: MaskedPlace) -> str:
        guesses = ", ".join(f"{self._word(number)} {probability:.2f}" for number, probability in place.guesses)
        return f"{self._word(place.right)}: {guesses}"

    def _word(self, number: int) -> str:
        return self.tokenizer.decode([number]).strip()

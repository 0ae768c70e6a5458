"""Ask a pre-trained model about radiographs in words: how likely is it, and where?

    python -m scripts.ask chest.dcm "left pleural effusion" --run runs/pretrain/g2d
    python -m scripts.ask a.png b.png "There is a nodule." --negative "The lungs are clear." --run runs/pretrain/g2d

Prints, for each image, the probability of the phrase against its negation and the similarity of image and phrase, and
writes a picture of where the model sees the phrase. Research software, not a medical device: its answers are no
diagnosis.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bundle.data.errors import DataError
from bundle.networks.weights.errors import WeightsError
from scripts.command import exit_code

if TYPE_CHECKING:
    from bundle.inferers.vision_language import VisionLanguageModel

__all__ = ["Answer", "answers_of", "ask", "main", "negation_of"]


@dataclass(frozen=True)
class Answer:
    """What a model says of one image.

    Attributes:
        probability: of the phrase against its negation, in [0, 1].
        similarity: cosine of image and phrase, in [-1, 1].
        heat: where the phrase is seen, float32 `[H, W]` of the file's own size.
    """

    probability: float
    similarity: float
    heat: np.ndarray


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: what follows `python -m scripts.ask`; the process's own by default.

    Returns:
        Exit code: 0, or 2 after an error that was printed in one sentence, or 130 after Ctrl-C.
    """
    args = _parse(arguments)
    return exit_code(lambda: _answer(args), (DataError, WeightsError, OSError), "no picture was written")


def negation_of(phrase: str) -> str:
    """The sentence that denies a phrase, as far as grammar is simple.

    Args:
        phrase: a finding or a short sentence.

    Example:
        >>> negation_of("left pleural effusion")
        'no left pleural effusion'
        >>> negation_of("There is a nodule.")
        'There is no nodule.'
        >>> negation_of("no pneumothorax")
        'pneumothorax'
    """
    words = " ".join(phrase.split())
    if denied := re.match(r"no (?=\S)", words, re.IGNORECASE):
        return words[denied.end() :]
    if stated := re.match(r"(there (?:is|are)) (no )?(?:an? )?", words, re.IGNORECASE):
        return f"{stated[1]}{'' if stated[2] else ' no'} {words[stated.end() :]}"
    return f"no {words}"


def ask(images: Sequence[Path], phrase: str, negative: str, run: Path, source: str | None = None) -> list[Answer]:
    """Ask a model about images.

    Args:
        images: DICOM, PNG, JPEG or NIfTI files.
        phrase: what to look for.
        negative: what denies it.
        run: folder of the pre-training run.
        source: `proj` or `value`, where the heat map comes from; None: as grounding has it by default.

    Returns:
        One answer an image.

    Raises:
        DataError: if a file cannot be used or a text is empty.
        WeightsError: if the folder holds no finished run with a text encoder.
    """
    # Imported here: `--help` need not wait for it.
    from bundle.inferers.vision_language import VisionLanguageModel

    return answers_of(VisionLanguageModel.from_run(run), images, phrase, negative, source)


def answers_of(
    model: VisionLanguageModel, images: Sequence[Path], phrase: str, negative: str, source: str | None = None
) -> list[Answer]:
    """As `ask`, of a model that is loaded already.

    Args:
        model: of a pre-training run.
        images: as of `ask`, and so the others.
        phrase: what to look for.
        negative: what denies it.
        source: where the heat map comes from.

    Raises:
        DataError: if a file cannot be used or a text is empty.
    """
    from bundle.inferers.grounding import GroundingModel
    from bundle.inferers.map_sources import ProjectedPatches, ValuePatches
    from bundle.inferers.zero_shot import ZeroShotClassifier

    classifier = ZeroShotClassifier(model, {"phrase": {"pos": [phrase], "neg": [negative]}})
    probabilities = classifier.probabilities(images)[:, 0]
    similarities = model.embed_files(images) @ model.embed_texts([phrase])[0]
    grounding = GroundingModel(model, {"proj": ProjectedPatches, "value": ValuePatches}[source]() if source else None)
    heats = [maps[0] for maps in grounding.heat_maps(images, [phrase])]
    return [Answer(*one) for one in zip(probabilities.tolist(), similarities.tolist(), heats, strict=True)]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.ask", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="radiograph: DICOM, PNG, JPEG or NIfTI")
    parser.add_argument("phrase", metavar="PHRASE", help="what to look for, in quotes, worded as reports are")
    parser.add_argument("--run", type=Path, required=True, metavar="FOLDER", help="of the pre-training run")
    parser.add_argument("--negative", metavar="TEXT", help="what denies the phrase (default: made with 'no')")
    parser.add_argument("--out", type=_png, default="overlay.png", metavar="FILE", help="picture (%(default)s)")
    parser.add_argument(
        "--source",
        choices=["proj", "value"],
        help="what of a place is compared with the phrase: its projected patch, or that sent down the value path of "
        "the attention pool (default: as in configs/evaluate_grounding.yaml)",
    )
    args = parser.parse_args(arguments)
    if Path(args.phrase).is_file():
        parser.error(f"the last argument must be the phrase to look for, but {args.phrase} is a file")
    return args


def _png(text: str) -> Path:
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"{text} does not end in .png")
    return Path(text)


def _answer(args: argparse.Namespace) -> None:
    negative = args.negative or negation_of(args.phrase)
    answers = ask(args.images, args.phrase, negative, args.run, args.source)
    _print(args.images, answers, args.phrase, negative)
    _draw(args.images, answers, args.phrase, args.out)


def _print(images: Sequence[Path], answers: Sequence[Answer], phrase: str, negative: str) -> None:
    from scripts.asking.overlay import CAUTION

    print(f"phrase:   {phrase}\nnegation: {negative}\n")
    print("image  probability  similarity  file")
    for number, (path, answer) in enumerate(zip(images, answers, strict=True), 1):
        print(f"{number:5d}  {answer.probability:11.3f}  {answer.similarity:10.3f}  {path}")
    print(f"\nThe probability is that of the phrase against its negation alone. {CAUTION}")


def _draw(images: Sequence[Path], answers: Sequence[Answer], phrase: str, out: Path) -> None:
    from bundle.data.radiograph_reader import read_radiograph
    from scripts.asking.overlay import Seen, draw_overlays

    seen = []
    for number, (path, answer) in enumerate(zip(images, answers, strict=True), 1):
        caption = f"image {number}: probability {answer.probability:.2f}, similarity {answer.similarity:.2f}"
        seen.append(Seen(read_radiograph(path).pixels, answer.heat, caption))
    draw_overlays(seen, phrase, out)
    print(f"wrote {out}")


if __name__ == "__main__":
    sys.exit(main())

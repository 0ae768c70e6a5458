"""What the page says beside its pictures, as HTML in which every text from outside is escaped."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np

from scripts.ask import Answer, negation_of
from scripts.showing.pictures import COLOURS, HEAT_COLOURS
from scripts.showing.words import Finding

__all__ = ["answer_table", "caption", "finding_bars", "problem", "share_table"]

_FINDINGS_NOTE = (
    "To the right the image is closer to the sentences that affirm the finding, to the left to those that deny it. The "
    "mark is what the model says of a black image: a bar that ends there says nothing. Scores are not calibrated: "
    "compare images, not percentages."
)
_HEAT_NOTE = (
    "Colours: cosine of each place with the phrase. The cross is the highest place, which every image has, whether "
    "anything is there or not. The score compares these two sentences alone."
)
_SHARE_NOTE = "Part of the whole image, borders included."


def problem(sentence: str) -> str:
    """Why there is no answer."""
    return f'<p class="problem" role="alert">{html.escape(sentence)}</p>'


def caption(name: str, size: tuple[int, int], spacing: tuple[float, float] | None) -> str:
    """What is being shown.

    Args:
        name: of the file.
        size: (H, W) in px.
        spacing: (row, column) distance of pixels in mm, or none.
    """
    parts = [f"{size[1]} × {size[0]} px"]
    if spacing is not None:
        parts.append(f"{spacing[1]:.3g} × {spacing[0]:.3g} mm a pixel")
    return f'<p class="caption"><b>{html.escape(name)}</b><br>{", ".join(parts)}</p>'


def share_table(shares: Mapping[str, float]) -> str:
    """Area shares by class, each with the colour that it has in the picture.

    Args:
        shares: by class its part of the image, in [0, 1].
    """
    rows = []
    for number, (name, share) in enumerate(shares.items()):
        colour = _rgb(COLOURS[number % len(COLOURS)])
        rows.append(
            f'<tr><td><span class="chip" style="background:{colour}"></span>{html.escape(name)}</td>'
            f'<td class="number">{100 * share:.1f} %</td></tr>'
        )
    head = '<tr><th>class</th><th class="number">area</th></tr>'
    return f'<table class="figures">{head}{"".join(rows)}</table><p class="note">{_SHARE_NOTE}</p>'


def finding_bars(findings: Sequence[Finding], prompts: str) -> str:
    """A bar for each finding, from the middle, where neither side is closer.

    Args:
        findings: in the order in which they are shown.
        prompts: name and version of the sentences.
    """
    ends = '<span class="ends"><span>denied</span><span>affirmed</span></span>'
    head = f'<tr><th>finding</th><th>{ends}</th><th class="number">score</th></tr>'
    note = f'<p class="note">{_FINDINGS_NOTE} Sentences: {html.escape(prompts)}.</p>'
    return f'<table class="figures">{head}{"".join(map(_bar, findings))}</table>{note}'


def answer_table(phrase: str, answer: Answer) -> str:
    """Figures and colours of a phrase's heat map."""
    rows = [("score", answer.probability), ("cosine of image and phrase", answer.similarity)]
    body = "".join(f'<tr><td>{name}</td><td class="number">{value:.2f}</td></tr>' for name, value in rows)
    against = f"“{html.escape(phrase)}” against “{html.escape(negation_of(phrase))}”"
    colours = ",".join(map(_rgb, HEAT_COLOURS))
    lowest, highest = float(np.nanmin(answer.heat)), float(np.nanmax(answer.heat))
    return (
        f'<p class="said">{against}</p><table class="figures">{body}</table>'
        f'<div class="gradient" style="background:linear-gradient(to right,{colours})"></div>'
        f'<div class="scale"><span>{lowest:.2f}</span><span>{highest:.2f}</span></div>'
        f'<p class="note">{_HEAT_NOTE}</p>'
    )


def _bar(finding: Finding) -> str:
    left, width = min(finding.score, 0.5), abs(finding.score - 0.5)
    side = "affirmed" if finding.score > 0.5 else "denied"
    return (
        f'<tr><td>{html.escape(finding.name)}</td><td class="bar"><div class="track">'
        f'<span class="{side}" style="left:{left:.1%};width:{width:.1%}"></span>'
        f'<span class="middle"></span><span class="blank" style="left:{finding.blank:.1%}"></span>'
        f'</div></td><td class="number">{finding.score:.2f}</td></tr>'
    )


def _rgb(colour: Sequence[int]) -> str:
    return f"rgb({','.join(map(str, colour))})"

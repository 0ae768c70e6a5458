"""The page itself: a radiograph on the left, and what was found on it on the right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from scripts.asking.overlay import CAUTION
from scripts.showing.answers import Answers, Heat

__all__ = ["TITLE", "make_page", "theme"]

TITLE = "Chest radiographs"

# What is above and below the pictures takes the rest of the window, so that 1280 x 800 need no scrolling.
_PLAIN, _SEGMENTED, _HEAT = (f"max(280px, calc(100vh - {taken}px))" for taken in (245, 170, 225))
_ONE_AT_A_TIME: dict[str, Any] = {
    "concurrency_id": "network",
    "concurrency_limit": 1,
    # The default drops what is asked during an answer, so that the page would show the last image's under this one.
    "trigger_mode": "always_last",
    "api_visibility": "private",
}


@dataclass(frozen=True)
class _Phrase:
    """Components of the tab that shows a phrase."""

    text: gr.Textbox
    button: gr.Button
    picture: gr.Image
    answer: gr.HTML


def make_page(answers: Answers) -> gr.Blocks:
    """Lay out the page and tie it to its answers.

    Args:
        answers: without `words` the page has no tabs for findings and phrases.

    Returns:
        The page, to be mounted in an application.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.HTML(
            f"<h1>{TITLE}</h1><p>{CAUTION} What is dropped here stays on the machine that serves this page.</p>",
            elem_classes="title",
        )
        problem = gr.HTML(elem_id="problem")
        with gr.Row():
            with gr.Column(scale=2):
                file = gr.File(label="Radiograph: DICOM, PNG, JPEG or NIfTI", height=110, elem_id="file")
                radiograph = _picture("radiograph", "radiograph", _PLAIN)
                caption = gr.HTML(elem_id="caption")
            with gr.Column(scale=3), gr.Tabs():
                segmented, shares = _segmentation_tab()
                findings, phrase = _word_tabs() if answers.words else (None, None)
        shown = {"caption": caption, "radiograph": radiograph, "segmented": segmented, "shares": shares}
        shown |= {"findings": findings} if findings else {}
        _tie(answers, file, problem, shown, phrase)
    return page


def theme() -> gr.Theme:
    """Calm greys and one accent, in fonts that every machine has: none is fetched."""
    fonts = ["system-ui", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif"]
    base = gr.themes.Base(primary_hue="sky", neutral_hue="slate", font=fonts, font_mono=["ui-monospace", "monospace"])
    return base.set(body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_400")


def _picture(label: str, name: str, height: str) -> gr.Image:
    return gr.Image(
        label=label,
        show_label=False,
        height=height,
        format="png",
        interactive=False,
        buttons=["fullscreen"],
        elem_id=name,
        elem_classes="picture",
    )


def _segmentation_tab() -> tuple[gr.Image, gr.HTML]:
    with gr.Tab("Segmentation"), gr.Row():
        with gr.Column(scale=5):
            picture = _picture("segmentation", "segmented", _SEGMENTED)
        with gr.Column(scale=3, min_width=200):
            return picture, gr.HTML(elem_id="shares")


def _word_tabs() -> tuple[gr.HTML, _Phrase]:
    with gr.Tab("Findings"):
        findings = gr.HTML(elem_id="findings")
    with gr.Tab("Where is it?"):
        with gr.Row():
            text = gr.Textbox(
                label="phrase",
                show_label=False,
                container=False,
                scale=4,
                max_lines=1,
                elem_id="phrase",
                placeholder="There is a left pleural effusion.",
            )
            button = gr.Button("Show", variant="primary", scale=1, min_width=80, elem_id="show")
        with gr.Row():
            with gr.Column(scale=5):
                picture = _picture("heat map", "heat", _HEAT)
            with gr.Column(scale=3, min_width=200):
                answer = gr.HTML(elem_id="answer")
    return findings, _Phrase(text, button, picture, answer)


def _tie(
    answers: Answers, file: gr.File, problem: gr.HTML, shown: dict[str, gr.Image | gr.HTML], phrase: _Phrase | None
) -> None:
    """Another file, or none, renews all that is shown: no answer stays beside an image that it is not of."""

    def read(path: str | None, text: str | None = None) -> list[Any]:
        reading = answers.read(path)
        heat = answers.show(path, text) if path and text and not reading.problem else Heat()
        found = [reading.problem or heat.problem, *(getattr(reading, name) for name in shown)]
        return found if phrase is None else [*found, heat.picture, heat.answer]

    def show(path: str | None, text: str | None) -> list[Any]:
        heat = answers.show(path, text)
        return [heat.problem, heat.picture, heat.answer]

    outputs, progress = [problem, *shown.values()], [shown["radiograph"], shown["segmented"]]
    if phrase is None:
        file.change(read, file, outputs, show_progress_on=progress, **_ONE_AT_A_TIME)
        return
    asked, heated = [file, phrase.text], [phrase.picture, phrase.answer]
    file.change(read, asked, [*outputs, *heated], show_progress_on=progress, **_ONE_AT_A_TIME)
    submitted = [phrase.button.click, phrase.text.submit]
    gr.on(submitted, show, asked, [problem, *heated], show_progress_on=phrase.picture, **_ONE_AT_A_TIME)

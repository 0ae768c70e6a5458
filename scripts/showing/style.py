"""How the page looks: CSS beside what its theme sets. Fonts are those of the reader's machine."""

from __future__ import annotations

__all__ = ["CSS"]

CSS = """
.gradio-container main { max-width: 1240px !important; padding: 14px 24px 4px !important; }
.gradio-container .column { gap: 10px; }
.title h1 { font-size: 1.3rem; font-weight: 600; margin: 0; }
.title p { margin: 0; color: var(--body-text-color-subdued); font-size: .9rem; }
.gradio-container .html-container { padding: 0 !important; }
#problem:not(:has(.problem)) { display: none; }
#file .icon-wrap { display: none; }
.picture { background: var(--background-fill-secondary) !important; border-radius: 6px; overflow: hidden; }
.picture:has(img) { background: #000 !important; }
.picture img { object-fit: contain !important; }
.picture .empty { visibility: hidden; }
.caption, .note { margin: 4px 2px 0; font-size: .85rem; color: var(--body-text-color-subdued); line-height: 1.45; }
.caption b { color: var(--body-text-color); font-weight: 600; overflow-wrap: anywhere; }
.problem { margin: 0; padding: 8px 14px; border-left: 3px solid #c2410c; border-radius: 4px;
  background: color-mix(in srgb, #c2410c 12%, transparent); overflow-wrap: anywhere; }
table.figures { width: 100%; margin: 0; border-collapse: collapse; font-size: .92rem; }
table.figures, table.figures tbody, table.figures tr { border: 0 !important; }
table.figures th, table.figures td { padding: 4px; border: 0 !important; text-align: left; vertical-align: middle;
  border-bottom: 1px solid var(--border-color-primary) !important; }
table.figures th { font-weight: 500; color: var(--body-text-color-subdued); }
table.figures .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.chip { display: inline-block; width: .8em; height: .8em; margin-right: .5em; border-radius: 2px; }
.ends { display: flex; justify-content: space-between; }
td.bar { width: 100%; }
td:has(+ td.bar) { white-space: nowrap; }
.track { position: relative; min-width: 200px; height: 10px; border-radius: 5px;
  background: var(--background-fill-secondary); box-shadow: inset 0 0 0 1px var(--border-color-primary); }
.track span { position: absolute; top: 0; bottom: 0; }
.track .affirmed { background: #c2710c; }
.track .denied { background: #6b8cae; }
.track .middle { left: 50%; width: 1px; background: var(--body-text-color-subdued); }
.track .blank { top: -3px; bottom: -3px; width: 2px; margin-left: -1px; background: var(--body-text-color); }
.said { margin: 0 2px 10px; font-size: .92rem; line-height: 1.5; overflow-wrap: anywhere; }
.gradient { height: 10px; border-radius: 5px; margin: 14px 2px 3px; }
.scale { display: flex; justify-content: space-between; margin: 0 2px; font-size: .8rem;
  color: var(--body-text-color-subdued); font-variant-numeric: tabular-nums; }
"""

"""Parts of a page that needs nothing else: its style, tables, cells with intervals, pictures."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from bayesclass.plots_axes import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION

# Colours of the pictures -> their names in the style, which has a lighter set for dark pages.
COLOURS = {
    BLACK: "ink",
    "#ffffff": "paper",
    "#444444": "soft",
    "#cccccc": "line",
    BLUE: "blue",
    VERMILLION: "vermillion",
    GREEN: "green",
    PURPLE: "purple",
    ORANGE: "orange",
    SKY: "sky",
    GREY: "grey",
}

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #ffffff; --soft: #4a4a4a; --line: #d5d5d5;
  --blue: #0072b2; --vermillion: #c24f00; --green: #007d5a; --purple: #b45b8c; --orange: #c98b00;
  --sky: #56b4e9; --grey: #767676; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #16181b; --soft: #b8bcc2;
  --line: #3a3f45; --blue: #5ab0ea; --vermillion: #ff8a4c; --green: #3fc79a; --purple: #e29cc4;
  --orange: #f0b840; --sky: #a6dcff; --grey: #9a9ea4; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 72rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.6rem; }
h3 { font-size: 1rem; margin-bottom: .3rem; }
nav a { color: var(--blue); margin-right: 1rem; white-space: nowrap; }
.wide { overflow-x: auto; max-width: 100%; margin: .6rem 0 1.2rem; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; white-space: nowrap; }
thead th { vertical-align: bottom; }
th:first-child, td:first-child, .text, th.long { text-align: left; }
td.long { white-space: normal; min-width: 20rem; text-align: left; }
td small { display: block; color: var(--soft); font-size: .76rem; line-height: 1.2; }
@media (max-width: 40rem) { td:first-child { white-space: normal; min-width: 7rem; } }
.note { color: var(--soft); } .lead { font-size: 1.05rem; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr));
  gap: .8rem; margin: .6rem 0; }
.panels svg { width: 100%; max-width: 27rem; height: auto; } .panels text { fill: var(--ink); }
.rows { grid-template-columns: 1fr; } .rows svg { max-width: 40rem; }
.pair { display: flex; flex-wrap: wrap; gap: 0 2rem; } .pair > div { min-width: 0; max-width: 100%; }
"""

__all__ = ["cell", "contents", "heat_table", "page", "panels", "paragraph", "section", "table"]


def page(title: str, parts: Iterable[str]) -> str:
    """Return the whole page."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        f"<h1>{html.escape(title)}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def section(title: str, *parts: str) -> tuple[str, str]:
    """Return a section's title and its HTML, which a link of the contents leads to."""
    return title, f'<section id="{_anchor(title)}"><h2>{html.escape(title)}</h2>\n' + "\n".join(
        parts
    ) + "\n</section>"


def contents(sections: Iterable[tuple[str, str]]) -> list[str]:
    """Return links to the sections, then the sections."""
    sections = list(sections)
    links = "".join(f'<a href="#{_anchor(title)}">{html.escape(title)}</a> ' for title, _ in sections)
    return [f"<nav>{links}</nav>", *(body for _, body in sections)]


def paragraph(text: str, name: str = "") -> str:
    """Return a paragraph of plain text."""
    return f'<p class="{name}">{html.escape(text)}</p>' if name else f"<p>{html.escape(text)}</p>"


def cell(value: float, lower: float = np.nan, upper: float = np.nan, digits: int = 3, sign: str = "") -> str:
    """Return a number with its interval below it; empty where there is none."""
    if pd.isna(value):
        return ""
    ends = ""
    if not (pd.isna(lower) or pd.isna(upper)):
        ends = f"<small>{lower:{sign}.{digits}f} to {upper:{sign}.{digits}f}</small>"
    return f"{value:{sign}.{digits}f}{ends}"


def table(
    heading: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    text: Sequence[int] = (),
    long: Sequence[int] = (),
) -> str:
    """Return a table that scrolls sideways within itself.

    Parameters
    ----------
    heading : sequence of str
        Plain text.
    rows : iterable of sequence of str
        HTML: escape what came from a file.
    text, long : sequence of int
        Columns of words; of sentences, which may break.
    """
    kind = dict.fromkeys(text, "text") | dict.fromkeys(long, "long")

    def line(cells, tag):
        parts = (f"<{tag}{_class(kind.get(i))}>{content}</{tag}>" for i, content in enumerate(cells))
        return f"<tr>{''.join(parts)}</tr>"

    head = line([html.escape(name) for name in heading], "th")
    body = "".join(line(row, "td") for row in rows)
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="table">'
        f"<table><thead>{head}</thead><tbody>{body}</tbody></table></div>"
    )


def heat_table(matrix: pd.DataFrame, corner: str, digits: int = 0) -> str:
    """Return a matrix as a table: each number, its fraction of the row, and a shade of it."""
    counts = matrix.to_numpy(float)
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in (corner, *matrix.columns))
    body = ""
    for i, name in enumerate(matrix.index):
        cells = "".join(
            f'<td style="background:rgba(0,114,178,{0.55 * f:.2f})">{n:.{digits}f}<small>{f:.2f}</small></td>'
            if n
            else "<td></td>"
            for n, f in zip(counts[i], share[i], strict=True)
        )
        body += f"<tr><th>{html.escape(str(name))}</th>{cells}</tr>"
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="confusion matrix">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def panels(pictures: Iterable[tuple[object, str]], *, wide: bool = False) -> str:
    """Return pictures beside each other, as many as the page is wide.

    Parameters
    ----------
    pictures : iterable of (matplotlib Axes, str)
        Each on a figure of its own, with a sentence for those who can't see it.
    wide : bool
        One below the other, for pictures with long names.
    """
    name = "panels rows" if wide else "panels"
    return f'<div class="{name}">{"".join(_svg(ax.figure, words) for ax, words in pictures)}</div>'


def _svg(figure, words: str) -> str:
    """Return a figure as part of the page, in the page's own colours."""
    from matplotlib import rc_context

    # Text stays text; a fixed salt and no date make equal figures equal pages.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "bayesclass"}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    # Names of groups repeat from figure to figure and serve nothing; namespaces are HTML's own.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
    for colour, name in COLOURS.items():
        svg = re.sub(rf"{colour}\b", f"var(--{name})", svg, flags=re.IGNORECASE)
    label = html.escape(words, quote=True)
    return re.sub(
        r'<svg width="[^"]*" height="[^"]*"|<svg ', f'<svg role="img" aria-label="{label}" ', svg, count=1
    )


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _class(name: str | None) -> str:
    return f' class="{name}"' if name else ""

"""A report's page: one file with all figures inside it, which asks nothing of the network."""

import base64
import html
from collections.abc import Sequence
from typing import Any

from alexnet_tf.evaluation.model_card import card_sections, in_a_sentence
from alexnet_tf.reporting.files import Chapter, SavedFigure, Table

STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem; background: #fff; color: #1f2933;
       font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; border-top: 1px solid #d5dbe1; padding-top: 1.2rem; }
nav ul { columns: 3 14rem; padding-left: 1.2rem; }
a { color: #2b6cb0; }
figure { margin: 1rem 0 1.6rem; }
img { max-width: 100%; height: auto; display: block; }
figcaption, .files { color: #52606d; font-size: .9rem; margin-top: .3rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; margin: .8rem 0; }
th, td { border-bottom: 1px solid #e4e7eb; padding: .25rem .7rem .25rem 0; text-align: left; overflow-wrap: anywhere; }
th { font-weight: 600; }
.left-out { background: #fffaf0; border-left: 4px solid #dd6b20; padding: .5rem .8rem; }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .3rem; }
@media print { h2 { break-after: avoid; } figure { break-inside: avoid; } }
"""


def page(
    title: str,
    about: Sequence[str],
    chapters: Sequence[Chapter],
    left_out: Sequence[str],
    card: dict[str, Any] | None = None,
) -> bytes:
    """The page as a file.

    Args:
      title: above all.
      about: paragraphs behind it.
      chapters: in order.
      left_out: what could not be shown, and why.
      card: from `evaluation.model_card`; it comes last, where there is one.
    """
    titles = [*_titles(chapters), *(["Model card"] if card else [])]
    parts = [
        "<!DOCTYPE html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title>", f"<style>{STYLE}</style>", "</head>", "<body>", "<main>",
        f"<h1>{_text(title)}</h1>", *(f"<p>{_text(paragraph)}</p>" for paragraph in about),
        *(f'<p class="left-out">{_text(reason)}</p>' for reason in left_out),
        '<nav aria-label="Contents"><ul>',
        *(f'<li><a href="#{_anchor(one)}">{_text(one)}</a></li>' for one in titles),
        "</ul></nav>", *(line for chapter in chapters for line in _chapter(chapter)),
        *(_card(card) if card else []), "</main>", "</body>", "</html>",
    ]  # fmt: skip
    return ("\n".join(parts) + "\n").encode("utf-8", "replace")


def _chapter(chapter: Chapter) -> list[str]:
    lines = [_heading(chapter.title), *(f"<p>{_text(paragraph)}</p>" for paragraph in chapter.paragraphs)]
    lines += [_figure(figure) for figure in chapter.figures]
    if chapter.table is not None:
        lines.append(_table(chapter.table))
    if chapter.files:
        links = ", ".join(f'<a href="{_text(file)}">{_text(file)}</a>' for file in chapter.files)
        lines.append(f'<p class="files">The numbers, beside this page: {links}</p>')
    return lines


def _card(card: dict[str, Any]) -> list[str]:
    lines = [_heading("Model card"), f"<p>{_text(in_a_sentence(card))}</p>"]
    for section in card_sections(card):
        lines.append(f"<h3>{_text(section.title)}</h3>")
        if section.header:
            lines.append(_table(Table(section.header, section.rows)))
        if section.lines:
            lines += ["<ul>", *(f"<li>{_text(line)}</li>" for line in section.lines), "</ul>"]
    return [*lines, '<p class="files">The same beside this page: <a href="model_card.md">model_card.md</a></p>']


def _figure(figure: SavedFigure) -> str:
    source = base64.b64encode(figure.png).decode()
    caption = _text(figure.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{source}">'
        f'<figcaption>{caption} <a href="{figure.name}.png">PNG</a> <a href="{figure.name}.svg">SVG</a></figcaption>'
        "</figure>"
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in table.header)
    rows = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>\n" for row in table.rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>'


def _heading(title: str) -> str:
    return f'<h2 id="{_anchor(title)}">{_text(title)}</h2>'


def _titles(chapters: Sequence[Chapter]) -> list[str]:
    return [chapter.title for chapter in chapters]


def _anchor(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title.lower())


def _text(text: str) -> str:
    return html.escape(text.encode("utf-8", "backslashreplace").decode())

"""A page of tables and figures, and its two forms: one self-contained HTML file, and Markdown."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

_TEMPLATE = Template((Path(__file__).parent / "page.html").read_text())
_NAMESPACE = re.compile(r' xmlns(:\w+)?="[^"]*"')  # HTML knows them
_ID = re.compile(r'(\bid="|href="#|url\(#)')


@dataclass(frozen=True)
class Text:
    """A paragraph; `warning` makes it stand out."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Table:
    """Cells are text; the first column names the row."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """An SVG image; `alt` says what it shows to who cannot see it."""

    name: str  # of its file beside the Markdown page, without suffix
    svg: str
    alt: str
    caption: str


Block = Text | Table | Figure


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    heading: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A title and sections; sections without a block are left out."""

    title: str
    sections: Sequence[Section]

    def write(self, directory: Path) -> None:
        """index.html, report.md and the SVG files that the Markdown page shows."""
        directory.mkdir(parents=True, exist_ok=True)
        for section in self.sections:
            for block in section.blocks:
                if isinstance(block, Figure):
                    (directory / f"{block.name}.svg").write_text(block.svg)
        (directory / "index.html").write_text(self.html())
        (directory / "report.md").write_text(self.markdown())

    def html(self) -> str:
        parts = []
        for section in filter(lambda s: s.blocks, self.sections):
            blocks = "\n".join(map(_html, section.blocks))
            parts.append(f"<section>\n<h2>{escape(section.heading)}</h2>\n{blocks}\n</section>")
        return _TEMPLATE.substitute(title=escape(self.title), body="\n".join(parts))

    def markdown(self) -> str:
        parts = [f"# {self.title}"]
        for section in filter(lambda s: s.blocks, self.sections):
            parts += [f"## {section.heading}", *map(_markdown, section.blocks)]
        return "\n\n".join(parts) + "\n"


def _html(block: Block) -> str:
    match block:
        case Text():
            mark = ' class="warning"' if block.warning else ""
            return f"<p{mark}>{escape(block.text)}</p>"
        case Table():
            head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in block.head)
            rows = "\n".join(
                f'<tr><th scope="row">{escape(row[0])}</th>'
                + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
                + "</tr>"
                for row in block.rows
            )
            return (
                '<div class="scroll"><table>\n'
                f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>"
            )
        case Figure():
            return (
                f"<figure>\n{_inline(block)}\n"
                f"<figcaption>{escape(block.caption)}</figcaption>\n</figure>"
            )


def _inline(figure: Figure) -> str:
    """The image as an element: no XML prologue, its name for screen readers, its ids its own."""
    svg = figure.svg[figure.svg.index("<svg") :].strip()
    svg = _NAMESPACE.sub("", svg).replace("xlink:href", "href")
    svg = _ID.sub(rf"\g<1>{figure.name}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(figure.alt)}"', 1)


def _markdown(block: Block) -> str:
    match block:
        case Text():
            return f"**{block.text}**" if block.warning else block.text
        case Table():
            return "\n".join(markdown_table(block.head, block.rows))
        case Figure():
            return f"![{block.alt}]({block.name}.svg)\n\n{block.caption}"


def present(*blocks: Block | None) -> list[Block]:
    """Those that there are."""
    return [block for block in blocks if block is not None]


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    lines = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return [f"| {' | '.join(line)} |" for line in lines]

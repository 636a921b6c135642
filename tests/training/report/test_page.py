"""Pages: well-formed, self-contained, the same bytes each time, readable without the images."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

from training.report.canvas import drawing
from training.report.page import Figure, Page, Section, Table, Text, markdown_table

VOID = {"meta", "link", "br", "img", "hr"}


class Checker(HTMLParser):
    """Open elements, ids, and every attribute that could load something."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.loads, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "data", "srcset", "action"):
                self.loads.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop() == tag


def check_html(text):
    """The page is whole by itself, its ids are its own and what they point to is there."""
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert len(set(checker.ids)) == len(checker.ids)
    assert all(load.startswith("#") for load in checker.loads), checker.loads
    assert {load[1:] for load in checker.loads} <= set(checker.ids)
    assert {*re.findall(r"url\(#([^)]*)\)", text)} <= set(checker.ids)
    assert "http" not in text
    assert not {"script", "link", "iframe", "img", "object"} & set(checker.tags)
    return checker


def _figure(name):
    with drawing(2) as drawn:
        for axes in drawn.panels:
            axes.plot([0, 1], [1, 3], label="one", marker="o")
            axes.legend()
    return Figure(name, drawn.svg, 'Two "lines" & more', "A caption")


def _page():
    return Page(
        "A < B",
        [
            Section("Words", [Text("a & b"), Text("careful", warning=True)]),
            Section("Empty", []),
            Section("Numbers", [Table(["", "x|y"], [["a|b", "1"]]), _figure("f"), _figure("g")]),
        ],
    )


def test_the_html_page_is_well_formed_and_loads_nothing():
    page = _page().html()
    checker = check_html(page)
    assert checker.tags.count("svg") == 2
    assert "<title>A &lt; B</title>" in page
    assert 'aria-label="Two &quot;lines&quot; &amp; more"' in page
    assert '<p class="warning">careful</p>' in page
    assert "Empty" not in page
    assert '<th scope="row">a|b</th><td>1</td>' in page


def test_the_same_page_is_the_same_bytes_without_a_date(tmp_path):
    _page().write(tmp_path / "a")
    _page().write(tmp_path / "b")
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert names == ["f.svg", "g.svg", "index.html", "report.md"]
    for name in names:
        content = (tmp_path / "a" / name).read_bytes()
        assert content == (tmp_path / "b" / name).read_bytes(), name
        assert b"dc:date" not in content
    ElementTree.parse(tmp_path / "a" / "f.svg")


def test_the_markdown_page_shows_the_images_beside_it(tmp_path):
    text = _page().markdown()
    assert '![Two "lines" & more](f.svg)\n\nA caption\n' in text
    assert "**careful**" in text
    assert "## Empty" not in text
    assert "|  | x\\|y |\n| --- | --- |\n| a\\|b | 1 |" in text


def test_a_markdown_cell_keeps_its_bars():
    assert markdown_table(["P(a | b)"], [["1"]]) == ["| P(a \\| b) |", "| --- |", "| 1 |"]

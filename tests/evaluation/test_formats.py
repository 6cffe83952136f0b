"""One table in four formats: the same cells, escaped, with the commands of those that are empty."""

import csv
import html
import io
import re

import pytest

from jaxsdgm.evaluation.formats import (
    Entry,
    Grid,
    as_csv,
    as_latex,
    as_markdown,
    escape_latex,
    write_grids,
)
from tests.evaluation.test_report import Page

ODD = ["a | b", "50% & <UNK>", r"\x_{1}^2 ~ $#", "“ein, zwei”\t*drei*", "[7]", "2019"]
COMMAND = "python -m jaxsdgm.main --config=configs/some_file.py:en,32"


def grid():
    words = [[Entry(word), Entry("63.9"), Entry("", COMMAND)] for word in ODD]
    rows = [*words, [Entry("last"), Entry("", "other"), Entry("", COMMAND)]]
    return Grid("odd", "An odd & a | table", ("word", "paper", "here"), rows, 1, "A 5% note.")


def from_markdown(text):
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [re.split(r"(?<!\\) \| ", line[2:-2]) for line in lines]
    return [[re.sub(r"\\(.)", r"\1", cell) for cell in row] for row in rows[:1] + rows[2:]]


def from_latex(text):
    body = text.split(r"\begin{tabular}")[1].split(r"\end{tabular}")[0]
    rows = [line[:-3] for line in body.splitlines() if line.endswith(r" \\")]
    signs = {escape_latex(sign): sign for sign in "&%$#_{}\\~^<>[]"}
    pattern = "|".join(re.escape(sign) for sign in sorted(signs, key=len, reverse=True))
    plain = lambda cell: re.sub(pattern, lambda found: signs[found.group()], cell)
    return [[plain(cell) for cell in re.split(r"(?<!\\) & ", row)] for row in rows]


def from_html(text):
    rows = re.findall(r"<tr>(.*?)</tr>", text)
    return [
        [html.unescape(x) for x in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)] for row in rows
    ]


def test_all_formats_agree(tmp_path):
    page = write_grids(tmp_path, "page", [grid()], title="Odd", about="About.")
    expected = [list(grid().head), *grid().texts]
    assert expected[1] == ["a | b", "63.9", "[1]"]
    assert expected[-1] == ["last", "[2]", "[1]"]
    assert from_html(page.read_text("utf-8")) == expected
    assert from_markdown((tmp_path / "page.md").read_text("utf-8")) == expected
    assert from_latex((tmp_path / "tables" / "odd.tex").read_text("utf-8")) == expected
    with (tmp_path / "tables" / "odd.csv").open(encoding="utf-8", newline="") as stream:
        rows = [*csv.reader(stream)]
    full = {"[1]": COMMAND, "[2]": "other"}  # only a table's own numbers, not the odd word
    assert rows[0] == expected[0]
    for found, row in zip(rows[1:], expected[1:], strict=True):
        assert found == [row[0], *(full.get(text, text) for text in row[1:])]


def test_commands_are_named_once_and_whole():
    assert grid().commands == [COMMAND, "other"]
    assert f"1. `{COMMAND}`\n2. `other`\n" in as_markdown(grid())
    assert r"\item \texttt{" + escape_latex(COMMAND) + "}" in as_latex(grid())
    assert COMMAND in as_csv(grid())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("M1+M2, 50%", r"M1+M2, 50\%"),
        ("a_b & c#d $e {f}", r"a\_b \& c\#d \$e \{f\}"),
        ("\\ ~ ^", r"\textbackslash{} \textasciitilde{} \textasciicircum{}"),
        ("<UNK> [1]", r"\textless{}UNK\textgreater{} {[}1{]}"),
        ("für das", "für das"),
    ],
)
def test_latex_escapes(text, expected):
    assert escape_latex(text) == expected


def test_latex_is_balanced():
    text = as_latex(grid())
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    assert [*re.findall(r"\\begin\{(\w+)\}", text)] == ["table", "tabular", "enumerate"]
    assert r"\begin{tabular}{lrr}" in text


def test_words_are_wrapped_and_have_no_commands():
    words = Grid("w", "Words", ("z2", "class", "words"), [[Entry("a"), Entry("b"), Entry("c")]], 3)
    assert r"{p{0.2\textwidth}lp{0.55\textwidth}}" in as_latex(words)
    assert "enumerate" not in as_latex(words)
    assert as_markdown(words).endswith("| a | b | c |\n")


def test_the_page_is_whole_and_links_the_files(tmp_path):
    page = Page(write_grids(tmp_path, "page", [grid()], title="<Odd>").read_text("utf-8"))
    assert page.addresses == ["tables/odd.csv", "tables/odd.tex"]
    assert all((tmp_path / address).exists() for address in page.addresses)
    assert "<Odd>" in page.text
    assert COMMAND in page.text


def test_csv_of_no_rows():
    empty = Grid("e", "Empty", ("a", "b"), [], 1)
    assert [*csv.reader(io.StringIO(as_csv(empty)))] == [["a", "b"]]

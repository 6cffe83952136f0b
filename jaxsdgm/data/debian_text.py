"""Package descriptions as text: paragraphs and blocks, words, sentences, and their language."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

_CJK = re.compile(
    "[\u2e80-\u2fdf\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef]"
)
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_IDEOGRAPH = re.compile(f"[{_IDEOGRAPHS}]")
_CYRILLIC = re.compile("[\u0400-\u04ff]")
_WORD = re.compile(r"[^\W_]+")
# The kana block has marks that are no letters (the middle dot): they part words like any other.
_LETTERS = "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_TOKEN = re.compile(rf"[{_LETTERS}]|[^\W_{_LETTERS}]+")
_DIGIT = re.compile(r"\d")
_BULLET = re.compile(r"([*+\-o•·–]|\d{1,2}[.)])\s+")
_BOUNDARY = re.compile(
    r"(?<=[.!?])[\"')\]»”]*\s+(?=[\"'(«„“]?[A-ZÀ-ÞА-ЯЁ0-9])"  # before a capital or a number
    r"|(?<=[。!?！？])"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|resp|approx|incl|dr|mr|no|fig|bzw|ca|ggf|usw|vgl|z\.\s?b|d\.\s?h"
    r"|u\.\s?a|o\.\s?ä|p\.\s?ex|c\.-à-d|env|т\.\s?д|т\.\s?п|т\.\s?е|т\.\s?к|др|inc|ltd|st|v|ver)"
    r"|\b[a-zа-я])\.$",
    re.IGNORECASE,
)
#: Frequent function words, by which a text betrays its language.
_FUNCTION_WORDS = {
    "en": "the and of to is for with in this that a it can as by are from on or",
    "de": "der die das und ist für mit von ein eine zu den auf im es kann werden dieses",
    "fr": "le la les et est pour avec de des un une du à en ce dans qui par sur",
    "it": "il la i e è per con di un una del che in gli sono da come alla questo",
    "es": "el la los y es para con de un una del que en las por como se su este",
    "da": "og er for med af en et til der det den som i kan på fra denne eller",
}
_STOP = {language: frozenset(words.split()) for language, words in _FUNCTION_WORDS.items()}


def tokens(text: str) -> list[str]:
    """Lower-cased words; every ideograph or kana counts as one."""
    return _TOKEN.findall(text.lower())


def digits_to_zero(text: str) -> str:
    """Every Unicode digit as `0`, so that versions and years are one word each."""
    return _DIGIT.sub("0", text)


def join_lines(left: str, right: str) -> str:
    """Undoes a line break: a space, but none between two CJK characters."""
    if not left or not right:
        return left or right
    glue = "" if _CJK.match(left[-1]) and _CJK.match(right[0]) else " "
    return left + glue + right


def _blocks(lines: Iterable[str]) -> Iterator[str]:
    """The blocks of one paragraph: runs of flowing text, and list items without their marker.

    An indented line continues a list item and flows into nothing else; one that is not
    indented ends the item.
    """
    block, in_item = "", False
    for line in lines:
        text = line.strip()
        bullet = _BULLET.match(text)
        indented = line[0] in " \t"
        if block and not bullet and in_item == indented:
            block = join_lines(block, text)
            continue
        if block:
            yield block
        block, in_item = (text[bullet.end() :], True) if bullet else (text, False)
    yield block


def paragraphs(description: str) -> tuple[str, list[list[str]]]:
    """Splits a description of apt's lists into its short line and its paragraphs of blocks.

    The long text is indented by one space, deeper for what must not be re-flowed; a line of
    one full stop ends a paragraph (Debian Policy, 5.6.13).
    """
    short, *lines = description.split("\n")
    bodies = (line[1:] if line[:1] in (" ", "\t") else line for line in lines)
    pieces = groupby(bodies, key=lambda body: body.strip() in ("", "."))
    squeeze = lambda text: " ".join(text.split())
    long = [[squeeze(block) for block in _blocks(piece)] for blank, piece in pieces if not blank]
    return squeeze(short), long


def mask(block: str, names: Iterable[str]) -> str:
    """The words of a block with its package's names hidden: what boilerplate has in common."""
    text = block.lower()
    for name in names:
        if len(name) > 2:
            text = text.replace(name, "@")
    return " ".join(_WORD.findall(digits_to_zero(text)))


def _is_abbreviated(piece: str) -> bool:
    text = piece.rstrip("\"')]»” ")
    return _ABBREVIATION.search(text, len(text) - 12) is not None  # none is longer than 12


def sentences(block: str) -> list[str]:
    """Splits a block after `.`, `!`, `?` and their wide forms, but not after abbreviations."""
    found: list[str] = []
    start = 0
    for boundary in _BOUNDARY.finditer(block):
        piece = block[start : boundary.end()].strip()
        if piece and not _is_abbreviated(piece):
            found.append(piece)
            start = boundary.end()
    rest = block[start:].strip()
    return [*found, rest] if rest else found


def has_words(text: str) -> bool:
    """Whether a text has any letter or digit."""
    return _WORD.search(text) is not None


def looks_like(language: str, text: str) -> bool:
    """A cheap check that a text is in its language, not left in English.

    By script for Russian, Chinese and Japanese; by function words otherwise.
    """
    if language == "en":
        return True
    letters = sum(map(str.isalpha, text)) or 1
    if language == "ru":
        return len(_CYRILLIC.findall(text)) / letters > 0.4
    if language.startswith(("zh", "ja")):
        return len(_IDEOGRAPH.findall(text)) / letters > 0.25
    words, stop = tokens(text), _STOP[language]
    english_only = _STOP["en"] - stop
    own = sum(word in stop for word in words)
    english = sum(word in english_only for word in words)
    return own > 2 * english and own >= 1

"""Pretraining text from descriptions: aligned sentence pairs and sentences of one language."""

from collections.abc import Container, Iterable, Iterator, Mapping

from jaxsdgm.data.debian_clusters import hash_order
from jaxsdgm.data.debian_descriptions import Description
from jaxsdgm.data.debian_documents import Document
from jaxsdgm.data.debian_text import has_words, sentences, tokens

#: A description more of which than this is still English gives no sentences.
MAX_ENGLISH = 0.5
#: Length of one side over that of the other, at most.
MAX_RATIO = 2.5


def _eight_grams(text: str) -> set[str]:
    words = tokens(text)
    return {" ".join(words[i : i + 8]) for i in range(len(words) - 7)}


class HeldOut:
    """The dev and test documents of one language, whose sentences must not be trained on.

    A sentence is held out when it equals one of theirs, ignoring case; `strict` also catches
    one of which half the word 8-grams or more occur in such a document.
    """

    def __init__(self, documents: Iterable[Document], *, strict: bool) -> None:
        texts = [document.text for document in documents]
        self.whole = {sentence.lower() for text in texts for sentence in sentences(text)}
        self.grams = {gram for text in texts for gram in _eight_grams(text)} if strict else set()

    def __contains__(self, sentence: str) -> bool:
        if sentence.lower() in self.whole:
            return True
        grams = _eight_grams(sentence) if self.grams else set()
        return bool(grams) and 2 * len(grams & self.grams) >= len(grams)


def _aligned_blocks(one: Description, two: Description) -> Iterator[tuple[str, str]]:
    """Titles, then the blocks of paragraphs with equally many, if the paragraphs are as many."""
    yield one.title, two.title
    if len(one.paragraphs) == len(two.paragraphs):
        for left, right in zip(one.paragraphs, two.paragraphs, strict=True):
            if len(left) == len(right):
                yield from zip(left, right, strict=True)


def _aligned_sentences(one: Description, two: Description) -> Iterator[tuple[str, str]]:
    """Sentences of blocks with equally many; else the two blocks whole."""
    for left, right in _aligned_blocks(one, two):
        lefts, rights = sentences(left), sentences(right)
        if len(lefts) == len(rights):
            yield from zip(lefts, rights, strict=True)
        else:
            yield left, right


def _is_translation(one: str, two: str) -> bool:
    ratio = (len(one) + 5) / (len(two) + 5)
    return one != two and 1 / MAX_RATIO <= ratio <= MAX_RATIO and has_words(one)


def sentence_pairs(
    descriptions: Mapping[str, Description],
    *,
    english: Mapping[str, Description],
    banned: Container[str],
    held_out: HeldOut,
    held_out_english: HeldOut,
) -> list[tuple[str, str]]:
    """Distinct (sentence, English sentence) pairs in hash order.

    Args:
      descriptions, english: the two languages' descriptions, by md5.
      banned: md5 of the descriptions not to be read.
      held_out, held_out_english: sentences that neither side may hold.
    """
    pairs = {
        pair
        for md5, description in descriptions.items()
        if md5 in english and md5 not in banned
        for pair in _aligned_sentences(description, english[md5])
        if _is_translation(*pair)
    }
    free = [(one, two) for one, two in pairs if one not in held_out and two not in held_out_english]
    return hash_order(free, key=lambda pair: pair[1] + "\t" + pair[0])


def single_sentences(
    descriptions: Mapping[str, Description], *, banned: Container[str], held_out: HeldOut
) -> list[str]:
    """Distinct sentences of three words or more, in hash order; arguments as `sentence_pairs`."""
    found = {
        sentence
        for md5, description in descriptions.items()
        if md5 not in banned and description.english_share <= MAX_ENGLISH
        for block in [description.short, *description.kept]
        for sentence in sentences(block)
    }
    free = [s for s in found if len(tokens(s)) >= 3 and s not in held_out]
    return hash_order(free, key=lambda sentence: sentence)

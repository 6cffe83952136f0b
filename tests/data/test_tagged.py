"""Sentences with tags: the formats, their errors, spans, and the corpora."""

import pytest
from ml_collections import ConfigDict

from configs import vsl_conll2003, vsl_twitter, vsl_ud
from jaxsdgm.data import tagged
from jaxsdgm.data.tagged import (
    load_tagged,
    read_columns,
    read_conllu,
    read_tokens,
    to_bioes,
    without_digits,
)
from jaxsdgm.errors import UserError

CONLLU = """# text = Zum Haus
1-2\tZum\t_\t_\t_\t_\t_\t_\t_\t_
1\tZu\tzu\tADP\t_\t_\t_\t_\t_\t_
2\tdem\tder\tDET\t_\t_\t_\t_\t_\t_
2.1\tleer\t_\tX\t_\t_\t_\t_\t_\t_
3\tHaus a\tHaus\tNOUN\t_\t_\t_\t_\t_\t_

1\tJa\tja\tINTJ\t_\t_\t_\t_\t_\t_"""


def written(tmp_path, text, name="some.conllu"):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_conllu(tmp_path):
    """Ranges and empty nodes are no tokens; the last sentence needs no empty line after it."""
    found = read_conllu(written(tmp_path, CONLLU))
    assert found.words == (("Zu", "dem", "Haus a"), ("Ja",))
    assert found.tags == (("ADP", "DET", "NOUN"), ("INTJ",))
    assert found.tokens == 4
    assert read_conllu(written(tmp_path, CONLLU + "\n\n\n")) == found


def test_conllu_without_tags(tmp_path):
    text = CONLLU
    for tag in ("ADP", "DET", "NOUN", "INTJ"):
        text = text.replace(f"\t{tag}\t", "\t_\t")
    assert read_conllu(written(tmp_path, text)).tags is None


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("3\tHaus a\tHaus\tNOUN\t_", "3\tHaus a\tHaus\tNOUN", "some.conllu:6: 9 columns instead"),
        ("3\tHaus", "drei\tHaus", "some.conllu:6: 'drei' is no token id"),
        ("\tHaus a\t", "\t\t", "some.conllu:6: a token without a form"),
        ("INTJ", "_", "sentence 2 has a token without a tag"),
        (CONLLU, "# nothing\n\n", "no sentence with a token"),
    ],
)
def test_bad_conllu(tmp_path, old, new, match):
    assert old in CONLLU
    with pytest.raises(UserError, match=match):
        read_conllu(written(tmp_path, CONLLU.replace(old, new)))


def test_columns(tmp_path):
    text = "-DOCSTART- -X- O O\n\nEU NNP I-NP I-ORG\nrejects VBZ I-VP O\n\nGerman JJ I-NP I-MISC\n"
    found = read_columns(written(tmp_path, text))
    assert found.words == (("EU", "rejects"), ("German",))
    assert found.tags == (("I-ORG", "O"), ("I-MISC",))
    assert read_columns(written(tmp_path, "a\tN\nb\tV\n\n")).tags == (("N", "V"),)
    with pytest.raises(UserError, match=r"some.conllu:4: 2 columns instead of the 4 of the lines"):
        read_columns(written(tmp_path, text.replace(" VBZ I-VP", "")))
    with pytest.raises(UserError, match=r":1: 1 columns instead of a word and a tag"):
        read_columns(written(tmp_path, "word\n"))


def test_tokens(tmp_path):
    path = written(tmp_path, "a b  c\nd\ne f\n")
    assert read_tokens(path).words == (("a", "b", "c"), ("d",), ("e", "f"))
    assert len(read_tokens(path, most=2)) == 2
    with pytest.raises(UserError, match=r":2: a sentence without a token; remove the line"):
        read_tokens(written(tmp_path, "a\n \nb\n"))
    with pytest.raises(UserError, match="no sentence; it is empty"):
        read_tokens(written(tmp_path, ""))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("I-PER I-PER O I-LOC", "B-PER E-PER O S-LOC"),  # IOB1
        ("I-PER B-PER I-PER I-PER", "S-PER B-PER I-PER E-PER"),
        ("I-PER I-LOC", "S-PER S-LOC"),
        ("B-PER I-PER O B-LOC", "B-PER E-PER O S-LOC"),  # IOB2
        ("B-PER B-PER", "S-PER S-PER"),
        ("S-PER O B-LOC E-LOC", "S-PER O B-LOC E-LOC"),  # BIOES
        ("O O", "O O"),
    ],
)
def test_bioes(given, wanted):
    assert to_bioes(given.split()) == tuple(wanted.split())


def test_digits():
    assert without_digits("a1999-²b") == "a0000-0b"


# -- corpora -------------------------------------------------------------------------------------


def of_config(config, tmp_path, **fields):
    config.data.dir = str(tmp_path)
    config.data.update(fields)
    return load_tagged(config.data)


def test_ud(tmp_path):
    for split in ("train", "dev", "test"):
        written(tmp_path, CONLLU, f"de_gsd-ud-{split}.conllu")
    corpus = of_config(vsl_ud.get_config("german,hier"), tmp_path)
    assert corpus.tag_names == ("ADP", "DET", "INTJ", "NOUN")
    assert not corpus.entities
    written(tmp_path, CONLLU, "fr_gsd-ud-dev.conllu")
    with pytest.raises(UserError, match="all look like"):
        of_config(vsl_ud.get_config(), tmp_path)


def test_twitter(tmp_path):
    for name in ("oct27.splits/oct27.traindev", "oct27.splits/oct27.test", "daily547.conll"):
        written(tmp_path, "@me\t@\nhi\t!\n\nyes\t!\n", name)
    unlabelled = written(tmp_path, "so what\nno\n", "raw.txt")
    fields = {"unlabelled": str(unlabelled), "unlabelled_count": 1}
    corpus = of_config(vsl_twitter.get_config("hier"), tmp_path, **fields)
    assert corpus.splits["unlabelled"].words == (("so", "what"),)
    assert corpus.tag_names == ("!", "@")


def test_conll2003(tmp_path):
    for name in ("eng.train", "eng.testa", "eng.testb"):
        written(tmp_path, "EU NNP I-NP I-ORG\n1996 CD I-NP O\n", name)
    corpus = of_config(vsl_conll2003.get_config("hier"), tmp_path)
    assert corpus.entities
    assert corpus.splits["train"].words == (("EU", "0000"),)
    assert corpus.splits["train"].tags == (("S-ORG", "O"),)
    written(tmp_path, "EU NNP I-NP X-ORG\n", "eng.testa")
    with pytest.raises(UserError, match=r"eng.testa: sentence 1 has the tag 'X-ORG'"):
        of_config(vsl_conll2003.get_config("hier"), tmp_path)


class Names:
    feature = property(lambda self: self)

    def int2str(self, number):
        return ("NOUN", "VERB", "_")[number]


def test_tfds(monkeypatch):
    """A range's row is no token."""
    rows = [{"tokens": [b"Zum", b"geht's"], "upos": [2, 1]}]
    monkeypatch.setattr(tagged, "tfds_rows", lambda name, split: (rows, {"upos": Names()}))
    corpus = load_tagged(vsl_ud.get_config("german,hier").data)
    assert corpus.splits["test"] == tagged.Sentences((("geht's",),), (("VERB",),))
    config = vsl_ud.get_config("german,hier")
    config.data.language = "en"
    with pytest.raises(UserError, match="config.data.language is 'en'; use one of fr, de"):
        load_tagged(config.data)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"source": "web"}, "config.data.source is 'web'; to tag words use one of ud, twitter"),
        ({"source": "files"}, "config.data.train is empty; name the file"),
        ({"source": "twitter"}, "TFDS has no 'twitter'"),
        ({"dir": "/nowhere"}, "/nowhere: no such directory"),
    ],
)
def test_bad_fields(fields, match):
    data = ConfigDict(vsl_ud.get_config().data)
    data.update(fields)
    with pytest.raises(UserError, match=match):
        load_tagged(data)


def test_untagged_splits(tmp_path):
    written(tmp_path, CONLLU, "a.train.conllu")
    fields = {
        "source": "files",
        **dict.fromkeys(("train", "dev"), str(tmp_path / "a.train.conllu")),
    }
    bare = CONLLU
    for tag in ("ADP", "DET", "NOUN", "INTJ"):
        bare = bare.replace(f"\t{tag}\t", "\t_\t")
    fields["test"] = str(written(tmp_path, bare, "b.conllu"))
    config = vsl_ud.get_config()
    config.data.update(fields)
    with pytest.raises(UserError, match=r"b.conllu: no tags; test needs tagged sentences"):
        load_tagged(config.data)

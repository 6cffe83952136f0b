"""A hand-made archive with a worked-out corpus, and the text rules one by one."""

import hashlib
import json
from pathlib import Path

import pytest

from jaxsdgm.data import debian
from jaxsdgm.data.debian_clusters import clusters, four_grams, split_of, unit_hash
from jaxsdgm.data.debian_descriptions import parse_descriptions
from jaxsdgm.data.debian_documents import (
    Document,
    balanced,
    labelled_sources,
    without_near_duplicates,
)
from jaxsdgm.data.debian_pretraining import HeldOut
from jaxsdgm.data.debian_text import looks_like, mask, paragraphs, sentences, tokens
from jaxsdgm.errors import UserError

SECTIONS = {"DEVEL": "python", "GAMES": "games", "MEDIA": "sound", "NET": "net"}


def letters(number: int, prefix: str) -> str:
    """A word that no other text has."""
    return prefix + "".join(chr(ord("a") + int(digit)) for digit in str(number))


def english(i: int) -> str:
    words = " ".join(letters(i * 20 + k, "w") for k in range(20))
    return f"Title {letters(i, 't')}\n Tool {words} of the user.\n It runs {letters(i, 'r')} well."


def german(i: int) -> str:
    words = " ".join(letters(i * 20 + k, "v") for k in range(20))
    return f"Titel {letters(i, 's')}\n Programm {words} und für die Leute.\n Es läuft gut."


def write_lists(folder: Path, n: int = 48) -> Path:
    """An archive of `n` packages, the four labels in turn; every other one is translated."""
    packages, en, de = [], [], []
    for i in range(n):
        section = list(SECTIONS.values())[i % 4]
        name = letters(i, "p")
        packages.append(f"Package: {name}\nSection: {section}\nDescription-md5: {i:032x}\n")
        en.append(f"Package: {name}\nDescription-md5: {i:032x}\nDescription-en: {english(i)}\n")
        if i % 8 < 4:
            de.append(f"Package: {name}\nDescription-md5: {i:032x}\nDescription-de: {german(i)}\n")
    folder.mkdir()
    prefix = folder / "mirror_dists_bookworm_main_"
    Path(f"{prefix}binary-amd64_Packages").write_text("\n".join(packages))
    Path(f"{prefix}i18n_Translation-en").write_text("\n".join(en))
    Path(f"{prefix}i18n_Translation-de").write_text("\n".join(de))
    return folder


@pytest.fixture
def lists(tmp_path) -> Path:
    return write_lists(tmp_path / "lists")


def build(lists: Path, out: Path, **options) -> dict:
    return debian.build_corpus(out, lists=lists, languages=["en", "de"], pretrain=["de"], **options)


def snapshot(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_hand_made_archive(lists, tmp_path):
    """No two texts are alike: each is its own cluster, and its split the hash of its name."""
    statistics = build(lists, tmp_path / "out")
    assert statistics["clusters"] == statistics["sources_in_classes"] == 48
    assert statistics["languages"]["english"]["pool"] == 48
    assert statistics["languages"]["german"]["pool"] == 24
    split = {}
    for i in range(48):
        salted = f"jaxsdgm-debian-1:split:{letters(i, 'p')}".encode()
        value = int.from_bytes(hashlib.sha256(salted).digest()[:7], "big") / 2**56
        split[i] = "train" if value < 0.45 else "dev" if value < 0.6 else "test"
    texts = {}
    for part in ("train.1000", "dev", "test", "rest"):
        for line in (tmp_path / f"out/cls/english.{part}").read_text().splitlines():
            label, text = line.split("\t")
            texts[text] = (label, "train" if part == "rest" else part.split(".")[0])
    for i in range(48):
        expected = f"{english(i).split(chr(10))[0]}. " + english(i).split("\n", 1)[1][1:]
        expected = expected.replace("\n ", " ")
        if split[i] == "train":
            assert texts.pop(expected) == (list(SECTIONS)[i % 4], "train")
        else:  # balancing may leave it out
            assert texts.pop(expected, (list(SECTIONS)[i % 4], split[i]))[1] == split[i]
    assert not texts
    german_train = [i for i in range(48) if i % 8 < 4 and split[i] == "train"]
    pairs = (tmp_path / "out/pretrain/debian.de-en.de").read_text().splitlines()
    titles = {german(i).split("\n")[0] for i in german_train}
    assert {pair for pair in pairs if pair.startswith("Titel")} == titles


def test_ids_name_every_document(lists, tmp_path):
    build(lists, tmp_path / "out")
    rows = [line.split("\t") for line in (tmp_path / "out/cls/german.ids").read_text().splitlines()]
    for part, number, package, source, md5 in rows:
        line = (tmp_path / f"out/cls/german.{part}").read_text().splitlines()[int(number)]
        assert german(int(md5, 16)).split("\n")[0] in line
        assert package == source == letters(int(md5, 16), "p")


def test_same_lists_same_bytes(lists, tmp_path):
    statistics = build(lists, tmp_path / "one")
    build(lists, tmp_path / "two")
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")
    assert json.loads((tmp_path / "one/stats.json").read_text()) == statistics
    assert not list(tmp_path.glob(".*"))


def test_a_failed_build_leaves_nothing(lists, tmp_path, monkeypatch):
    def broken(statistics):
        raise RuntimeError("killed")

    monkeypatch.setattr(debian, "markdown", broken)
    with pytest.raises(RuntimeError):
        build(lists, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["lists"]


def test_what_a_killed_build_left_is_removed(lists, tmp_path):
    (tmp_path / ".out.partial/cls").mkdir(parents=True)
    (tmp_path / ".out.partial/cls/junk").write_text("")
    build(lists, tmp_path / "out")
    assert not (tmp_path / "out/cls/junk").exists()


def test_an_existing_directory_is_kept(lists, tmp_path):
    with pytest.raises(UserError, match="lists: exists already"):
        build(lists, lists)
    assert len(list(lists.iterdir())) == 3


@pytest.mark.parametrize(
    ("languages", "pretrain", "message"),
    [
        (["en", "xx"], [], "language 'xx': expected one of en, de"),
        (["de"], [], "'en' is missing"),
        (["en", "de"], ["fr"], "pretrain 'fr'"),
    ],
)
def test_languages_are_checked_first(tmp_path, languages, pretrain, message):
    with pytest.raises(UserError, match=message):
        debian.build_corpus(tmp_path / "out", languages=languages, pretrain=pretrain)


def test_command_line(lists, tmp_path, capsys):
    arguments = f"--out {tmp_path}/out --lists {lists} --languages en de --pretrain de --compress"
    assert debian.main(arguments.split()) == 0
    assert "| english train.1000 |" in capsys.readouterr().out
    assert (tmp_path / "out/cls/english.dev.xz").exists()
    assert debian.main(arguments.split()) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_sources_with_the_same_text_are_one_cluster(lists):
    index = lists / "mirror_dists_bookworm_main_binary-amd64_Packages"
    index.write_text(
        index.read_text() + f"\nPackage: aaa\nSection: games\nDescription-md5: {1:032x}\n"
    )
    archive = debian.read_lists(lists, ["en"])
    parsed = parse_descriptions(archive, "en")
    found = clusters(labelled_sources(archive, parsed), parsed, archive=archive, strict=False)
    assert found[letters(1, "p")] == found["aaa"] == "aaa"
    assert found[letters(2, "p")] == letters(2, "p")


def test_paragraphs():
    text = "Short  line\n One\n two.\n .\n List:\n  * first\n    goes on\n  * second\n After."
    assert paragraphs(text) == (
        "Short line",
        [["One two."], ["List:", "first goes on", "second", "After."]],
    )


def test_sentences_and_tokens():
    text = "Reads e.g. Files. It works! 好。再见。"
    assert sentences(text) == ["Reads e.g. Files.", "It works!", "好。", "再见。"]
    assert tokens("Ein TEXT_2 漢字ab") == ["ein", "text", "2", "漢", "字", "ab"]
    assert tokens("ア・イー") == ["ア", "イ", "ー"]
    assert mask("The Gimp 2.10 plug-in", ["gimp"]) == "the 0 00 plug in"


def test_looks_like():
    assert looks_like("de", "Ein Programm für die Leute und das Haus")
    assert not looks_like("de", "A program for the people and the house")
    assert looks_like("ru", "Программа для игры")
    assert not looks_like("zh_CN", "A program")


def test_hashes_and_grams():
    assert 0 <= unit_hash("x") < 1
    assert {split_of(str(i)) for i in range(50)} == {"train", "dev", "test"}
    assert four_grams("a b c d e".split()) == {"a b c d", "b c d e"}
    assert four_grams(["a", "b"]) == {"a b"}


def _document(label: str, text: str) -> Document:
    return Document(text, "p", "s", label, text, text)


def test_balanced_keeps_classes_within_half_again_of_the_smallest():
    counts = {"DEVEL": 9, "GAMES": 2, "MEDIA": 3, "NET": 5}
    pool = [_document(label, f"{label}{i}") for label, n in counts.items() for i in range(n)]
    chosen = [doc.label for doc in balanced(pool, 100)]
    assert {label: chosen.count(label) for label in counts} == {
        "DEVEL": 3,
        "GAMES": 2,
        "MEDIA": 3,
        "NET": 3,
    }
    assert len(balanced(pool, 6)) == 6


def test_near_duplicates_are_dropped():
    one, two = _document("NET", "a b c d e f g"), _document("NET", "a b c d e f x y")
    other = _document("NET", "q r s t u v w")
    assert without_near_duplicates([one, two, other]) == [one, other]


def test_held_out_sentences():
    words = "one two three four five six seven eight nine ten"
    loose = HeldOut([_document("NET", f"Short one. {words.capitalize()}.")], strict=False)
    strict = HeldOut([_document("NET", f"Short one. {words.capitalize()}.")], strict=True)
    assert "SHORT one." in loose
    assert f"{words} eleven" not in loose
    assert f"{words} eleven" in strict
    assert "something else" not in strict

import lzma
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxsdgm.data import europarl
from jaxsdgm.data.europarl import prepare
from jaxsdgm.errors import UserError


def _write(directory, pair, sides, name="europarl-v7"):
    for language, lines in sides.items():
        text = "".join(line + "\n" for line in lines)
        (directory / f"{name}.{pair}.{language}").write_text(text, encoding="utf-8")


def _numbered(n):
    """Sentences that the "lower" normaliser leaves alone, recognisable by line."""
    return {"de": [f"satz d{i}" for i in range(n)], "en": [f"the line e{i}" for i in range(n)]}


def _ids(text, split):
    return [int(tokens[-1][1:]) for tokens in text.lines(split)]


def test_worked_example(tmp_path):
    english = ['Mr. Smith\'s "well-known" plan.', "...", "It cost 350 EUR!", "Yes, (yes)."]
    german = ["Herrn Smiths bekannter Plan.", "Nichts.", "Es kostete 350 EUR!", "Ja - ja."]
    _write(tmp_path, "de-en", {"de": german, "en": english})
    texts = prepare(tmp_path, ("en", "de"), tmp_path / "out")
    assert list(texts) == ["en", "de"]
    found = {c: set(t.train.read_text("utf-8").splitlines()) for c, t in texts.items()}
    dev = {c: t.dev.read_text("utf-8").splitlines() for c, t in texts.items()}
    assert all(len(lines) == 1 for lines in dev.values())
    # The second pair goes, because its English side is punctuation only.
    assert found["en"] | set(dev["en"]) == {
        "mr smith s well known plan",
        "it cost 000 eur",
        "yes yes",
    }
    assert found["de"] | set(dev["de"]) == {
        "herrn smiths bekannter plan",
        "es kostete 000 eur",
        "ja ja",
    }


@pytest.mark.parametrize("languages", [("de", "en"), ("en", "de")])
def test_dev_lines_are_shared_and_train_is_not_parallel(tmp_path, languages):
    _write(tmp_path, "de-en", _numbered(500))
    texts = prepare(tmp_path, languages, tmp_path / "out", normaliser="lower", dev_lines=30)
    dev = [_ids(texts[c], "dev") for c in languages]
    train = [_ids(texts[c], "train") for c in languages]
    assert dev[0] == dev[1] == sorted(dev[0])
    assert sorted(train[0] + dev[0]) == sorted(train[1] + dev[1]) == list(range(500))
    assert [texts[c].n_train for c in languages] == [470, 470]
    assert texts["de"].n_dev == 30
    # Two independent orders of 470 agree in about one place.
    assert sum(a == b for a, b in zip(*train, strict=True)) < 10
    assert sum(a == b for a, b in zip(train[0], sorted(train[0]), strict=True)) < 10


def test_aligned_lines_stay_aligned_and_are_shuffled(tmp_path):
    _write(tmp_path, "de-en", _numbered(100))
    fields = {"normaliser": "lower", "dev_lines": 10}
    texts = prepare(tmp_path, ("en", "de"), tmp_path / "out", aligned=True, **fields)
    for split in ("train", "dev"):
        assert _ids(texts["en"], split) == _ids(texts["de"], split)
    assert _ids(texts["en"], "train") != sorted(_ids(texts["en"], "train"))
    apart = prepare(tmp_path, ("en", "de"), tmp_path / "out", **fields)  # prepared anew
    assert _ids(apart["en"], "train") != _ids(apart["de"], "train")


def test_languages_that_are_not_aligned_with_each_other(tmp_path):
    _write(tmp_path, "de-en", _numbered(20))
    (tmp_path / "europarl-v7.fr-en.fr").write_text("un\n")
    (tmp_path / "europarl-v7.fr-en.en").write_text("one\n")
    with pytest.raises(UserError, match=r"europarl-v7\.de-fr.*aligned with each other"):
        prepare(tmp_path, ("de", "fr"), tmp_path / "out", aligned=True)


def test_dev_is_at_most_a_tenth(tmp_path):
    _write(tmp_path, "de-en", _numbered(50))
    texts = prepare(tmp_path, ("de", "en"), tmp_path / "out", normaliser="lower")
    assert (texts["en"].n_train, texts["en"].n_dev) == (45, 5)


def test_a_pair_without_files_goes_through_english_and_sizes_agree(tmp_path):
    _write(tmp_path, "de-en", _numbered(300))
    french = {"fr": [f"ligne f{i}" for i in range(200)], "en": ["x"] * 200}
    _write(tmp_path, "fr-en", french)
    texts = prepare(tmp_path, ("de", "fr"), tmp_path / "out", normaliser="lower")
    assert list(texts) == ["de", "fr"]
    assert {(text.n_train, text.n_dev) for text in texts.values()} == {(180, 20)}
    assert max(_ids(texts["de"], "train")) < 220  # cut before the shuffle


def test_lengths(tmp_path):
    lines = ["a " * (1 + i % 7) for i in range(101)]
    _write(tmp_path, "de-en", {"de": lines, "en": lines})
    text = prepare(tmp_path, ("de", "en"), tmp_path / "out", normaliser="lower")["en"]
    lengths = [len(tokens) for tokens in text.lines("train")]
    for q in (0, 25, 50, 90, 100):
        assert text.percentile(q) == int(np.percentile(lengths, q))


def test_finished_text_is_used_again_until_something_changes(tmp_path, monkeypatch):
    _write(tmp_path, "de-en", _numbered(100))

    def run(**options):
        return prepare(tmp_path, ("de", "en"), tmp_path / "out", normaliser="lower", **options)

    first = run()
    texts = first["de"].train.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(europarl, "_keep", None)  # reading again would fail
        assert run() == first
    assert run(seed=5)["de"].train.read_bytes() != texts
    again = run()
    assert again["de"].train.read_bytes() == texts
    again["de"].dev.unlink()
    assert run() == first
    _write(tmp_path, "de-en", _numbered(120))
    assert run()["de"].n_train == 108
    left = {"de.dev.txt", "de.train.txt", "en.dev.txt", "en.train.txt", "prepared.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == left


def test_an_interrupted_preparation_starts_over(tmp_path, monkeypatch):
    _write(tmp_path, "de-en", _numbered(100))
    monkeypatch.setattr(europarl, "_REPORT_EVERY", 10)

    def stop(lines):
        raise KeyboardInterrupt

    prepared = prepare(tmp_path, ("de", "en"), tmp_path / "whole", normaliser="lower")
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, ("de", "en"), tmp_path / "out", normaliser="lower", progress=stop)
    assert not (tmp_path / "out" / "prepared.json").exists()
    again = prepare(tmp_path, ("de", "en"), tmp_path / "out", normaliser="lower")
    assert again["en"].train.read_bytes() == prepared["en"].train.read_bytes()


def test_compressed_sides_and_other_names(tmp_path):
    _write(tmp_path, "de-en", _numbered(20), name="debian")
    plain = tmp_path / "debian.de-en.de"
    (tmp_path / "debian.de-en.de.xz").write_bytes(lzma.compress(plain.read_bytes()))
    plain.unlink()
    texts = prepare(tmp_path, ("de", "en"), tmp_path / "out", name="debian", normaliser="lower")
    assert texts["de"].n_train == 18


def test_bad_input(tmp_path):
    with pytest.raises(UserError, match=r"no files europarl-v7\.de-en\.\{de,en\}"):
        prepare(tmp_path, ("de", "en"), tmp_path / "out")
    _write(tmp_path, "de-en", {"de": ["a"] * 5, "en": ["a"] * 4})
    with pytest.raises(UserError, match=r"de:5: europarl-v7\.de-en\.en ends before"):
        prepare(tmp_path, ("de", "en"), tmp_path / "out")
    _write(tmp_path, "de-en", {"de": ["a", "."], "en": ["a", "b"]})
    with pytest.raises(UserError, match="fewer than two pairs"):
        prepare(tmp_path, ("de", "en"), tmp_path / "out")
    with pytest.raises(UserError, match="unknown normaliser 'x'"):
        prepare(tmp_path, ("de", "en"), tmp_path / "out", normaliser="x")
    (tmp_path / "europarl-v7.de-en.en").write_bytes(b"a\n\xff\n")
    with pytest.raises(UserError, match=r"europarl-v7\.de-en\.en:2: invalid UTF-8"):
        prepare(tmp_path, ("de", "en"), tmp_path / "out")


# VmHWM and not ru_maxrss: the latter starts at the size of the process that started this one
_MEASURE = """
import sys
from jaxsdgm.data.europarl import prepare
prepare(sys.argv[1], ("de", "en"), sys.argv[1] + "/out", normaliser="words")
lines = open("/proc/self/status").read().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the peak is read from /proc/self/status"
)


def _peak_megabytes(directory, lines):
    """Peak memory of preparing sentences of about 24 words, in a process of its own."""
    words = np.random.default_rng(0).integers(0, 30_000, (1000, 24)).tolist()
    some = [" ".join(f"wort{w}" for w in row) + "\n" for row in words]
    for language in ("de", "en"):
        with open(directory / f"europarl-v7.de-en.{language}", "w") as file:
            file.writelines(some[i % 1000] for i in range(lines))
    command = [sys.executable, "-c", _MEASURE, str(directory)]
    return int(subprocess.run(command, check=True, capture_output=True).stdout) / 1024


@needs_proc
def test_memory_grows_little_with_the_lines(tmp_path):
    (tmp_path / "few").mkdir()
    (tmp_path / "more").mkdir()
    few, more = _peak_megabytes(tmp_path / "few", 2_000), _peak_megabytes(tmp_path / "more", 42_000)
    at_two_million = few + (more - few) * 2_000_000 / 40_000
    assert at_two_million < 2048


@needs_proc
@pytest.mark.slow
def test_two_million_lines_need_less_than_two_gibibytes(tmp_path):
    assert _peak_megabytes(tmp_path, 2_000_000) < 2048

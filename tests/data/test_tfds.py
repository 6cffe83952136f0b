"""The builders of TFDS, prepared from files and read again without TensorFlow."""

import subprocess
import sys

import pytest

from jaxsdgm.data.text_sets import tfds_documents
from jaxsdgm.errors import UserError

#: in a process of its own: TFDS warns of what its dependencies do, and loads for seconds
PREPARE = """
import sys
import tensorflow_datasets as tfds
import jaxsdgm.data.tfds_builders
from jaxsdgm.data.text_sets import tfds_documents

name, manual, out = sys.argv[1:]
builder = tfds.builder(name, data_dir=out, file_format="array_record")
config = tfds.download.DownloadConfig(manual_dir=manual)
builder.download_and_prepare(download_config=config)
for split in sorted(builder.info.splits):
    rows = builder.as_data_source(split=split)
    first = next(x for x in rows if x["line"] == 0)
    print("split", split, len(rows), first["label"], first["text"].decode())
    documents = tfds_documents(name, split, ("text",), data_dir=out)
    assert documents.texts == tuple(x["text"].decode() for x in rows)
    assert documents.labels.tolist() == [x["label"] for x in rows]
assert "tensorflow" not in sys.modules
"""


def prepared(name, manual, out):
    command = [sys.executable, "-c", PREPARE, name, str(manual), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = (line.partition("split ") for line in done.stdout.splitlines())  # TFDS prints too
    return [rest for before, split, rest in found if split and not before]


def test_mldoc(tmp_path):
    manual = tmp_path / "files"
    manual.mkdir()
    for split, n in (("train.1000", 8), ("dev", 4), ("test", 4)):
        text = "".join(f"{'CEGM'[(i + 1) % 4]}\tDokument {i} ü\n" for i in range(n))
        (manual / f"german.{split}").write_text(text, encoding="utf-8")
    lines = prepared("mldoc/de", manual, tmp_path / "out")
    assert lines == ["dev 4 1 Dokument 0 ü", "test 4 1 Dokument 0 ü", "train 8 1 Dokument 0 ü"]


def test_debian(tmp_path):
    manual = tmp_path / "cls"
    manual.mkdir()
    for split in ("train.1000", "dev", "test", "rest"):
        text = "".join(f"{c}\tprogram {c}\n" for c in ("NET", "DEVEL", "GAMES", "MEDIA"))
        (manual / f"french.{split}").write_text(text)
    lines = prepared("debian_descriptions/fr", tmp_path, tmp_path / "out")
    assert lines == [
        *("dev 4 3 program NET", "test 4 3 program NET", "train 4 3 program NET"),
        "unlabelled 4 -1 program NET",
    ]


@pytest.mark.filterwarnings("ignore")  # of TFDS's dependencies
def test_a_set_that_cannot_be_prepared(tmp_path):
    with pytest.raises(UserError, match="TFDS cannot prepare 'no_such_set'") as caught:
        tfds_documents("no_such_set", "train", ("text",), data_dir=str(tmp_path))
    assert "\n" not in str(caught.value)

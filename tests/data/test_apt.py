"""Fetching through a stand-in apt-get, and reading list files written here."""

import gzip
import os
import time
from pathlib import Path

import pytest

from jaxsdgm.data import apt
from jaxsdgm.data.apt_lists import Package, read_lists
from jaxsdgm.errors import UserError

DEB822 = """\
# a comment
Types: deb
URIs: http://archive.example/security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://archive.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
ONE_LINE = """\
# deb http://archive.example/old buster main
deb cdrom:[disc]/ bookworm main
deb http://archive.example/security jammy-security main
deb [arch=amd64,arm64] http://archive.example/ubuntu jammy main restricted universe # ours
"""


@pytest.fixture
def system(tmp_path, monkeypatch) -> Path:
    """A stand-in for /etc/apt, and a PATH of which the first folder is ours."""
    etc = tmp_path / "etc"
    (etc / "sources.list.d").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(apt, "SYSTEM", etc)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (etc / "sources.list.d" / "debian.sources").write_text(DEB822)
    return etc


def apt_get(tmp_path: Path, script: str) -> None:
    program = tmp_path / "bin" / "apt-get"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_own_archive_is_the_distribution_and_not_its_updates(system):
    entry = apt.own_archive()
    assert entry["uris"] == "http://archive.example/debian"
    assert entry["signed-by"].endswith("debian-archive-keyring.gpg")


def test_own_archive_from_one_line_sources(system):
    (system / "sources.list.d" / "debian.sources").unlink()
    (system / "sources.list").write_text(ONE_LINE)
    entry = apt.own_archive()
    assert entry["uris"] == "http://archive.example/ubuntu"
    assert entry["architectures"] == "amd64 arm64"
    assert entry["components"].split() == ["main", "restricted", "universe"]


def test_fetch_asks_for_just_the_lists_we_read(system, tmp_path):
    apt_get(tmp_path, 'echo "$@" > "$(dirname "$3")/arguments"')
    state = tmp_path / "state"
    assert apt.fetch_lists(state, languages=["en", "zh_CN"]) == state / "lists"
    assert (state / "arguments").read_text() == f"-q -c {state}/apt.conf update\n"
    fields = dict(
        line.split(": ", 1)
        for line in (state / "sources" / "archive.sources").read_text().splitlines()
    )
    assert fields["suites"] == "bookworm"
    assert fields["components"] == "main"
    assert fields["languages"] == "en zh_CN"
    assert fields["targets"] == "Packages Translations"
    assert f'Dir::State::Lists "{state}/lists";' in (state / "apt.conf").read_text()


def test_fetch_takes_the_suites_it_is_given(system, tmp_path):
    apt_get(tmp_path, "exit 0")
    apt.fetch_lists(tmp_path / "state", suites=["trixie", "sid"], languages=["en"])
    assert "suites: trixie sid\n" in (tmp_path / "state/sources/archive.sources").read_text()


def test_a_failing_apt_get_is_one_line_without_credentials(system, tmp_path):
    apt_get(tmp_path, 'echo "W: a"; echo "E: Failed to fetch http://me:secret@host/x"; exit 100')
    with pytest.raises(UserError, match=r"E: Failed to fetch http://host/x") as caught:
        apt.fetch_lists(tmp_path / "state", languages=["en"])
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_hanging_apt_get_is_stopped_with_its_children(system, tmp_path):
    apt_get(tmp_path, "sleep 20")
    start = time.monotonic()
    with pytest.raises(UserError, match="not done after 1 s"):
        apt.fetch_lists(tmp_path / "state", languages=["en"], timeout=1)
    assert time.monotonic() - start < 10


def test_no_apt_get(system, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(UserError, match="apt-get: not found"):
        apt.fetch_lists(tmp_path / "state", languages=["en"])


def test_no_archive_in_the_sources(system):
    (system / "sources.list.d" / "debian.sources").unlink()
    with pytest.raises(UserError, match="no Debian or Ubuntu archive"):
        apt.own_archive()


PACKAGES = """\
Package: gimp
Source: gimp-src (1.0)
Section: universe/graphics
Description-md5: aa
Tag: x,
 y

Package: nothing
Section: games
"""
GERMAN = "Package: gimp\nDescription-md5: aa\nDescription-de: Bilder\n Ein Programm.\n .\n Ende.\n"


@pytest.fixture
def lists(tmp_path) -> Path:
    folder = tmp_path / "lists"
    folder.mkdir()
    with gzip.open(folder / "h_dists_sid_main_binary-amd64_Packages.gz", "wt") as file:
        file.write(PACKAGES)
    (folder / "h_dists_sid-updates_main_binary-amd64_Packages").write_text("not read")
    (folder / "h_dists_sid_main_i18n_Translation-zh%5fCN").write_text(
        "Description-md5: aa\nDescription-zh_CN: 图\n"
    )
    (folder / "h_dists_sid_main_i18n_Translation-de").write_text(GERMAN)
    return folder


def test_read_lists(lists):
    archive = read_lists(lists, ["de", "zh_CN"])
    assert archive.packages == {"aa": [Package("aa", "gimp", "gimp-src", "graphics", "sid")]}
    assert archive.texts == {
        "de": {"aa": "Bilder\n Ein Programm.\n .\n Ende."},
        "zh_CN": {"aa": "图"},
    }
    assert list(archive.inputs) == ["sid/Packages", "sid/Translation-de", "sid/Translation-zh_CN"]


def test_the_newest_suite_wins(lists):
    (lists / "h_dists_bullseye_main_i18n_Translation-de").write_text(
        GERMAN.replace("Bilder", "Alte Bilder")
    )
    assert read_lists(lists, ["de"]).texts["de"]["aa"].startswith("Bilder")


def test_a_line_that_is_no_field_is_named(lists):
    path = lists / "h_dists_sid_main_i18n_Translation-de"
    path.write_text(GERMAN + "\nrubbish\n")
    with pytest.raises(UserError, match=r"Translation-de:8: expected 'Field: value'"):
        read_lists(lists, ["de"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("Translation-de", b"Description-md5: \xff\n"),
        ("Translation-de.gz", b"no gzip"),
        ("Translation-de.xz", b"no xz"),
        ("Translation-de.lz4", b"no lz4"),
    ],
)
def test_a_damaged_file_is_named(lists, name, content):
    (lists / "h_dists_sid_main_i18n_Translation-de").unlink()
    (lists / f"h_dists_sid_main_i18n_{name}").write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: not a readable apt list"):
        read_lists(lists, ["de"])


def test_missing_lists_are_named(lists, tmp_path):
    with pytest.raises(UserError, match="no description in fr"):
        read_lists(lists, ["fr"])
    with pytest.raises(UserError, match="no apt package index"):
        read_lists(tmp_path, [])
    with pytest.raises(UserError, match="not a directory"):
        read_lists(tmp_path / "absent", [])

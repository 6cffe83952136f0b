"""Fetches apt's list files with the machine's own apt-get, as any user and naming no host."""

import logging
import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxsdgm.errors import UserError

log = logging.getLogger(__name__)

#: Where the machine's own apt sources are described.
SYSTEM = Path("/etc/apt")

_ONE_LINE = re.compile(r"^deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)$", re.MULTILINE)
_ARCHIVE_KEY = re.compile(r"(debian|ubuntu)-archive-keyring")

Entry = dict[str, str]


def _deb822_entries(text: str) -> Iterator[Entry]:
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.splitlines() if line.strip() and line[0] != "#"]
        joined = re.sub(r"\n(?=[ \t])", "\0", "\n".join(lines))  # a continued value is one field
        pairs = (line.partition(":")[::2] for line in joined.split("\n"))
        yield {key.lower(): value.strip().replace("\0", "\n") for key, value in pairs}


def _one_line_entries(text: str) -> Iterator[Entry]:
    for match in re.finditer(
        r"^deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)$", text, re.MULTILINE
    ):
        options, uri, suite, components = match.groups(default="")
        entry = dict(option.split("=", 1) for option in options.split() if "=" in option)
        entry = {{"arch": "architectures"}.get(k, k): v.replace(",", " ") for k, v in entry.items()}
        components = components.partition("#")[0]
        yield entry | {"types": "deb", "uris": uri, "suites": suite, "components": components}


def _release(entry: Entry) -> str:
    """The first suite of an entry that is a whole release: not security, updates or backports."""
    return next((s for s in entry.get("suites", "").split() if not re.search("[-/]", s)), "")


def _is_distribution(entry: Entry) -> bool:
    signer = entry.get("signed-by", "")
    return (
        "deb" in entry.get("types", "").split()
        and "main" in entry.get("components", "").split()
        and entry.get("enabled", "yes") != "no"
        and not entry.get("uris", "").startswith("cdrom:")
        and bool(_release(entry))
        and (not signer or bool(_ARCHIVE_KEY.search(signer)))
    )


def own_archive() -> Entry:
    """The Debian or Ubuntu archive that the machine itself installs from, as deb822 fields.

    Raises UserError when apt's configuration names none.
    """
    parts = SYSTEM / "sources.list.d"
    new, old = sorted(parts.glob("*.sources")), sorted(parts.glob("*.list"))
    entries: list[Entry] = []
    for path in filter(Path.is_file, [*new, SYSTEM / "sources.list", *old]):
        parse = _deb822_entries if path.suffix == ".sources" else _one_line_entries
        entries += filter(_is_distribution, parse(path.read_text(encoding="utf-8")))
    if not entries:
        raise UserError(
            f"{SYSTEM}: apt's sources name no Debian or Ubuntu archive; use other lists"
        )
    # Old installations name no key; what names the distribution's own is surely the distribution.
    return min(entries, key=lambda entry: "signed-by" not in entry)


def _sources(entry: Entry, suites: Sequence[str], languages: Sequence[str]) -> str:
    """The entry as a deb822 source of just the lists that we read."""
    components = [c for c in entry["components"].split() if c in ("main", "universe")]
    ours = {
        "types": "deb",
        "suites": " ".join(suites),
        "components": " ".join(components),
        "languages": " ".join(languages),
        "targets": "Packages Translations",
    }
    return "".join(f"{key}: {value}\n" for key, value in (entry | ours).items())


#: The machine's own settings (proxies, keys) stay in force; its update hooks and caches are not
#: ours to run. A host that accepts but never answers is given up after about 40 s a suite.
_CONFIG = """\
#clear APT::Update;
#clear Acquire::Languages;
APT::Update::Error-Mode "any";
APT::Sandbox::User "";
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "{state}/sources";
Dir::State::Lists "{state}/lists";
Dir::Cache "{state}/cache";
pkgCacheFile::Generate "false";
Acquire::GzipIndexes "true";
Acquire::Retries "1";
Acquire::Retries::Delay "false";
Acquire::http::Timeout "10";
Acquire::https::Timeout "10";
"""


def _complaint(output: Path) -> str:
    """The first line in which apt-get says what went wrong, without credentials."""
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    said = next((line for line in lines if line.startswith("E:")), "no message")
    return re.sub(r"//[^/@\s]*@", "//", said)


def _update(state: Path, timeout: float) -> None:
    """Runs `apt-get update` with the configuration in `state`."""
    command = ["apt-get", "-q", "-c", str(state / "apt.conf"), "update"]
    output = state / "output.txt"
    # To a file: after a kill, apt-get's own children would keep a pipe open and us waiting.
    with output.open("wb") as stream:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=os.environ | {"LC_ALL": "C"},
                timeout=timeout,
            )
        except FileNotFoundError:
            raise UserError("apt-get: not found; give a directory of apt list files") from None
        except subprocess.TimeoutExpired:
            raise UserError(f"apt-get update: not done after {timeout:.0f} s; gave up") from None
    if done.returncode:
        raise UserError(f"apt-get update: failed ({_complaint(output)}); is the network reachable?")


def fetch_lists(
    state: Path,
    *,
    suites: Sequence[str] = (),
    languages: Sequence[str],
    timeout: float = 600.0,
) -> Path:
    """Fetches package indices and translations of the machine's own distribution.

    Args:
      state: private directory, made if need be; root is not needed and the system is not touched.
      suites: releases such as `bookworm`; none means the machine's own.
      languages: as in the archive: `en`, `de`, `zh_CN`.
      timeout: seconds after which apt-get is stopped.

    Returns:
      The directory of the list files.

    Raises UserError when apt-get is absent, fails, cannot reach the archive or takes too long.
    """
    entry, state = own_archive(), state.resolve()
    for name in ("sources", "lists/partial", "cache"):
        (state / name).mkdir(parents=True, exist_ok=True)
    suites = suites or [_release(entry)]
    sources = _sources(entry, suites, languages)
    (state / "sources" / "archive.sources").write_text(sources, encoding="utf-8")
    (state / "apt.conf").write_text(_CONFIG.format(state=state), encoding="utf-8")
    log.info("apt-get fetches the lists of %s in %s", ", ".join(suites), ", ".join(languages))
    start = time.monotonic()
    _update(state, timeout)
    log.info("fetched in %.1f s", time.monotonic() - start)
    return state / "lists"

"""Descriptions of Debian's packages: from the archive's lists, from the cache, damaged, not there."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from nestling.data.packages import _parsed, packages
from nestling.errors import ChecksumError, DataError
from tests.cli.command import here, refused

LISTS = {
    "deb_main_binary-amd64_Packages": """Package: libfoo1
Source: foo (1.2-3)
Section: libs
Description: library of foos

Package: bar
Section: contrib/science
Description: stars and their bars
""",
    "deb_main_i18n_Translation-en": """Package: libfoo1
Description-md5: 0123
Description-en: library of foos
 Foos are numbers that nobody has asked for.
 .
 This package has the shared library.

Package: bar
Description-md5: 4567
Description-en: stars and their bars
 Bar draws galaxies with a bar of stars in their middle.

Package: short
Description-en: said in few words
 Too short.

Package: twice
Description-en: stars and their bars
 Another text, long enough to be told from others.
""",
    "sec_main_i18n_Translation-en": """Package: bar
Description-en: an older line
 An older description that is not to be taken for the newer.
""",
}


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    for name, text in LISTS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_lists_become_pairs_with_section_and_source(lists: Path) -> None:
    found = _parsed(lists)
    assert found.names == ("bar", "libfoo1")
    assert found.short == ("stars and their bars", "library of foos")
    assert found.long[1] == "Foos are numbers that nobody has asked for. This package has the shared library."
    assert found.sections == ("science", "libs")
    assert found.sources == ("bar", "foo")
    assert not len(_parsed(lists / "none"))


def test_what_is_kept_is_read_and_damage_is_told(lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESTLING_DATA", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="are not on this machine"):
        packages(fetch=False)
    found = _parsed(lists)
    path = tmp_path / "cache" / "packages" / "packages.json.gz"
    _keep(path, found.names, found.short, found.long, found.sections, found.sources)
    assert vars(packages(fetch=False)) == vars(found)
    assert packages(fetch=False).digest == found.digest
    whole = path.read_bytes()
    for bad in (whole[:-9], whole[:40] + bytes([whole[40] ^ 1]) + whole[41:], b"", gzip.compress(b"[]")):
        path.write_bytes(bad)
        with pytest.raises(ChecksumError, match="Delete it, and it is fetched again"):
            packages(fetch=False)


def test_the_command_writes_pairs_to_train_on(lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESTLING_DATA", str(tmp_path / "cache"))
    found = _parsed(lists)
    path = tmp_path / "cache" / "packages" / "packages.json.gz"
    _keep(path, found.names, found.short, found.long, found.sections, found.sources)
    done = here("data", "packages", "--out", tmp_path / "pairs.jsonl")
    assert "2 pairs of 2 sources" in done.stdout
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert [(row["query"], row["group"]) for row in rows] == [
        ("stars and their bars", "bar"),
        ("library of foos", "foo"),
    ]
    assert [row["document"] for row in rows] == list(found.long)
    assert "must be a file that ends in .jsonl" in refused(here("data", "packages", "--out", tmp_path / "a.csv"))


def test_without_apt_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESTLING_DATA", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"apt-get is not on this machine.*Debian or Ubuntu"):
        packages()


@pytest.mark.soak
def test_the_archive_has_fifty_thousand_pairs() -> None:
    try:
        found = packages()
    except DataError as error:
        pytest.skip(str(error))
    assert len(found) > 50_000
    assert len({*found.short, *found.long}) == 2 * len(found)
    assert len(set(found.sections)) > 40
    at = found.names.index("0ad")
    assert found.short[at] == "Real-time strategy game of ancient warfare"
    assert found.sections[at] == "games"


def _keep(path: Path, *fields: object) -> None:
    path.parent.mkdir(parents=True)
    names = ("names", "short", "long", "sections", "sources")
    path.write_bytes(gzip.compress(json.dumps({"format": 1, **dict(zip(names, fields, strict=True))}).encode()))

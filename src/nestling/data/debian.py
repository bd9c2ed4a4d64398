"""Files of a Debian package and the archive's lists, without root and with nothing installed."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

from nestling.data.fetching import SOCKET_SECONDS, Say, by_program
from nestling.errors import DataError


@contextlib.contextmanager
def unpacked_package(package: str, megabytes: int, say: Say) -> Generator[Path]:
    """A temporary folder that stands for ``/`` with the package's files in it, by apt-get and dpkg.

    Args:
        megabytes: about what is downloaded, for who waits.

    Raises:
        DataError: there is no apt-get, it reaches no archive, or the archive has no such package.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise DataError("apt-get is not on this machine.")
    say(f"Fetching Debian's package {package} ({megabytes} MB)")
    with tempfile.TemporaryDirectory(prefix="nestling-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # started by root, apt-get reads and writes as its own user
        _download(package, folder, say)
        packages = sorted(folder.glob(f"{package}_*.deb"))
        if not packages:
            raise DataError(f"apt-get downloaded no package {package}.")
        _run(["dpkg", "-x", str(packages[0]), str(folder / "unpacked")], folder)
        yield folder / "unpacked"


@contextlib.contextmanager
def archive_lists(say: Say) -> Generator[Path]:
    """A temporary folder with the archive's lists, ``*_Packages``, and English descriptions, ``*_Translation-en``.

    Raises:
        DataError: there is no apt-get, or it reaches no archive.
    """
    if not shutil.which("apt-get"):
        raise DataError("apt-get is not on this machine.")
    say("Fetching Debian's package lists with their descriptions (16 MB)")
    with tempfile.TemporaryDirectory(prefix="nestling-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        _fetch_lists(folder, "en")
        if not list((folder / "lists").glob("*_Translation-en")):
            raise DataError("apt-get fetched no descriptions.")
        yield folder / "lists"


def _fetch_lists(folder: Path, languages: str) -> list[str]:
    """Fetch the archive's lists into ``folder/lists``; the options by which apt-get finds them there."""
    lists = folder / "lists"
    (lists / "partial").mkdir(parents=True)  # apt-get makes it only where it expects it
    found = ["-o", f"Dir::Cache={folder / 'cache'}", "-o", f"Dir::State::Lists={lists}"]
    wanted = ["-o", f"Acquire::Languages={languages}", "-o", "Acquire::GzipIndexes=false"]
    with contextlib.suppress(DataError):  # one broken source of several fails the whole update
        _run(["apt-get", *found, *wanted, "update"], folder)
    return found


def _download(package: str, folder: Path, say: Say) -> None:
    """With the machine's package lists, and where it has none (a fresh container) with private ones."""
    cache = ["-o", f"Dir::Cache={folder / 'cache'}"]
    try:
        _run(["apt-get", *cache, "download", package], folder)
        return
    except DataError:
        say("The machine's package lists do not have it; fetching private ones")
    _run(["apt-get", *_fetch_lists(folder, "none"), "download", package], folder)


def _run(command: list[str], folder: Path) -> None:
    if command[0] == "apt-get":
        timeouts = [f"Acquire::{scheme}::Timeout={SOCKET_SECONDS}" for scheme in ("http", "https")]
        options = [part for option in ("Acquire::Retries=1", *timeouts) for part in ("-o", option)]
        command = [command[0], "-q", *options, *command[1:]]
    by_program(command, folder)

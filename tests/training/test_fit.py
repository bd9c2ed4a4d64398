from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nestling.errors import CheckpointError, InputError, ShapeError, TrainingDivergedError
from nestling.losses import NestedLoss
from nestling.nesting import Nesting
from nestling.training import ArrayFeed, Objective, TrainConfig, TrainResult, fit
from nestling.training.checkpoint import saved
from tests.training import small


class _StopError(Exception):
    """Raised from the progress callback: what a kill looks like from inside."""


def _stop_at(step: int) -> Any:
    def progress(done: int, total: int, loss: float, rate: float, lr: float, left: float) -> None:
        assert total == 24
        assert loss > 0
        assert rate > 0
        assert lr > 0
        assert left >= 0
        if done == step:
            raise _StopError

    return progress


def _weights(objective: Objective) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in objective.state_dict().items()}


def _equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[n], two[n]) for n in one)


def _fit(objective: Objective, config: TrainConfig | None = None, **arguments: Any) -> TrainResult:
    images, labels = small.data()
    return fit(objective, ArrayFeed(images, labels), config or small.config(), **arguments)


@pytest.mark.parametrize(
    "changes",
    [{}, {"optimizer": "sgd", "schedule": "cosine"}, {"precision": "bf16"}, {"optimizer": "adafactor", "lr": 3e-2}],
)
def test_the_loss_falls_and_the_history_has_each_step(changes: dict[str, Any]) -> None:
    objective = small.residual_objective()
    result = _fit(objective, small.config(**changes))
    assert [row.step for row in result.history] == list(range(1, 25))
    assert result.history[-1].epoch == 6.0
    assert result.history[-1].total < 0.75 * result.history[0].total
    assert list(result.history[0].per_dim) == [2, 8]
    for row in result.history:
        assert row.total == pytest.approx(sum(row.per_dim.values()), rel=1e-5)
    assert not objective.training
    assert result.checkpoint is None


def test_the_classes_are_learned() -> None:
    objective = small.residual_objective()
    _fit(objective, small.config(epochs=12))
    images, labels = small.data()
    features = torch.from_numpy(objective.classifier.encode(images))
    for m in (2, 8):
        predicted = objective.classifier.head.logits(features, m).argmax(1).numpy()
        assert (predicted == labels).mean() > (0.6 if m == 2 else 0.9)


def test_a_batch_in_parts_gives_the_weights_of_a_whole_one() -> None:
    whole, parts = small.plain_objective(), small.plain_objective()
    one, two = _fit(whole), _fit(parts, small.config(accumulate=4))
    assert [row.total for row in two.history] == pytest.approx([row.total for row in one.history], rel=1e-4)
    for name, tensor in _weights(whole).items():
        torch.testing.assert_close(_weights(parts)[name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("as_a_user")
def test_parts_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="accumulate must be a divisor of each process's 16 samples; got 3"):
        _fit(small.plain_objective(), small.config(accumulate=3))
    objective, feed, changes = small.KINDS["contrastive"](Path())
    with pytest.raises(InputError, match="accumulate must be 1 for a loss that compares all rows"):
        fit(objective, feed, small.config(**changes, accumulate=2))
    with pytest.raises(InputError, match="fsdp must be off for a single process"):
        _fit(small.plain_objective(), small.config(fsdp=True))


@pytest.mark.parametrize("steps", [3, 9])
def test_a_run_may_be_counted_in_steps(steps: int) -> None:
    history = _fit(small.plain_objective(), small.config(steps=steps, epochs=1, schedule="linear")).history
    assert [row.step for row in history] == list(range(1, steps + 1))
    assert history[-1].epoch == steps / 4
    assert history[-1].lr < history[steps // 2].lr


def test_a_run_may_be_ended_early_and_is_saved_where_it_ended(tmp_path: Path) -> None:
    asked: list[int] = []

    def stop(step: int) -> bool:
        asked.append(step)
        return step == 3

    done = _fit(small.plain_objective(), folder=tmp_path, stop=stop)
    assert (done.step, asked) == (3, [1, 2, 3])
    assert done.history[-1].step == 3
    assert done.checkpoint is not None
    assert saved(tmp_path)[-1] == done.checkpoint


def test_tensors_and_arrays_train_alike() -> None:
    one, two = small.residual_objective(), small.residual_objective()
    images, labels = small.data()
    fit(one, ArrayFeed(images, labels), small.config())
    fit(two, ArrayFeed(torch.from_numpy(images), torch.from_numpy(labels)), small.config())
    assert _equal(_weights(one), _weights(two))


def test_the_global_generator_is_left_alone_and_does_not_matter() -> None:
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        objective = small.plain_objective(dropout=0.5)
        before = torch.random.get_rng_state()
        _fit(objective)
        assert torch.equal(torch.random.get_rng_state(), before)
        found.append(_weights(objective))
    assert _equal(*found)
    still = small.plain_objective()
    _fit(still)
    assert not _equal(found[0], _weights(still))  # the dropout did something


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "sgd", "momentum": 0.9},
        {"optimizer": "adafactor"},
        {"precision": "bf16", "accumulate": 2},
    ],
)
@pytest.mark.parametrize("dropout", [None, 0.5])
def test_a_run_cut_off_anywhere_resumes_to_the_same_weights(
    tmp_path: Path, dropout: float | None, changes: dict[str, Any]
) -> None:
    def fresh() -> Objective:
        return small.residual_objective() if dropout is None else small.plain_objective(dropout)

    config, whole = small.config(checkpoint_every=5, **changes), fresh()
    history = _fit(whole, config).history
    for stop in (3, 5, 12, 24):
        folder = tmp_path / str(stop)
        with pytest.raises(_StopError):
            _fit(fresh(), config, folder=folder, progress=_stop_at(stop))
        again = fresh()
        result = _fit(again, config, folder=folder, resume=True)
        assert _equal(_weights(again), _weights(whole))
        plain = [dataclasses.replace(row, images_per_s=0.0) for row in history]
        assert [dataclasses.replace(row, images_per_s=0.0) for row in result.history] == plain
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == [row.step for row in history]


def test_resuming_a_finished_run_loads_its_weights(tmp_path: Path) -> None:
    first, second = small.residual_objective(), small.residual_objective(seed=9)
    one = _fit(first, folder=tmp_path)
    two = _fit(second, folder=tmp_path, resume=True)
    assert _equal(_weights(first), _weights(second))
    assert one.history == two.history
    assert one.checkpoint == two.checkpoint == saved(tmp_path)[-1]


def test_a_folder_with_a_run_is_not_overwritten(tmp_path: Path) -> None:
    _fit(small.residual_objective(), folder=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match="Resume it or name another"):
        _fit(small.residual_objective(), folder=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="folder must be a folder"):
        _fit(small.residual_objective(), folder=tmp_path / "file")


@pytest.mark.parametrize("checkpoints", [True, False])
def test_resume_with_other_settings_is_refused(tmp_path: Path, checkpoints: bool) -> None:
    with pytest.raises(_StopError):
        _fit(small.residual_objective(), folder=tmp_path, progress=_stop_at(3 if checkpoints else 1))
    assert bool(saved(tmp_path)) is checkpoints
    with pytest.raises(CheckpointError, match=r"lr 0\.01 \(now 0\.02\)"):
        _fit(small.residual_objective(), small.config(lr=0.02), folder=tmp_path, resume=True)
    images, labels = small.data()
    with pytest.raises(CheckpointError, match="other data"):
        fit(
            small.residual_objective(),
            ArrayFeed(images, labels[::-1].copy()),
            small.config(),
            folder=tmp_path,
            resume=True,
        )
    _fit(small.residual_objective(), small.config(log_every=7), folder=tmp_path, resume=True)


def test_a_damaged_description_is_told_when_there_is_nothing_better(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        _fit(small.residual_objective(), folder=tmp_path, resume=True)


def test_a_damaged_newest_checkpoint_is_put_aside_with_a_warning(tmp_path: Path) -> None:
    whole = small.residual_objective()
    _fit(whole, folder=tmp_path)
    newest = saved(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    again = small.residual_objective(seed=9)
    with pytest.warns(RuntimeWarning, match=r"is damaged .* Going on from checkpoint-000000022"):
        result = _fit(again, folder=tmp_path, resume=True)
    assert _equal(_weights(again), _weights(whole))
    assert "is damaged" in result.warnings[0]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "warning" not in line] == list(range(1, 25))
    assert sum("warning" in line for line in lines) == 1
    assert len(saved(tmp_path)) == 2
    assert newest.with_suffix(".damaged").exists()


def test_half_lines_of_a_killed_process_are_cut_off(tmp_path: Path) -> None:
    with pytest.raises(_StopError):
        _fit(small.residual_objective(), folder=tmp_path, progress=_stop_at(7))
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 8, "epo')
    (tmp_path / ".checkpoint-000000008.safetensors.99.unfinished").write_bytes(b"half")
    _fit(small.residual_objective(), folder=tmp_path, resume=True)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 25))
    assert not list(tmp_path.glob(".*"))


class _Diverging(Objective):
    """Becomes bad in one prefix at its `at`-th forward."""

    def __init__(self, at: int, value: float) -> None:
        super().__init__()
        self.nesting = Nesting((2, 4, 8))
        self.weight = torch.nn.Parameter(torch.ones(2))
        self.at, self.value, self.calls = at, value, 0

    def forward(self, inputs: Tensor, targets: Tensor, weights: Tensor | None) -> NestedLoss:
        self.calls += 1
        parts = self.weight.square().sum() * torch.ones(3)
        if self.calls == self.at:
            parts = parts * torch.tensor([1.0, self.value, self.value])
        return NestedLoss(parts.sum(), parts.detach())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(("at", "good"), [(5, "checkpoint-000000004"), (1, "No checkpoint was saved")])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path, value: float, at: int, good: str) -> None:
    objective = _Diverging(at, value)
    with pytest.raises(TrainingDivergedError, match=rf"at step {at} \(prefix 4 first\).*{good}"):
        _fit(objective, folder=tmp_path)
    assert torch.isfinite(objective.weight).all()
    assert len(saved(tmp_path)) == min(2, at // 2)


class _BadGradient(_Diverging):
    """A finite loss whose gradient is infinite."""

    def forward(self, inputs: Tensor, targets: Tensor, weights: Tensor | None) -> NestedLoss:
        root = (self.weight - self.weight.detach()).abs().sum().sqrt()
        parts = root * torch.ones(3)
        return NestedLoss(parts.sum(), parts.detach())


@pytest.mark.parametrize("clip", [None, 1.0])
def test_weights_that_are_no_numbers_are_never_saved(tmp_path: Path, clip: float | None) -> None:
    config = small.config(checkpoint_every=1, clip_norm=clip)
    with pytest.raises(TrainingDivergedError, match="NaN or infinite"):
        _fit(_BadGradient(0, 0.0), config, folder=tmp_path)
    assert saved(tmp_path) == []


def test_norms_and_biases_do_not_decay() -> None:
    moved = {}
    for decay in (0.0, 10.0):
        objective = small.residual_objective()
        _fit(objective, small.config(epochs=1, warmup_epochs=0.0, weight_decay=decay, batch_size=64))
        moved[decay] = _weights(objective)
    names = dict(objective.named_parameters())
    for name, tensor in moved[0.0].items():
        if name in names:
            assert torch.equal(tensor, moved[10.0][name]) == (names[name].ndim == 1), name


def test_label_smoothing_and_clipping_reach_the_loss() -> None:
    first = {}
    for name, config in {
        "plain": small.config(),
        "smooth": small.config(label_smoothing=0.5),
        "partly smooth": small.config(label_smoothing=0.5, smooth_from=3),
        "without": small.config(label_smoothing=0.0),
        "sharp": small.config(label_smoothing=0.5, smooth_from=9),
        "clipped": small.config(clip_norm=1e-9, optimizer="sgd", weight_decay=0.0),
    }.items():
        objective = small.plain_objective()
        before = _weights(objective)
        first[name] = _fit(objective, config).history[0].total
        if name == "clipped":
            after = _weights(objective)
            assert all(torch.allclose(before[n], after[n], atol=1e-6) for n in after)
    assert len({first["plain"], first["smooth"], first["partly smooth"]}) == 3
    assert first["plain"] == first["clipped"]
    assert first["sharp"] == first["without"]


@pytest.mark.usefixtures("as_a_user")
def test_data_that_do_not_fit_are_refused() -> None:
    images, labels = small.data()
    with pytest.raises(ShapeError, match="one per input"):
        fit(small.plain_objective(), ArrayFeed(images, labels[:-1]), small.config())
    with pytest.raises(InputError, match="at most the 8 samples"):
        fit(small.plain_objective(), ArrayFeed(images[:8], labels[:8]), small.config())
    frozen = small.plain_objective()
    frozen.requires_grad_(False)
    with pytest.raises(InputError, match="parameters to train"):
        fit(frozen, ArrayFeed(images, labels), small.config())


def test_weights_of_the_nesting_reach_the_loss() -> None:
    objective = small.plain_objective()
    objective.nesting = Nesting((2, 8), (0.0, 3.0))
    row = _fit(objective).history[0]
    assert row.total == pytest.approx(3 * row.per_dim[8], rel=1e-5)
    assert np.isfinite(row.per_dim[2])

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from nestling.errors import CheckpointError
from nestling.models.tensors import write_tensors
from nestling.training import Checkpoint
from nestling.training.checkpoint import newest_good, restore, saved, state_of
from tests.training import small


def _checkpoint(step: int = 4) -> Checkpoint:
    tensors = dict(state_of(small.residual_objective(), torch.optim.SGD(small.residual_objective().parameters())))
    return Checkpoint(step, small.config(), "2,8", {"samples": 64, "labels": 1}, tensors)


def _same(one: Checkpoint, two: Checkpoint) -> bool:
    return (
        dataclasses.replace(one, tensors={}) == dataclasses.replace(two, tensors={})
        and one.tensors.keys() == two.tensors.keys()
        and all(torch.equal(one.tensors[n], two.tensors[n]) for n in one.tensors)
    )


def test_read_after_write_is_the_identity_and_two_are_kept(tmp_path: Path) -> None:
    for step in (4, 8, 999_999_999, 1_000_000_000):
        path = _checkpoint(step).write(tmp_path)
        assert _same(Checkpoint.read(path), _checkpoint(step))
    assert [p.name for p in saved(tmp_path)] == [
        "checkpoint-999999999.safetensors",
        "checkpoint-1000000000.safetensors",
    ]
    found, path, bad = newest_good(tmp_path)
    assert found is not None
    assert path is not None
    assert (found.step, path.name, bad) == (1_000_000_000, "checkpoint-1000000000.safetensors", [])


def test_fifty_mutations_give_an_error_or_the_same_state(tmp_path: Path) -> None:
    rng, original = np.random.default_rng(0), _checkpoint()
    path = original.write(tmp_path)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    errors = 0
    for trial in range(50):
        damaged = bytearray(whole)
        reach = header if trial % 2 else len(whole)  # the header is small, and the delicate part
        match trial % 5:
            case 0:
                del damaged[int(rng.integers(len(whole))) :]
            case 1:
                damaged += b"\x00"
            case 2:
                at = int(rng.integers(reach))
                damaged[at : at + 16] = rng.bytes(16)
            case _:
                damaged[int(rng.integers(reach))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            assert _same(Checkpoint.read(path), original)
        except CheckpointError:
            errors += 1
    assert errors >= 48


def test_every_single_bit_of_a_weight_counts(tmp_path: Path) -> None:
    path = _checkpoint().write(tmp_path)
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    with pytest.raises(CheckpointError, match="SHA-256"):
        Checkpoint.read(path)


def test_a_damaged_one_names_the_older_good_one(tmp_path: Path) -> None:
    _checkpoint(4).write(tmp_path)
    path = _checkpoint(8).write(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match=r"checkpoint-000000004\.safetensors is good"):
        Checkpoint.read(path)
    found, _, bad = newest_good(tmp_path)
    assert found is not None
    assert (found.step, [p.name for p, _ in bad]) == (4, [path.name])


def test_with_none_that_is_good_there_is_an_error(tmp_path: Path) -> None:
    path = _checkpoint(4).write(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="no older good one"):
        newest_good(tmp_path)
    assert newest_good(tmp_path / "nowhere") == (None, None, [])


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"format": 2}, "Upgrade Nestling"),
        ({}, "Upgrade Nestling"),
        ({"format": 1}, "another version"),
        ({"format": 1, "step": 1, "config": '{"new": 1}', "nesting": "2", "data": {}}, "another version"),
    ],
)
def test_other_versions_are_told(tmp_path: Path, about: dict[str, object], message: str) -> None:
    path = tmp_path / "checkpoint-000000001.safetensors"
    write_tensors(path, {"model/x": torch.zeros(1)}, about)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.read(path)
    with pytest.raises(CheckpointError, match=message):
        newest_good(tmp_path)


def test_another_run_is_told() -> None:
    one = _checkpoint()
    with pytest.raises(CheckpointError, match=r"lr 0\.01 \(now 0\.5\)"):
        one.check(dataclasses.replace(one, config=small.config(lr=0.5)), "x")
    with pytest.raises(CheckpointError, match="nesting 2,8"):
        one.check(dataclasses.replace(one, nesting="8"), "x")
    with pytest.raises(CheckpointError, match="other data"):
        one.check(dataclasses.replace(one, data={"samples": 64, "labels": 2}), "x")
    one.check(dataclasses.replace(one, config=small.config(log_every=9, checkpoint_every=9)), "x")


def test_another_model_is_told_and_left_alone() -> None:
    objective = small.plain_objective()
    before = {n: t.clone() for n, t in objective.state_dict().items()}
    with pytest.raises(CheckpointError, match="in one only"):
        restore(_checkpoint(), Path("x"), objective, torch.optim.SGD(objective.parameters()))
    one = _checkpoint()
    tensors = {**one.tensors, "model/classifier.head.weights.0": torch.zeros(4, 3)}
    other = small.residual_objective()
    optimizer = torch.optim.SGD(other.parameters())
    with pytest.raises(CheckpointError, match=r"shape \(4, 3\) there, \(4, 2\) here"):
        restore(dataclasses.replace(one, tensors=tensors), Path("x"), other, optimizer)
    assert all(torch.equal(before[n], t) for n, t in objective.state_dict().items())

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.errors import InputError
from nestling.nesting import Nesting
from nestling.training import TrainConfig


@given(
    epochs=st.integers(2, 99),
    lr=st.floats(1e-6, 10),
    optimizer=st.sampled_from(["adamw", "sgd"]),
    clip=st.none() | st.floats(0.1, 10),
)
def test_json_and_back_is_the_identity(epochs: int, lr: float, optimizer: str, clip: float | None) -> None:
    config = TrainConfig(epochs=epochs, lr=lr, optimizer=optimizer, clip_norm=clip)
    assert TrainConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"epochs": 1.5},
        {"batch_size": 0},
        {"optimizer": "adam"},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"weight_decay": -1.0},
        {"momentum": 1.0},
        {"schedule": "step"},
        {"warmup_epochs": 6.0},
        {"label_smoothing": 1.0},
        {"smooth_from": -1},
        {"clip_norm": 0.0},
        {"seed": -1},
        {"precision": "fp16"},
        {"checkpoint_every": 0},
        {"log_every": 0},
        {"crop_padding": -1},
        {"accumulate": 0},
        {"steps": 0},
        {"fsdp": 1},
    ],
)
@pytest.mark.usefixtures("as_a_user")
def test_values_out_of_range_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wrong))} must be"):
        TrainConfig(**wrong)


def test_short_prefixes_keep_sharp_labels() -> None:
    config = TrainConfig(label_smoothing=0.2, smooth_from=16)
    assert config.smoothing(Nesting((8, 16, 32))) == (0.0, 0.2, 0.2)
    assert TrainConfig(label_smoothing=0.2).smoothing(Nesting((8, 16))) == (0.2, 0.2)


@pytest.mark.parametrize("text", ["", "[]", '{"epocs": 3}', '{"epochs": 0}', "nonsense"])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        TrainConfig.from_json(text)


def test_differences_leave_out_what_changes_no_weight() -> None:
    config = TrainConfig()
    assert config.differences(dataclasses.replace(config, log_every=1, checkpoint_every=7, fsdp=True)) == []
    assert config.differences(dataclasses.replace(config, lr=1.0, seed=2)) == ["lr", "seed"]

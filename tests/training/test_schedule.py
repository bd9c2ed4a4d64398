from __future__ import annotations

import numpy as np
import pytest

from nestling.training import TrainConfig, learning_rate


def _rates(schedule: str, *, epochs: int = 10, per_epoch: int = 20, warmup: float = 2.0) -> np.ndarray:
    config = TrainConfig(epochs=epochs, schedule=schedule, warmup_epochs=warmup, lr=0.5)
    total = epochs * per_epoch
    return np.array(
        [learning_rate(t, total_steps=total, steps_per_epoch=per_epoch, config=config) for t in range(total)]
    )


def test_cosine_warms_up_in_a_line_then_falls_in_half_a_cosine() -> None:
    rates = _rates("cosine")
    np.testing.assert_allclose(rates[:40], 0.5 * np.arange(1, 41) / 40)
    np.testing.assert_allclose(rates[40:], 0.25 * (1 + np.cos(np.pi * np.arange(160) / 160)))
    assert rates.max() == 0.5
    assert 0 < rates[-1] < 1e-3


def test_one_cycle_is_the_authors_interpolation() -> None:
    expected = np.interp(np.arange(200) / 20, [0, 2, 10], [1e-4 * 0.5, 0.5, 0])
    np.testing.assert_allclose(_rates("one-cycle"), expected, rtol=1e-12)


def test_linear_warms_up_and_falls_in_a_line() -> None:
    rates = _rates("linear")
    np.testing.assert_allclose(rates[:40], 0.5 * np.arange(1, 41) / 40)
    np.testing.assert_allclose(rates[40:], 0.5 * np.arange(160, 0, -1) / 160)


def test_a_run_of_few_steps_warms_up_in_its_first_half() -> None:
    config = TrainConfig(steps=20, epochs=1, warmup_epochs=5.0, schedule="linear", lr=0.5)
    rates = [learning_rate(t, total_steps=20, steps_per_epoch=100, config=config) for t in range(20)]
    assert rates == pytest.approx([0.05 * min(t + 1, 20 - t) for t in range(20)])


@pytest.mark.parametrize("schedule", ["cosine", "linear", "one-cycle"])
@pytest.mark.parametrize("warmup", [0.0, 0.03, 0.5, 9.99])
def test_every_rate_is_positive_and_at_most_the_peak(schedule: str, warmup: float) -> None:
    rates = _rates(schedule, warmup=warmup)
    assert (rates > 0).all()
    assert rates.max() <= 0.5
    peak = int(rates.argmax())
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak + 1 :]) < 0).all()

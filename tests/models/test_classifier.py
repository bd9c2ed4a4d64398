from __future__ import annotations

import numpy as np
import pytest
import torch

from nestling.errors import InputError
from nestling.models import Classifier, NestedLinear, ResidualEncoder
from nestling.nesting import Nesting


def _model(width: int = 16, dims: tuple[int, ...] = (4, 16)) -> Classifier:
    return Classifier(ResidualEncoder(width, stages=(4, 8)), NestedLinear(Nesting(dims), 3))


def _images(count: int = 7) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)


def test_encode_is_forward_in_evaluation_mode_batch_by_batch() -> None:
    model, images = _model().train(), _images()
    features = model.encode(images, batch_size=3)
    assert model.training
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, model.eval()(torch.from_numpy(images)).detach(), rtol=1e-4, atol=1e-5)
    assert model.encode(images[:0]).shape == (0, 16)


def test_encode_reads_what_cannot_be_written_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    images = _images()
    images.setflags(write=False)
    _model().encode(images)
    assert not recwarn.list


def test_a_narrower_head_takes_the_first_features() -> None:
    wide, narrow = _model(), _model(dims=(4,))
    narrow.encoder.load_state_dict(wide.encoder.state_dict())
    np.testing.assert_array_equal(narrow.encode(_images()), wide.encode(_images())[:, :4])
    np.testing.assert_array_equal(narrow.encode(_images(), whole=True), wide.encode(_images()))


def test_the_loss_is_the_head_s() -> None:
    model, images, labels = _model().eval(), torch.from_numpy(_images()), torch.arange(7) % 3
    direct = model.head.loss(model(images), labels, label_smoothing=0.1)
    assert torch.equal(model.loss(images, labels, label_smoothing=0.1).total, direct.total)


def test_heads_and_names_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="at most as wide"):
        _model(8, (4, 16))
    encoder, head = ResidualEncoder(16, stages=(4, 8)), NestedLinear(Nesting((4, 16)), 3)
    with pytest.raises(InputError, match="3 different names"):
        Classifier(encoder, head, classes=("a", "b"))
    with pytest.raises(InputError, match="3 different names"):
        Classifier(encoder, head, classes=("a", "b", "b"))
    assert Classifier(encoder, head).classes == ("0", "1", "2")

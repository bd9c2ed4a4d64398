from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nestling.errors import CheckpointError, InputError
from nestling.models import Classifier, NestedLinear, ResidualEncoder, load, save
from nestling.models import tensors as model_tensors
from nestling.models.store import identity
from nestling.nesting import Nesting


def _model(*, tied: bool = False, seed: int = 0, bias: bool = True) -> Classifier:
    generator = torch.Generator().manual_seed(seed)
    encoder = ResidualEncoder(16, stages=(4, 8), generator=generator)
    head = NestedLinear(Nesting((4, 16), (1.0, 0.5)), 3, tied=tied, bias=bias, generator=generator)
    return Classifier(encoder, head, classes=("shoe", "bag", "été"))


def _same(one: Classifier, two: Classifier) -> bool:
    a, b = one.state_dict(), two.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_load_after_save_is_the_identity(tmp_path: Path, tied: bool, bias: bool) -> None:
    model = _model(tied=tied, bias=bias)
    save(model, tmp_path / "m")
    again = load(str(tmp_path / "m"))
    assert _same(model, again)
    assert (again.classes, again.head.tied, again.head.nesting) == (model.classes, tied, model.head.nesting)
    assert not again.training
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 28, 28), dtype=np.uint8)
    np.testing.assert_array_equal(model.encode(images), again.encode(images))


def test_equal_models_are_equal_files(tmp_path: Path) -> None:
    names = set()
    for i in range(8):
        save(_model(seed=0), tmp_path / str(i))
        names |= {path.name for path in (tmp_path / str(i)).glob("weights-*")}
    assert len(names) == 1


def test_the_identity_is_of_weights_and_description(tmp_path: Path) -> None:
    model = _model()
    save(model, tmp_path)
    assert identity(load(tmp_path)) == identity(model) == identity(_model())
    others = [_model(seed=1), _model(tied=True), _model(bias=False), _model(), _model()]
    others[3].classes = ("shoe", "bag", "summer")
    with torch.no_grad():
        next(others[4].parameters()).view(-1)[0] += 1e-3
    assert len({identity(each) for each in (model, *others)}) == 6


def test_saving_again_replaces_and_leaves_two_files(tmp_path: Path) -> None:
    for seed in (0, 1, 1):
        save(_model(seed=seed), tmp_path)
    assert _same(load(tmp_path), _model(seed=1))
    assert len(list(tmp_path.iterdir())) == 2


class _KilledError(BaseException):
    """Stands for SIGKILL at a system call."""


@pytest.mark.parametrize("fatal", range(6))
def test_a_kill_while_saving_leaves_the_old_model_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fatal: int
) -> None:
    save(_model(seed=0), tmp_path)
    calls = 0

    def count(real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > fatal:
                raise _KilledError
            return real(*args, **kwargs)

        return counted

    with monkeypatch.context() as patch:
        patch.setattr(model_tensors, "save_file", count(model_tensors.save_file))
        patch.setattr(Path, "replace", count(Path.replace))
        patch.setattr(Path, "unlink", count(Path.unlink))
        with pytest.raises(_KilledError):
            save(_model(seed=1), tmp_path)
    assert _same(load(tmp_path), _model(seed=0)) or _same(load(tmp_path), _model(seed=1))
    save(_model(seed=2), tmp_path)
    assert _same(load(tmp_path), _model(seed=2))


def _edit(folder: Path, **changes: Any) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"format": "1"},
        {"format": None},
        {"nesting": [4, 10**12]},
        {"nesting": []},
        {"nesting": "no"},
        {"tied": True},
        {"bias": False},
        {"classes": ["a"]},
        {"classes": ["bag", "shoe", "été"]},
        {"classes": 3},
        {"encoder": "other"},
        {"config": {"width": 10**12}},
        {"config": None},
        {"weights": "../../etc/passwd"},
        {"weights": "weights-0.safetensors"},
        {"weights": 7},
        {"weights": ""},
        {"weights_c_m": [0, 0]},
    ],
)
def test_a_lying_description_is_told_in_one_sentence(tmp_path: Path, changes: dict[str, Any]) -> None:
    save(_model(), tmp_path)
    _edit(tmp_path, **changes)
    with pytest.raises(CheckpointError, match=r"\. [A-Z][^.]*\.$"):
        load(tmp_path)


@pytest.mark.parametrize("missing", ["format", "encoder", "config", "nesting", "tied", "classes", "weights"])
def test_a_missing_entry_is_told(tmp_path: Path, missing: str) -> None:
    save(_model(), tmp_path)
    path = tmp_path / "model.json"
    about = json.loads(path.read_text())
    del about[missing]
    path.write_text(json.dumps(about))
    with pytest.raises(CheckpointError):
        load(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "\x00\xff", '"x"'])
def test_what_is_no_description_is_told(tmp_path: Path, text: str) -> None:
    save(_model(), tmp_path)
    (tmp_path / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError):
        load(tmp_path)


def test_shapes_that_do_not_fit_a_consistent_lie_are_told(tmp_path: Path) -> None:
    """Both copies of the description lie alike: only the shapes can tell."""
    about = {
        "format": 1,
        "encoder": "residual",
        "config": {"width": 16, "stages": [4, 4]},
        "nesting": [4, 16],
        "weights_c_m": [1.0, 1.0],
        "tied": False,
        "bias": True,
        "classes": ["a", "b", "c"],
    }
    model_tensors.write_tensors(tmp_path / "weights-0.safetensors", _model().state_dict(), about)
    (tmp_path / "model.json").write_text(json.dumps({**about, "weights": "weights-0.safetensors"}))
    with pytest.raises(CheckpointError, match="has shape"):
        load(tmp_path)
    about["config"] = {"width": 16, "stages": [4, 8, 8]}
    model_tensors.write_tensors(tmp_path / "weights-0.safetensors", _model().state_dict(), about)
    (tmp_path / "model.json").write_text(json.dumps({**about, "weights": "weights-0.safetensors"}))
    with pytest.raises(CheckpointError, match="in one only"):
        load(tmp_path)


def test_flipped_bits_and_cuts_are_noticed_or_harmless(tmp_path: Path) -> None:
    model, rng = _model(), np.random.default_rng(0)
    save(model, tmp_path)
    for path in list(tmp_path.iterdir()):
        whole = path.read_bytes()
        for trial in range(15):
            damaged = bytearray(whole)
            if trial % 3:
                damaged[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
            else:
                del damaged[int(rng.integers(len(whole))) :]
            path.write_bytes(damaged)
            try:
                again = load(tmp_path)
            except CheckpointError:
                continue
            assert _same(model, again)
            assert again.classes == model.classes
        path.write_bytes(whole)
    assert _same(model, load(tmp_path))


def test_folders_that_cannot_be_are_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="folder must be a folder"):
        save(_model(), tmp_path / "file")
    with pytest.raises(CheckpointError):
        load(tmp_path / "file")

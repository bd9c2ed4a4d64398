"""``nestling predict`` and ``nestling export`` on a run that was trained a minute ago."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from nestling.data import image_folder
from nestling.integrations import describe_onnx
from nestling.models import Classifier, NestedLinear, ResidualEncoder, build, save
from nestling.nesting import Nesting
from tests.cli.command import here, nestling, refused
from tests.data.pictures import tree

DIMS = (4, 8, 16)
QUICK = ("--size", 16, "--dims", "4,8,16", "--epochs", 5, "--batch-size", 16, "--val-fraction", 0.4)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures of each of three classes."""
    return tree(tmp_path_factory.mktemp("pictures") / "tree", each=60, side=21)


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the pictures, and a finished one in it."""
    out = tmp_path_factory.mktemp("runs") / "bands"
    for words in (("train", "--out", out, *QUICK), ("finish", out, "--epochs", 2)):
        done = here(*words, "--images", pictures)
        assert done.returncode == 0, done.stderr
    return out


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        return list(csv.DictReader(stream))


def test_every_picture_gets_a_line_and_every_prefix_its_count(run: Path, pictures: Path, tmp_path: Path) -> None:
    done = nestling("predict", pictures, "--run", run, "--accuracy", 0.8, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "predictions.csv")
    assert [row["path"] for row in rows] == sorted(str(path) for path in pictures.rglob("*.*"))
    assert list(rows[0]) == ["path", "class", "probability", "dims"]
    assert np.mean([Path(row["path"]).parent.name == row["class"] for row in rows]) > 0.8
    assert all(1 / 3 < float(row["probability"]) <= 1 for row in rows)
    counts = {m: sum(row["dims"] == str(m) for row in rows) for m in DIMS}
    assert sum(counts.values()) == 180
    table = [line.split() for line in done.stdout.splitlines()]
    assert all([str(m), str(n), f"{n / 1.8:.1f}"] in table for m, n in counts.items())
    mean = sum(m * n for m, n in counts.items()) / 180
    assert f"Expected dims {mean:.1f} of 16" in done.stdout
    assert "Promised: at least 80 % right (confidence 95 %)" in done.stdout
    assert "classify: 100 % (180/180)" in done.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "predictions.csv"]


@pytest.mark.parametrize("part", [".", "finished", "model"])
def test_a_finished_run_and_a_model_in_a_run_do_as_well(part: str, run: Path, pictures: Path, tmp_path: Path) -> None:
    """A single picture, too."""
    one = pictures / "class-1" / "7.png"
    done = here("predict", one, "--run", run / part, "--accuracy", 0.6, "--out", tmp_path / "new" / "a.csv", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    (row,) = rows_of(tmp_path / "new" / "a.csv")
    assert row["path"] == str(one)
    assert summary.pop("answered")[row["dims"]] == 1
    assert summary == {
        "written": str(tmp_path / "new" / "a.csv"),
        "pictures": 1,
        "unreadable": 0,
        "promised": 0.6,
        "expected_dims": float(row["dims"]),
    }


def test_unreadable_pictures_are_told_or_stop_it(run: Path, pictures: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "mixed", tmp_path / "out.csv"
    shutil.copytree(pictures / "class-0", folder / "deep" / "er")
    for name in ("a.png", "deep/z.jpg"):
        (folder / name).write_bytes(b"no picture")
    shutil.copy(pictures / "class-1" / "1.png", os.fsencode(folder) + b'/\xff, "quoted".png')  # a name that is no text
    words = ("predict", folder, "--run", run, "--accuracy", 0.6, "--out", out)
    done = here(*words)
    assert done.returncode == 0, done.stderr
    assert f"Skipped 2 unreadable files, the first: {folder / 'a.png'}: it is no image" in done.stdout
    rows = rows_of(out)
    assert len(rows) == 61
    assert os.fsencode(folder) + b'/\xff, "quoted".png' in [os.fsencode(row["path"]) for row in rows]
    before = out.read_bytes()
    assert "a.png cannot be read: it is no image" in refused(here(*words, "--strict"))
    assert out.read_bytes() == before
    for path in folder.rglob("*.*g"):
        path.write_bytes(b"")
    assert "holds no picture that can be read (" in refused(here(*words))
    assert out.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [folder, out]


def test_what_predict_and_export_refuse(run: Path, pictures: Path, tmp_path: Path) -> None:
    def predict(folder: Path = pictures, run: Path = run, accuracy: float = 0.8, out: Path = tmp_path / "a.csv") -> str:
        return refused(here("predict", folder, "--run", run, "--accuracy", accuracy, "--out", out))

    def export(run: Path = run, *words: object) -> str:
        return refused(here("export", run, "--out", tmp_path / "a.onnx", *words))

    (tmp_path / "empty").mkdir()
    assert "holds no pictures. Give files that end in .png" in predict(tmp_path / "empty")
    assert "does not exist. Give a picture or a folder" in predict(tmp_path / "none")
    assert "out must be a file; got the folder" in predict(out=tmp_path / "empty")
    for command in (predict, export):
        assert "model.json does not exist. Give a folder that holds a saved model" in command(run=tmp_path / "none")
    for accuracy in (0, 1, 1.5, -1):
        assert "accuracy must be between 0 and 1; got" in predict(accuracy=accuracy)
        assert "accuracy must be between 0 and 1; got" in export(run, "--accuracy", accuracy)
    for message in (predict(accuracy=0.999), export(run, "--accuracy", 0.999)):
        assert "promisable with confidence 0.95, here at most 0." in message
        assert "of 72 items. Lower it." in message
    assert "to must be onnx for a run, sentence-transformers for an adaptor; got 'foo'." in export(run, "--to", "foo")
    assert list(tmp_path.iterdir()) == [tmp_path / "empty"]


def test_the_calibration_must_be_there_whole_and_of_this_model(run: Path, pictures: Path, tmp_path: Path) -> None:
    def message(name: str, replace: bytes | None) -> str:
        copy = tmp_path / name
        shutil.copytree(run, copy)
        (copy / "calibration.safetensors").unlink()
        if replace is not None:
            (copy / "calibration.safetensors").write_bytes(replace)
        told = refused(here("predict", pictures, "--run", copy, "--accuracy", 0.6, "--out", copy / "a.csv"))
        assert refused(here("export", copy, "--accuracy", 0.6)) == told
        assert not (copy / "a.csv").exists()
        assert not (copy / "model.onnx").exists()
        return told

    whole = (run / "calibration.safetensors").read_bytes()
    assert "safetensors does not exist. Make it with `nestling finish`" in message("lost", None)
    assert here("export", tmp_path / "lost", "--no-cascade").returncode == 0
    assert "is damaged" in message("cut", whole[:-8])
    assert "is damaged" in message("flipped", whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:])
    assert "belongs to another model" in message("other", (run / "finished" / "calibration.safetensors").read_bytes())
    weights = next((run / "model").glob("*.safetensors")).read_bytes()
    assert "is no calibration" in message("weights", weights)


def test_the_exported_file_predicts_the_same(run: Path, pictures: Path, tmp_path: Path) -> None:
    done = here("export", run / "finished", "--to", "onnx", "--accuracy", 0.8)
    assert done.returncode == 0, done.stderr
    path = run / "finished" / "model.onnx"
    assert f"Wrote {path}: from images to embedding, embedding_m and logits_m, m = 4, 8, 16" in done.stdout
    assert "the cascade that promises an accuracy of 0.8" in done.stdout
    assert "Compared with the model: at most " in done.stdout
    assert done.stderr == ""
    words = ("--run", run / "finished", "--accuracy", 0.8, "--out", tmp_path / "a.csv")
    assert here("predict", pictures, *words).returncode == 0
    rows = rows_of(tmp_path / "a.csv")
    about = describe_onnx(path)
    read = image_folder(pictures, size=about.shape[1], val_fraction=0).train
    assert [row["path"] for row in rows] == list(read.paths or ())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    label, sure, dims = session.run(["class", "probability", "dims"], {"images": read.pixels})
    assert [about.classes[i] for i in label] == [row["class"] for row in rows]
    assert dims.tolist() == [int(row["dims"]) for row in rows]
    np.testing.assert_allclose(sure, [float(row["probability"]) for row in rows], atol=1e-4)
    plain = here("export", run, "--no-cascade", "--out", tmp_path / "plain.onnx", "--json")
    assert json.loads(plain.stdout)["promised"] is None
    assert describe_onnx(tmp_path / "plain.onnx").cascade is None


def test_a_model_of_texts_is_refused(pictures: Path, tmp_path: Path) -> None:
    fields = {"vocab_size": 50, "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 3}
    encoder = build("bert", {"architecture": {**fields, "intermediate_size": 16, "max_position_embeddings": 20}})
    save(Classifier(encoder, NestedLinear(Nesting((4, 12)), 3)), tmp_path / "model")
    assert "run must be of a classifier of pictures; got one of texts (bert)" in refused(here("export", tmp_path))
    assert "one of texts (bert)" in refused(here("predict", pictures, "--run", tmp_path))


def test_a_calibration_of_many_classes_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nestling.models.tensors import read_tensors
    from nestling.studies.images import calibration

    model = Classifier(ResidualEncoder(8, stages=(4, 8)), NestedLinear(Nesting((4, 8)), 5)).eval()
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(50, 8)).astype(np.float32), np.arange(50) % 5
    monkeypatch.setattr(calibration, "_MOST", 300)
    calibration.keep_calibration(model, features, labels, tmp_path, seed=0)
    tensors, _ = read_tensors(tmp_path / "calibration.safetensors")
    assert tensors["logits"].shape == (2, 30, 5)
    every = np.stack(calibration.logits_of(model, features))
    rows = [int(np.flatnonzero((every[0] == row).all(axis=1))[0]) for row in tensors["logits"][0].numpy()]
    assert rows == sorted(set(rows))
    assert (tensors["labels"].numpy() == labels[rows]).all()

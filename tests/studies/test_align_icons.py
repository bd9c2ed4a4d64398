"""The study of pictures and captions on small made icons: trained, kept, measured, shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from nestling import Nesting, truncate
from nestling.data.icons import CaptionedIcons, CaptionedPart
from nestling.data.icons.captions import numbered
from nestling.data.icons.naming import Names
from nestling.data.icons.recipe import recipe
from nestling.data.tokens import Tokenizer
from nestling.errors import CheckpointError, InputError
from nestling.evaluation import read_rows
from nestling.models.encoders.text import minilm
from nestling.studies.align_icons.judged import ZERO_SHOT, judged
from nestling.studies.align_icons.models import Encoded, Models, Training
from nestling.studies.align_icons.pairs import Asked as Part
from nestling.studies.align_icons.pairs import Pairs, pairs_of
from nestling.studies.align_icons.settings import Settings, get_settings
from nestling.studies.align_icons.study import run
from nestling.studies.captioned import TO_CAPTION, TO_PICTURE
from nestling.studies.images import EncoderChoice
from nestling.studies.reproduce import names
from nestling.studies.reproduce.asked import Asked
from nestling.studies.watch import Silent
from nestling.training import TrainConfig
from tests.studies.collected import Collected

DIMS = (4, 8, 16)
SHAPES = ("bar", "box", "dot")


def drawn(shape: str, rng: np.random.Generator) -> np.ndarray:
    """An icon of 16 pixels, somewhere near the middle."""
    pixels = np.zeros((16, 16), np.uint8)
    y, x = rng.integers(2, 6, 2)
    pixels[y : y + {"bar": 3, "box": 8, "dot": 3}[shape], x : x + (3 if shape == "dot" else 9)] = 255
    if shape == "box":
        pixels[y + 2 : y + 6, x + 2 : x + 7] = 0
    return pixels


def part(count: int, families: range, rng: np.random.Generator) -> CaptionedPart:
    shapes = [SHAPES[i % 3] for i in range(count)]
    said = [
        (f"{shape}", f"{shape}, filled") if i % 2 else (f"{shape}, outline", shape) for i, shape in enumerate(shapes)
    ]
    captions = numbered([*said, ("bar",), ("box",), ("dot",)], Names(recipe())).take(np.arange(count))
    images = np.stack([drawn(shape, rng) for shape in shapes])[:, None]
    classes = np.array([SHAPES.index(shape) if shape != "dot" else -1 for shape in shapes])
    owners = np.array([families[i % len(families)] for i in range(count)])
    return CaptionedPart(images, captions, classes, owners, tuple(f"s:{i}" for i in range(count)))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("bert")
    about = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(**about)).save_pretrained(root)
    Tokenizer.load(minilm()).save(root)
    train = TrainConfig(steps=25, batch_size=24, lr=2e-3, head_lr=4.0, clip_norm=None, flip=False, label_smoothing=0.0)
    return Settings(nesting=Nesting(DIMS), stages=(8, 16), text=str(root), tune="all", length=8, train=train, pixels=16)


@pytest.fixture(scope="module")
def pairs(settings: Settings) -> Pairs:
    rng = np.random.default_rng(0)
    train, val, test = part(240, range(4), rng), part(30, range(4, 5), rng), part(60, range(5, 8), rng)
    data = CaptionedIcons(train, val, test, ("bar", "box"), ("bar", "box"), tuple("abcdefgh"), {}, 0)
    return pairs_of(data, Tokenizer.load(settings.text), settings, Silent())


@pytest.fixture(scope="module")
def done(settings: Settings, pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("aligned")
    run(settings, pairs, Asked(out=root / "report", runs=root / "runs"), watch=Silent())
    return root


def test_every_metric_has_every_prefix_and_is_above_chance(done: Path) -> None:
    rows = read_rows(done / "report" / "align-icons.jsonl")
    value = {(row.system, row.metric, row.dims): row.value for row in rows}
    for system in ("MRL", "plain, cut"):
        for metric in (TO_PICTURE.format(1), TO_CAPTION.format(10), ZERO_SHOT, "gap", "zero-shot macro"):
            assert {(system, metric, m) for m in DIMS} <= set(value)
    assert value["MRL", ZERO_SHOT, 16] > 0.7
    assert value["MRL", TO_CAPTION.format(1), 16] > 0.6
    assert value["MRL", "gap", 16] > 0.1
    for row in rows:
        if row.metric == f"{ZERO_SHOT} difference":
            assert row.value == pytest.approx(
                value["MRL", ZERO_SHOT, row.dims] - value["plain, cut", ZERO_SHOT, row.dims], abs=1e-9
            )
    page = (done / "report" / "index.html").read_text()
    assert "cosine of true pairs minus that of random pairs" in page
    assert "nestling reproduce align-icons" in (done / "report" / "results.md").read_text()


def test_what_is_judged_is_what_a_slow_loop_says() -> None:
    rng = np.random.default_rng(1)
    groups, caption_groups = np.array([3, 5, 3, 9, 5, 9, 3]), np.array([3, 5, 9])
    classes = np.array([0, 1, 0, -1, 1, -1, 0])
    x, y, z = (rng.standard_normal((n, 6)).astype(np.float32) for n in (7, 3, 2))
    ids, named = np.zeros((3, 1), np.int64), np.zeros((2, 1), np.int64)
    asked = Part(
        np.empty((7, 1, 4, 4), np.uint8), groups, groups, classes, ids, caption_groups, named, np.array([True, False])
    )
    found = judged(Encoded(x, y, z), asked, Nesting((2, 6)))
    for k, m in enumerate((2, 6)):
        a, b, c = (truncate(each.astype(np.float64), m) for each in (x, y, z))
        for i in range(3):
            best = np.argsort(-(a @ b[i]), kind="stable")
            for top in (1, 5):
                assert found.right[TO_PICTURE.format(top)][k, i] == (groups[best[:top]] == caption_groups[i]).any()
        for i in range(7):
            assert found.right[TO_CAPTION.format(1)][k, i] == (caption_groups[(b @ a[i]).argmax()] == groups[i])
        known = [i for i in range(7) if classes[i] >= 0]
        told = [bool((c @ a[i]).argmax() == classes[i]) for i in known]
        assert found.right[ZERO_SHOT][k].tolist() == told
        assert found.macro[k] == pytest.approx(
            np.mean([t for t, i in zip(told, known, strict=True) if classes[i] == 0])
        )
        true = [a[i] @ b[j] for i in range(7) for j in range(3) if groups[i] == caption_groups[j]]
        other = [a[i] @ b[j] for i in range(7) for j in range(3) if groups[i] != caption_groups[j]]
        assert found.gap[k] == pytest.approx(np.mean(true) - np.mean(other))


def test_a_model_that_learnt_nothing_is_at_chance(pairs: Pairs, settings: Settings, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    count, classes = 300, 10
    asked = Part(
        rng.integers(0, 255, (count, 1, 16, 16), dtype=np.uint8),
        rng.permutation(count),
        np.arange(count) % 5,
        np.arange(count) % classes,
        rng.integers(1000, 30_000, (count, 8)),
        np.arange(count),
        rng.integers(1000, 30_000, (classes, 8)),
        np.full(classes, True),
    )
    model = (
        Models(tmp_path, replace(pairs, asked=asked), settings, Silent()).fresh(Training(settings.nesting, 0)).eval()
    )
    vectors = (model.encode_images(asked.pixels), model.encode_texts(asked.captions), model.encode_texts(asked.prompts))
    found = judged(Encoded(*vectors), asked, settings.nesting)
    for form in (TO_PICTURE, TO_CAPTION):
        assert (found.right[form.format(1)].mean(axis=1) < 4 / count).all()
        assert (found.right[form.format(10)].mean(axis=1) < 2.5 * 10 / count).all()
    assert (found.right[ZERO_SHOT].mean(axis=1) < 2 / classes).all()
    assert (np.abs(found.macro - 1 / classes) < 0.1).all()
    assert (np.abs(found.gap) < 0.03).all()


def test_the_picture_tower_may_be_another_one_even_of_colours(pairs: Pairs, settings: Settings, tmp_path: Path) -> None:
    large = replace(pairs, pixels=pairs.pixels.repeat(2, axis=2).repeat(2, axis=3))
    large = replace(large, asked=replace(pairs.asked, pixels=pairs.asked.pixels.repeat(2, axis=2).repeat(2, axis=3)))
    short = replace(settings, train=replace(settings.train, steps=1, batch_size=8), pixels=32)
    training = Training(settings.nesting, 0)
    models = Models(tmp_path, large, replace(short, image=EncoderChoice(name="efficientnet-lite0")), Silent())
    found = models.encoded(training)
    assert found.pictures.shape == (60, 16)
    assert models.model(training).image.name == "efficientnet-lite0"
    grey = Models(tmp_path, large, replace(short, image=EncoderChoice(name="resnet-18")), Silent())
    assert grey.fresh(training).encode_images(large.asked.pixels[:3]).shape == (3, 16)
    wide = replace(short, image=EncoderChoice(name="resnet-18"), nesting=Nesting((4, 513)))
    with pytest.raises(InputError, match="dims must be at most the 512 features of resnet-18"):
        Models(tmp_path, large, wide, Silent())


def test_captions_of_the_part_are_told_once_by_the_commonest(pairs: Pairs, settings: Settings) -> None:
    asked = pairs.asked
    assert len(asked.pixels) == 60
    assert len(asked.captions) == len(set(asked.groups.tolist())) == 3
    tokenizer = Tokenizer.load(settings.text)
    wanted = {tuple(tokenizer.read([name], 8)[0]) for name in SHAPES}
    assert {tuple(row[row != tokenizer.padding]) for row in asked.captions} <= wanted | {
        tuple(tokenizer.read([f"{name}, outline"], 8)[0]) for name in SHAPES
    }
    tuned = replace(settings, part="val", most=(50, 12))
    rng = np.random.default_rng(0)
    data = CaptionedIcons(
        part(240, range(4), rng), part(30, range(4, 5), rng), part(60, range(5, 8), rng), ("bar",), ("bar",), (), {}, 0
    )
    small = pairs_of(data, tokenizer, tuned, Silent())
    assert (len(small.pixels), len(small.asked.pixels)) == (50, 12)
    assert set(small.asked.families.tolist()) == {4}


def test_a_cut_off_training_goes_on_to_the_same_bits(
    done: Path, pairs: Pairs, settings: Settings, tmp_path: Path
) -> None:
    training = Training(settings.nesting, 0)
    whole = Models(done / "runs", pairs, settings, Silent()).model(training).state_dict()
    short = replace(settings, train=replace(settings.train, checkpoint_every=7))

    class Cut(Exception):
        pass

    class Stopping(Collected):
        def task(self, name: str):  # type: ignore[override]
            inner = super().task(name)

            class Context:
                def __enter__(self) -> object:
                    step = inner.__enter__()

                    def stopping(at: int, total: int, words: str = "") -> None:
                        step(at, total, words)
                        if at == 16:
                            raise Cut

                    return stopping

                def __exit__(self, *error: object) -> None:
                    inner.__exit__(None, None, None)

            return Context()

    with pytest.raises(Cut):
        Models(tmp_path, pairs, short, Stopping()).encoded(training)
    watch = Collected()
    models = Models(tmp_path, pairs, short, watch)
    models.encoded(training)
    assert watch.steps["train MRL, seed 0"][0][0] == 15
    for name, tensor in models.model(training).state_dict().items():
        assert torch.equal(tensor, whole[name]), name
    assert not list(models.place(training).glob("run/checkpoint-*"))


def test_a_second_time_nothing_is_trained_and_damage_is_told(
    done: Path, pairs: Pairs, settings: Settings, tmp_path: Path
) -> None:
    watch = Collected()
    run(settings, pairs, Asked(out=tmp_path, runs=done / "runs"), watch=watch)
    assert {name.split(" ")[0] for name in watch.steps} == {"measure"}
    name = "align-icons.jsonl"
    assert (tmp_path / name).read_text() == (done / "report" / name).read_text()
    other = Models(done / "runs", pairs, replace(settings, tune="last"), Silent())
    same = Models(done / "runs", pairs, settings, Silent())
    training = Training(settings.nesting, 0)
    assert other.place(training) != same.place(training)
    kept = same.place(training) / "features.json"
    before = kept.read_text()
    kept.write_text("{")
    with pytest.raises(CheckpointError, match="is damaged"):
        run(settings, pairs, Asked(out=tmp_path, runs=done / "runs"), watch=Silent())
    kept.write_text(before)


def test_the_name_is_known_and_its_words_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--data must be left out of align-icons.*nestling recipe align"):
        names.reproduce("align-icons", Asked(out=tmp_path, data="icons"), watch=Silent())
    with pytest.raises(InputError, match="scale must be full or small"):
        names.reproduce("align-icons", Asked(out=tmp_path, scale="big"), watch=Silent())
    with pytest.raises(InputError, match="seeds must be at least 1"):
        names.reproduce("align-icons", Asked(out=tmp_path, seeds=0), watch=Silent())
    assert get_settings("small").command == "nestling reproduce align-icons --scale small"


@pytest.mark.soak
def test_every_row_of_the_small_scale(tmp_path: Path) -> None:
    names.reproduce("align-icons", Asked(out=tmp_path, scale="small", runs=tmp_path / "runs"), watch=Silent())
    rows = read_rows(tmp_path / "align-icons.jsonl")
    assert {row.system for row in rows} == {"MRL", "plain, cut", "MRL − plain, cut"}
    found = {(row.system, row.metric, row.dims): row for row in rows}
    for system in ("MRL", "plain, cut"):
        for m in get_settings("small").nesting:
            assert found[system, "zero-shot macro", m].n > 100
            assert found[system, "gap", m].value > 0  # it learnt, if only a little
        top = found[system, TO_CAPTION.format(10), 64]
        assert top.value > 2 * 10 / found[system, TO_PICTURE.format(1), 64].n  # twice chance, the captions

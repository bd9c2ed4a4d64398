"""Every experiment on a small tree of real pictures: trained, cached, shown; and what is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nestling import Nesting
from nestling.errors import CheckpointError, DataError, InputError
from nestling.evaluation import Row, read_rows
from nestling.studies.reproduce import systems
from nestling.studies.reproduce.corruptions import CORRUPTIONS, noisy, pixelated, rotated, thicker, thinner
from nestling.studies.reproduce.experiments import EXPERIMENTS, linear
from nestling.studies.reproduce.images import study_images
from nestling.studies.reproduce.publish import show
from nestling.studies.reproduce.run import join, reproduce
from nestling.studies.reproduce.section import Section, Table, by_prefix, lines_of
from nestling.studies.reproduce.settings import Settings, get_settings
from nestling.studies.watch import Silent
from nestling.training import TrainConfig
from tests.studies.collected import Collected

CLASSES = 6
SYSTEMS = {"MRL", "MRL-E", "FF", "SVD", "PCA", "random", "slimmable", "pixels"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six classes, a bright stripe each: "bar one", "bar two", "bar three", "dot four", …"""
    root, rng = tmp_path_factory.mktemp("tree"), np.random.default_rng(0)
    for c, name in enumerate(("bar-one", "bar-two", "bar-three", "dot-four", "dot-five", "dot-six")):
        (root / name).mkdir()
        for i in range(40):
            pixels = rng.integers(0, 120, (16, 16)).astype(np.uint8)
            pixels[2 * c : 2 * c + 3] = np.maximum(pixels[2 * c : 2 * c + 3], rng.integers(150, 255))
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def tiny(tree: Path, **changes: object) -> Settings:
    settings = Settings(
        data=str(tree),
        nesting=Nesting((4, 8, 16)),
        stages=(8, 16),
        train=TrainConfig(epochs=3, batch_size=32, lr=1e-2, flip=False),
        pixels=16,
        finish_epochs=2,
        seeds=(0, 1),
        few_dims_seeds=(0, 1),
        few_shot_draws=3,
        random_draws=2,
        strengths=(0.1, 10.0),
        redraws=3,
    )
    return replace(settings, **changes)


@pytest.fixture(scope="module")
def done(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of the report and of the runs, after everything ran."""
    root = tmp_path_factory.mktemp("reproduced")
    reproduce("all", tiny(tree), root / "report", runs=root / "runs", watch=Silent())
    return root / "report", root / "runs"


def test_every_experiment_leaves_rows_and_the_page_shows_them(done: tuple[Path, Path]) -> None:
    page = (done[0] / "index.html").read_text()
    for name in EXPERIMENTS:
        rows = read_rows(done[0] / f"{name}.jsonl")
        assert len(rows) > 5, name
        assert f"id={name}" in page
        assert f"nestling reproduce {name}" in page
    assert page.count("<svg") >= 5
    assert not re.search(r"""<script|(src|href)=["']?http""", page.replace("xlink:href", ""))


def test_the_main_table_holds_every_system_at_every_prefix(done: tuple[Path, Path]) -> None:
    rows = read_rows(done[0] / "linear.jsonl")
    assert {row.group for row in rows if row.metric == "1nn_top1_by_group"} == set(map(str, range(24)))
    kinds = {row.system for row in rows if " - " not in row.system and "raw" not in row.system}
    assert kinds == SYSTEMS | {"FF finished", "MRL projected", "FF projected", "FF projected finished"}
    for system in SYSTEMS - {"pixels"}:
        for metric in ("probe_top1", "1nn_top1", "linear_top1"):
            dims = {row.dims for row in rows if (row.system, row.metric) == (system, metric)}
            assert {4, 8, 16} <= dims, (system, metric)
    assert {row.seed for row in rows if row.system == "MRL"} == {0, 1}
    for metric in ("probe_top1", "1nn_top1", "head_top1"):  # plain models are one of their variants, by validation
        for plain, trained in (("FF", 6), ("FF projected", 3)):
            variants = [
                {(r.dims, r.seed): r.value for r in rows if (r.system, r.metric) == (system, metric)}
                for system in (plain, f"{plain} finished", f"{plain} raw")
            ]
            assert len(variants[0]) == trained
            assert all(value in (variants[1][at], variants[2][at]) for at, value in variants[0].items())
    assert all(0 <= row.value <= 1 for row in rows if row.metric.endswith("top1"))
    differences = [row for row in rows if row.metric == "1nn_top1_difference" and row.system == "MRL - FF"]
    assert [row.dims for row in differences] == [4, 8, 16]
    for row in differences:
        ours, theirs = (
            np.mean([r.value for r in rows if (r.system, r.metric, r.dims) == (name, "1nn_top1", row.dims)])
            for name in ("MRL", "FF")
        )
        assert row.value == pytest.approx(ours - theirs, abs=1e-12)
        assert row.interval is not None
        assert row.interval[0] <= row.value <= row.interval[1]


def test_every_number_of_a_table_leads_to_its_rows(done: tuple[Path, Path]) -> None:
    page, checked = (done[0] / "index.html").read_text(), 0
    for name in EXPERIMENTS:
        lines = (done[0] / f"{name}.jsonl").read_text().split("\n")
        cells = re.findall(rf'<a href="#{name}-(\d+)" title="line ([\d, ]+) of {name}.jsonl">([^<]*)</a>', page)
        assert len(cells) >= 3, name
        for first, places, text in cells:
            rows = [Row.from_json(lines[int(place) - 1]) for place in places.split(", ")]
            assert f"<li id={name}-{first} value={first}>" in page
            value = float(text.split(" ")[0].rstrip("×"))
            mean = float(np.mean([row.value for row in rows]))
            assert min(abs(value - mean), abs(value - 100 * mean)) < 0.051, (name, text)
            checked += 1
    assert checked > 300


def test_what_is_left_is_told_before_each_model(tree: Path, tmp_path: Path) -> None:
    watch = Collected()
    settings = tiny(tree, seeds=(0,), few_dims_seeds=(0,))
    for name in ("unseen-widths", "few-shot"):
        reproduce(name, settings, tmp_path, runs=tmp_path / "runs", watch=watch)
    told = [text for text in watch.said if text.startswith("Model ")]
    assert [text.split(",")[0] for text in told] == [
        "Model 1 of 2: MRL",
        "Model 2 of 2: MRL-E",
        *(f"Model {i} of 3: FF-{m}" for i, m in ((1, 4), (2, 8), (3, 16))),
    ]
    assert "about 0 minutes for all that are left" in told[1]
    text = (tmp_path / "results.md").read_text()
    assert "`nestling reproduce few-shot --data" in text
    assert "| 1 examples a class, top-1 % | 4 | 8 | 16 |" in text


def test_runs_of_one_seed_each_are_joined(done: tuple[Path, Path], tree: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        alone = tiny(tree, seeds=(seed,), few_dims_seeds=(seed,), once=(0,) if seed == 0 else ())
        reproduce("all", alone, tmp_path / str(seed), runs=done[1], watch=Silent())
    parts, both = [tmp_path / "0", tmp_path / "1"], tmp_path / "both"
    join("all", parts, both, watch=Silent())
    for name in EXPERIMENTS:
        whole, joined = (sorted(map(Row.to_json, read_rows(at / f"{name}.jsonl"))) for at in (done[0], both))
        assert joined == whole, name
    tables = [(at / "results.md").read_text() for at in (done[0], both)]
    assert tables[1].count("minutes") == tables[0].count("minutes") + 1
    assert sorted(tables[0].split("\n"))[-200:] == sorted(tables[1].split("\n"))[-200:]
    with pytest.raises(InputError, match="seed 1 twice"):
        join("all", [both, parts[1]], tmp_path / "x", watch=Silent())
    with pytest.raises(DataError, match="Name a folder that `nestling reproduce` wrote"):
        join("all", [tmp_path], tmp_path / "x", watch=Silent())
    with pytest.raises(InputError, match="seed must be one of 0, 1, 2"):
        get_settings(only=7)
    path = parts[1] / "run.json"
    path.write_text(path.read_text().replace('"epochs": 3', '"epochs": 4'))
    with pytest.raises(InputError, match="of the same data and settings"):
        join("all", parts, tmp_path / "x", watch=Silent())


def test_finishing_leaves_full_width_as_it_was(done: tuple[Path, Path]) -> None:
    rows = read_rows(done[0] / "linear.jsonl")
    value = {(r.system, r.metric, r.dims, r.seed): r.value for r in rows}
    for seed in (0, 1):
        for metric in ("head_top1", "1nn_top1"):
            assert value["MRL", metric, 16, seed] == pytest.approx(value["MRL raw", metric, 16, seed], abs=0.03)


def test_a_second_time_nothing_is_trained(done: tuple[Path, Path], tree: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in done[1].rglob("*") if path.is_file()}
    watch = Collected()
    reproduce("linear", tiny(tree), tmp_path, runs=done[1], watch=watch)
    assert not [name for name in watch.steps if name.startswith(("train", "finish", "encode", "probe"))]
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert (tmp_path / "linear.jsonl").read_text() == (done[0] / "linear.jsonl").read_text()


def test_another_setting_is_another_model(done: tuple[Path, Path], tree: Path, tmp_path: Path) -> None:
    changed = tiny(tree, train=replace(tiny(tree).train, lr=3e-2), seeds=(0,), few_dims_seeds=(0,))
    watch = Collected()
    reproduce("unseen-widths", changed, tmp_path, runs=done[1], watch=watch)
    assert "train MRL, seed 0" in watch.steps
    dims = {row.dims for row in read_rows(tmp_path / "unseen-widths.jsonl")}
    assert dims == {4, 6, 8, 12, 16}


def test_what_is_not_possible_is_one_sentence(done: tuple[Path, Path], tree: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name must be one of linear, "):
        reproduce("linaer", tiny(tree), tmp_path, watch=Silent())
    with pytest.raises(InputError, match="scale must be full or small"):
        get_settings("big")
    with pytest.raises(InputError, match="data must be icons-600, icons-1500, or a folder"):
        study_images(tiny(tmp_path / "nowhere"), Silent())
    (tmp_path / "one" / "class").mkdir(parents=True)
    for i in range(4):
        Image.fromarray(np.full((16, 16), i, np.uint8)).save(tmp_path / "one" / "class" / f"{i}.png")
    with pytest.raises(InputError, match="at least two classes"):
        study_images(tiny(tmp_path / "one"), Silent())
    (tmp_path / "one" / "lone").mkdir()
    Image.fromarray(np.full((16, 16), 9, np.uint8)).save(tmp_path / "one" / "lone" / "0.png")
    with pytest.raises(DataError, match=r"Class lone of .* has no test image"):
        study_images(tiny(tmp_path / "one"), Silent())


def test_a_cache_of_another_version_is_named(done: tuple[Path, Path], tree: Path, tmp_path: Path) -> None:
    kept = {path: path.read_text() for path in done[1].glob("mrl-0-*/features.json")}
    for text, sentence in (('{"format": 99}', r"another version \(format 99"), ("{", "is damaged .* Delete")):
        for path in kept:
            path.write_text(text)
        with pytest.raises(CheckpointError, match=sentence):
            reproduce("unseen-widths", tiny(tree), tmp_path, runs=done[1], watch=Silent())
    for path, text in kept.items():
        path.write_text(text)


def test_tables_show_the_mean_and_the_spread_of_seeds() -> None:
    rows = [
        Row(system="MRL", metric="m", value=value, unit="fraction", n=9, dims=dims, seed=seed)
        for seed, dims, value in ((0, 8, 0.5), (1, 8, 0.6), (0, 16, 0.7))
    ]
    assert by_prefix("t", rows, "m").rows == [["MRL", "55.00 ±5.0", "70.00"]]
    (line,) = lines_of(rows, "m")
    assert (line.name, list(line.dims), list(line.values)) == ("MRL", [8, 16], [pytest.approx(0.55), 0.7])


def test_a_table_wider_than_a_terminal_is_laid_on_its_side() -> None:
    class Columns(Collected):
        def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
            self.tables += [f"{title}: {' '.join(columns)}", *(" ".join(row) for row in rows)]

    wide = Table("wide", ["", *map(str, range(11))], [["MRL", *"abcdefghijk"]])
    narrow = Table("narrow", ["", "8", "16"], [["MRL", "a", "b"]])
    hidden = Table("hidden", ["", "8"], [["MRL", "a"]], wide=True)
    watch = Columns()
    show(Section(title="t", claim="c", tables=[wide, narrow, hidden]), watch)
    assert watch.tables[:3] == ["wide:  MRL", "0 a", "1 b"]
    assert watch.tables[-2:] == ["narrow:  8 16", "MRL a b"]


IMAGES = np.zeros((3, 1, 9, 9), np.uint8)
IMAGES[:, :, 2:7, 4] = 200


def test_changed_images_are_images_and_changed() -> None:
    for name, change in CORRUPTIONS.items():
        found = change(IMAGES)
        assert found.shape == IMAGES.shape, name
        assert found.dtype == np.uint8
        assert not np.array_equal(found, IMAGES)
    assert IMAGES.sum() == 3 * 5 * 200


def test_seeds_of_few_dims_alone_have_no_rows_above(
    tree: Path, done: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (systems, linear):
        monkeypatch.setattr(module, "FEW_DIMS", 8)
    reproduce("linear", tiny(tree, few_dims_seeds=(0, 1, 2)), tmp_path, runs=done[1], watch=Silent())
    rows = [row for row in read_rows(tmp_path / "linear.jsonl") if row.system in ("MRL", "FF", "MRL - FF")]
    assert {row.dims for row in rows if row.seed == 2} == {4, 8}
    for system in ("MRL", "FF"):
        for m, seeds in ((8, {0, 1, 2}), (16, {0, 1})):
            assert {row.seed for row in rows if (row.system, row.dims) == (system, m)} == seeds


def test_what_each_change_does() -> None:
    assert (thicker(IMAGES)[0, 0, 4] > 0).sum() == 3
    assert thinner(IMAGES).sum() == 0
    blocks = pixelated(IMAGES)
    assert blocks[0, 0, 2, 4] == blocks[0, 0, 3, 5] == 100
    assert np.array_equal(blocks[..., 8], IMAGES[..., 8])
    assert not np.array_equal(rotated(IMAGES, seed=0), rotated(IMAGES, seed=1))
    assert abs(float(noisy(np.full((50, 1, 9, 9), 128, np.uint8), strength=10.0).mean()) - 128) < 1


@pytest.mark.soak
def test_the_small_scale_gives_every_row_on_icons(tmp_path: Path) -> None:
    sections = reproduce("all", get_settings("small", seeds=1), tmp_path, runs=tmp_path / "runs", watch=Silent())
    assert list(sections) == list(EXPERIMENTS)
    value = {(r.system, r.metric, r.dims): r.value for r in read_rows(tmp_path / "linear.jsonl")}
    assert next(found for (system, _, _), found in value.items() if system == "pixels") > 0.5
    assert value["MRL", "1nn_top1", 64] > value["MRL", "1nn_top1", 8] > value["slimmable", "1nn_top1", 8] + 0.05
    assert value["MRL", "1nn_top1", 8] > value["SVD", "1nn_top1", 8] - 0.1
    classes = read_rows(tmp_path / "classes.jsonl")
    assert any(row.metric == "superclass_top1" for row in classes)

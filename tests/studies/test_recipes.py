"""The paper's recipes, run end to end on small real data."""

from __future__ import annotations

from pathlib import Path

import pytest

from nestling.errors import InputError
from nestling.evaluation import load_rows
from nestling.studies.recipes.command import names, recipe_of, run_recipe, told
from nestling.studies.sharding import shard_tree
from nestling.studies.watch import Silent
from tests.cli.command import here, nestling
from tests.data.pictures import tree

NAMES = names()
SMALL = ["batch_size=8", "size=32", "workers=0", "precision=fp32", "val_fraction=0.2"]
CHANGES = {
    "imagenet_resnet50": [*SMALL, "encoder=resnet-18", "dims=8,512", "grow=24:32:1:3"],
    "imagenet_vit_b16": [*SMALL, "encoder=vit-s16", "dims=12,384"],
    "jft_vit_b16": [*SMALL, "encoder=vit-s16", "dims=12,384"],
}
"""What makes a recipe small enough for two cores; the soak test changes less."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    tree(folder / "tree", classes=3, each=20)
    shard_tree(folder / "tree", folder / "shards", val_fraction=0.2, most=9, seed=0, watch=Silent())
    return folder


def _run(name: str, data: Path, out: Path, steps: int, changes: list[str]) -> None:
    source = data / ("shards" if name.startswith("jft") else "tree")
    settings = [f"data={source}", f"out={out}", f"steps={steps}", *changes]
    _, rows = run_recipe(name, settings, resume=False, watch=Silent())
    assert rows == load_rows((out / "rows.jsonl").read_text())
    assert {row.metric for row in rows} == {"head_top1", "probe_top1", "1nn_top1"}


def test_every_recipe_has_a_case() -> None:
    assert set(NAMES) == set(CHANGES)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.soak] * n.startswith("imagenet")) for n in NAMES])
def test_a_recipe_runs_end_to_end(name: str, data: Path, tmp_path: Path) -> None:
    _run(name, data, tmp_path / "run", 3, CHANGES[name])


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_with_its_own_encoder(name: str, data: Path, tmp_path: Path) -> None:
    _run(name, data, tmp_path / "run", 20, SMALL)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_tells_itself(name: str) -> None:
    recipe, about = recipe_of(name)
    assert f"-m nestling recipe {name} --set data=" in about
    assert "Hardware and time" in about
    assert dict(told(recipe))["batch_size"] == recipe.train.batch_size


def test_the_command_tells_and_runs(data: Path, tmp_path: Path) -> None:
    told_ = nestling("recipe", "imagenet_resnet50")
    assert "momentum=0.9" in told_.stdout
    changes = [*CHANGES["imagenet_resnet50"], f"data={data / 'tree'}", f"out={tmp_path / 'run'}", "steps=2"]
    done = here("recipe", "imagenet_resnet50", "--set", *changes)
    assert done.returncode == 0, done.stderr
    assert "head_top1" in done.stdout


@pytest.mark.usefixtures("as_a_user")
def test_what_cannot_be_set_is_one_sentence() -> None:
    for name, settings, words in (
        ("imagenet_resnet50", [], "data must be set"),
        ("imagenet_resnet50", ["lrr=1"], "--set must be name=value"),
        ("imagenet_resnet50", ["lr=fast"], "lr must be a number"),
        ("imagenet_resnet51", [], "recipe must be one of imagenet_resnet50"),
    ):
        with pytest.raises(InputError, match=words):
            run_recipe(name, settings, resume=False, watch=Silent())

"""The study of masked words on a small model: trained, kept, measured, shown."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from nestling import Nesting
from nestling.data.tokens import Tokenizer
from nestling.errors import CheckpointError, DataError, InputError
from nestling.evaluation import read_rows
from nestling.models.encoders.text import minilm
from nestling.studies.masked_words.models import Models, Training
from nestling.studies.masked_words.settings import Settings, get_settings
from nestling.studies.masked_words.study import run
from nestling.studies.masked_words.words import study_words
from nestling.studies.reproduce import names
from nestling.studies.reproduce.asked import Asked
from nestling.studies.texts import told_right
from nestling.studies.watch import Silent
from nestling.training import TrainConfig
from tests.studies.collected import Collected

DOCS = Path(__file__).parents[2] / "docs"
DIMS = (3, 6, 12)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Real sentences and a model of twelve features."""
    root = tmp_path_factory.mktemp("words")
    (root / "texts").mkdir()
    for file in DOCS.glob("*.md"):
        (root / "texts" / f"{file.stem}.txt").write_text(file.read_text())
    about = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(**about)).save_pretrained(root / "bert")
    Tokenizer.load(minilm()).save(root / "bert")
    train = TrainConfig(steps=3, batch_size=4, lr=1e-2, label_smoothing=0.0, clip_norm=None, augment=False)
    return Settings(
        data=str(root / "texts"),
        pretrained=str(root / "bert"),
        nesting=Nesting(DIMS),
        train=train,
        length=32,
        shares=(0.8, 0.1),
        most=24,
    )


@pytest.fixture(scope="module")
def done(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reproduced")
    run(settings, Asked(out=root / "report", runs=root / "runs"), watch=Silent())
    return root


def test_every_system_has_every_prefix_and_the_page_leads_to_its_rows(done: Path) -> None:
    rows = read_rows(done / "report" / "masked-words.jsonl")
    found = {(row.system, row.dims, row.seed) for row in rows}
    for system in ("MRL-E", "FF", "FF-12 cut"):
        assert {(system, m, 0) for m in DIMS} <= found
    assert {("before", m, 0) for m in DIMS} <= found
    value = {(row.system, row.dims, row.seed): row.value for row in rows}
    assert value["FF", 12, 0] == value["FF-12 cut", 12, 0]
    differences = [row for row in rows if row.metric == "masked_top1_difference"]
    assert [row.dims for row in differences] == list(DIMS)
    for row in differences:
        assert row.value == pytest.approx(value["MRL-E", row.dims, 0] - value["FF", row.dims, 0], abs=1e-12)
        assert row.interval is not None
        assert row.interval[0] <= row.value <= row.interval[1]
    assert len({row.n for row in rows if row.metric == "masked_top1"}) == 1
    page = (done / "report" / "index.html").read_text()
    assert len(re.findall(r'<a href="#masked-words-\d+" title="line', page)) == 4 * 3 + 3
    assert "nestling reproduce masked-words --data" in (done / "report" / "results.md").read_text()


def test_what_is_kept_is_what_the_saved_model_says(done: Path, settings: Settings) -> None:
    models = Models(done / "runs", study_words(settings, Silent()), settings, Silent())
    training = Training(Nesting(DIMS), 0)
    told = told_right(
        models.model(training), models.words.test, models.words.masking, precision="fp32", step=lambda *_: None
    )
    kept = models.answers(training)
    assert np.array_equal(told.right, kept.right)
    assert np.array_equal(told.words, kept.words)
    hidden = np.bincount(kept.rows, minlength=len(models.words.test))
    assert len(hidden) == len(models.words.test)
    assert (hidden > 0).all()
    place = next((done / "runs").glob("mrl-e-0-*"))
    assert Tokenizer.load(place / "model").mask == 103
    assert not list(place.glob("run/checkpoint-*"))


def test_a_second_time_nothing_is_trained_and_another_setting_is_another_model(
    done: Path, settings: Settings, tmp_path: Path
) -> None:
    watch = Collected()
    run(settings, Asked(out=tmp_path, runs=done / "runs"), watch=watch)
    assert {name.split(" ")[0] for name in watch.steps} == {"read"}
    before = (done / "report" / "masked-words.jsonl").read_text()
    assert (tmp_path / "masked-words.jsonl").read_text() == before
    (kept := next((done / "runs").glob("mrl-e-0-*/features.json"))).write_text("{")
    with pytest.raises(CheckpointError, match="is damaged"):
        run(settings, Asked(out=tmp_path, runs=done / "runs"), watch=Silent())
    kept.write_text('{"format": 1}')
    changed, watch = replace(settings, share=0.3), Collected()
    Models(done / "runs", study_words(changed, watch), changed, watch).prepare()
    assert [text.split(",")[0] for text in watch.said] == [
        "Model 1 of 4: MRL-E",
        *(f"Model {i} of 4: FF-{m}" for i, m in ((2, 12), (3, 6), (4, 3))),
    ]
    assert "train MRL-E, seed 0" in watch.steps


def test_the_commonest_piece_is_counted(done: Path, settings: Settings) -> None:
    words = study_words(settings, Silent())
    counts = Counter(int(one) for row in words.train for one in row if one not in words.tokenizer.special)
    assert np.exp(words.frequencies()).sum() == pytest.approx(1, abs=1e-3)
    assert int(words.frequencies().argmax()) == counts.most_common(1)[0][0]
    hidden = Models(done / "runs", words, settings, Silent()).before().words
    (row,) = (each for each in read_rows(done / "report" / "masked-words.jsonl") if each.system.startswith("the "))
    assert row.value == pytest.approx(sum(int(one) == counts.most_common(1)[0][0] for one in hidden) / len(hidden))


def test_the_name_is_known_and_the_words_of_it_are_checked(tmp_path: Path) -> None:
    assert "masked-words" in names.known()
    with pytest.raises(InputError, match=r"name must be one of linear, .*text-retrieval or all"):
        names.reproduce("masked-wrods", Asked(out=tmp_path), watch=Silent())
    with pytest.raises(InputError, match="scale must be full or small"):
        names.reproduce("masked-words", Asked(out=tmp_path, scale="big"), watch=Silent())
    with pytest.raises(DataError, match="does not exist"):
        names.reproduce("masked-words", Asked(out=tmp_path, data=str(tmp_path / "none")), watch=Silent())
    assert get_settings("small").command == "nestling reproduce masked-words --scale small"

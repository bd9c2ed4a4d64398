"""The parts of a run on texts: its token ids, its encoder, what its model tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nestling.data.packing import pack
from nestling.data.parts import of_part
from nestling.data.texts import text_files
from nestling.data.tokens import Tokenizer
from nestling.errors import CheckpointError, InputError
from nestling.models.encoders.text import BertEncoder, minilm
from nestling.studies.texts import TextEncoderChoice, told_right
from nestling.studies.texts.tokens import TokenFiles
from nestling.studies.watch import Silent
from nestling.training import Masking
from tests.models.test_encoders import BERT, DISTILBERT
from tests.models.test_masked import MASK, NESTING, SPECIAL, masked_model, masked_texts

LINES = [f"the {i}th of many short texts" for i in range(300)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "texts.txt").write_text("\n".join(LINES))
    return tmp_path / "texts.txt"


def test_a_run_s_tokens_are_those_of_its_texts_made_once(source: Path, tmp_path: Path) -> None:
    tokenizer, files = Tokenizer.load(minilm()), TokenFiles(tmp_path / "tokens", 16, 0.2)
    files.make(text_files(source), tokenizer, Silent())
    for part, name in enumerate(("train", "val")):
        wanted = pack(of_part(LINES, part, (0.8,)), tokenizer, 16)
        assert files.rows(name).dtype == np.uint16
        assert np.array_equal(files.rows(name), wanted)
    before = (tmp_path / "tokens" / "train.ids").stat().st_mtime_ns
    files.make(text_files(source), tokenizer, Silent())
    assert (tmp_path / "tokens" / "train.ids").stat().st_mtime_ns == before
    source.write_text("\n".join(LINES[:200]))
    files.make(text_files(source), tokenizer, Silent())
    assert np.array_equal(files.rows("val"), pack(of_part(LINES[:200], 1, (0.8,)), tokenizer, 16))


def test_damaged_tokens_and_empty_parts_are_one_sentence(source: Path, tmp_path: Path) -> None:
    tokenizer, files = Tokenizer.load(minilm()), TokenFiles(tmp_path / "tokens", 16, 0.2)
    with pytest.raises(CheckpointError, match=r"train\.ids is damaged"):
        files.rows("train")
    files.make(text_files(source), tokenizer, Silent())
    (tmp_path / "tokens" / "val.ids").write_bytes(b"short")
    with pytest.raises(CheckpointError, match=r"val\.ids is damaged"):
        files.rows("val")
    with pytest.raises(InputError, match="texts must be enough for the val part"):
        TokenFiles(tmp_path / "none", 16, 1e-9).make(text_files(source), tokenizer, Silent())


def test_every_model_is_asked_for_the_same_words(tmp_path: Path) -> None:
    masking, rows = Masking(MASK, SPECIAL, 50), masked_texts(70).numpy().astype(np.uint16)
    seen: list[int] = []
    model = masked_model()
    told = told_right(model, rows, masking, precision="fp32", step=lambda done, total: seen.append(done))
    other = told_right(masked_model(), rows, masking, precision="bf16", step=lambda *_: None)
    assert np.array_equal(told.words, other.words)
    assert np.array_equal(told.rows, other.rows)
    assert seen == [32, 64, 70]
    generator, right, where = torch.Generator().manual_seed(1), list[np.ndarray](), list[int]()
    for at in (0, 32, 64):
        masked = masking(torch.from_numpy(rows[at : at + 32].astype(np.int64)), generator)
        with torch.inference_mode():
            x = model(masked.ids, masked.hidden)
            said = [(x[:, :m] @ model.decoder[:, :m].T + model.bias).argmax(1) for m in NESTING]
        where += [at + i for i, row in enumerate(masked.hidden) for one in row if one]
        right.append(np.stack([(one == masked.words).numpy() for one in said]))
    assert np.array_equal(told.right, np.concatenate(right, axis=1))
    assert told.rows.tolist() == where
    assert not model.training


def test_every_family_s_dropout_is_found(tmp_path: Path) -> None:
    import transformers

    transformers.DistilBertModel(transformers.DistilBertConfig(**DISTILBERT)).save_pretrained(tmp_path)
    found = TextEncoderChoice(pretrained=str(tmp_path), dropout=0.0).build(torch.Generator().manual_seed(0)).train()
    ids = masked_texts(3)
    assert torch.equal(found(ids), found(ids))


def test_an_encoder_without_dropout_has_the_same_weights_and_wants_its_own_tokens(tmp_path: Path) -> None:
    import transformers

    transformers.BertModel(transformers.BertConfig(**BERT)).save_pretrained(tmp_path)
    generator = torch.Generator().manual_seed(0)
    choice = TextEncoderChoice(pretrained=str(tmp_path), dropout=0.0)
    found, plain = choice.build(generator), BertEncoder.from_pretrained(tmp_path)
    assert found.config["architecture"]["hidden_dropout_prob"] == 0
    assert all(torch.equal(a, b) for a, b in zip(found.state_dict().values(), plain.state_dict().values(), strict=True))
    found.train()
    ids = masked_texts(3)
    assert torch.equal(found(ids), found(ids))
    with pytest.raises(InputError, match="tokenizer must be of at most 50 words"):
        TextEncoderChoice(pretrained=str(tmp_path), tokenizer=str(minilm())).reader(found)
    with pytest.raises(InputError, match="tokenizer must be a folder"):
        TextEncoderChoice(pretrained="some/model").reader(found)
    with pytest.raises(InputError, match="dropout must be from 0"):
        TextEncoderChoice(dropout=1.0).build(generator)

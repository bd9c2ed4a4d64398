"""The loss against sentence-transformers' own, and folders that it loads."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nestling import MatryoshkaAdaptor, Nesting, truncate
from nestling.errors import DataError, InputError, ShapeError
from nestling.integrations import NestedContrastiveLoss, export_sentence_transformers
from tests.cli.command import here, refused

library: Any = pytest.importorskip("sentence_transformers")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdefghij")]
NESTING = Nesting((4, 8, 16), (1.0, 0.5, 2.0))
ANCHORS = ["a bad cab", "face", "deed of a", "gag high", "jig"]
OTHERS = ["cab", "a face", "deeds", "high", "j i g"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of random weights with a tokenizer, as `transformers` saves them."""
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(WORDS), **shape)).save_pretrained(folder)
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture
def model(folder: Path) -> Any:
    return library.SentenceTransformer(str(folder), device="cpu").eval()


def adaptor_of(kind: str, **changes: Any) -> MatryoshkaAdaptor:
    """A map learnt for a few steps over vectors as wide as the model's."""
    x = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    adaptor = MatryoshkaAdaptor(kind, nesting="4,8,16", steps=3, random_state=0, **changes)
    return adaptor.fit_pairs(x, x + 0.1)


@pytest.mark.parametrize("columns", [2, 4])
def test_the_loss_is_the_librarys_own(model: Any, columns: int) -> None:
    from sentence_transformers.sentence_transformer import losses

    texts = [ANCHORS, OTHERS, OTHERS[::-1], [*ANCHORS[1:], "bad"]][:columns]
    plain = losses.MultipleNegativesRankingLoss(model)
    theirs = losses.MatryoshkaLoss(model, plain, NESTING.dims, NESTING.weights)
    found = []
    for loss in (theirs, NestedContrastiveLoss(model, NESTING)):
        model.zero_grad()
        value = loss([model.preprocess(column) for column in texts], torch.zeros(5))
        value.backward()
        found.append((value.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(found[1][0], found[0][0])
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-3, atol=1e-5)


def test_symmetric_is_the_mean_of_both_directions() -> None:
    x, y = torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(0))
    model = torch.nn.Identity()
    both = NestedContrastiveLoss(model, NESTING, symmetric=True).of([x, y])
    one = [NestedContrastiveLoss(model, NESTING).of(pair) for pair in ([x, y], [y, x])]
    torch.testing.assert_close(both, (one[0] + one[1]) / 2)


@pytest.mark.soak
def test_the_librarys_trainer_trains_with_it(model: Any, tmp_path: Path) -> None:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

    data = Dataset.from_dict({"anchor": ANCHORS * 4, "positive": OTHERS * 4})
    before = NestedContrastiveLoss(model, NESTING).of([torch.from_numpy(model.encode(t)) for t in (ANCHORS, OTHERS)])
    how = SentenceTransformerTrainingArguments(
        str(tmp_path), num_train_epochs=8, per_device_train_batch_size=5, learning_rate=3e-3, use_cpu=True, report_to=[]
    )
    SentenceTransformerTrainer(model, how, data, loss=NestedContrastiveLoss(model, NESTING)).train()
    after = NestedContrastiveLoss(model, NESTING).of([torch.from_numpy(model.encode(t)) for t in (ANCHORS, OTHERS)])
    assert float(after) < 0.7 * float(before)


@pytest.mark.parametrize("kind", ["rotation", "residual"])
def test_a_folder_gives_our_vectors_at_every_prefix(folder: Path, model: Any, tmp_path: Path, kind: str) -> None:
    adaptor = adaptor_of(kind)
    export_sentence_transformers(folder, tmp_path / "new", adaptor=adaptor)
    whole = adaptor.transform(model.encode(ANCHORS))
    for m in NESTING:
        loaded = library.SentenceTransformer(str(tmp_path / "new"), truncate_dim=m, device="cpu")
        np.testing.assert_allclose(loaded.encode(ANCHORS, normalize_embeddings=True), truncate(whole, m), atol=1e-5)
    config = json.loads((tmp_path / "new" / "config.json").read_text())
    assert (config["is_matryoshka"], config["matryoshka_dimensions"]) == (True, [4, 8, 16])
    assert "4, 8, 16 numbers" in (tmp_path / "new" / "README.md").read_text()
    again = tmp_path / "again"
    export_sentence_transformers(tmp_path / "new", again, nesting=NESTING)
    vectors = library.SentenceTransformer(str(again), device="cpu").encode(ANCHORS)
    np.testing.assert_allclose(vectors, truncate(whole, 16), atol=1e-5)
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_the_command(folder: Path, tmp_path: Path) -> None:
    adaptor_of("rotation").save(tmp_path / "adaptor")
    words = ["export", tmp_path / "adaptor", "--to", "sentence-transformers", "--model", folder]
    done = here(*words, "--out", tmp_path / "model")
    assert done.returncode == 0, done.stderr
    assert "truncate_dim=8" in done.stdout
    assert (tmp_path / "model" / "modules.json").exists()
    assert "is there already" in refused(here(*words, "--out", tmp_path / "model"))
    assert "--model" in refused(here(*words[:4], "--out", tmp_path / "new"))
    assert "sentence-transformers for an adaptor; got 'onnx'" in refused(here(*words[:2]))


def test_what_cannot_be_is_one_sentence(folder: Path, model: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nesting must be 16 wide"):
        export_sentence_transformers(folder, tmp_path / "a", nesting=Nesting((4, 8)))
    with pytest.raises(InputError, match="nesting must be given where there is no adaptor"):
        export_sentence_transformers(folder, tmp_path / "a")
    with pytest.raises(InputError, match="one map for both sides"):
        export_sentence_transformers(folder, tmp_path / "a", adaptor=adaptor_of("residual", separate=True))
    with pytest.raises(DataError, match="is there already"):
        export_sentence_transformers(folder, folder, nesting=NESTING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DataError, match="cannot be read as a model of texts"):
            export_sentence_transformers(tmp_path / "nothing", tmp_path / "a", nesting=NESTING)
    assert not (tmp_path / "a").exists()
    with pytest.raises(InputError, match="scale must be positive"):
        NestedContrastiveLoss(model, NESTING, scale=0.0)
    with pytest.raises(InputError, match="at most 16 wide"):
        NestedContrastiveLoss(model, Nesting((8, 32)))
    with pytest.raises(ShapeError, match="anchor, positive and perhaps negatives; got 1"):
        NestedContrastiveLoss(model, NESTING).of([torch.zeros(2, 16)])

"""What MTEB says of a folder that we wrote, on pairs of our own, is what our own search finds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from nestling import MatryoshkaAdaptor, Nesting, truncate
from nestling.data.text_pairs import TextPairs
from nestling.data.tokens import Tokenizer
from nestling.errors import DataError, InputError
from nestling.integrations import export_sentence_transformers
from nestling.integrations.mteb import evaluate_prefixes, retrieval_task
from nestling.metrics import ndcg_at_k
from nestling.models.encoders.text import minilm

pytest.importorskip("mteb")
library = pytest.importorskip("sentence_transformers")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bert")
    about = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(**about)).save_pretrained(root / "bert")
    Tokenizer.load(minilm()).save(root / "bert")
    about = {"tokenizer_class": "BertTokenizer", "model_max_length": 64}
    (root / "bert" / "tokenizer_config.json").write_text(json.dumps(about))
    x = np.random.default_rng(0).standard_normal((200, 16)).astype(np.float32)
    adaptor = MatryoshkaAdaptor(nesting=(4, 8, 16), steps=5, random_state=0).fit(x)
    export_sentence_transformers(root / "bert", root / "nested", adaptor=adaptor)
    return root / "nested"


def pairs() -> TextPairs:
    things = ["library of numbers", "game about stars", "tool for letters", "editor of pictures", "font for maps"]
    rows = [(thing, f"This is a {thing} which says more: {word}.") for thing in things for word in ("one", "two")]
    rows += [("nothing", "An answer that shares no word with what is asked.")]
    rows += [(f"filler {i}", f"Words that stand between the others, number {i}.") for i in range(12)]
    return TextPairs.of(rows)


def test_mteb_finds_what_our_search_finds_at_every_prefix(model: Path) -> None:
    asked, nesting = pairs(), Nesting((4, 8, 16))
    rows = evaluate_prefixes(model, asked, nesting)
    assert [row.dims for row in rows] == [4, 8, 16]
    loaded = library.SentenceTransformer(str(model), device="cpu")
    queries, documents = (loaded.encode(list(texts)).astype(np.float64) for texts in (asked.queries, asked.documents))
    answers = set(map(tuple, asked.pairs.tolist()))
    totals = np.bincount(asked.pairs[:, 0], minlength=len(asked.queries))
    for row in rows:
        assert row.dims is not None
        scores = truncate(queries, row.dims) @ truncate(documents, row.dims).T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
        right = np.array([[(q, int(d)) in answers for d in line] for q, line in enumerate(best)])
        assert row.value == pytest.approx(float(ndcg_at_k(right, totals).mean()), abs=2e-4)
    assert len({row.value for row in rows}) > 1


def test_what_cannot_be_measured_is_told(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="with an answer for every query; got 1 of 2"):
        retrieval_task(TextPairs(["a", "b"], ["c"], np.array([[0, 0]])))
    with pytest.raises(InputError, match="at most 16 wide"):
        evaluate_prefixes(model, pairs(), Nesting((8, 32)))
    with pytest.raises(DataError, match="cannot be read as a model of texts"):
        evaluate_prefixes(tmp_path / "none", pairs(), Nesting((8,)))

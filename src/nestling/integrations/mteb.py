"""MTEB (Muennighoff et al. 2023): its retrieval protocol on pairs of one's own, prefix by prefix, without its hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nestling.data.text_pairs import TextPairs
from nestling.errors import DataError, InputError, require_extra
from nestling.evaluation import Row
from nestling.models.encoders.architecture import quiet
from nestling.nesting import Nesting

_SPLIT = "test"


def retrieval_task(pairs: TextPairs, *, name: str = "LocalPairs") -> Any:
    """An `AbsTaskRetrieval` whose queries, corpus and judgements are at hand: for `mteb.evaluate`.

    Args:
        pairs: queries, documents, and which answer which.
        name: of the task.

    Raises:
        InputError: a query that no document answers.
        MissingExtraError: mteb is not installed.
    """
    tasks, metadata = require_extra("mteb.abstasks"), require_extra("mteb.abstasks.task_metadata")
    dataset: Any = require_extra("datasets").Dataset
    answers: dict[str, dict[str, int]] = {}
    for query, document in pairs.pairs.tolist():
        answers.setdefault(f"q{query}", {})[f"d{document}"] = 1
    if len(answers) < len(pairs.queries):
        raise InputError.of("pairs", "with an answer for every query", f"{len(answers)} of {len(pairs.queries)}")

    class Local(tasks.AbsTaskRetrieval):  # type: ignore[misc]  the library is loaded when it is asked for
        """Nothing is fetched."""

    Local.metadata = metadata.TaskMetadata(
        name=name,
        description="Queries and documents of one's own.",
        reference=None,
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=[_SPLIT],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
        dataset={"path": name, "revision": "local"},
    )
    task = Local()
    corpus = {"id": [f"d{i}" for i in range(len(pairs.documents))], "text": list(pairs.documents)}
    corpus["title"] = [""] * len(pairs.documents)
    queries = {"id": [f"q{i}" for i in range(len(pairs.queries))], "text": list(pairs.queries)}
    part = {"queries": dataset.from_dict(queries), "corpus": dataset.from_dict(corpus)}
    task.dataset = {"default": {_SPLIT: {**part, "relevant_docs": answers, "top_ranked": None}}}
    task.data_loaded = True
    return task


def evaluate_prefixes(
    model: Path | str, pairs: TextPairs, nesting: Nesting, *, name: str = "LocalPairs", batch_size: int = 64
) -> list[Row]:
    """nDCG@10 as `mteb.evaluate` finds it, of a folder that sentence-transformers loads, cut to each prefix.

    Args:
        model: such as `nestling export --to sentence-transformers` writes; or a name of the model hub.
        nesting: the prefixes.
        batch_size: texts that are encoded at once.

    Raises:
        DataError: the model cannot be read.
        InputError: a query without an answer, or prefixes wider than the model.
        MissingExtraError: mteb is not installed.
    """
    library, mteb = require_extra("sentence_transformers"), require_extra("mteb")
    try:
        with quiet():
            found: Any = library.SentenceTransformer(str(model), device="cpu")
    except (OSError, ValueError, KeyError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise DataError(f"{model} cannot be read as a model of texts ({line}).") from error
    ask = getattr(found, "get_embedding_dimension", None) or found.get_sentence_embedding_dimension
    if nesting.width > ask():
        raise InputError.of("nesting", f"at most {ask()} wide, as the model", nesting.width)
    rows: list[Row] = []
    for m in nesting:
        found.truncate_dim = m
        task = retrieval_task(pairs, name=name)
        told = mteb.evaluate(
            found, tasks=[task], cache=None, encode_kwargs={"batch_size": batch_size}, show_progress_bar=False
        )
        value = float(told.task_results[0].get_score())
        rows.append(Row(system=name, metric="nDCG@10", value=value, unit="fraction", n=len(pairs.queries), dims=m))
    return rows

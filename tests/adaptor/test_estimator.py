"""`MatryoshkaAdaptor` as scikit-learn and its users see it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

import nestling as nt
from nestling import MatryoshkaAdaptor
from nestling.adaptor.learning import _Judge
from nestling.errors import InputError, NestingError, ShapeError
from nestling.losses import NestedLoss
from nestling.principal import directions_of, principal_directions
from nestling.training import Objective
from tests.adaptor.toy import DIMS, WIDTH, adaptor, one_nn, recall, unit, vectors

HELD = slice(0, 150)
LEARNT = slice(150, None)


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize("kind", ["rotation", "residual"])
def test_scikit_learns_own_checks(kind: str) -> None:
    results = check_estimator(MatryoshkaAdaptor(kind, steps=2), on_skip=None)
    assert len(results) > 40
    assert {result["status"] for result in results} <= {"passed", "skipped"}


@pytest.mark.soak
@pytest.mark.usefixtures("as_a_user")
def test_scikit_learns_own_checks_with_all_steps() -> None:
    check_estimator(MatryoshkaAdaptor(), on_skip=None)


def fitted(kind: str, what: str, **changes: Any) -> MatryoshkaAdaptor:
    a, b, classes = vectors()
    made = adaptor(kind, **changes)
    if what == "pairs":
        return made.fit_pairs(a[LEARNT], b[LEARNT])
    return made.fit(a[LEARNT], classes[LEARNT] if what == "labels" else None)


@pytest.mark.parametrize("what", ["nothing", "labels", "pairs"])
def test_a_rotation_changes_no_cosine_at_full_width(what: str) -> None:
    a, b, _ = vectors()
    made = fitted("rotation", what)
    assert made.n_steps_ > 0
    np.testing.assert_allclose(made.transform(a) @ made.transform(b).T, a @ b.T, atol=1e-5 * np.abs(a @ b.T).max())
    matrix = made.maps_[0].matrix.astype(np.float64)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(WIDTH), atol=1e-6)
    start = principal_directions(np.concatenate([a[LEARNT], b[LEARNT]]) if what == "pairs" else a[LEARNT])
    assert np.abs(matrix - start).max() > 0.05  # it learnt on from there


def test_pairs_make_short_prefixes_better_than_pca_and_the_plain_cut() -> None:
    a, b, _ = vectors()
    start = principal_directions(np.concatenate([a[LEARNT], b[LEARNT]]))
    for kind in ("rotation", "residual"):
        made = fitted(kind, "pairs")
        x, y = made.transform(a[HELD], side="query"), made.transform(b[HELD])
        assert recall(x, y, 4) > 1.5 * max(recall(a[HELD] @ start, b[HELD] @ start, 4), recall(a[HELD], b[HELD], 4))
    assert recall(x, y, WIDTH) > recall(a[HELD], b[HELD], WIDTH)  # the residual's full width


def test_labels_make_short_prefixes_better_than_pca() -> None:
    a, _, classes = vectors()
    start = principal_directions(a[LEARNT])
    before = one_nn(a[LEARNT] @ start, classes[LEARNT], a[HELD] @ start, classes[HELD], 4)
    for kind in ("rotation", "residual"):
        made = fitted(kind, "labels")
        x, gallery = made.transform(a[HELD]), made.transform(a[LEARNT])
        assert one_nn(gallery, classes[LEARNT], x, classes[HELD], 4) > before + 0.2


@pytest.mark.parametrize("kind", ["rotation", "residual"])
def test_without_labels_neighbours_are_kept(kind: str) -> None:
    """What a prefix says of the nearest is nearer to the full width's word than PCA's prefix is."""
    rng = np.random.default_rng(3)
    centres = unit(rng.normal(size=(40, WIDTH)))
    x = (centres[rng.integers(0, 40, 800)] + 0.08 * rng.normal(size=(800, WIDTH))).astype(np.float32)
    made = adaptor(kind, temperature=0.1).fit(x[200:])

    def kept(y: np.ndarray, m: int = 4) -> float:
        true = np.argsort(-unit(x[:200]) @ unit(x[200:]).T, axis=1)[:, :10]
        found = np.argsort(-unit(y[:200, :m]) @ unit(y[200:, :m]).T, axis=1)[:, :10]
        return float(np.mean([len(set(t) & set(f)) for t, f in zip(true, found, strict=True)])) / 10

    assert kept(made.transform(x)) > kept(x @ principal_directions(x[200:])) + 0.02


def test_separate_maps_are_chosen_by_side() -> None:
    a, _, _ = vectors()
    made = fitted("residual", "pairs", separate=True)
    assert len(made.maps_) == 2
    assert not np.allclose(made.transform(a, side="query"), made.transform(a, side="document"), atol=1e-2)
    np.testing.assert_array_equal(made.transform(a), made.transform(a, side="document"))
    one = fitted("residual", "pairs")
    np.testing.assert_array_equal(one.transform(a, side="query"), one.transform(a, side="document"))
    with pytest.raises(InputError, match="separate must be false without a residual map and pairs"):
        fitted("rotation", "pairs", separate=True)
    with pytest.raises(InputError, match="separate"):
        fitted("residual", "labels", separate=True)
    with pytest.raises(InputError, match="side must be 'query' or 'document'; got 'left'"):
        made.transform(a, side="left")


@pytest.mark.parametrize(("kind", "what"), [("rotation", "nothing"), ("rotation", "labels"), ("residual", "pairs")])
def test_the_seed_decides(kind: str, what: str) -> None:
    a, _, _ = vectors()
    one, two, other = (fitted(kind, what, random_state=s, steps=10).transform(a) for s in (0, 0, 1))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_the_nesting_doubles_and_may_be_given_in_any_form() -> None:
    a, b, _ = vectors(80)
    assert str(MatryoshkaAdaptor(steps=1).fit(a).nesting_) == "8,16,24"
    assert str(MatryoshkaAdaptor(steps=1).fit(a[:, :5]).nesting_) == "5"
    for form in ("4,24", (4, 24), nt.Nesting((4, 24))):
        made = clone(MatryoshkaAdaptor(nesting=form, steps=1)).fit(a)
        assert made.nesting_ == nt.Nesting((4, 24))
    for kind in ("rotation", "residual"):  # narrower than the data
        assert MatryoshkaAdaptor(kind, nesting=(2, 4), steps=2).fit_pairs(a, b).transform(a).shape == a.shape
    with pytest.raises(NestingError, match=r"nesting must be at most as wide as the data \(24\); got 8,32"):
        MatryoshkaAdaptor(nesting=(8, 32)).fit(a)


def test_in_a_pipeline_with_names() -> None:
    a, _, classes = vectors(80)
    made = make_pipeline(MatryoshkaAdaptor(steps=1), FunctionTransformer(nt.truncate, kw_args={"m": 4}))
    found = made.fit_transform(a, classes)
    assert found.shape == (80, 4)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    names = made[0].get_feature_names_out()
    assert list(names[:2]) == ["matryoshkaadaptor0", "matryoshkaadaptor1"]
    assert len(names) == WIDTH


def test_a_run_ends_when_held_out_rows_gain_nothing() -> None:
    a, b, _ = vectors()
    unrelated = b[np.random.default_rng(0).permutation(len(b))]
    made = adaptor(learning_rate=0.3, patience=2, steps=200).fit_pairs(a, unrelated)
    assert made.n_steps_ < 120  # 40 passes
    assert adaptor(held_out=0.0, steps=30).fit_pairs(a, unrelated).n_steps_ == 30


class _Valley(Objective):
    """A parameter whose loss on the data that are held out is its distance from three."""

    nesting = nt.Nesting((1,))

    def __init__(self) -> None:
        super().__init__()
        self.at = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None) -> NestedLoss:
        loss = (self.at - 3).abs().sum()
        return NestedLoss(loss, loss.detach()[None])


def test_the_best_state_on_held_out_rows_is_kept_and_patience_counts_looks() -> None:
    valley = _Valley()
    judge = _Judge(valley, (torch.zeros(1), torch.zeros(1)), every=2, patience=3)
    ends = []
    for step in range(1, 13):
        with torch.no_grad():
            valley.at += 1 if step < 9 else -1  # best at step 3, looked at after 2 and 4; again in the end
        ends.append(judge(step))
    assert ends.index(True) + 1 == 8  # 4, 6 and 8 were no better than 2
    judge.restore()
    assert valley.at.item() == 2


def test_partial_fit_follows_a_corpus_that_drifted() -> None:
    a, b, classes = vectors()
    made = adaptor().partial_fit(a)
    first = made.maps_[0].matrix.copy()
    drifted = a[:, ::-1] * np.linspace(0.2, 2, WIDTH, dtype=np.float32)
    made.set_params(steps=200).partial_fit(np.ascontiguousarray(drifted))
    assert not np.allclose(made.maps_[0].matrix, first, atol=1e-2)
    np.testing.assert_allclose(made.transform(a) @ made.transform(b).T, a @ b.T, atol=1e-4)
    again = made.set_params(steps=1, learning_rate=1e-9).partial_fit(a, classes).maps_[0].matrix
    assert adaptor(steps=1, learning_rate=1e-9).fit(a).maps_[0].matrix == pytest.approx(
        principal_directions(a), abs=1e-5
    )
    assert np.abs(again - principal_directions(a)).max() > 0.1  # not from the start
    with pytest.raises(InputError, match="is expecting 24 features"):
        made.partial_fit(a[:, :8])


def test_a_mapped_file_is_read_in_batches_and_gives_the_same(tmp_path: Any) -> None:
    a, b, _ = vectors()
    for name, x in (("a", a), ("b", b)):
        np.save(tmp_path / f"{name}.npy", x)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "ab"]
    one, two = adaptor(steps=5).fit_pairs(*mapped), adaptor(steps=5).fit_pairs(a, b)
    np.testing.assert_array_equal(one.maps_[0].matrix, two.maps_[0].matrix)
    np.testing.assert_array_equal(one.transform(mapped[0]), two.transform(a))
    half = adaptor(steps=5).fit(a.astype(np.float16))
    assert half.transform(a.astype(np.float16)).dtype == np.float32
    assert half.transform(a.astype(np.float64)).dtype == np.float64


@pytest.mark.parametrize(
    ("kind", "what", "words"),
    [
        ("rotation", "pairs", ["rows", "loss"]),
        ("rotation", "labels", ["rows", "loss"]),
        ("residual", "nothing", ["rows", "loss"]),
    ],
)
def test_progress_runs_once_from_nothing_to_all(kind: str, what: str, words: list[str]) -> None:
    heard: list[tuple[int, int, str]] = []
    fitted(kind, what, steps=3, progress=lambda *told: heard.append(told))
    counts = [done for done, _, _ in heard]
    assert counts == sorted(counts)
    assert counts[-1] == 1000
    assert {total for _, total, _ in heard} == {1000}
    assert list(dict.fromkeys(text.split()[0] for _, _, text in heard)) == words


@pytest.mark.usefixtures("as_a_user")
def test_what_cannot_be_learnt_from_is_one_sentence() -> None:
    a, b, classes = vectors(100)
    bad = a.copy()
    bad[7, 3] = np.nan
    cases: list[tuple[Any, type[Exception], str]] = [
        (lambda: adaptor().fit(a[:1]), InputError, "minimum of 2 is required"),
        (lambda: adaptor().fit(bad), InputError, "X must be finite; got NaN or infinity (inf) in row 7"),
        (lambda: adaptor().fit_pairs(a, bad), InputError, "B must be finite"),
        (lambda: adaptor().fit(np.ones_like(a)), InputError, "more than one vector repeated; got equal rows"),
        (lambda: adaptor().fit(a * np.float64(1e200)), InputError, "small enough to be squared"),
        (lambda: adaptor().fit_pairs(a, b[:-1]), ShapeError, "equally long, row i of one belonging to row i"),
        (lambda: adaptor().fit_pairs(a, b[:, :8]), InputError, "B cannot be used: X has 8 features"),
        (lambda: adaptor().fit(a, classes[:-1]), ShapeError, "one label per row (100); got 99"),
        (lambda: adaptor().fit(a, np.zeros(100)), InputError, "of at least two classes; got one class"),
        (lambda: adaptor().fit(a, np.linspace(0, 1, 100)), InputError, "y cannot be used: Unknown label type"),
        (lambda: adaptor("turned").fit(a), InputError, "kind must be 'rotation' or 'residual'"),
        (lambda: adaptor(steps=0).fit(a), InputError, "steps must be a whole number of at least 1"),
        (lambda: adaptor(hidden=0, kind="residual").fit(a), InputError, "hidden must be"),
        (lambda: adaptor(held_out=1.0).fit(a), InputError, "held_out must be a share"),
        (lambda: adaptor(temperature=-1).fit(a), InputError, "temperature must be positive"),
        (lambda: adaptor(steps=1).fit(a).transform(bad), InputError, "NaN or infinity (inf) in row 7"),
        (lambda: adaptor(steps=1).fit(a).transform(a[:, :4]), InputError, "X has 4 features"),
        (lambda: adaptor().transform(a), NotFittedError, "not fitted"),
    ]
    for do, kind, words in cases:
        with pytest.raises(kind) as told:
            do()
        assert words in str(told.value)
        assert "\n" not in str(told.value)


def test_constant_columns_are_told_and_kept() -> None:
    a, _, _ = vectors(100)
    a[:, 5] = 0
    with pytest.warns(UserWarning, match="1 of 24 columns are constant and say nothing"):
        made = adaptor(steps=1).fit(a)
    assert made.transform(a).shape == a.shape


def test_equal_partners_are_not_held_against_one_another() -> None:
    a, b, classes = vectors()
    means = np.stack([b[classes == c].mean(0) for c in range(6)])[classes]  # many queries share a document
    made = adaptor().fit_pairs(a[LEARNT], means[LEARNT])
    x, y = made.transform(a[HELD]), made.transform(means)
    start = principal_directions(np.concatenate([a[LEARNT], means[LEARNT]]))
    assert one_nn(y, classes, x, classes[HELD], 4) > one_nn(means @ start, classes, a[HELD] @ start, classes[HELD], 4)


APPLY = """
import sys, numpy as np, nestling as nt
made = nt.MatryoshkaAdaptor.load(sys.argv[1])
x = np.load(sys.argv[2])
np.save(sys.argv[3], nt.truncate(made.transform(x), 4))
assert "torch" not in sys.modules, "torch"
made.fit(x)
assert "torch" in sys.modules
"""


def test_transform_needs_no_torch_and_fit_loads_it(tmp_path: Any) -> None:
    a, _, _ = vectors(80)
    made = adaptor(steps=1).fit(a)
    made.save(tmp_path / "made")
    np.save(tmp_path / "x.npy", a)
    names = [str(tmp_path / name) for name in ("made", "x.npy", "out.npy")]
    subprocess.run([sys.executable, "-c", APPLY, *names], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), nt.truncate(made.transform(a), 4))
    assert DIMS[1] == 4


def test_without_labels_long_prefixes_stay_principal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nestling.adaptor.objectives.SPREAD", 0.1)  # or PCA is what such clusters want
    rng = np.random.default_rng(3)
    centres = unit(rng.normal(size=(40, 48)))
    x = (centres[rng.integers(0, 40, 800)] + 0.08 * rng.normal(size=(800, 48))).astype(np.float32)
    found = MatryoshkaAdaptor(nesting=(8, 16, 32, 48), steps=40, temperature=0.1, random_state=0).fit(x)
    principal = directions_of(x.astype(np.float64).T @ x)
    learnt = found.maps_[0].matrix
    for m, same in ((8, False), (16, False), (32, True), (48, True)):
        within = np.linalg.svd(principal[:, :m].T @ learnt[:, :m], compute_uv=False)
        assert (within.min() > 1 - 1e-5) == same, m
    wide = MatryoshkaAdaptor(nesting=(32, 48), steps=10, random_state=0).fit(x)
    assert wide.n_steps_ == 0
    assert np.allclose(wide.maps_[0].matrix, principal, atol=1e-6)

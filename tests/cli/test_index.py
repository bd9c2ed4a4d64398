"""``nestling index`` and searching in one: what they do, and what they refuse."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nestling.nesting import Nesting
from nestling.search import exact
from nestling.search.index import Index
from nestling.search.storage import fields, parts
from tests.cli.command import here, nestling, refused

pytestmark = pytest.mark.usefixtures("as_a_user")

N, D, Q = 400, 32, 25
NAMES = np.array([f"entry {i:04d}" for i in range(N)])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors, ids and queries in files."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    np.save(folder / "gallery.npy", rng.normal(size=(N, D)).astype(np.float32))
    np.save(folder / "queries.npy", rng.normal(size=(Q, D)).astype(np.float32))
    np.save(folder / "names.npy", NAMES)
    np.save(folder / "more.npy", rng.normal(size=(7, D)).astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def made(data: Path) -> Path:
    """An index of the gallery with ids of its own; tests only read it."""
    done = nestling("index", "create", data / "made.nest", data / "gallery.npy", "--ids", data / "names.npy")
    assert done.returncode == 0, done.stderr
    return data / "made.nest"


def told(*arguments: object) -> Any:
    """The JSON lines of a command that succeeds."""
    done = here(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return lines[0] if len(lines) == 1 else lines


def files_of(folder: Path) -> set[tuple[str, int]]:
    return {(str(p.relative_to(folder)), p.stat().st_mtime_ns) for p in folder.rglob("*")}


def test_create_predicts_first_and_says_what_to_do_next(data: Path, tmp_path: Path) -> None:
    done = nestling("index", "create", tmp_path / "wiki.nest", data / "gallery.npy")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("400 vectors of 32 dims, stored at 8,16,32 in float16. Predicted: ")
    assert " on disk, " in lines[0]
    assert " of memory to build and " in lines[0]
    assert lines[0].endswith(" to search, less than 1 s.")
    assert [line.split(":")[0] for line in lines[1:3]] == ["check", "write"]
    assert lines[-3].startswith("400 vectors, ")
    assert lines[-2].startswith(f"Next: nestling tune {tmp_path / 'wiki.nest'} QUERIES")
    with Index.open(tmp_path / "wiki.nest", verify=True) as index:
        assert index.nesting == Nesting((8, 16, 32))
        assert index.ids().tolist() == list(range(N))


def test_the_prediction_holds(data: Path, tmp_path: Path) -> None:
    record = told("index", "create", tmp_path / "x.nest", data / "gallery.npy", "--dtype", "float32", "--metric", "l2")
    assert record["vectors"] == N
    assert record["dims"] == [8, 16, 32]
    assert record["metric"] == "l2"
    size = sum(p.stat().st_size for p in (tmp_path / "x.nest").rglob("*") if p.is_file())
    assert record["disk_bytes"] == size
    assert abs(record["predicted"]["disk_bytes"] - size) < 0.1 * size + 10_000


def test_the_life_of_an_index(data: Path, tmp_path: Path) -> None:
    path, more = tmp_path / "wiki.nest", data / "more.npy"
    np.save(tmp_path / "new.npy", np.array(["n0", "n1", "n2", "n3", "n4", "n5", "n6"]))
    np.save(tmp_path / "mixed.npy", np.array(["n6", "n7"]))
    np.save(tmp_path / "two.npy", np.load(more)[:2] + 1)
    assert told("index", "create", path, data / "gallery.npy", "--ids", data / "names.npy")["vectors"] == N
    done = told("index", "add", path, more, "--ids", tmp_path / "new.npy")
    assert (done["added"], done["replaced"], done["vectors"]) == (7, 0, N + 7)
    done = told("index", "add", path, tmp_path / "two.npy", "--ids", tmp_path / "mixed.npy", "--upsert")
    assert (done["added"], done["replaced"], done["vectors"]) == (1, 1, N + 8)
    done = told("index", "delete", path, "n0", "entry 0003", "nobody")
    assert done == {"asked": 3, "deleted": 2, "vectors": N + 6}
    assert told("index", "delete", path, "--ids", tmp_path / "mixed.npy")["deleted"] == 2
    info = told("index", "info", path)
    assert (info["vectors"], info["ids"], info["metric"]) == (N + 4, "string", "cosine")
    verified = told("index", "verify", path)
    assert verified["vectors"] == N + 4
    done = told("index", "compact", path)
    assert done["vectors"] == N + 4
    assert done["bytes"] < done["bytes_before"]
    with Index.open(path, verify=True) as index:
        wanted = [name for name in NAMES.tolist() if name != "entry 0003"] + ["n1", "n2", "n3", "n4", "n5"]
        assert index.ids().tolist() == wanted


def test_every_command_speaks_to_people(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "wiki.nest"
    assert nestling("index", "create", path, data / "gallery.npy").returncode == 0
    for command, words in (
        (("add", path, data / "more.npy"), "7 added in "),
        (("delete", path, "3", "4000"), "1 of 2 deleted; 406 vectors left."),
        (("verify", path), "every byte as it was written"),
        (("partition", path, "--cells", "4", "--dims", "16"), "406 vectors in 4 cells by 16 dims"),
        (("compact", path), "406 vectors, "),
        (("info", path), "cosine"),
    ):
        done = nestling("index", *command)
        assert done.returncode == 0, (command, done.stderr)
        assert words in done.stdout, (command, done.stdout)


def test_search_in_an_index_answers_what_the_library_answers(data: Path, made: Path) -> None:
    queries = np.load(data / "queries.npy")
    np.save(data / "few.npy", NAMES[::40])
    with Index.open(made) as index:
        for options, hits in (
            (("--k", "4"), index.search(queries, 4)),
            (("--plan", "8:50,32:5"), index.search(queries, plan="8:50,32:5")),
            (("--exact", "--k", "3"), index.search(queries, 3, exact=True)),
            (("--k", "12", "--among", data / "few.npy"), index.search(queries, 12, among=NAMES[::40])),
        ):
            lines = told("search", made, data / "queries.npy", *options)
            assert [line["query"] for line in lines] == list(range(Q))
            assert [line["ids"] for line in lines] == hits.ids.tolist()
            scores = np.array([line["scores"] for line in lines], np.float32)
            np.testing.assert_allclose(scores, hits.scores, rtol=1e-6)
    assert lines[0]["ids"][10:] == [None, None]  # ten ids, twelve places
    assert lines[0]["scores"][10:] == [None, None]


def test_the_indexs_own_plan_is_used_unless_exact_is_asked_for(data: Path, made: Path, tmp_path: Path) -> None:
    path = copied(made, tmp_path / "planned.nest")
    with Index.open(path) as index:
        index._change(parts.set_plan, "8:10", None)
    gallery, queries = (
        np.load(data / "gallery.npy").astype(np.float16).astype(np.float32),
        np.load(data / "queries.npy"),
    )
    for options, m in (((), 8), (("--exact",), 32), (("--plan", "16:10"), 16)):
        wanted = NAMES[exact(gallery, queries, 10, m=m).ids]
        assert [line["ids"] for line in told("search", path, data / "queries.npy", *options)] == wanted.tolist()
    cost = f"{8 * len(gallery) / 1e6:.2f} MFLOPs per query, as the paper counts; 25 queries in "
    assert f"by its own plan 8:10, {cost}" in nestling("search", path, data / "queries.npy").stdout
    assert "\nexact; 25 queries in " in nestling("search", path, data / "queries.npy", "--exact").stdout


def test_queries_from_standard_input(data: Path, made: Path) -> None:
    queries = np.load(data / "queries.npy")[:3]
    wanted = told("search", made, data / "queries.npy", "--k", "3")[:3]
    for text in ("\n".join(map(json.dumps, queries.tolist())), json.dumps(queries.tolist(), indent=1)):
        done = subprocess.run(
            [sys.executable, "-m", "nestling", "search", str(made), "-", "--k", "3", "--json"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [line["ids"] for line in lines] == [line["ids"] for line in wanted]


def test_search_in_an_index_for_people(data: Path, made: Path) -> None:
    done = nestling("search", made, data / "queries.npy", "--k", "2")
    assert done.returncode == 0, done.stderr
    assert "best first" in done.stdout
    assert "entry 0" in done.stdout
    assert "5 more queries" in done.stdout
    assert "25 queries in " in done.stdout
    np.save(data / "one.npy", NAMES[7:8])
    done = here("search", made, data / "queries.npy", "--k", "2", "--among", data / "one.npy")
    assert done.returncode == 0, done.stderr
    assert "entry 0007:" in done.stdout
    assert "None" not in done.stdout  # the second place is empty


def test_what_create_refuses_leaves_nothing(data: Path, tmp_path: Path) -> None:
    gallery = np.load(data / "gallery.npy")
    bad, large = gallery.copy(), gallery.copy()
    bad[399, 31], large[399, 31] = np.nan, 70_000
    twice = NAMES.copy()
    twice[300] = twice[7]
    for name, array in (("bad", bad), ("large", large), ("twice", twice), ("few", NAMES[:5])):
        np.save(tmp_path / f"{name}.npy", array)
    good, path = data / "gallery.npy", tmp_path / "wiki.nest"
    cases: list[tuple[tuple[object, ...], str]] = [
        ((tmp_path / "none.npy",), "none.npy cannot be opened"),
        ((tmp_path / "bad.npy",), "bad.npy holds NaN or infinity, first in row 399"),
        ((tmp_path / "large.npy",), "row 399"),
        ((good, "--nesting", "8,16"), "gallery.npy must be 16 wide, the nesting's largest dim; got shape (400, 32)"),
        ((good, "--nesting", "16,8,32"), "dims must be in increasing order"),
        ((good, "--ids", tmp_path / "twice.npy"), "entry 0007"),
        ((good, "--ids", tmp_path / "few.npy"), "ids must be one for each of 400 vectors; got 5"),
        ((good, "--metric", "taxi"), "metric must be one of cosine, ip, l2; got 'taxi'"),
        ((good, "--dtype", "taxi"), "dtype must be one of float16, float32; got 'taxi'"),
    ]
    for arguments, words in cases:
        before = set(tmp_path.iterdir())
        assert words in refused(here("index", "create", path, *arguments)), arguments
        assert set(tmp_path.iterdir()) == before, arguments
    path.mkdir()
    assert "first in row 399" in refused(here("index", "create", path, tmp_path / "bad.npy"))
    assert "row 399" in refused(here("index", "create", path, tmp_path / "large.npy"))
    assert list(path.iterdir()) == []


def test_create_touches_nothing_that_is_there(data: Path, made: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "letter.txt").write_text("dear")
    for path, words in (
        (made, "made.nest is an index already. Choose another place, or add to it: nestling index add"),
        (tmp_path / "folder", "is there already, and not an empty folder"),
        (tmp_path / "folder" / "letter.txt", "is there already, and not an empty folder"),
    ):
        before = files_of(path.parent)
        assert words in refused(here("index", "create", path, data / "gallery.npy"))
        assert files_of(path.parent) == before


def test_what_add_and_delete_refuse_changes_nothing(data: Path, made: Path, tmp_path: Path) -> None:
    rows = np.load(data / "more.npy")
    bad = rows.copy()
    bad[6, 0] = np.inf
    new = np.array([f"new {i}" for i in range(7)])
    known, twice = new.astype("U20"), new.copy()
    known[4], twice[5] = NAMES[9], "new 2"
    arrays = {"good": rows, "bad": bad, "narrow": rows[:, :16], "new": new, "known": known, "twice": twice}
    arrays["numbers"] = np.arange(7)
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    ids = ["--ids", tmp_path / "new.npy"]
    cases: list[tuple[tuple[object, ...], str]] = [
        (("add", made, tmp_path / "bad.npy", *ids), "bad.npy holds NaN or infinity, first in row 6"),
        (("add", made, tmp_path / "narrow.npy", *ids), "narrow.npy must be 32 wide, the nesting's largest dim"),
        (("add", made, tmp_path / "good.npy", "--ids", tmp_path / "known.npy"), "entry 0009"),
        (("add", made, tmp_path / "good.npy", "--ids", tmp_path / "twice.npy"), "new 2"),
        (("add", made, tmp_path / "good.npy", "--ids", tmp_path / "numbers.npy"), "ids must be"),
        (("add", made, tmp_path / "good.npy"), "ids must be given"),
        (("add", made, tmp_path / "good.npy", "--upsert"), "--upsert must be given with --ids"),
        (("delete", made), "ids must be given either as words or with --ids FILE; got neither"),
        (("delete", made, "a", "--ids", tmp_path / "new.npy"), "got both"),
        (("delete", made, "--ids", tmp_path / "numbers.npy"), "ids must be"),
        (("partition", made, "--cells", "5000", "--dims", "16"), "cells must be"),
        (("partition", made, "--cells", "4", "--dims", "33"), "dims must be"),
    ]
    before = files_of(made)
    for arguments, words in cases:
        assert words in refused(here("index", *arguments)), arguments
    assert {name for name, _ in files_of(made)} == {name for name, _ in before}
    assert told("index", "verify", made)["vectors"] == N


def test_numbers_are_asked_for_where_ids_are_numbers(data: Path, tmp_path: Path) -> None:
    told("index", "create", tmp_path / "x.nest", data / "gallery.npy")
    sentence = refused(here("index", "delete", tmp_path / "x.nest", "12", "twelve"))
    assert "ids must be whole numbers, as this index's are; got 'twelve'" in sentence


def test_what_search_in_an_index_refuses(data: Path, made: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "strangers.npy", np.array(["entry 0001", "nobody"]))
    np.save(tmp_path / "narrow.npy", np.ones((2, 16), np.float32))
    queries = data / "queries.npy"
    cases: list[tuple[tuple[object, ...], str]] = [
        ((tmp_path / "none", queries), "is neither the folder of an index nor a file of vectors. Check the path"),
        ((tmp_path, queries), "is not an index"),
        ((made, tmp_path / "none.npy"), "none.npy cannot be opened"),
        ((made, tmp_path / "narrow.npy"), "queries must be"),
        ((made, queries, "--plan", "12:20,32:10"), "dims must be among the stored dims 8,16,32; got 12"),
        ((made, queries, "--plan", "probe=3;8:20,32:10"), "probe=3 needs cells, and this index has none"),
        ((made, queries, "--plan", "8@4:20,32:10"), "the first stage must be one of the sketches"),
        ((made, queries, "--plan", "8:20,32:10", "--k", "5"), "k must be"),
        ((made, queries, "--plan", "8:20,32:10", "--exact"), "--exact must be given without --plan"),
        ((made, queries, "--metric", "l2"), "--metric must be left out, since"),
        ((made, queries, "--among", tmp_path / "strangers.npy"), "nobody"),
        ((data / "gallery.npy", queries, "--among", data / "names.npy"), "--among must be given with an index"),
    ]
    for arguments, words in cases:
        assert words in refused(here("search", *arguments)), arguments


def test_what_is_no_index(data: Path, made: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "none.nest", tmp_path / "empty", data / "gallery.npy"):
        for command in (("info",), ("verify",), ("compact",), ("delete", "1"), ("add", data / "more.npy")):
            sentence = refused(here("index", command[0], path, *command[1:]))
            assert f"{path} is not an index" in sentence, command


def copied(index: Path, to: Path) -> Path:
    subprocess.run(["cp", "-r", index, to], check=True)
    return to


def test_an_index_of_a_newer_format_says_which_version_is_needed(made: Path, tmp_path: Path) -> None:
    manifest = copied(made, tmp_path / "new.nest") / "manifest.json"
    content = json.loads(manifest.read_text())
    del content["checksum"]
    manifest.write_bytes(fields.render({**content, "format": content["format"] + 1, "needs": "9.3.0"}))
    sentence = refused(here("index", "info", tmp_path / "new.nest"))
    assert "9.3.0" in sentence


def test_damage_is_found_by_verify(made: Path, tmp_path: Path) -> None:
    path = copied(made, tmp_path / "broken.nest")
    part = max((path / "parts").iterdir(), key=lambda p: p.stat().st_size)
    content = bytearray(part.read_bytes())
    content[100] ^= 4
    part.write_bytes(content)
    assert part.name in refused(here("index", "verify", path))


class Clock:
    """One that runs as fast as it is asked to wait."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_locked_index_says_who_holds_it(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = copied(made, tmp_path / "busy.nest")
    monkeypatch.setattr("nestling.search.storage.lock.time", Clock())
    with (path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("12345\n")
        lock.flush()
        assert "is being written by process 12345" in refused(here("index", "delete", path, "entry 0001"))
    assert told("index", "delete", path, "entry 0001")["deleted"] == 1


def test_an_interrupted_create_leaves_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nestling.studies.indexes import create_index
    from nestling.studies.watch import Silent

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Index, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        create_index(tmp_path / "x.nest", data / "gallery.npy", watch=Silent())
    assert list(tmp_path.iterdir()) == []

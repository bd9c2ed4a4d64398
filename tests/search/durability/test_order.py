"""What a power cut would need: data before names, names before the manifest, the manifest before removals.

A kill leaves everything in the system's memory, so it cannot show a sync that is missing; the order of calls can.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from nestling.search.index import Index
from tests.search.durability.children import Change
from tests.search.durability.test_kill import CHANGES, prepared

__all__ = ["prepared"]  # a fixture


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_everything_is_on_the_disk_before_it_is_named(
    tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    folder = tmp_path / "index"
    shutil.copytree(prepared, folder)
    index = Index.open(folder)
    old = {entry.file for entry in index._snapshot.manifest.files}
    events: list[tuple[str, str]] = []
    pwrite, fsync, replace, unlink = os.pwrite, os.fsync, os.replace, os.unlink

    def name(handle: int) -> str:
        return os.path.relpath(Path(f"/proc/self/fd/{handle}").readlink(), folder).removeprefix("parts/")

    def writes(handle: int, *rest: object) -> int:
        events.append(("write", name(handle)))
        return pwrite(handle, *rest)  # pyright: ignore[reportArgumentType]

    def syncs(handle: int) -> None:
        path = name(handle)
        fsync(handle)
        events.append(("sync", path))

    def renames(source: str, target: str) -> None:
        events.append(("rename", Path(target).name))
        replace(source, target)

    def removes(path: str, **named: object) -> None:
        events.append(("remove", Path(path).name))
        unlink(path)

    for call, function in {"pwrite": writes, "fsync": syncs, "replace": renames, "unlink": removes}.items():
        monkeypatch.setattr(os, call, function)
    change.do(index)
    monkeypatch.undo()
    commit = events.index(("rename", "manifest.json"))
    new = {entry.file for entry in index._snapshot.manifest.files} - old
    for file in new:
        last = max(i for i, event in enumerate(events) if event == ("write", file))
        assert last < events.index(("sync", file), last) < commit
    if new:
        assert max(events.index(("sync", file)) for file in new) < events.index(("sync", "parts")) < commit
    assert any(what == "sync" and file.startswith(".manifest.json") for what, file in events[:commit])
    durable = events.index(("sync", "."), commit)
    gone = old - {entry.file for entry in index._snapshot.manifest.files}
    assert {file for what, file in events if what == "remove"} >= gone
    assert not [event for event in events[:durable] if event[0] == "remove" and event[1] in old]
    assert new or gone

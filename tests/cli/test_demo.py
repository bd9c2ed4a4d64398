"""``nestling demo``: what it refuses before it works, and what it prints."""

from __future__ import annotations

from pathlib import Path

from tests.cli.command import nestling, refused


def test_a_report_that_could_not_be_written_is_told_first(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        message = refused(nestling("demo", "--quick", "--out", out, cwd=tmp_path))
        assert message == f"out must be a folder; got the file {tmp_path / 'file'}. Choose another name."
    assert (tmp_path / "file").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_data_is_fetched_and_verified() -> None:
    done = nestling("data", "fashion-mnist")
    assert "train: 60,000 images, 10 classes, checksum verified" in done.stdout
    assert "test: 10,000 images" in done.stdout

"""What a terminal of 80 characters shows while a task runs."""

from __future__ import annotations

import io

from rich.console import Console

from nestling.cli.console import ConsoleWatch


def test_the_bar_holds_loss_speed_and_time_left() -> None:
    watch, shown = ConsoleWatch(), io.StringIO()
    watch.console = Console(file=shown, force_terminal=True, width=80)
    with watch.task("train MRL") as step:
        for done in range(1, 11):
            step(done, 10, "loss  4.53 3,400 images/s")
    text = shown.getvalue()
    assert "train MRL" in text
    assert "100%" in text
    assert "left loss  4.53 3,400 images/s" in text


def test_a_file_gets_a_line_at_each_tenth() -> None:
    watch, shown = ConsoleWatch(), io.StringIO()
    watch.console = Console(file=shown, width=80)
    with watch.task("train MRL") as step:
        for done in range(1, 101):
            step(done, 100, "loss  4.53")
    assert len(shown.getvalue().splitlines()) == 10
    assert shown.getvalue().splitlines()[0] == "train MRL: 10 % (10/100) loss  4.53"

"""What a user asks of `nestling reproduce`, beside a name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a user asks for.

    Attributes:
        data, seeds: the study's own when None; scale: "full" or "small".
        only: one of the seeds, the others being another run's.
        join: folders of runs of other seeds, to show together instead of training.
        out: folder of the page and of the rows.
        runs: folder of the trained models; a folder of the cache when None.
    """

    data: str | None = None
    scale: str = "full"
    seeds: int | None = None
    only: int | None = None
    join: tuple[Path, ...] = ()
    out: Path
    runs: Path | None = None

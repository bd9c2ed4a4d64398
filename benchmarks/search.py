"""Search by recall, latency, throughput, memory and build time, against FAISS and USearch.

``python -m benchmarks.search [--quick] [--json] [--case …] [--system …] [--results FILE]``

Needs, beside Nestling's extra ``report``: ``pip install "faiss-cpu>=1.15" usearch wordllama`` (WordLlama and Debian's
apt-get for the real cases). A system whose package is missing is left out with a sentence.

Cases: ``structured-N`` (generated; N = 125000, 250000, 500000 are nested), ``rotated-500000`` (structured times a
random orthogonal matrix), ``real-wordnet``, ``real-debian`` (texts by WordLlama), ``real-fashion`` (images by the
demo's model) and, by name only, ``ten-million`` (× 256, ours alone). NAME-N is the first N rows of any case. All
vectors have length 1. Held-out queries, never in a gallery: 1,000 to tune every system on, 1,000 others to report.

Each peer is built, at the fastest setting that reaches the goal on the tuning queries, and measured in a slot of its
own, in turn with ours (A B A B, medians); ratios are of that slot. Single queries run on one thread, batches of 1,000
on two; builds use two threads, and ours ends when all is on the disk. The settings found are kept in the data folder:
``--retune`` finds them anew. Data and built graphs are kept there too (about 20 GB for all cases).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.form import header
from benchmarks.searching.data import CASES, QUICK_CASES, TEN_MILLION, load
from benchmarks.searching.figures import Figure, lines, scaling, show
from benchmarks.searching.measure import Run
from benchmarks.searching.ours import SYSTEMS, Ours
from benchmarks.searching.peers import PEERS
from benchmarks.searching.plot import draw


def main() -> None:
    """Measure, print, and write the results with their plot."""
    given = _arguments()
    cases = given.case or (QUICK_CASES if given.quick else CASES)
    head = header(bench="search", quick=given.quick, **_versions())
    if given.json:
        print(json.dumps(head), flush=True)
    figures: list[Figure] = []

    def keep(figure: Figure) -> None:
        figures.append(figure)
        if given.json:
            print(json.dumps(figure._asdict()), flush=True)
        if given.results:  # as far as it got
            given.results.parent.mkdir(parents=True, exist_ok=True)
            given.results.write_text("\n".join(lines(head, figures)) + "\n")

    for figure in _figures(given, cases):
        keep(figure)
    for figure in list(scaling(figures)):
        keep(figure)
    if given.results:
        draw(figures, given.results)
    if not given.json:
        show(head, figures)


def _figures(given: argparse.Namespace, cases: Sequence[str]) -> Iterator[Figure]:
    names = given.system or [*PEERS, *SYSTEMS]
    plans = _plans(given.plan)
    for name in cases:
        case = load(name)
        peers = [] if name == TEN_MILLION else [PEERS[system] for system in names if system in PEERS]
        ours = [
            Ours(system, case, plans=plans.get(system), quick=given.quick, again=given.retune)
            for system in names
            if system in SYSTEMS
        ]
        try:
            yield from Run(case, peers, ours, quick=given.quick, again=given.retune).figures()
        finally:
            for which in ours:
                which.close() if given.keep else which.remove()


def _plans(texts: Sequence[str]) -> dict[str, dict[float, str]]:
    """``nestling-scan@.95=16@8:1000,2048:10`` → {"nestling-scan": {0.95: "16@8:1000,2048:10"}}."""
    found: dict[str, dict[float, str]] = {}
    for text in texts:
        what, _, plan = text.partition("=")
        system, _, goal = what.partition("@")
        found.setdefault(system, {})[float(goal or 0.95)] = plan
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="every row at a smaller size, within three minutes")
    parser.add_argument("--json", action="store_true", help="JSON lines: the machine, then one object per figure")
    parser.add_argument(
        "--case", action="append", help=f"one of {', '.join(CASES)}, {TEN_MILLION}, or NAME-N; again for more"
    )
    parser.add_argument("--system", action="append", choices=[*PEERS, *SYSTEMS], help="again for more; all of them")
    parser.add_argument("--results", type=Path, help="write JSON lines here, and the plot beside")
    parser.add_argument("--plan", action="append", default=[], metavar="SYSTEM@RECALL=PLAN", help="instead of tuning")
    parser.add_argument("--retune", action="store_true", help="find all settings anew")
    parser.add_argument("--keep", action="store_true", help="leave our indexes in the data folder")
    return parser.parse_args()


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("faiss-cpu", "usearch", "wordllama"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            print(f"{name} is not installed", file=sys.stderr)
    return found


if __name__ == "__main__":
    main()

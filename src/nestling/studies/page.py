"""The report of a study: a folder with rows for programs and one self-contained page for people."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nestling.errors import InputError, require_extra
from nestling.evaluation import Row, save_rows
from nestling.files import write_file
from nestling.nesting import Nesting
from nestling.search import Plan
from nestling.studies import plots
from nestling.studies.machine import machine
from nestling.studies.plots import Line, Neighbors

__all__ = ["Neighbors", "Report", "accuracy_table", "check_report_folder", "retrieval_table", "write_report"]

LINEAR = "linear top-1 (trained head)"
PROBE = "linear top-1 (refitted probe)"
ONE_NN = "1-NN top-1"
OURS = "MRL"
SYSTEMS = (OURS, "FF", "SVD", "random")
_METRICS = {LINEAR: "head_top1", PROBE: "probe_top1", ONE_NN: "1nn_top1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the pages of a study show."""

    title: str
    nesting: Nesting
    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    plans: tuple[str, ...]
    strip: tuple[Neighbors, ...]
    train_images: int
    test_images: int
    config: str
    seconds: float

    def find(self, metric: str, **wanted: object) -> dict[tuple[str, int | None, str | None, str | None], Row]:
        """The rows of a metric by (system, dims, plan, group), those that have the wanted attributes."""
        return {
            (r.system, r.dims, r.plan, r.group): r
            for r in self.rows
            if r.metric == metric and all(getattr(r, name) == value for name, value in wanted.items())
        }


Table = tuple[list[str], list[list[str]]]


def accuracy_table(report: Report, metric: str) -> Table:
    """(columns, rows): a system per row, a prefix per column, in percent; systems without the metric are left out."""
    found = report.find(_METRICS[metric])
    rows = []
    for name in SYSTEMS:
        values = [found.get((_system(name, m), m, None, None)) for m in report.nesting]
        if any(values):
            rows.append([name, *("" if r is None else f"{100 * r.value:.2f}" for r in values)])
    return ["", *map(str, report.nesting)], rows


def _system(name: str, m: int) -> str:
    """Rows name each plain model by its width; tables and plots show them as one system."""
    return f"FF-{m}" if name == "FF" else name


def retrieval_table(report: Report, *, brief: bool = False) -> Table:
    """(columns, rows): a search per row with what it finds and what it costs; `brief` fits 80 characters."""
    exact = ("MRL", None, "exact", None)
    full = report.find("mflops")[exact].value
    rows = []
    for plan in ("exact", *report.plans):
        key = ("MRL", None, plan, None)
        mflops = report.find("mflops")[key].value
        difference = report.find("map_difference@10").get(key)
        rows.append(
            [
                f"exact, {report.nesting.width} dims" if plan == "exact" else plan,
                f"{100 * report.find('map@10')[key].value:.2f}",
                "" if difference is None else _interval(difference),
                f"{100 * report.find('neighbor_recall@10')[key].value:.1f}",
                f"{mflops:.2f}",
                f"{full / mflops:.0f}×" if plan != "exact" else "",
                f"{report.find('time_ms')[key].value:.2f}",
            ]
        )
    columns = ["search", "mAP@10", "minus exact [95 %]", "recall@10", "MFLOPs", "fewer", "ms"]
    kept = [i for i, name in enumerate(columns) if not (brief and name in ("recall@10", "fewer"))]
    return [columns[i] for i in kept], [[row[i] for i in kept] for row in rows]


def difference_sentences(report: Report) -> list[str]:
    """What may be said of the smallest prefix, with the paired intervals."""
    sentences = []
    for (system, m, _, _), row in report.find("1nn_difference").items():
        ours, _, theirs = system.partition(" - ")
        assert row.interval is not None
        low, high = row.interval
        verdict = "above" if low > 0 else "below" if high < 0 else "not told apart from"
        sentences.append(f"1-NN at {m} dims: {ours} is {verdict} {theirs}, {_interval(row)} points.")
    return sentences


def check_report_folder(out: Path) -> None:
    """Raise before the work, not after it, when no report could be written.

    Raises:
        InputError: `out` is a file, or lies below one.
        MissingExtraError: matplotlib is not installed.
    """
    require_extra("matplotlib")
    taken = next((p for p in (out, *out.parents) if p.is_file()), None)
    if taken is not None:
        raise InputError.of("out", "a folder", f"the file {taken}", "Choose another name.")


def write_report(report: Report, out: Path) -> None:
    """Write ``index.html``, ``report.json`` and ``rows.jsonl`` into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    save_rows(report.rows, out / "rows.jsonl")
    about = {
        "title": report.title,
        "machine": machine(),
        "seconds": round(report.seconds, 1),
        "dims": list(report.nesting),
        "images": {"train": report.train_images, "test": report.test_images},
        "train_config": json.loads(report.config),
        "rows": [json.loads(row.to_json()) for row in report.rows],
    }
    write_file(out / "report.json", json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    write_file(out / "index.html", _page(report))


def _page(report: Report) -> str:
    funnels = [p for p in report.plans if len(Plan.parse(p).stages) > 1]
    sections = [
        _section(
            "Every prefix is an embedding",
            f"One network was trained so that its first {report.nesting.dims[0]}, {report.nesting.dims[1]}, … "
            f"{report.nesting.width} numbers are each a good embedding (MRL). Beside it: networks trained at one width "
            "only (FF), and two ways to shorten the widest of them, SVD and a random choice of its features.",
            plots.over_dims(_accuracy_lines(report), ylabel="accuracy, %"),
            *(f"<h3>{name}</h3>" + _table(accuracy_table(report, name)) for name in _METRICS),
            "<ul>" + "".join(f"<li>{html.escape(s)}</li>" for s in difference_sentences(report)) + "</ul>",
            f"<p class=note>{len(report.classes)} classes fit into {len(report.classes) - 1} dimensions, so SVD is "
            "strong here; wide margins are a matter of many classes. SVD's head is the plain model's classifier cut to "
            "rank m and not refitted, as in the paper; its probe is refitted. The linear row to judge a method by is "
            "the larger of the two: a head far below its probe is under-fitted.</p>",
        ),
        _section(
            "Search coarse to fine",
            "Rank the gallery by a short prefix, keep a shortlist, rank that by more dims: "
            "<code>16:200,512:10</code> is adaptive retrieval, longer plans are funnels. The gallery is the "
            f"{report.train_images:,} training images, the queries are the {report.test_images:,} test images.",
            plots.over_cost(
                _cost_points(report),
                bold=[_plan_name(p) for p in funnels],
                xlabel="MFLOPs per query",
                ylabel="mAP@10, %",
            ),
            _table(retrieval_table(report)),
            "<p class=note>recall@10: of the ten neighbours at full width. MFLOPs per query as the paper counts them: "
            "gallery size × dims of the first stage, plus shortlist × dims of each rerank, in millions. ms: medians of "
            "single queries on this machine, all searches in turn: exact search in NumPy over float32, plans in the "
            "index. The last plan is the one that <code>index.tune</code> chose on gallery rows; <code>@</code> is a "
            "sketch, an extra copy of a prefix at so many bits a number.</p>",
        ),
        _section(
            "What a short prefix confuses",
            "mAP@10 of each class at three prefixes.",
            plots.per_class(_class_values(report), xlabel="mAP@10, %"),
            "<p>The queries below are chosen to be hard: of each class the one for which 8 dims lose most.</p>",
            plots.retrieved(report.strip),
        ),
    ]
    about = " · ".join(f"{name} {value}" for name, value in machine().items())
    footer = (
        f"<footer>Made by <code>nestling demo</code> in {report.seconds / 60:.1f} minutes. {html.escape(about)}."
        "<br>Kusupati et al., <i>Matryoshka Representation Learning</i>, NeurIPS 2022.</footer>"
    )
    return html_page(report.title, "\n".join(sections) + footer)


def html_page(title: str, body: str) -> str:
    """A self-contained page in the project's dress; `body` is HTML, `title` is text."""
    return _HTML.format(title=html.escape(title), body=body)


def _section(title: str, lead: str, *parts: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2><p>{lead}</p>" + "\n".join(parts) + "</section>"


def _table(table: Table) -> str:
    columns, rows = table
    head = "".join(f"<th>{html.escape(c)}</th>" for c in columns)
    body = "".join(
        f"<tr{' class=ours' if row[0] == OURS else ''}>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _interval(row: Row) -> str:
    assert row.interval is not None
    low, high = row.interval
    return f"{100 * row.value:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"


def _accuracy_lines(report: Report) -> Mapping[str, list[Line]]:
    panels = {}
    for title, metrics in (("linear (better of head and probe)", (LINEAR, PROBE)), (ONE_NN, (ONE_NN,))):
        lines = []
        for name in SYSTEMS:
            values: dict[int, float] = {}
            for found in (report.find(_METRICS[metric]) for metric in metrics):
                for m in report.nesting:
                    if row := found.get((_system(name, m), m, None, None)):
                        values[m] = max(row.value, values.get(m, 0.0))
            lines.append(Line(name, list(values), list(values.values()), joined=name != "FF"))
        panels[title] = [line for line in lines if line.dims]
    return panels


def _plan_name(plan: str) -> str:
    stages = Plan.parse(plan).stages
    return f"{stages[0].dims}" if len(stages) == 1 else f"{'adaptive' if len(stages) == 2 else 'funnel'} {plan}"


def _cost_points(report: Report) -> dict[str, tuple[float, float]]:
    quality, cost = report.find("map@10"), report.find("mflops")
    points = {}
    for plan in ("exact", *report.plans):
        key = ("MRL", None, plan, None)
        name = f"{report.nesting.width} (exact)" if plan == "exact" else _plan_name(plan)
        points[name] = (cost[key].value, 100 * quality[key].value)
    return points


def _class_values(report: Report) -> dict[str, dict[str, float]]:
    values: dict[str, dict[str, float]] = {}
    for (_, _, plan, group), row in report.find("map@10").items():
        if group is not None and plan is not None:
            name = f"{Plan.parse(plan).stages[0].dims} dims"
            values.setdefault(name, {})[report.classes[int(group)]] = row.value
    return values


_HTML = """<!doctype html>
<html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width,initial-scale=1">
<title>{title}</title>
<style>
body{{font:16px/1.55 system-ui,sans-serif;color:#1d2733;margin:0;background:#f6f7f9}}
main{{max-width:1080px;margin:0 auto;padding:2.2rem 1.2rem}}
h1{{font-size:1.9rem;margin:0 0 1.2rem}} h2{{font-size:1.3rem;margin:0 0 .3rem}}
h3{{font-size:1rem;margin:1.4rem 0 .3rem}}
section{{background:#fff;border:1px solid #e3e8ee;border-radius:10px;padding:1.4rem 1.6rem;margin:0 0 1.4rem}}
svg{{max-width:100%;height:auto;display:block;margin:.6rem auto}}
.scroll{{overflow-x:auto}}
table{{border-collapse:collapse;font-size:.92rem;width:100%;font-variant-numeric:tabular-nums}}
th,td{{padding:.3rem .5rem;text-align:right;border-bottom:1px solid #e9edf2;white-space:nowrap}}
th:first-child,td:first-child{{text-align:left}} th{{font-weight:600;color:#5b6875}}
.paper td{{color:#5b6875;font-style:italic}}
.many{{font-size:.78rem}} .many th,.many td{{padding:.3rem .3rem}}
.ours td{{color:#d9660b;font-weight:600}}
td a{{color:inherit;text-decoration:none}} td a:hover{{text-decoration:underline}}
.rows{{font:.75rem/1.4 ui-monospace,monospace;overflow-wrap:anywhere}} .rows li:target{{background:#fff0d9}}
.note,footer{{color:#5b6875;font-size:.9rem}} code{{background:#eef1f4;padding:.1rem .3rem;border-radius:4px}}
</style></head><body><main><h1>{title}</h1>
{body}
</main></body></html>
"""

"""The graph of a workflow as SVG that the server draws: a box for each job or for many that are alike.

Left to right by the longest way. Each box has a sign and a word beside its colour, and is a link: to its job, or to
the list of its jobs. The table below the graph says the same and more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from dashboard.kit.gates import rule
from dashboard.kit.queries import RETRYING
from dashboard.kit.text import inert
from dashboard.workflows.folding import Box, Graph
from handlers.models import JobRecord, NodeOutcome, WorkflowNode
from handlers.states import State

BOXES = 60  # that are drawn at once, or one layer
LAYERS = 16  # that are drawn at once
ROWS = 12  # boxes of one layer that are drawn; the last one stands for all others then
WIDTH, HEIGHT = 204, 48  # pixels of a box
ACROSS, DOWN, MARGIN = 56, 24, 10  # between layers, between boxes, around all
LETTERS = 25  # of a name that fits
TIMES, DASH = "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
SIGNS = {
    "failed": "✗", "succeeded": "✓", "skipped": "»", "deleted": DASH, "processing": "▶", "enqueued": "●",
    "scheduled": "○", "awaiting": "○", RETRYING: "↻", "running": "▶", "gone": DASH,
}  # fmt: skip
WORDS = {"awaiting": "waits", "enqueued": "on its queue", "processing": "runs", "gone": "aged out"}


@dataclass(eq=False)
class Drawn:
    """A box with its place and its words."""

    box: Box
    row: float
    state: str
    name: str
    line: str
    url: str
    others: int = 0  # boxes that it stands for, beside its own


@dataclass(frozen=True)
class Picture:
    """The part of a graph that is drawn."""

    svg: SafeString
    before: int  # layers left of it
    before_url: str
    after: int  # layers right of it
    after_url: str
    after_jobs: int
    unread: int
    failed: int  # the first layer with a failed job, counted from one, where it is not drawn; else 0
    failed_url: str


def picture(request: HttpRequest, graph: Graph) -> Picture | None:
    """``graph`` from the layer on that the address asks for; None where it has no box."""
    if not graph.layers:
        return None
    start = _asked(request, len(graph.layers))
    end, boxes = start, 0
    last = min(len(graph.layers), start + LAYERS)
    while end < last and (end == start or boxes + min(len(graph.layers[end]), ROWS) <= BOXES):
        boxes += min(len(graph.layers[end]), ROWS)
        end += 1
    drawn, place = _drawn(request, graph.layers[start:end])
    return Picture(
        _svg(drawn, place, start, len(graph.layers)),
        start,
        _url(request, layer=max(start - (end - start), 0)),
        len(graph.layers) - end,
        _url(request, layer=end),
        sum(box.count for layer in graph.layers[end:] for box in layer),
        graph.unread,
        0 if graph.failed is None or start <= graph.failed < end else graph.failed + 1,
        _url(request, layer=graph.failed or 0),
    )


def _asked(request: HttpRequest, layers: int) -> int:
    text = request.GET.get("layer", "")
    return min(int(text), layers - 1) if text.isascii() and text.isdigit() and len(text) < 9 else 0


def _drawn(request: HttpRequest, layers: Sequence[Sequence[Box]]) -> tuple[list[list[Drawn]], dict[Box, Drawn]]:
    """The boxes in their places, so that lines cross little; and which one stands for which box."""
    jobs = _jobs([box.job_id for layer in layers for box in layer[:ROWS] if box.job_id])
    place: dict[Box, Drawn] = {}
    columns = []
    for layer in layers:
        heights = {box: _height(box, place) for box in layer}
        # Those alone in their row of thought stay in the order in which they were made.
        kept = sorted(layer, key=lambda box: heights[box])[: ROWS if len(layer) <= ROWS else ROWS - 1]
        column = [_one(request, box, jobs) for box in kept]
        rest = [box for box in layer if box not in set(kept)]
        if rest:
            column.append(_others(request, rest))
        for row, each in enumerate(column):
            each.row = row - (len(column) - 1) / 2  # around the middle
            place[each.box] = each
        place |= dict.fromkeys(rest, column[-1])
        columns.append(column)
    return columns, place


def _height(box: Box, place: dict[Box, Drawn]) -> float:
    """Where the parents are, on average."""
    rows = [place[parent].row for parent in box.parents if parent in place]
    return sum(rows) / len(rows) if rows else 0.0


def _jobs(ids: Sequence[int]) -> dict[int, tuple[JobRecord, str]]:
    """Jobs with how their nodes have ended."""
    found = JobRecord.objects.only("state", "failures").in_bulk(ids)
    outcomes = dict(WorkflowNode.objects.filter(pk__in=ids).values_list("pk", "outcome"))
    return {pk: (job, outcomes.get(pk, "")) for pk, job in found.items()}


def _one(request: HttpRequest, box: Box, jobs: dict[int, tuple[JobRecord, str]]) -> Drawn:
    name = _short(box.job_type)
    if box.job_id is None:
        url = f"{_url(request, box=inert(box.name))}#jobs"
        return Drawn(box, 0, _state(box), f"{box.count:,} {TIMES} {name}", _sums(box), url)
    url = reverse("admin:jobs_jobrecord_change", args=[box.job_id], current_app=request.current_app)
    job, outcome = jobs.get(box.job_id, (None, ""))
    state = "gone" if job is None else RETRYING if job.is_retrying else str(job.state)
    line = WORDS.get(state, state)
    if outcome == NodeOutcome.SKIPPED:
        state = line = "skipped"
    elif job is not None and job.state == State.SUCCEEDED and not outcome:
        state, line = "running", "its own workflow goes on"
    return Drawn(box, 0, state, name, f"{line} · #{box.job_id}", url)


def _others(request: HttpRequest, boxes: Sequence[Box]) -> Drawn:
    jobs, failed = sum(box.count for box in boxes), sum(box.outcomes["failed"] for box in boxes)
    line = f"{jobs:,} jobs" + (f", {failed:,} failed" if failed else "")
    return Drawn(
        boxes[0], 0, "failed" if failed else "more", f"and {len(boxes):,} more kinds", line, f"{_url(request)}#jobs",
        others=len(boxes) - 1,
    )  # fmt: skip


def _short(job_type: str) -> str:
    name = inert(job_type.rpartition(".")[2] or job_type, 200)
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"


def _state(box: Box) -> str:
    """What many jobs are, in one word: the one that asks for a person first."""
    outcomes = box.outcomes
    if outcomes["failed"]:
        return "failed"
    if outcomes[""]:
        return "awaiting" if box.met is None and outcomes[""] == box.count else "running"
    done = {name for name, count in outcomes.items() if count}
    return done.pop() if len(done) == 1 else "succeeded"


def _sums(box: Box, most: int = 2) -> str:
    """How many of many have ended how, as much of it as fits."""
    names = {"failed": "failed", "succeeded": "done", "skipped": "skipped", "deleted": "deleted", "": "to come"}
    parts = [(box.outcomes[name], words) for name, words in names.items() if box.outcomes[name]]
    if len(parts) == 1:
        return "waits" if box.met is None and box.outcomes[""] else f"all {parts[0][1]}"
    return ", ".join(f"{count:,} {words}" for count, words in parts[:most])


def _svg(columns: Sequence[Sequence[Drawn]], place: dict[Box, Drawn], start: int, layers: int) -> SafeString:
    most = max(len(column) for column in columns)
    width = 2 * MARGIN + len(columns) * (WIDTH + ACROSS) - ACROSS
    height = 2 * MARGIN + most * (HEIGHT + DOWN)
    at: dict[Drawn, tuple[float, float]] = {}
    for number, column in enumerate(columns):
        for each in column:
            top = (height - HEIGHT) / 2 + each.row * (HEIGHT + DOWN) + DOWN / 4
            at[each] = (MARGIN + number * (WIDTH + ACROSS), top)
    lines = format_html_join("", '<path class="edge edge-{}" d="{}"/>', _lines(columns, place, at))
    boxes = format_html_join("", "{}", ((_box(each, *at[each]),) for column in columns for each in column))
    told = "; ".join(", ".join(each.name for each in column) for column in columns)
    part = f", from layer {start + 1}" if start or len(columns) < layers else ""
    return format_html(
        '<svg class="flow-graph" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="group"'
        ' aria-label="What waits for what, in {layers} layer{s}{part}: {told}. The table below says the same.">'
        "{lines}{boxes}</svg>",
        w=width, h=height, layers=layers, s="" if layers == 1 else "s", part=part, told=told, lines=lines, boxes=boxes,
    )  # fmt: skip


def _lines(
    columns: Sequence[Sequence[Drawn]], place: dict[Box, Drawn], at: dict[Drawn, tuple[float, float]]
) -> Iterable[tuple[str, str]]:
    drawn: set[tuple[Drawn, Drawn]] = set()
    for box, each in place.items():
        when = box.gate.when if box.gate else "success"
        for parent in box.parents:
            origin = place.get(parent)
            if origin is None or (origin, each) in drawn:
                continue
            drawn.add((origin, each))
            (left, y1), (right, y2) = at[origin], at[each]
            x1, y1, x2, y2 = left + WIDTH, y1 + HEIGHT / 2, right, y2 + HEIGHT / 2
            bend = ACROSS / 2
            yield when, f"M{x1:g} {y1:g}C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2 - 5:g} {y2:g}h5m-6-4l6 4-6 4"


def _box(each: Drawn, x: float, y: float) -> SafeString:
    gate, asks = each.box.gate, ""
    if gate is not None and not each.others:
        asks = rule(gate.when, gate.require, gate.total)
    return format_html(
        '<a class="box box-{state}{pile}" href="{url}"><title>{full}{asked}</title>{back}'
        '<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="5"/><text class="sign" x="{sx}" y="{sy}">{sign}</text>'
        '<text class="name" x="{tx}" y="{y1}">{name}</text><text class="line" x="{tx}" y="{y2}">{line}</text>'
        "{rule}</a>",
        state=each.state, pile=" pile" if each.box.job_id is None else "", url=each.url,
        full=_full(each),
        asked=f" ({asks})" if asks else "",
        back=_back(x + 4, y + 4) if each.box.job_id is None else "",
        x=x, y=y, w=WIDTH, h=HEIGHT, sx=x + 17, sy=y + HEIGHT / 2 + 6, sign=SIGNS.get(each.state, "…"), tx=x + 34,
        y1=y + 20, y2=y + 37, name=each.name, line=each.line,
        rule=format_html('<text class="rule" x="{}" y="{}">{}</text>', x + 2, y - 5, asks) if asks else "",
    )  # fmt: skip


def _full(each: Drawn) -> str:
    """All that is known of it, for who points at it."""
    if each.others:
        return f"{each.name}: {each.line}"
    name = inert(each.box.job_type, 200)
    return f"{name}: {each.line}" if each.box.job_id else f"{each.box.count:,} {TIMES} {name}: {_sums(each.box, 5)}"


def _back(x: float, y: float) -> SafeString:
    """A second edge: there are many."""
    return format_html('<rect class="back" x="{}" y="{}" width="{}" height="{}" rx="5"/>', x, y, WIDTH, HEIGHT)


def _url(request: HttpRequest, **more: object) -> str:
    """This page with another part of the graph, or the jobs of a box."""
    query = QueryDict(mutable=True)
    if "layer" not in more and (layer := request.GET.get("layer", "")):
        query["layer"] = layer
    for name, value in more.items():
        query[name] = str(value)
    return f"?{query.urlencode()}"

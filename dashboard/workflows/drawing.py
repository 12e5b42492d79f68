"""The graph of a workflow as SVG that the server draws: a box for each job or for many that are alike.

Left to right by the longest way. Each box has a sign and a word beside its colour, and is a link: to its job, or to
the list of its jobs. The table below the graph says the same and more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dashboard.kit.gates import rule
from dashboard.kit.numbers import thousands
from dashboard.kit.queries import RETRYING
from dashboard.kit.text import inert
from dashboard.kit.verbs import jobs_in_words
from dashboard.kit.vocabulary import counted_state, state_label
from dashboard.workflows.folding import Box, Graph
from dashboard.workflows.placing import ROWS, Plan, Slot, places
from handlers.models import JobRecord, NodeOutcome, WorkflowNode
from handlers.states import State

BOXES = 60  # that are drawn at once, or one layer
LAYERS = 16  # that are drawn at once
WIDTH, HEIGHT = 204, 48  # pixels of a box
ACROSS, DOWN, MARGIN = 56, 24, 10  # between layers, between boxes, around all
LETTERS = 25  # of a name that fits
TIMES, DASH = "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
SIGNS = {
    "failed": "✗", "succeeded": "✓", "skipped": "»", "deleted": DASH, "unneeded": DASH, "processing": "▶",
    "enqueued": "●", "scheduled": "○", "awaiting": "○", "waiting": "?", RETRYING: "↻", "running": "▶",
    "gone": DASH,
}  # fmt: skip
WORDS = {
    "awaiting": gettext_lazy("waits"),
    "enqueued": gettext_lazy("on its queue"),
    "processing": gettext_lazy("runs"),
}

# Many jobs, where all of them ended alike; in the order in which parts of them are told.
ALL = {
    "failed": gettext_lazy("all failed"),
    "succeeded": gettext_lazy("all done"),
    "skipped": gettext_lazy("all skipped"),
    "deleted": gettext_lazy("all deleted"),
    "unneeded": gettext_lazy("all not needed"),
    "": gettext_lazy("all to come"),
}


class Drawn(NamedTuple):
    """What is written in a place."""

    box: Box
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
    plan = places(graph.layers[start:end])
    return Picture(
        _svg(plan, _words(request, plan), start, len(graph.layers)),
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


def _words(request: HttpRequest, plan: Plan) -> dict[Slot, Drawn]:
    """What is written in each place that has a box."""
    slots = [slot for column in plan.columns for slot in column if slot.boxes]
    jobs = _jobs([slot.boxes[0].job_id for slot in slots if slot.boxes[0].job_id])
    return {
        slot: _one(request, slot.boxes[0], jobs) if len(slot.boxes) == 1 else _others(request, slot.boxes)
        for slot in slots
    }


def _jobs(ids: Sequence[int]) -> dict[int, tuple[JobRecord, str]]:
    """Jobs with how their nodes have ended."""
    found = JobRecord.objects.only("state", "failures").in_bulk(ids)
    outcomes = dict(WorkflowNode.objects.filter(pk__in=ids).values_list("pk", "outcome"))
    return {pk: (job, outcomes.get(pk, "")) for pk, job in found.items()}


def _one(request: HttpRequest, box: Box, jobs: dict[int, tuple[JobRecord, str]]) -> Drawn:
    name = _short(box.job_type)
    if box.job_id is None:
        url = f"{_url(request, box=inert(box.name))}#jobs"
        return Drawn(box, _state(box), f"{thousands(box.count)} {TIMES} {name}", _sums(box), url)
    url = reverse("admin:jobsite_jobs_jobrecord_change", args=[box.job_id], current_app=request.current_app)
    job, outcome = jobs.get(box.job_id, (None, ""))
    state = "gone" if job is None else RETRYING if job.is_retrying else str(job.state)
    line = str(WORDS.get(state) or state_label(state))
    if outcome == NodeOutcome.SKIPPED:
        state, line = "skipped", state_label("skipped")
    elif job is not None and job.state == State.SUCCEEDED and not outcome:
        state, line = "running", _("its own workflow goes on")
    return Drawn(box, state, name, f"{line} · #{box.job_id}", url)


def _others(request: HttpRequest, boxes: Sequence[Box]) -> Drawn:
    jobs, failed = sum(box.count for box in boxes), sum(box.outcomes["failed"] for box in boxes)
    line = ", ".join([jobs_in_words(jobs), *([counted_state("failed", failed)] if failed else [])])
    kinds = _("and %(number)s more kinds") % {"number": thousands(len(boxes))}
    return Drawn(
        boxes[0], "failed" if failed else "more", kinds, line, f"{_url(request)}#jobs",
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
    parts = [name for name in ALL if box.outcomes[name]]
    if len(parts) == 1:
        return str(WORDS["awaiting"] if box.met is None and box.outcomes[""] else ALL[parts[0]])
    return ", ".join(
        counted_state("done" if name == "succeeded" else name, box.outcomes[name]) for name in parts[:most]
    )


def _svg(plan: Plan, words: dict[Slot, Drawn], start: int, layers: int) -> SafeString:
    most, columns = max(len(column) for column in plan.columns), len(plan.columns)
    width = 2 * MARGIN + columns * (WIDTH + ACROSS) - ACROSS
    height = 2 * MARGIN + most * (HEIGHT + DOWN)
    middle = height / 2 + DOWN / 4

    def at(slot: Slot) -> tuple[float, float]:
        """The middle of its left side."""
        return MARGIN + slot.column * (WIDTH + ACROSS), middle + slot.row * (HEIGHT + DOWN)

    lines = format_html_join("", '<path class="edge edge-{}" d="{}"/>', _lines(plan, at))
    boxes = format_html_join("", "{}", ((_box(each, *at(slot)),) for slot, each in words.items()))
    told = "; ".join(", ".join(words[slot].name for slot in column if slot in words) for column in plan.columns)
    words_of_all = ngettext(
        "What waits for what, in %(number)d layer: %(told)s. The table below says the same.",
        "What waits for what, in %(number)d layers: %(told)s. The table below says the same.",
        layers,
    )
    if start or columns < layers:
        words_of_all = ngettext(
            "What waits for what, in %(number)d layer, from layer %(first)d: %(told)s. The table below says the same.",
            "What waits for what, in %(number)d layers, from layer %(first)d: %(told)s. The table below says the same.",
            layers,
        )
    return format_html(
        '<svg class="flow-graph" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="group"'
        ' aria-label="{words}">'
        "{lines}{boxes}</svg>",
        w=width, h=height, words=words_of_all % {"number": layers, "first": start + 1, "told": told},
        lines=lines, boxes=boxes,
    )  # fmt: skip


def _lines(plan: Plan, at: Callable[[Slot], tuple[float, float]]) -> Iterable[tuple[str, str]]:
    """Each line once, from side to side, through the places that are kept free for it."""
    drawn: set[tuple[Slot, Slot]] = set()
    for box, slot in plan.slot_of.items():
        when = box.gate.when if box.gate else "success"
        for parent in box.parents:
            origin = plan.slot_of.get(parent)
            if origin is None or (origin, slot) in drawn:
                continue
            drawn.add((origin, slot))
            x, y = at(origin)
            path = [f"M{x + WIDTH:g} {y:g}"]
            for column in range(origin.column + 1, slot.column):
                if way := plan.ways.get((origin, column)):
                    path.append(_bend((x + WIDTH, y), at(way)) + f"h{WIDTH}")
                    x, y = at(way)
            end_x, end_y = at(slot)
            yield when, "".join(path) + _bend((x + WIDTH, y), (end_x - 5, end_y)) + "h5m-6-4l6 4-6 4"


def _bend(start: tuple[float, float], end: tuple[float, float]) -> str:
    middle = (start[0] + end[0]) / 2
    return f"C{middle:g} {start[1]:g} {middle:g} {end[1]:g} {end[0]:g} {end[1]:g}"


def _box(each: Drawn, x: float, middle: float) -> SafeString:
    gate, asks, y = each.box.gate, "", middle - HEIGHT / 2
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
    return (
        f"{name}: {each.line}"
        if each.box.job_id
        else f"{thousands(each.box.count)} {TIMES} {name}: {_sums(each.box, 5)}"
    )


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

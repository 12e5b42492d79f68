"""The graph: what is alike is one box, what waits for what is a line, and what does not fit is said."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dashboard.workflows import drawing, folding, placing
from dashboard.workflows.folding import Box, Kind, fold
from handlers import job_scheduler
from handlers.models import GateParent, JobRecord, Workflow, WorkflowNode
from handlers.workflows.flow import Node
from tests.console.workflows.conftest import Send, Step, drain, page

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once, pytest.mark.usefixtures("bad")]


def layers_of(workflow_id: int) -> list[list[Box]]:
    return fold(Workflow.objects.get(pk=workflow_id)).layers


def shape(workflow_id: int) -> list[list[tuple[str, int]]]:
    """Type and number of jobs of each box, layer by layer."""
    return [[(box.job_type, box.count) for box in layer] for layer in layers_of(workflow_id)]


def graph_of(client: Client, url: str) -> str:
    return client.get(url).content.decode().partition('id="workflow-graph"')[2].partition("</section>")[0]


def titles(html: str) -> list[str]:
    return [unescape(title) for title in re.findall(r"<title>(.*?)</title>", html)]


def test_many_that_wait_for_the_same_are_one_box_and_few_are_drawn_one_by_one(superuser: Client, bad: set[str]) -> None:
    bad |= {"7", "11"}
    with job_scheduler.workflow() as flow:
        roots = [flow.enqueue(Step("root")) for _ in range(3)]
        fan = flow.enqueue_many([Step(str(n)) for n in range(30)], after=roots)
        end = flow.enqueue(Send("end"), after=fan)
    assert shape(flow.workflow_id) == [[("shop.Step", 1)] * 3, [("shop.Step", 30)], [("shop.Send", 1)]]
    drain()
    html = graph_of(superuser, page(flow.workflow_id))
    assert "30 \N{MULTIPLICATION SIGN} shop.Step: 2 failed, 28 done" in titles(html)
    assert f"shop.Send: waits · #{end.job_id}" in titles(html)
    assert html.count('class="edge edge-success"') == 4
    assert f"/admin/jobs/jobrecord/{end.job_id}/change/" in html
    # The box leads to its jobs, and to no others.
    link = re.search(r'class="box box-failed pile" href="([^"]+)"', html)
    assert link
    table = superuser.get(page(flow.workflow_id) + unescape(link[1])).content.decode().partition("flow-nodes")[2]
    found = re.findall(r'<th scope="row"><a href="/admin/jobs/jobrecord/(\d+)/change/"', table)
    assert [int(pk) for pk in found] == [node.job_id for node in fan]


def test_chains_that_are_alike_are_one_and_lead_to_all_their_jobs(superuser: Client) -> None:
    with job_scheduler.workflow() as flow:
        middles = []
        for _ in range(12):
            middles.append(flow.enqueue(Send("b"), after=flow.enqueue(Step("a"))))
            flow.enqueue(Step("c"), after=middles[-1])
        odd = flow.enqueue(Step("c"), after=middles[0], when="failure")
    assert shape(flow.workflow_id) == [
        [("shop.Step", 12)], [("shop.Send", 12)], [("shop.Step", 12), ("shop.Step", 1)],
    ]  # fmt: skip
    assert [box.job_id for box in layers_of(flow.workflow_id)[2]] == [None, odd.job_id]
    html = graph_of(superuser, page(flow.workflow_id))
    assert html.count('class="edge edge-success"') == 2
    assert html.count('class="edge edge-failure"') == 1
    assert ">if failed</text>" in html
    link = re.search(r'href="(\?box=\d+%2B\.shop\.Send)#jobs"', html)
    assert link
    table = superuser.get(page(flow.workflow_id) + link[1]).content.decode().partition("flow-nodes")[2]
    found = re.findall(r'<th scope="row"><a href="/admin/jobs/jobrecord/(\d+)/change/"', table)
    assert [int(pk) for pk in found] == [node.job_id for node in middles]


def test_few_chains_stay_apart(superuser: Client) -> None:
    with job_scheduler.workflow() as flow:
        for _ in range(3):
            flow.enqueue(Send("b"), after=flow.enqueue(Step("a")))
    assert shape(flow.workflow_id) == [[("shop.Step", 1)] * 3, [("shop.Send", 1)] * 3]
    for layer in layers_of(flow.workflow_id)[1:]:
        assert [len(box.parents) for box in layer] == [1, 1, 1]
        assert len({parent for box in layer for parent in box.parents}) == 3


def test_a_box_is_right_of_all_that_it_waits_for(superuser: Client) -> None:
    with job_scheduler.workflow() as flow:
        a = flow.enqueue(Step("a"))
        b = flow.enqueue(Send("b"), after=a)
        flow.enqueue(Step("c"), after=[a, b], require="any")
        flow.enqueue(Send("late"), after=a, when="ended")
    boxes = [[box.job_type for box in layer] for layer in layers_of(flow.workflow_id)]
    assert boxes == [["shop.Step"], ["shop.Send", "shop.Send"], ["shop.Step"]]
    html = graph_of(superuser, page(flow.workflow_id))
    assert ">one is enough</text>" in html
    assert ">once ended</text>" in html
    assert "in 3 layers: " in html


def test_what_does_not_fit_is_said_and_can_be_reached(superuser: Client, bad: set[str]) -> None:
    bad.add("29")
    with job_scheduler.workflow() as flow:
        last = flow.enqueue(Step("0"))
        for n in range(1, 40):
            last = flow.enqueue(Step(str(n)), after=last)
    drain()
    html = graph_of(superuser, page(flow.workflow_id))
    assert len(titles(html)) == drawing.LAYERS
    assert "and 24 more layers with 24 jobs" in html
    assert "The first job that failed is in layer 30" in html
    link = re.search(r'href="(\?layer=29)#graph"', html)
    assert link
    html = graph_of(superuser, page(flow.workflow_id) + link[1])
    assert "shop.Step: failed" in html
    assert "29 layers before" in html
    assert "more layer" not in html
    for nonsense in ("999999", "-1", "x", "9" * 30):
        assert superuser.get(page(flow.workflow_id, f"?layer={nonsense}")).status_code == 200


def test_a_wide_layer_ends_in_a_box_for_the_rest(superuser: Client) -> None:
    with job_scheduler.workflow() as flow:
        roots = [flow.enqueue(Step("a")) for _ in range(4)]
        for n in range(1, 16):  # each waits for another choice of them
            flow.enqueue(Send("b"), after=[root for place, root in enumerate(roots) if n & 1 << place])
    html = graph_of(superuser, page(flow.workflow_id))
    assert len(titles(html)) == 4 + placing.ROWS
    assert "and 4 more kinds: 4 jobs" in titles(html)


def test_groups_beyond_the_limit_are_counted_and_said(superuser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "ROWS", 3)
    monkeypatch.setattr(folding, "PARENTS", 2)  # of wider gates the first and the last of each group are tried
    with job_scheduler.workflow() as flow:
        roots = [flow.enqueue(Step("a")) for _ in range(6)]
        flow.enqueue(Send("all"), after=roots)
        for root in roots:
            flow.enqueue(Send("b"), after=root)
    assert shape(flow.workflow_id)[0] == [("shop.Step", 6)]
    assert all(box.parents for box in layers_of(flow.workflow_id)[1])
    assert "Not drawn: 4 more jobs" in graph_of(superuser, page(flow.workflow_id))


@pytest.mark.parametrize("seed", range(12))
def test_any_shape_is_drawn_whole(seed: int) -> None:
    choose = random.Random(seed)  # noqa: S311 - shapes
    with job_scheduler.workflow() as flow:
        nodes: list[Node] = []
        for _ in range(choose.randint(5, 60)):
            after = choose.sample(nodes, min(len(nodes), choose.choice((0, 1, 1, 2, 5))))
            when, require = choose.choice(("success", "success", "failure", "ended")), choose.choice(("all", "any"))
            jobs = [choose.choice((Step, Send))("a") for _ in range(choose.choice((1, 1, 1, 3, 9)))]
            nodes += flow.enqueue_many(jobs, after=after, when=when, require=require)
    layers = layers_of(flow.workflow_id)
    boxes = [box for layer in layers for box in layer]
    box_of: dict[int, Box] = {}
    for pk, gate_id, job_type in WorkflowNode.objects.values_list("pk", "gate_id", "job_type"):
        (box_of[pk],) = (box for box in boxes if Kind(gate_id, job_type) in box.kinds and box.job_id in (None, pk))
    assert Counter(box_of.values()) == Counter({box: box.count for box in boxes})
    drawn = {(parent, box) for box in boxes for parent in box.parents}
    assert all(parent.layer < box.layer for parent, box in drawn)
    children = dict(WorkflowNode.objects.filter(gate_id__isnull=False).values_list("pk", "gate_id"))
    parents: dict[int, list[int]] = defaultdict(list)
    for gate_id, parent_id in GateParent.objects.values_list("gate_id", "parent_id"):
        parents[gate_id or 0].append(parent_id)
    assert drawn == {(box_of[pk], box_of[child]) for child, gate_id in children.items() for pk in parents[gate_id or 0]}
    # Each has a place of its own, and a line beyond the next layer passes behind none.
    plan = placing.places(layers)
    assert set(plan.slot_of) == set(boxes)
    for column in plan.columns:
        assert len({slot.row for slot in column}) == len(column)
    for parent, box in drawn:
        origin = plan.slot_of[parent]
        for number in range(parent.layer + 1, box.layer):
            ways = [slot for slot in plan.columns[number] if not slot.boxes]
            assert plan.ways.get((origin, number)) in ways or len(ways) == placing.WAYS


def test_jobs_at_the_end_stand_in_no_box() -> None:
    with job_scheduler.workflow(on_success=Send("done"), on_end=Send("over")) as flow:
        flow.enqueue(Step("a"))
    assert shape(flow.workflow_id) == [[("shop.Step", 1)]]


def test_hostile_type_names_are_inert_and_nothing_is_inline(superuser: Client) -> None:
    evil = '"><script>alert(1)</script>\u202e'
    with job_scheduler.workflow() as flow:
        nodes = flow.enqueue_many([Step("a")] * 9)
        flow.enqueue(Step("b"), after=nodes)
    WorkflowNode.objects.all().update(job_type=f"evil.{evil}")
    JobRecord.objects.all().update(job_type=f"evil.{evil}")
    html = superuser.get(page(flow.workflow_id)).content.decode()
    assert "<script>alert" not in html
    assert "\u202e" not in html
    assert not re.findall(r"<style|\sstyle=|\son[a-z]+=", html)
    link = re.search(r'class="box [^"]*pile" href="([^"]+)"', html)
    assert link
    assert "<script>alert" not in superuser.get(page(flow.workflow_id) + unescape(link[1])).content.decode()
    for box in ("x", "1", "1+", "1+.shop.Step", "9" * 40 + ".y", f"0.{evil}", "."):
        assert superuser.get(page(flow.workflow_id), {"box": box}).status_code == 200


def test_a_big_one_is_kept_for_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "SMALL", 5)
    monkeypatch.setattr(folding, "_kept", {})
    with job_scheduler.workflow() as flow:
        flow.enqueue_many([Step("a")] * 6)
    workflow = Workflow.objects.get()
    assert fold(workflow) is fold(workflow)
    monkeypatch.setattr(folding, "KEPT_SECONDS", 0.0)
    before = fold(workflow)
    assert fold(workflow) is not before
    assert before.layers[0][0].count == fold(workflow).layers[0][0].count == flow.count


def test_drawing_reads_no_more_for_more_jobs() -> None:
    counts = []
    for size in (9, 90):
        with job_scheduler.workflow() as flow:
            roots = flow.enqueue_many([Step("a")] * size)
            for root in roots:
                flow.enqueue(Send("b"), after=root)
            flow.enqueue(Step("c"), after=roots)
        with CaptureQueriesContext(connection) as queries:
            layers_of(flow.workflow_id)
        counts.append(len(queries))
        # Each parent's node is looked at once: it is a descent of an index for every one of them.
        looks = [sql.count('FROM "jobs_workflownode"') for each in queries if "jobs_gateparent" in (sql := each["sql"])]
        assert set(looks) == {1}
    assert counts[0] == counts[1] <= 6

"""A workflow while it is built: each node names earlier ones, so no circle can come about."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from typing import Any, NamedTuple

from handlers.deadlines import Expiry
from handlers.exceptions import InvalidJob, NoHandler
from handlers.job_ids import job_ids
from handlers.job_types import JobType
from handlers.lifecycle import JobId, NewJob
from handlers.models.workflow import Require, When
from handlers.payloads import Command, Job
from handlers.registry import registry
from handlers.several import for_each, tell_which
from handlers.tagging import Tags
from handlers.workflows.gates import check_rule
from handlers.workflows.results import ResultOf, check_source, later_fields

Work = Job | Command
Make = Callable[..., list[NewJob]]  # of jobs, as the gateway checks them


class Node:
    """A job of a workflow, to be named by those that wait for it."""

    __slots__ = ("_flow", "_job_id", "_type")

    def __init__(self, flow: Flow, job_type: str, job_id: int | None = None) -> None:
        self._flow, self._type, self._job_id = flow, job_type, job_id

    @property
    def job_id(self) -> JobId:
        """The job's id. Asked for while the workflow is built, it writes what is built so far.

        Raises InvalidJob where the workflow was not made.
        """
        if self._job_id is None:
            self._flow.write()
        if self._job_id is None:
            raise InvalidJob("workflow: was not made: its block was left by an exception", field="workflow")
        return JobId(self._job_id)

    def __repr__(self) -> str:
        return f"<Node {self._job_id or 'to be'}>"


After = Node | Iterable[Node]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """For what a node waits. Nodes with the same one share a gate."""

    parents: tuple[Node, ...]
    when: When
    require: Require


class Planned(NamedTuple):
    """A node that is not written yet."""

    node: Node
    new: NewJob
    rule: Rule | None
    delay: timedelta | None  # after its gate
    inputs: tuple[tuple[str, Node], ...] = ()  # fields that are what others return
    counts: bool = True


Write = Callable[[Sequence[Planned]], None]  # after which nodes know their jobs


class Flow:
    """What ``with job_scheduler.workflow() as flow:`` gives. It writes as it goes, in the transaction of the block."""

    def __init__(self, make: Make, write: Write, *, chunk: int) -> None:
        self._make, self._write, self._chunk = make, write, chunk
        self._planned: list[Planned] = []
        self._rules: dict[tuple[tuple[Node, ...], When, Require], Rule] = {}
        self.workflow_id = 0  # known from the begin
        self._is_over = False
        self._is_torn = False  # of many that were given at once a part was added
        self.count = 0  # of nodes

    def enqueue(
        self,
        job: Work,
        *,
        after: After = (),
        when: str = When.SUCCESS,
        require: str = Require.ALL,
        queue: str | None = None,
        delay: timedelta | None = None,
        expires: Expiry = None,
        priority: int | None = None,
        tags: Tags = (),
    ) -> Node:
        """A node that runs ``job`` once its parents, ``after``, have ended: at once, where there are none.

        ``when``: with ``success``, ``failure`` or ``deleted``, or ``ended`` in any of these ways. ``require``: ``all``
        of them, or ``any``. ``delay``: so long after that. A node whose parents can no longer end like that is deleted.
        Others as for ``job_scheduler.enqueue``; a type's ``unique`` is not asked. Raises InvalidJob or NoHandler.
        """
        rule = self._rule(after, when, require)
        (planned,) = self._made(
            [job], rule, None, queue=queue, delay=delay, expires=expires, priority=priority, tags=tags
        )
        self.plan([planned])
        return planned.node

    def enqueue_many(
        self,
        jobs: Iterable[Work],
        *,
        after: After = (),
        when: str = When.SUCCESS,
        require: str = Require.ALL,
        queue: str | None = None,
        delay: timedelta | None = None,
        expires: Expiry = None,
        priority: int | None = None,
        tags: Tags = (),
    ) -> list[Node]:
        """The same for each of ``jobs``; their nodes in this order. What is raised says which one it is about."""
        for_each("jobs", jobs, "jobs")
        rule = self._rule(after, when, require)
        nodes: list[Node] = []
        rest = iter(jobs)
        try:
            while some := list(islice(rest, self._chunk)):
                planned = self._made(
                    some, rule, len(nodes), queue=queue, delay=delay, expires=expires, priority=priority, tags=tags
                )
                self.plan(planned)
                nodes += [each.node for each in planned]
        except BaseException:
            self._is_torn = self._is_torn or bool(nodes)
            raise
        return nodes

    def _made(self, jobs: Sequence[Work], rule: Rule | None, first: int | None, **options: Any) -> list[Planned]:
        """A node for each of ``jobs``; the place of the ``first`` of them among several, None: there is one."""
        options["awaits"] = rule is not None
        later = [later_fields(job) for job in jobs]
        # What a call asks of each job only once it asks for all whose arguments are there.
        at_once = [place for place, fields in enumerate(later) if not fields]
        places = None if first is None else [first + place for place in at_once]
        made = iter(self.make([jobs[place] for place in at_once], places=places, **options))
        planned = []
        for place, fields in enumerate(later):
            if not fields:
                new = next(made)
                planned.append(Planned(Node(self, new.job_type), new, rule, options["delay"]))
                continue
            try:
                planned.append(self._with_later(jobs[place], fields, rule, options))
            except (InvalidJob, NoHandler) as error:
                if first is not None:
                    tell_which(error, "jobs", first + place)
                raise
        return planned

    def _with_later(
        self, job: Work, fields: Mapping[str, ResultOf], rule: Rule | None, options: dict[str, Any]
    ) -> Planned:
        (new,) = self.make([job], **options, without=fields)
        job_type = registry.for_object(job)
        inputs = tuple((name, self._source(job_type, name, result, rule)) for name, result in fields.items())
        return Planned(Node(self, new.job_type), new, rule, options["delay"], inputs)

    def result(self, node: Node) -> Any:
        """What the job of ``node`` returns, as an argument of a job that waits for its success.

        Of a job that a person has skipped, and of one that returned nothing, it is None.
        """
        self._check(node)
        return ResultOf(node)

    def make(self, jobs: Sequence[Work], **options: Any) -> list[NewJob]:
        """The jobs to be."""
        if self._is_over:
            raise InvalidJob(
                "workflow: its block is over: add to it with job_scheduler.extend_workflow(flow.workflow_id)",
                field="workflow",
            )
        return self._make(jobs, **options)

    def plan(self, planned: Sequence[Planned]) -> None:
        """Add nodes."""
        self.count += sum(each.counts for each in planned)
        self._planned += planned
        if len(self._planned) >= self._chunk:
            self.write()

    def write(self) -> None:
        """Write what was planned."""
        planned, self._planned = self._planned, []
        self._write(planned)

    @contextmanager
    def block(self) -> Iterator[None]:
        """For as long as jobs are added. Who leaves it by an exception makes nothing, and adds nothing later."""
        try:
            yield
        except BaseException:
            self._planned, self._is_over = [], True
            raise

    def end(self) -> None:
        """Write the rest; nothing can be added any more. Raises InvalidJob where many were added in part."""
        if self._is_torn:
            raise InvalidJob(
                "workflow: enqueue_many raised after it had added a part of its jobs: let its exception leave the"
                " block",
                field="workflow",
            )
        self.write()
        self._is_over = True

    def _rule(self, after: After, when: str, require: str) -> Rule | None:
        known = check_rule(when, require)
        given: Iterable[Any] = after if isinstance(after, Iterable) else (after,)
        parents = tuple(dict.fromkeys(given))
        for parent in parents:
            self._check(parent)
        if not parents:
            return None
        key = (parents, *known)  # hashed once for each call, however many jobs that has
        return self._rules.get(key) or self._rules.setdefault(key, Rule(*key))

    def _check(self, node: object) -> None:
        if not isinstance(node, Node):
            raise InvalidJob(
                f"after: takes nodes, which flow.enqueue returns, not {node!r}; a job outside of this workflow can be"
                " followed with job_scheduler.continue_with",
                field="after",
            )
        if node._flow is not self:
            raise InvalidJob(
                f"after: {node!r} is of another workflow: name nodes of this one, or follow its job with"
                " job_scheduler.continue_with",
                field="after",
            )

    def _source(self, job_type: JobType, name: str, result: ResultOf, rule: Rule | None) -> Node:
        node = result.node
        self._check(node)
        if rule is None or node not in rule.parents or rule.when != When.SUCCESS or rule.require != Require.ALL:
            raise InvalidJob(
                f"{job_type.name}: {name}: is the result of a job that it does not wait for: name that in after=,"
                " with when='success' and require='all'",
                field=name,
            )
        if node._type:  # else it is a job that was there: its type may be known to other code only
            check_source(job_type, name, registry.get(node._type))
        return node


class Extension(Flow):
    """The same for a workflow that is under way: its jobs can be named, too."""

    def __init__(
        self,
        make: Make,
        write: Write,
        *,
        chunk: int,
        has: Callable[[int], bool],
        this: int | None,
    ) -> None:
        super().__init__(make, write, chunk=chunk)
        self._has, self._this = has, this
        self.existing: dict[int, Node] = {}

    def node(self, job_id: Any) -> Node:
        """One of the jobs that it has. Raises InvalidJob for any other."""
        (known,) = job_ids([job_id]) or (0,)
        if known not in self.existing:
            if not self._has(known):
                raise InvalidJob(f"node: job {str(job_id)[:50]} is none of workflow {self.workflow_id}", field="node")
            self.existing[known] = Node(self, "", known)
        return self.existing[known]

    @property
    def this(self) -> Node:
        """The job that runs here. Raises InvalidJob outside of one, and in one of another workflow."""
        return self.node(self._this)

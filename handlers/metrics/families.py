"""The numbers as Prometheus has them. Labels name queues, types and the like, of which there are few; never an id."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from handlers import fleet
from handlers.limited import Limit
from handlers.metrics.reading import Reading, Total, read
from handlers.models.count import BUCKETS, Outcome
from handlers.queues import known_queues
from handlers.registry import registry

ENDS = (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.HANDED_BACK, Outcome.SNOOZED, Outcome.WAITED, Outcome.DROPPED)
RAN = (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.RETRIED)
BOUNDS = [*(f"{bound:g}" for bound in BUCKETS), "+Inf"]
# Counters by queue and type: which outcome each one is of.
COUNTERS = {
    "jobs_created": (Outcome.CREATED, "Jobs enqueued or scheduled for the first time."),
    "jobs_claims": (Outcome.STARTED, "Attempts that workers claimed."),
    "jobs_retries": (Outcome.RETRIED, "Failed attempts after which the policy runs the job again."),
    "jobs_deleted": (Outcome.DELETED, "Jobs deleted while they did not run."),
    "jobs_revived": (Outcome.REVIVED, "Jobs that people retried, requeued or restored."),
    "jobs_leases_expired": (Outcome.LEASE_LOST, "Jobs brought back because their worker stopped renewing its lease."),
    "jobs_workers_lost": (Outcome.WORKER_LOST, "Jobs brought back by the supervisor of a worker process that died."),
}  # fmt: skip


class JobsCollector(Collector):
    """Looks anew at each scrape. ``REGISTRY.register(JobsCollector())`` adds it to a site's own exporter."""

    def describe(self) -> Iterable[Metric]:
        """Nothing: to be registered asks no database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        began = time.perf_counter()
        found = read()
        yield from families(found)
        yield _gauge("jobs_scrape_seconds", "What this answer took to find out.", time.perf_counter() - began)


def families(found: Reading) -> Iterator[Metric]:
    """What ``found`` says."""
    up = found.database_seconds is not None
    yield _gauge("jobs_database_up", "Whether the database that keeps the jobs answers.", up)
    yield from _of_server(found)
    if not up:
        return
    yield _gauge("jobs_database_answer_seconds", "What its smallest answer took.", found.database_seconds or 0.0)
    yield from _of_counts(found.totals)
    yield from _of_queues(found)
    yield from _of_states(found)
    yield from _of_processes(found)
    yield from _of_limits(found)
    yield from _of_hooks(found)


def _of_server(found: Reading) -> Iterator[Metric]:
    server = found.server
    yield _gauge("jobs_redis_up", "Whether the queue server takes messages.", server.seconds is not None)
    if server.seconds is None:
        return
    yield _gauge("jobs_redis_answer_seconds", "What its answer took.", server.seconds)
    yield _gauge("jobs_redis_memory_bytes", "What it holds in memory.", server.memory_bytes)
    yield _gauge("jobs_redis_memory_limit_bytes", "What it may hold; 0: no limit.", server.memory_limit_bytes)
    messages = GaugeMetricFamily(
        "jobs_queue_messages", "Messages on the queue's list, other programs' too.", labels=["queue"]
    )
    for queue, number in sorted(server.messages.items()):
        messages.add_metric([queue], number)
    yield messages


def _of_counts(totals: Iterable[Total]) -> Iterator[Metric]:
    labels = ["queue", "type"]
    of: defaultdict[str, list[Total]] = defaultdict(list)
    for total in sorted(totals):
        of[total.outcome].append(total)
    for name, (outcome, text) in COUNTERS.items():
        counter = CounterMetricFamily(name, text, labels=labels)
        for total in of[outcome.value]:
            counter.add_metric([total.queue, total.job_type], total.number)
        yield counter
    ends = CounterMetricFamily("jobs_outcomes", "Attempts that ended, by how.", labels=[*labels, "outcome"])
    for outcome in ENDS:
        for total in of[outcome.value]:
            ends.add_metric([total.queue, total.job_type, outcome.value], total.number)
    yield ends
    again = CounterMetricFamily(
        "jobs_messages_republished", "Messages that were lost or never sent, sent again.", labels=["queue"]
    )
    for queue, number in _by_queue(of[Outcome.REPUBLISHED.value]).items():
        again.add_metric([queue], number)
    yield again
    ran = [total for outcome in RAN for total in of[outcome.value]]
    yield _histogram("jobs_run_seconds", "How long attempts ran that succeeded or failed.", ran)
    waits = of[Outcome.STARTED.value]
    yield _histogram("jobs_wait_seconds", "How long jobs waited on their queue until they were claimed.", waits)


def _by_queue(totals: Iterable[Total]) -> Counter[str]:
    found: Counter[str] = Counter()
    for total in totals:
        found[total.queue] += total.number
    return found


def _histogram(name: str, text: str, totals: Iterable[Total]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=["queue", "type"])
    sums: dict[tuple[str, str], tuple[list[int], float]] = {}
    for total in totals:
        buckets, seconds = sums.get((total.queue, total.job_type), ([0] * len(BOUNDS), 0.0))
        added = [a + b for a, b in zip(buckets, total.buckets, strict=True)]
        sums[total.queue, total.job_type] = added, seconds + total.seconds
    for key, (buckets, seconds) in sums.items():
        family.add_metric(key, list(zip(BOUNDS, accumulate(buckets), strict=True)), seconds)
    return family


def _of_queues(found: Reading) -> Iterator[Metric]:
    depth = GaugeMetricFamily("jobs_queue_depth", "Jobs that wait on the queue.", labels=["queue"])
    oldest = GaugeMetricFamily(
        "jobs_queue_oldest_wait_seconds", "How long the first of them has waited.", labels=["queue"]
    )
    paused = GaugeMetricFamily("jobs_queue_paused", "Whether the queue is paused.", labels=["queue"])
    for queue, waits in sorted(found.waits.items()):
        # Past what is counted, the queue's own length says more.
        depth.add_metric([queue], max(waits.number, found.server.messages.get(queue, 0) if waits.more else 0))
        oldest.add_metric([queue], waits.oldest_seconds)
    for queue in sorted(known_queues() | found.paused_queues):
        paused.add_metric([queue], queue in found.paused_queues)
    yield from (depth, oldest, paused)
    types = GaugeMetricFamily("jobs_type_paused", "Job types that are paused.", labels=["type"])
    for name in sorted(found.paused_types):
        types.add_metric([name], 1)
    yield types


def _of_states(found: Reading) -> Iterator[Metric]:
    states = GaugeMetricFamily("jobs_in_state", "Jobs in a state now; of each counted up to 10,000.", labels=["state"])
    for state, number in sorted(found.states.items()):
        states.add_metric([state], number)
    yield states
    yield _gauge("jobs_due", "Scheduled jobs whose time has come; counted up to 10,000.", found.due)
    yield _gauge("jobs_late_seconds", "How late the most overdue of them is.", found.late_seconds)
    yield _gauge("jobs_stranded", "Jobs that wait for a worker whose code can run them.", found.stranded)
    yield _gauge(
        "jobs_counts_behind_seconds", "How old the oldest count is that waits to be summed.", found.unfolded_seconds
    )


def _of_processes(found: Reading) -> Iterator[Metric]:
    live = GaugeMetricFamily("jobs_processes", "Processes that gave a sign of life.", labels=["kind"])
    memory = GaugeMetricFamily("jobs_processes_memory_bytes", "What they hold in memory together.", labels=["kind"])
    for kind in ("worker", "scheduler"):
        alive = [process for process in found.processes if process.kind == kind]
        live.add_metric([kind], len(alive))
        memory.add_metric([kind], sum(process.memory_bytes or 0 for process in alive))
    yield from (live, memory)
    workers = [process for process in found.processes if process.kind == "worker"]
    slots = GaugeMetricFamily("jobs_slots", "Slots of workers, by the kind of handler.", labels=["kind", "state"])
    for kind, used, most in (
        ("sync", sum(worker.running_sync or 0 for worker in workers), sum(worker.threads or 0 for worker in workers)),
        (
            "async",
            sum(worker.running_async or 0 for worker in workers),
            sum(worker.max_async or 0 for worker in workers),
        ),
    ):
        slots.add_metric([kind, "used"], used)
        slots.add_metric([kind, "free"], max(most - used, 0))
    yield slots
    lags = [process.lag_seconds for process in found.processes if process.lag_seconds is not None]
    yield _gauge(
        "jobs_scheduler_lag_seconds", "How late schedulers found the most overdue job.", max(lags, default=0.0)
    )
    troubles = GaugeMetricFamily(
        "jobs_scheduler_troubles", "Schedulers for which a duty does not work.", labels=["duty"]
    )
    for duty, number in sorted(
        Counter(each.what for process in found.processes for each in fleet.troubles(process)).items()
    ):
        troubles.add_metric([duty], number)
    yield troubles


def _of_limits(found: Reading) -> Iterator[Metric]:
    used = GaugeMetricFamily(
        "jobs_limit_slots_used", "Slots of a limit that jobs have, of all its keys.", labels=["limit"]
    )
    free = GaugeMetricFamily("jobs_limit_slots_free", "Those that are free, of a limit without keys.", labels=["limit"])
    lined = GaugeMetricFamily("jobs_limit_waiting", "Jobs that wait for a slot of it.", labels=["limit"])
    limits: dict[str, Limit] = registry.limits()
    for name in sorted({*limits, *found.slots, *found.lined_up}):
        used.add_metric([name], found.slots.get(name, 0))
        lined.add_metric([name], found.lined_up.get(name, 0))
        limit = limits.get(name)
        if limit is not None and limit.key is None and limit.concurrency is not None:
            free.add_metric([name], max(limit.concurrency - found.slots.get(name, 0), 0))
    yield from (used, free, lined)


def _of_hooks(found: Reading) -> Iterator[Metric]:
    labels = ["hook", "name"]
    times = CounterMetricFamily("jobs_hook_troubles", "How often middleware or a receiver went wrong.", labels=labels)
    last = GaugeMetricFamily("jobs_hook_trouble_timestamp_seconds", "When it did for the last time.", labels=labels)
    for hook in sorted(found.hooks):
        times.add_metric([hook.hook, hook.name], hook.times)
        if hook.last_at is not None:
            last.add_metric([hook.hook, hook.name], hook.last_at.timestamp())
    yield from (times, last)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))

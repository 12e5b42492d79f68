"""How far a person's permissions reach: one question, asked by every page that shows jobs or does something to them.

A limit is on a role. What several roles permit adds up; a role without a limit, a permission of one's own and being a
superuser reach every job.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from django.contrib.auth.models import Permission
from django.core.exceptions import PermissionDenied
from django.db import router
from django.db.models import Q
from django.http import Http404, HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.kit import catalogue
from dashboard.models import RoleLimit
from handlers.models import JobRecord
from handlers.registry import registry
from handlers.selection import NOTHING, WHOLE, Part, Reach, stored_names

VIEW_JOBS = "jobsite_jobs.view_jobrecord"
NOWHERE = Reach(())
NAMED = 5  # queues or types that a sentence names
_KNOWN = "_jobs_reach"  # on the user, as Django keeps their permissions there: for one request

Key = TypeVar("Key")


def reach_of(user: Any, permission: str = VIEW_JOBS) -> Reach:
    """The jobs for which ``user`` holds ``permission``. Two statements for a request at most, none for most people."""
    if not user.is_active or not user.has_perm(permission):
        return NOWHERE
    return _limited(user).get(permission, WHOLE)


def is_limited(user: Any) -> bool:
    """Whether some permission of this person does not reach every job."""
    return bool(user.is_active and _limited(user))


def seen(request: HttpRequest) -> Reach:
    """The jobs that this person may see."""
    return reach_of(request.user)


def acting(request: HttpRequest, *permissions: str) -> Reach:
    """The jobs that this person may see and for which they hold all of ``permissions``."""
    return _held(request, seen(request), permissions)


def concerning(request: HttpRequest, *permissions: str) -> Reach:
    """The jobs that what ``permissions`` show may be about: those seen, of whoever may see jobs at all."""
    return acting(request, *permissions) if request.user.has_perm(VIEW_JOBS) else _held(request, WHOLE, permissions)


def kept(request: HttpRequest, given: Mapping[int, Key], *permissions: str) -> dict[int, Key]:
    """Of what is given by the jobs' ids that of the jobs within; one statement, and none for who is not limited."""
    reach = acting(request, *permissions)
    if reach.is_whole or not given:
        return dict(given)
    rows = JobRecord.objects.filter(pk__in=list(given)).values_list("pk", "job_type", "queue")
    within = {pk for pk, job_type, queue in rows if reach.covers(job_type, queue)}
    return {pk: value for pk, value in given.items() if pk in within}


def rows_within(reach: Reach) -> Q:
    """Of a small table with a ``job_type`` and a ``queue``, which may be empty for the type's own, what is within."""
    if reach.parts is None:
        return Q()
    either = Q(pk__in=[])
    for part in reach.parts:
        fits = Q()
        if part.types:
            fits &= Q(job_type__in=[stored for name in part.types for stored in stored_names(name)])
        if part.queues:
            own = [stored for each in registry.all() if each.queue in part.queues for stored in stored_names(each.name)]
            fits &= Q(queue__in=part.queues) | Q(queue="", job_type__in=own)
        either |= fits
    return either


def covers_kind(reach: Reach, job_type: str, queue: str) -> bool:
    """The same of one row."""
    known = None if queue or reach.is_whole else catalogue.find(job_type)
    return reach.covers(job_type, known.queue if known else queue)


def covers_all(reach: Reach, job_type: str, queue: str) -> bool:
    """Whether all jobs of a type on a queue are within, where either may be empty for every one."""
    return reach.holds([Part.of([job_type] if job_type else [], [queue] if queue else [])])


def check_job(request: HttpRequest, job_id: int, permission: str = VIEW_JOBS) -> None:
    """Raise Http404 for a job that they may not see, PermissionDenied where it is beyond ``permission``."""
    if acting(request, permission).is_whole:
        return
    row = JobRecord.objects.filter(pk=job_id).only("job_type", "queue").first() if job_id < 2**63 else None
    if row is None or not covers(request, row):
        raise Http404(no_job(job_id))
    if not covers(request, row, permission):
        limit = in_words(reach_of(request.user, permission))
        raise PermissionDenied(_("You may not do this to this job. %(limit)s") % {"limit": limit})


def beyond(request: HttpRequest, ids: Collection[int], permission: str) -> str:
    """Why not all of these jobs, which this person may see, are theirs to act on; empty: they are."""
    within = kept(request, dict.fromkeys(ids), permission)
    if len(within) == len(set(ids)):
        return ""
    limit = in_words(reach_of(request.user, permission))
    return _("Some of these jobs are not yours to do this to. %(limit)s Nothing was done.") % {"limit": limit}


def covers(request: HttpRequest, record: JobRecord, *permissions: str) -> bool:
    """Whether this person may see ``record``, with ``permissions`` also act on it."""
    return acting(request, *permissions).covers(record.job_type, record.queue)


def no_job(job_id: int | str) -> str:
    """What is said of a job that is not there, and of one that is out of reach."""
    return _("There is no job %(number)s. Jobs that ended well age out.") % {"number": job_id}


def in_words(reach: Reach) -> str:
    """``your role is limited to queue mail``, as a sentence."""
    if reach.parts is None:
        return _("Your role reaches every job.")
    return _("Your role is limited to %(parts)s.") % {"parts": parts_in_words(reach.parts)}


def parts_in_words(parts: Sequence[Part]) -> str:
    """``queue mail, or job type shop.Pay on queue web``."""
    words = [_part(part) for part in parts[:NAMED] if part != NOTHING]
    if len(parts) > NAMED:
        words.append(_("%(count)d more") % {"count": len(parts) - NAMED})
    return _(", or ").join(words) or _("no job")


def _held(request: HttpRequest, found: Reach, permissions: Iterable[str]) -> Reach:
    for permission in permissions:
        found &= reach_of(request.user, permission)
    return found


def _part(part: Part) -> str:
    words = []
    if part.types:
        words.append(
            ngettext("job type %(names)s", "job types %(names)s", len(part.types)) % {"names": _some(part.types)}
        )
    if part.queues:
        words.append(ngettext("queue %(names)s", "queues %(names)s", len(part.queues)) % {"names": _some(part.queues)})
    return _(" on ").join(words) or _("every job")


def _some(names: Iterable[str]) -> str:
    some = list(names)
    shown = some[:NAMED]
    if len(some) > NAMED:
        shown.append(_("%(count)d more") % {"count": len(some) - NAMED})
    return ", ".join(shown)


def _limited(user: Any) -> Mapping[str, Reach]:
    """By permission how far it reaches, where that is not every job."""
    known: Mapping[str, Reach] | None = getattr(user, _KNOWN, None)
    if known is None:
        known = _read(user)
        setattr(user, _KNOWN, known)
    return known


def _read(user: Any) -> dict[str, Reach]:
    # Whoever has no permission by a role has none that is limited. Django has read these already.
    if user.is_superuser or not hasattr(user, "groups") or not user.get_group_permissions():
        return {}
    limits = {limit.group: Part.of(limit.types, limit.queues) for limit in RoleLimit.objects.all()}
    if not limits:
        return {}
    using = router.db_for_write(type(user), instance=user)
    rows = Permission.objects.using(using).filter(group__user=user)
    parts = defaultdict[str, list[Part]](list)
    for app, code, group in rows.values_list("content_type__app_label", "codename", "group"):
        parts[f"{app}.{code}"].append(limits.get(group, Part()))
    own = user.get_user_permissions()
    found = {label: Reach.of(some) for label, some in parts.items() if label not in own}
    return {label: reach for label, reach in found.items() if not reach.is_whole}

"""Every address of the console, by every method, for every role: who gets what, and who is refused.

The addresses come from the site itself: one that is added without a line here fails the test.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import URLPattern, URLResolver, get_resolver

NOBODY, STAFF, VIEWER, OPERATOR, ADMINISTRATOR, SUPERUSER = (
    "nobody",
    "staff",
    "viewer",
    "operator",
    "administrator",
    "su",
)
ROLES = (STAFF, VIEWER, OPERATOR, ADMINISTRATOR, SUPERUSER)  # each may do what those before may
RANK = {role: place for place, role in enumerate(ROLES)} | {NOBODY: len(ROLES)}

# url name -> the least role that may look, and the least that may send a form (NOBODY: that method is not for people).
PAGES: dict[str, tuple[str, str]] = {
    "index": (STAFF, STAFF),
    "app_list": (VIEWER, VIEWER),
    "password_change": (STAFF, STAFF),
    "password_change_done": (STAFF, STAFF),
    "jsi18n": (STAFF, STAFF),
    "autocomplete": (STAFF, STAFF),
    "view_on_site": (STAFF, STAFF),
    # jobs
    "jobs_jobrecord_changelist": (VIEWER, VIEWER),  # a form without an action is a look
    "jobs_jobrecord_add": (NOBODY, NOBODY),
    "jobs_jobrecord_change": (VIEWER, VIEWER),
    "jobs_jobrecord_delete": (NOBODY, NOBODY),
    "jobs_jobrecord_history": (VIEWER, VIEWER),
    "jobs_jobrecord_retry": (NOBODY, OPERATOR),
    "jobs_jobrecord_edit": (OPERATOR, OPERATOR),
    "jobs_jobrecord_requeue": (NOBODY, OPERATOR),
    "jobs_jobrecord_restore": (NOBODY, OPERATOR),
    "jobs_jobrecord_deletion": (NOBODY, OPERATOR),
    # audit
    "jobs_auditentry_changelist": (VIEWER, VIEWER),
    "jobs_auditentry_add": (NOBODY, NOBODY),
    "jobs_auditentry_change": (VIEWER, VIEWER),
    "jobs_auditentry_delete": (NOBODY, NOBODY),
    "jobs_auditentry_history": (VIEWER, VIEWER),
    # queues
    "queues": (VIEWER, VIEWER),
    "pause_queue": (NOBODY, OPERATOR),
    "resume_queue": (NOBODY, OPERATOR),
    "job_types": (VIEWER, VIEWER),
    "job_type": (VIEWER, VIEWER),
    "enqueue_one": (OPERATOR, OPERATOR),
    "pause_type": (NOBODY, OPERATOR),
    "resume_type": (NOBODY, OPERATOR),
    "retry_policies": (VIEWER, VIEWER),
    # users and groups
    "auth_user_changelist": (ADMINISTRATOR, ADMINISTRATOR),
    "auth_user_add": (ADMINISTRATOR, ADMINISTRATOR),
    "auth_user_change": (ADMINISTRATOR, ADMINISTRATOR),
    "auth_user_delete": (ADMINISTRATOR, ADMINISTRATOR),
    "auth_user_history": (ADMINISTRATOR, ADMINISTRATOR),
    "auth_user_password_change": (ADMINISTRATOR, ADMINISTRATOR),
    "auth_group_changelist": (ADMINISTRATOR, ADMINISTRATOR),
    "auth_group_add": (ADMINISTRATOR, ADMINISTRATOR),
    "auth_group_change": (ADMINISTRATOR, ADMINISTRATOR),
    "auth_group_delete": (ADMINISTRATOR, ADMINISTRATOR),
    "auth_group_history": (ADMINISTRATOR, ADMINISTRATOR),
}
OPEN = {"login", "logout"}  # for whoever comes


def addresses() -> Iterator[tuple[str, str]]:
    """(name, route) of every pattern below /admin/."""
    for pattern in get_resolver().url_patterns:
        if isinstance(pattern, URLResolver) and pattern.namespace == "admin":
            yield from _walk(pattern, "/admin/")


def _walk(resolver: URLResolver, prefix: str) -> Iterator[tuple[str, str]]:
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern, route)
        elif isinstance(pattern, URLPattern) and pattern.name:
            yield pattern.name, route

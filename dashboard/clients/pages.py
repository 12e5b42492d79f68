"""The pages of the API's clients: who they are, making one, whose token is shown once, and revoking it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from dashboard.clients.form import ClientForm
from dashboard.clients.grants import ADD, REVOKE, VIEW, grantable
from dashboard.kit.drafts import is_draft
from dashboard.kit.languages import in_language
from dashboard.kit.once import act_once
from dashboard.kit.pages import by, need, page, why
from dashboard.kit.switching import switch_once, tell
from dashboard.kit.verbs import MAX_REASON
from handlers.api.clients import acting_as, create_client, revoke_client
from handlers.api.scopes import VERBS
from handlers.exceptions import InvalidJob
from handlers.models import ApiClient

SHOWN = 500  # clients that the list shows: those that can still ask first


def clients(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """Every client: what it may do, and whether it still can."""
    need(request, VIEW, _("You may not see clients of the API."))
    now = timezone.now()
    rows = ApiClient.objects.order_by("revoked_at", "name")[: SHOWN + 1]
    found = sorted((_row(row, now) for row in rows), key=lambda row: (not row["is_valid"], row["client"].name))
    context = {
        "rows": found[:SHOWN], "more": len(found) > SHOWN, "may_add": request.user.has_perm(ADD), "api_url": _api_url(),
    }  # fmt: skip
    return page(site, request, "clients/clients", _("API clients"), context)


def new(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Make a client: the answer to the form, and nothing else ever, shows its token."""
    need(request, VIEW, _("You may not see clients of the API."))
    need(request, ADD, _("You may not make clients of the API."))
    form = ClientForm(grantable(request), request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid() and not is_draft(request):
        try:
            return _made(site, request, form)
        except InvalidJob as error:
            form.refuse(error)
    return page(site, request, "clients/new", _("New API client"), {"form": form}, status=400 if form.errors else 200)


def _made(site: AdminSite, request: HttpRequest, form: ClientForm) -> HttpResponse:
    """The page with the token, which no database has: who sends the form again finds the client alone."""
    made: list[tuple[ApiClient, str]] = []

    def act() -> str:
        made.append(create_client(**form.values, by=by(request)))
        return str(made[0][0].pk)

    pk, is_new = act_once(request, act)
    if not is_new:
        told = _(
            "This form was sent before and made this client then. Its token was shown only there: if nobody has it,"
            " revoke it and make another."
        )
        messages.warning(request, told)
        return HttpResponseRedirect(reverse("admin:client", args=[pk], current_app=request.current_app))
    client, token = made[0]
    context = {**_row(client, timezone.now()), "token": token, "api_url": _api_url()}
    # As all pages of the admin, no browser stores it.
    return page(site, request, "clients/made", _("The token of %(name)s") % {"name": client.name}, context)


def client(site: AdminSite, request: HttpRequest, client_id: int) -> HttpResponse:
    """One client: what it may do, and the button that ends that."""
    need(request, VIEW, _("You may not see clients of the API."))
    row = ApiClient.objects.filter(pk=client_id).first() if client_id < 2**63 else None
    if row is None:
        return _gone(request)
    context = {
        **_row(row, timezone.now()),
        "acting_as": acting_as(row),
        "may_revoke": request.user.has_perm(REVOKE),
        "sees_audit": request.user.has_perm("jobsite_jobs.view_auditentry"),
        "max_reason": MAX_REASON,
    }
    return page(site, request, "clients/client", row.name, context)


def revoke(site: AdminSite, request: HttpRequest, client_id: int) -> HttpResponse:
    """Let its token open nothing any more. POST only."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    need(request, REVOKE, _("You may not revoke tokens of the API."))
    row = ApiClient.objects.filter(pk=client_id).first() if client_id < 2**63 else None
    if row is None:
        return _gone(request)
    reason = why(request)
    found = switch_once(request, lambda: revoke_client(row.pk, by=by(request), reason=reason))
    done = _("Revoked the token of %(name)s. It opens nothing from now on.") % {"name": row.name}
    tell(request, found, done, _("The token of %(name)s was revoked already.") % {"name": row.name})
    if not request.user.has_perm(VIEW):
        return HttpResponseRedirect(reverse("admin:index", current_app=request.current_app))
    return HttpResponseRedirect(reverse("admin:client", args=[row.pk], current_app=request.current_app))


def _row(row: ApiClient, now: datetime) -> dict[str, Any]:
    expired = row.expires_at is not None and row.expires_at <= now
    return {
        "client": row,
        "verbs": [(verb, in_language(VERBS.get(verb, ""))) for verb in row.verbs],
        "is_valid": row.revoked_at is None and not expired,
        "is_expired": expired,
        "standing": _("revoked") if row.revoked_at else _("expired") if expired else _("valid"),
    }


def _api_url() -> str:
    """Where the API is; empty where the site has not mounted it."""
    try:
        return reverse("jobs_api_v1:openapi").removesuffix("/openapi.json")
    except NoReverseMatch:
        return ""


def _gone(request: HttpRequest) -> HttpResponse:
    messages.warning(request, _("There is no such client of the API."))
    return HttpResponseRedirect(reverse("admin:clients", current_app=request.current_app))

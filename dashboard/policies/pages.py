"""The retry policies' pages: what the code says, what people made of it, and the form with a preview before saving."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dashboard.kit import catalogue, flat
from dashboard.kit.differences import differences
from dashboard.kit.drafts import is_draft
from dashboard.kit.once import act_once, sent_before
from dashboard.kit.pages import by, need, page, why
from dashboard.kit.reach import is_limited, seen
from dashboard.kit.text import sentence
from dashboard.kit.verbs import MAX_REASON
from dashboard.policies.form import PolicyForm
from dashboard.policies.preview import history, preview
from handlers.exceptions import InvalidJob
from handlers.models import PolicyAssignment, StoredPolicy
from handlers.policy_edits import assign_types, delete_policy, facts, save_policy

SENT_BEFORE = gettext_lazy("That was when this was sent before; nothing was done now.")
PAGE = 20  # policies of the code
VIEW, ADD, CHANGE, DELETE = (f"jobsite_jobs.{verb}_storedpolicy" for verb in ("view", "add", "change", "delete"))


def retry_policies(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """Every stored policy and every distinct one of the code: what happens on failure?

    ``?of=TYPE``: the code's policy of that type alone, with all types that have it.
    """
    reach = seen(request)
    followed, policies = _followed(), list(StoredPolicy.objects.all())
    declared, of = catalogue.policies(), request.GET.get("of", "")[:200]
    if not reach.is_whole:
        types = reach.types()
        followed = {pk: some for pk, names in followed.items() if (some := [name for name in names if name in types])}
        policies = [policy for policy in policies if policy.pk in followed]
        declared = [part for known in declared if (part := known.part_of(types)).rows]
    if of:
        declared = [known for known in declared if any(row.job_type.name == of for row in known.rows)]
    listed = flat.flat(request, declared, {}, text=lambda known: known.words, needs=lambda known: 0, size=PAGE)
    instead = {name: policy.name for policy in policies for name in followed.get(policy.pk, [])}
    context = {
        "stored": [
            {"policy": policy, "preview": preview(policy, followed.get(policy.pk, []))}
            for policy in (() if of or listed.page > 1 else policies)
        ],
        "rows": [_declared(known, instead, None if of else catalogue.NAMED) for known in listed.rows],
        "flat": listed,
        "of": of,
        "may_open": _may_open(request) and not is_limited(request.user),
        "may_add": request.user.has_perm(ADD) and not is_limited(request.user),
    }
    return page(site, request, "policies/policies", _("Retry policies"), context)


def _declared(known: catalogue.PolicyRow, instead: dict[str, str], most: int | None) -> dict[str, Any]:
    """A policy of the code, with ``most`` of the types that have it and what each of them follows instead."""
    names = [row.job_type.name for row in known.rows]
    return {
        "row": known,
        "types": [(name, instead.get(name, "")) for name in names[:most]],
        "of": names[0] if len(names) > len(names[:most]) else "",
        "number": len(names),
    }


def new_policy(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Create a policy: the form, its preview, and the saving."""
    need(request, ADD, _("You may not create retry policies."))
    return _edit(site, request, None)


def retry_policy(site: AdminSite, request: HttpRequest, policy_id: int) -> HttpResponse:
    """One policy: what it does, who follows it, its history, and the form to change it."""
    if not _may_open(request):
        raise PermissionDenied(_("You may not see retry policies one by one."))
    policy = StoredPolicy.objects.filter(pk=policy_id).first()
    if policy is None:
        return _gone(request)
    if request.method == "POST":
        need(request, CHANGE, _("You may not change retry policies."))
    return _edit(site, request, policy)


def assign(site: AdminSite, request: HttpRequest, policy_id: int) -> HttpResponse:
    """Let exactly the ticked types follow the policy. POST only."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    need(request, CHANGE, _("You may not assign retry policies."))
    policy = StoredPolicy.objects.filter(pk=policy_id).first()
    if policy is None:
        return _gone(request)
    shown = set(request.POST.getlist("shown"))  # what the page offered: a type that it did not show keeps its policy
    held = set(_followed().get(policy.pk, []))
    ticked = {name for name in request.POST.getlist("types") if name in shown}

    def act() -> str:
        return str(assign_types(policy, (held - shown) | ticked, by=by(request), reason=why(request)))

    try:
        changed, is_new = act_once(request, act)
    except InvalidJob as error:
        messages.error(request, str(error))
    else:
        _tell(request, _changed(int(changed)), is_new)
    return _to_policy(request, policy.pk)


def remove(site: AdminSite, request: HttpRequest, policy_id: int) -> HttpResponse:
    """Delete a policy, after a page that says who falls back to the code."""
    need(request, DELETE, _("You may not delete retry policies."))
    if request.method == "POST" and sent_before(request):
        messages.info(request, f"{_('It is deleted.')} {SENT_BEFORE}")
        return HttpResponseRedirect(_list_url(request))
    policy = StoredPolicy.objects.filter(pk=policy_id).first()
    if policy is None:
        return _gone(request)
    if request.method != "POST" or is_draft(request):
        context = {"policy": policy, "types": _followed().get(policy.pk, []), "max_reason": MAX_REASON}
        return page(site, request, "policies/delete", _("Delete %(name)s?") % {"name": policy.name}, context)
    version, types = request.POST.get("version", ""), list[str]()

    def act() -> str:
        seen = int(version) if version.isdecimal() and len(version) < 10 else 0
        types.extend(delete_policy(policy.pk, expect_version=seen, by=by(request), reason=why(request)))
        return ""

    try:
        act_once(request, act)
    except InvalidJob as error:
        messages.error(request, sentence(error))
        return _to_policy(request, policy.pk)
    deleted = _("Deleted %(name)s.") % {"name": policy.name}
    words = ngettext("%(types)s follows the code again.", "%(types)s follow the code again.", len(types))
    back = words % {"types": ", ".join(types[:10])} if types else _("No job type followed it.")
    messages.success(request, f"{deleted} {back}")
    return HttpResponseRedirect(_list_url(request))


def _edit(site: AdminSite, request: HttpRequest, policy: StoredPolicy | None) -> HttpResponse:
    """The page of a policy, or of a new one (None); a POST previews, or saves what was valid."""
    shown = policy or StoredPolicy()
    form = PolicyForm(request.POST) if request.method == "POST" else PolicyForm.of(shown)
    valid = form.is_bound and form.is_valid()
    if valid and request.POST.get("do") == "save" and not is_draft(request):
        try:
            answer, is_new = act_once(request, lambda: _saved(request, policy, form))
        except InvalidJob as error:
            form.refuse(error)
        else:
            pk, _space, name = answer.partition(" ")
            told = _("Saved %(name)s. It holds from the next failure on, in every worker.") % {"name": name}
            _tell(request, told, is_new)
            return _to_policy(request, int(pk))
    followed = _followed()
    types = followed.get(policy.pk, []) if policy else []
    draft = form.draft if form.is_bound else None
    context = {
        "policy": policy,
        "form": form,
        "preview": preview(draft or shown, types) if policy or draft else None,
        "is_preview": draft is not None,
        "differences": differences(facts(policy) if policy else None, facts(draft)) if draft else [],
        "stale": bool(policy and form.is_bound and form["version"].value() != str(policy.version)),
        "values_now": differences(None, facts(policy)) if policy else [],
        "may_save": request.user.has_perm(CHANGE if policy else ADD),
        "may_delete": policy is not None and request.user.has_perm(DELETE),
        "choices": _choices(request, policy, followed) if policy else None,
        "history": history(policy.pk) if policy and request.user.has_perm("jobsite_jobs.view_auditentry") else [],
        "max_reason": MAX_REASON,
    }
    title = policy.name if policy else _("New retry policy")
    return page(site, request, "policies/policy", title, context, status=400 if form.errors else 200)


def _saved(request: HttpRequest, policy: StoredPolicy | None, form: PolicyForm) -> str:
    """Id and name of what the form makes of the policy, or of the new one."""
    saved = save_policy(
        policy.pk if policy else None, form.fields_of_policy,
        expect_version=(form.cleaned_data["version"] or 0) if policy else None,
        by=by(request), reason=form.cleaned_data["reason"],
    )  # fmt: skip
    return f"{saved.pk} {saved.name}"


def _changed(count: int) -> str:
    if not count:
        return _("Nothing changed. It holds from the next failure on.")
    words = ngettext("%(number)d job type changed.", "%(number)d job types changed.", count) % {"number": count}
    return f"{words} {_('It holds from the next failure on.')}"


def _tell(request: HttpRequest, words: str, is_new: bool) -> None:
    if is_new:
        messages.success(request, words)
    else:
        messages.info(request, f"{words} {SENT_BEFORE}")


def _followed() -> dict[int, list[str]]:
    """Which types follow each stored policy."""
    found: dict[int, list[str]] = {}
    for assignment in PolicyAssignment.objects.order_by("job_type"):
        found.setdefault(assignment.policy_id, []).append(assignment.job_type)
    return found


def _choices(request: HttpRequest, policy: StoredPolicy, followed: dict[int, list[str]]) -> flat.Flat[dict[str, Any]]:
    """Every registered type, and what was assigned under a name that no code here has, with what it follows now.

    Those that follow the policy come first.
    """
    names = dict(StoredPolicy.objects.values_list("pk", "name"))
    follows = {job_type: names.get(pk, "") for pk, types in followed.items() for job_type in types}
    registered = {row.job_type.name: row for row in catalogue.types()}
    strange = [name for name in followed.get(policy.pk, []) if name not in registered]
    every = [
        {
            "name": name,
            "row": registered.get(name),
            "follows": follows.get(name, ""),
            "ticked": follows.get(name) == policy.name,
        }
        for name in [*registered, *strange]
    ]
    return flat.flat(request, every, {}, text=lambda known: known["name"], needs=lambda known: int(known["ticked"]))


def _may_open(request: HttpRequest) -> bool:
    return request.user.has_perm(VIEW) or request.user.has_perm(CHANGE)


def _gone(request: HttpRequest) -> HttpResponse:
    messages.warning(request, _("This retry policy is gone: someone deleted it."))
    return HttpResponseRedirect(_list_url(request))


def _to_policy(request: HttpRequest, policy_id: int) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:retry_policy", args=[policy_id], current_app=request.current_app))


def _list_url(request: HttpRequest) -> str:
    return reverse("admin:retry_policies", current_app=request.current_app)

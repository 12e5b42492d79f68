"""Users and groups: Django's own pages, with the roles explained, every change on the audit, and no way up.

No way up: who is no superuser can hand out only what they hold themselves, and cannot touch an account that holds more
than theirs, whose password they could otherwise set.
"""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib import messages
from django.contrib.admin import action, display
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, router
from django.db.models import Model, Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dashboard.kit.lockouts import lockouts
from dashboard.kit.moments import clock
from dashboard.kit.text import inert
from dashboard.kit.tick_boxes import TickBoxes
from dashboard.people import fields
from dashboard.people.audited import AuditedMixin
from dashboard.people.entries import audit_person, person_facts, written
from dashboard.people.limited import RoleForm
from dashboard.roles import group_of
from handlers.audit import audit
from handlers.writing import writing

LOCKED_UNTIL = "locked_until"  # on a user of the list
LISTED = ("email", "is_active", "is_staff", "is_superuser", "last_login")
ROLE_HELP = {
    "Viewer": gettext_lazy("sees jobs, queues and the audit"),
    "Operator": gettext_lazy("also retries, requeues, deletes, pauses and runs bulk operations"),
    "Administrator": gettext_lazy("also changes retry policies, users and groups"),
}


def held_by(user: Any) -> set[int]:
    """The permissions that an account has, or would have when it were active. Not those of a superuser."""
    mine = Permission.objects.using(written(user)).filter(Q(user=user) | Q(group__user=user))
    return set(mine.values_list("pk", flat=True))


def is_above(user: Any, other: Any) -> bool:
    """Whether ``other`` may do something that ``user`` may not."""
    return not user.is_superuser and (other.is_superuser or not held_by(other) <= held_by(user))


def refuse_what_is_not_held(user: Any, permissions: set[int]) -> None:
    """ValidationError, naming some, when ``user`` does not hold all of ``permissions``."""
    if user.is_superuser or not (missing := permissions - held_by(user)):
        return
    named = Permission.objects.filter(pk__in=list(missing)[:100]).order_by("pk")[:3]
    words = ", ".join(permission.name for permission in named)
    told = _("You can give only what you hold yourself, and you do not hold: %(names)s.")
    if len(missing) > 3:
        told = _("You can give only what you hold yourself, and you do not hold: %(names)s and %(number)d more.")
    raise ValidationError(told % {"names": words, "number": len(missing) - 3})


def _role_help() -> str:
    """What each role does, by the name that its group has here."""
    groups = {role: group_of(role, Group) for role in ROLE_HELP}
    return " ".join(f"{groups[role].name}: {does}." for role, does in ROLE_HELP.items() if groups[role])


class PeopleAdmin(AuditedMixin, TickBoxes, UserAdmin):  # type: ignore[type-arg]
    """Users, with their roles in the list."""

    fieldsets = fields.fieldsets()
    add_fieldsets = fields.add_fieldsets()
    list_display = tuple(dict.fromkeys((fields.LOGIN, "roles", *fields.present(LISTED))))
    list_filter = fields.present(("is_staff", "is_superuser", "is_active", "groups"))
    search_fields = fields.present(UserAdmin.search_fields)
    ordering = (fields.LOGIN,)
    list_per_page = 50  # as of the console's own lists
    actions = ("make_viewer", "make_operator", "make_administrator", "lift_lock_out")

    @display(description=gettext_lazy("locked out"))
    def locked_out(self, user: Any) -> SafeString | str:
        """Until when this person cannot sign in, maybe at one address only."""
        until = getattr(user, LOCKED_UNTIL, None)
        return format_html(_("until {time}"), time=clock(until)) if until else ""

    def get_list_display(self, request: HttpRequest) -> Any:
        """With what is known of lock-outs, where something is."""
        login, *rest = super().get_list_display(request)
        return (login, "locked_out", *rest) if lockouts() else (login, *rest)

    def get_actions(self, request: HttpRequest) -> Any:
        """Nothing can be lifted where nobody is locked out."""
        found = super().get_actions(request)
        if not lockouts():
            found.pop("lift_lock_out", None)
        return found

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The list, its people with what is known of them, in one query more."""
        changelist = super().get_changelist_instance(request)
        if known := lockouts():
            locked = known.locked([user.get_username() for user in changelist.result_list])
            for user in changelist.result_list:
                setattr(user, LOCKED_UNTIL, locked.get(user.get_username()))
        return changelist

    @display(description=gettext_lazy("roles"))
    def roles(self, user: Any) -> str:
        """The groups."""
        return inert(", ".join(sorted(group.name for group in user.groups.all())))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the groups, in one query more."""
        groups = Group.objects.using(router.db_for_write(self.model))
        return super().get_queryset(request).prefetch_related(Prefetch("groups", groups))

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """As Django says, but for accounts that hold more than this person's."""
        return super().has_change_permission(request, obj) and not (obj and is_above(request.user, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """As Django says, but for accounts that hold more than this person's."""
        return super().has_delete_permission(request, obj) and not (obj and is_above(request.user, obj))

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """What the system writes down; and only a superuser makes superusers."""
        written = (*super().get_readonly_fields(request, obj), *fields.present(("last_login", "date_joined")))
        return written if cast("Any", request.user).is_superuser else (*written, "is_superuser")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """The stock form, which explains the roles and refuses what this person cannot give."""
        base = super().get_form(request, obj, change=change, **kwargs)
        giver = request.user

        class Form(base):  # type: ignore[misc, valid-type]
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                if "groups" in self.fields:
                    self.fields["groups"].help_text = _role_help()

            def clean_groups(self) -> Any:
                chosen = self.cleaned_data["groups"]
                old = set(obj.groups.values_list("pk", flat=True)) if obj else set()
                new = [group.pk for group in chosen if group.pk not in old]
                given = Permission.objects.filter(group__in=new).values_list("pk", flat=True)
                refuse_what_is_not_held(giver, set(given))
                return chosen

            def clean_user_permissions(self) -> Any:
                chosen = self.cleaned_data["user_permissions"]
                old = set(obj.user_permissions.values_list("pk", flat=True)) if obj else set()
                refuse_what_is_not_held(giver, {permission.pk for permission in chosen} - old)
                return chosen

        return Form

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:  # noqa: A002 - Django's
        """The stock page; the new password and its audit entry are written together or not at all."""
        if request.method != "POST":
            return super().user_change_password(request, id, form_url)
        with writing(DEFAULT_DB_ALIAS):
            return super().user_change_password(request, id, form_url)

    @action(description=gettext_lazy("Make the ticked users viewers"), permissions=["change"])
    def make_viewer(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Add them to Viewer."""
        return self._give(request, queryset, "Viewer")

    @action(description=gettext_lazy("Make the ticked users operators"), permissions=["change"])
    def make_operator(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Add them to Operator."""
        return self._give(request, queryset, "Operator")

    @action(description=gettext_lazy("Make the ticked users administrators"), permissions=["change"])
    def make_administrator(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Add them to Administrator."""
        return self._give(request, queryset, "Administrator")

    @action(description=gettext_lazy("Let the ticked users sign in again"), permissions=["change"])
    def lift_lock_out(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Forget their failed attempts to sign in."""
        known = lockouts()
        asked = lifted = 0
        for user in queryset if known else ():
            asked += 1
            if not self.has_change_permission(request, user):
                continue
            with writing(DEFAULT_DB_ALIAS):
                if known and (count := known.lift(user.get_username())):
                    data = {"failures": count}
                    audit(cast("Any", request.user), "lift_lock_out", f"user {user.get_username()}", 1, data=data)
                    lifted += 1
        told = ngettext("%(number)d user can sign in again.", "%(number)d users can sign in again.", lifted)
        told = told % {"number": lifted}
        if left := asked - lifted:
            words = ngettext(
                "%(number)d had no failed attempts, or holds more than you do.",
                "%(number)d had no failed attempts, or hold more than you do.",
                left,
            )
            told += " " + words % {"number": left}
        messages.success(request, told)
        return None

    def _give(self, request: HttpRequest, queryset: QuerySet[Any], role: str) -> HttpResponse | None:
        group = group_of(role, Group)
        if group is None:
            gone = _("There is no group %(name)s: someone renamed or deleted it.") % {"name": role}
            messages.error(request, gone)
            return None
        try:
            refuse_what_is_not_held(request.user, set(group.permissions.values_list("pk", flat=True)))
        except ValidationError as error:
            messages.error(request, error.messages[0])
            return None
        asked = moved = 0
        with writing(DEFAULT_DB_ALIAS):
            for user in queryset:
                asked += 1
                if not self.has_change_permission(request, user) or user.groups.filter(pk=group.pk).exists():
                    continue
                before = person_facts(user)
                user.groups.add(group)
                audit_person(cast("Any", request.user), "change", user, before, person_facts(user))
                moved += 1
        told = ngettext("%(number)d user now in %(group)s.", "%(number)d users now in %(group)s.", moved)
        told %= {"number": moved, "group": group.name}
        if left := asked - moved:
            words = ngettext(
                "%(number)d had the role already, or holds more than you do.",
                "%(number)d had the role already, or hold more than you do.",
                left,
            )
            told += " " + words % {"number": left}
        messages.success(request, told)
        return None


class RoleAdmin(AuditedMixin, TickBoxes, GroupAdmin):
    """Groups, and how far each reaches; only what a person holds can they put into one."""

    form = RoleForm

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> type[forms.ModelForm[Any]]:
        """The stock form, which refuses what this person cannot give."""
        base = super().get_form(request, obj, change=change, **kwargs)
        giver = request.user

        class Form(base):  # type: ignore[misc, valid-type]
            def clean_permissions(self) -> Any:
                chosen = self.cleaned_data["permissions"]
                old = set(obj.permissions.values_list("pk", flat=True)) if obj else set()
                refuse_what_is_not_held(giver, {permission.pk for permission in chosen} - old)
                return chosen

            def clean(self) -> Any:
                cleaned = super().clean()
                if obj and not self.errors and self.chosen != self.limit:
                    # To let a role reach further is to give what it permits.
                    refuse_what_is_not_held(giver, {each.pk for each in self.cleaned_data["permissions"]})
                return cleaned

        return Form

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """With how far the role reaches."""
        super().save_related(request, form, formsets, change)
        form.write_limit()

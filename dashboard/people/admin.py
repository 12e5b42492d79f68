"""Users and groups: Django's own pages, with the roles explained, every change on the audit, and no way up.

No way up: who is no superuser can hand out only what they hold themselves, and cannot touch an account that holds more
than theirs, whose password they could otherwise set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.contrib import messages
from django.contrib.admin import action, display
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse

from dashboard.kit.drafts import is_draft
from dashboard.kit.text import inert
from dashboard.people import fields
from dashboard.people.entries import audit_password, audit_person, person_facts
from dashboard.roles import group_of

BEFORE = "_facts_before"  # on the request: what the form's object was
LISTED = ("email", "is_active", "is_staff", "is_superuser", "last_login")
ROLE_HELP = {
    "Viewer": "sees jobs, queues and the audit",
    "Operator": "also retries, requeues, deletes, pauses and runs bulk operations",
    "Administrator": "also changes retry policies, users and groups",
}

if TYPE_CHECKING:
    Mixin = UserAdmin[Any]
else:
    Mixin = object


def held_by(user: Any) -> set[int]:
    """The permissions that an account has, or would have when it were active. Not those of a superuser."""
    mine = Permission.objects.filter(Q(user=user) | Q(group__user=user))
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
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    raise ValidationError(f"You can give only what you hold yourself, and you do not hold: {words}{more}.")


def _role_help() -> str:
    """What each role does, by the name that its group has here."""
    groups = {role: group_of(role, Group) for role in ROLE_HELP}
    return " ".join(f"{groups[role].name}: {does}." for role, does in ROLE_HELP.items() if groups[role])


class AuditedMixin(Mixin):
    """Each addition, change and deletion goes on the audit, with before and after."""

    shows_drafts = True  # its forms are shown as they were sent when nobody was signed in, and save nothing then

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """The stock form; as a draft it is not valid, so that it is shown and nothing is saved."""
        base = super().get_form(request, obj, change=change, **kwargs)
        if not is_draft(request):
            return base

        class Draft(base):  # type: ignore[misc, valid-type]
            def clean(self) -> Any:
                super().clean()
                raise ValidationError("Nothing is saved yet.")

        return Draft

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Note what it was."""
        if change and (old := self.model._default_manager.filter(pk=obj.pk).first()) is not None:
            setattr(request, BEFORE, person_facts(old))
        super().save_model(request, obj, form, change)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Django's own log, and the audit."""
        audit_person(cast("Any", request.user), "add", obj, None, person_facts(obj))
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Django's own log, and the audit. A password is only said to have been set."""
        if self._sets_password(request):
            audit_password(cast("Any", request.user), obj)
        else:
            audit_person(cast("Any", request.user), "change", obj, getattr(request, BEFORE, None), person_facts(obj))
        return super().log_change(request, obj, message)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete it, and write that down in the same transaction."""
        with transaction.atomic():
            audit_person(cast("Any", request.user), "delete", obj, person_facts(obj), None)
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """The same for several."""
        with transaction.atomic():
            for obj in queryset:
                audit_person(cast("Any", request.user), "delete", obj, person_facts(obj), None)
            super().delete_queryset(request, queryset)

    def _sets_password(self, request: HttpRequest) -> bool:
        return request.path.endswith("/password/")


class PeopleAdmin(AuditedMixin, UserAdmin):  # type: ignore[type-arg]
    """Users, with their roles in the list."""

    fieldsets = fields.fieldsets()
    add_fieldsets = fields.add_fieldsets()
    list_display = tuple(dict.fromkeys((fields.LOGIN, "roles", *fields.present(LISTED))))
    list_filter = fields.present(("is_staff", "is_superuser", "is_active", "groups"))
    search_fields = fields.present(UserAdmin.search_fields)
    ordering = (fields.LOGIN,)
    actions = ("make_viewer", "make_operator", "make_administrator")

    @display(description="roles")
    def roles(self, user: Any) -> str:
        """The groups."""
        return inert(", ".join(sorted(group.name for group in user.groups.all())))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the groups, in one query more."""
        return super().get_queryset(request).prefetch_related("groups")

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
        with transaction.atomic():
            return super().user_change_password(request, id, form_url)

    @action(description="Make the ticked users viewers", permissions=["change"])
    def make_viewer(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Add them to Viewer."""
        return self._give(request, queryset, "Viewer")

    @action(description="Make the ticked users operators", permissions=["change"])
    def make_operator(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Add them to Operator."""
        return self._give(request, queryset, "Operator")

    @action(description="Make the ticked users administrators", permissions=["change"])
    def make_administrator(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Add them to Administrator."""
        return self._give(request, queryset, "Administrator")

    def _give(self, request: HttpRequest, queryset: QuerySet[Any], role: str) -> HttpResponse | None:
        group = group_of(role, Group)
        if group is None:
            messages.error(request, f"There is no group {role}: someone renamed or deleted it.")
            return None
        try:
            refuse_what_is_not_held(request.user, set(group.permissions.values_list("pk", flat=True)))
        except ValidationError as error:
            messages.error(request, error.messages[0])
            return None
        asked = moved = 0
        with transaction.atomic():
            for user in queryset:
                asked += 1
                if not self.has_change_permission(request, user) or user.groups.filter(pk=group.pk).exists():
                    continue
                before = person_facts(user)
                user.groups.add(group)
                audit_person(cast("Any", request.user), "change", user, before, person_facts(user))
                moved += 1
        left = f" {asked - moved} had the role already, or hold more than you do." if asked != moved else ""
        messages.success(request, f"{moved} user{'' if moved == 1 else 's'} now in {group.name}.{left}")
        return None


class RoleAdmin(AuditedMixin, GroupAdmin):
    """Groups; only what a person holds can they put into one."""

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

        return Form

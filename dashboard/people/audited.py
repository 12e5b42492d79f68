"""What the pages of users and of groups share: they show what was written last, and each change is on the audit."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, cast

from django.contrib.auth.admin import UserAdmin
from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, router
from django.db.models import Prefetch, QuerySet, prefetch_related_objects
from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from dashboard.kit.drafts import is_draft
from dashboard.people.entries import audit_password, audit_person, person_facts, written
from handlers.writing import writing

BEFORE = "_facts_before"  # on the request: what the form's object was
SETS = ("groups", "user_permissions", "permissions")  # of a user, of a group

if TYPE_CHECKING:
    Mixin = UserAdmin[Any]
else:
    Mixin = object


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
                raise ValidationError(_("Nothing is saved yet."))

        return Draft

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """As they are now: read where they are written."""
        return super().get_queryset(request).using(router.db_for_write(self.model))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """One of them, with what its form shows, read there too: or saving the form would undo the last change."""
        found = super().get_object(request, object_id, from_field)
        if found is not None:
            fields = [field for field in self.model._meta.many_to_many if field.name in SETS]
            sets = [
                Prefetch(field.name, field.related_model._default_manager.using(written(found))) for field in fields
            ]
            prefetch_related_objects([found], *sets)
        return found

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        """A choice among all that there are now."""
        return super().formfield_for_manytomany(
            db_field, request, **{"using": router.db_for_write(self.model), **kwargs}
        )

    def add_view(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        """The stock page."""
        with self._writing(request):
            return super().add_view(request, *args, **options)

    def changeform_view(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        """The stock page."""
        with self._writing(request):
            return super().changeform_view(request, *args, **options)

    def delete_view(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        """The stock page."""
        with self._writing(request):
            return super().delete_view(request, *args, **options)

    def _writing(self, request: HttpRequest) -> AbstractContextManager[None]:
        """Around a form that is sent: Django's own transaction, which reads first."""
        return writing(router.db_for_write(self.model)) if request.method == "POST" else nullcontext()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Note what it was."""
        if change and (old := self.get_queryset(request).filter(pk=obj.pk).first()) is not None:
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

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What goes with them; but not each row that ties one to a permission, a group or a user."""
        found, counts, needed, protected = super().get_deleted_objects(objs, request)
        own: list[Any] = [field.remote_field.through for field in self.opts.many_to_many]
        related: list[Any] = [relation for relation in self.opts.related_objects if relation.many_to_many]
        ties = [*own, *(relation.through for relation in related)]
        words = tuple(f"{capfirst(tie._meta.verbose_name)}: " for tie in ties)
        hidden = {str(tie._meta.verbose_name_plural) for tie in own}
        counts = {name: count for name, count in counts.items() if str(name) not in hidden}
        return _without(found, words), counts, needed, protected

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete it, and write that down in the same transaction."""
        with writing(DEFAULT_DB_ALIAS):
            audit_person(cast("Any", request.user), "delete", obj, person_facts(obj), None)
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """The same for several."""
        with writing(DEFAULT_DB_ALIAS):
            for obj in queryset:
                audit_person(cast("Any", request.user), "delete", obj, person_facts(obj), None)
            super().delete_queryset(request, queryset)

    def _sets_password(self, request: HttpRequest) -> bool:
        return request.path.endswith("/password/")


def _without(found: list[Any], words: tuple[str, ...]) -> list[Any]:
    """A nested list of what goes, without the lines that begin with one of ``words``, and lists that are empty then."""
    lines = (_without(each, words) if isinstance(each, list) else each for each in found)
    return [each for each in lines if each and not (isinstance(each, str) and each.startswith(words))]

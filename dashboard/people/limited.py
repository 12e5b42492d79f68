"""A group's form, with the queues and job types that the role is limited to."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import Group
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils.translation import gettext_lazy as _

from dashboard.kit.named import SomeNames
from dashboard.models import RoleLimit
from dashboard.roles import check_limit, limit_choices, limit_of
from handlers.exceptions import InvalidJob

FIELDS = ("queues", "types")


class RoleForm(forms.ModelForm):  # type: ignore[type-arg] # Django's own takes no parameter
    """The stock form, and how far the role reaches."""

    queues = forms.MultipleChoiceField(
        label=_("Only queues"), required=False, widget=SomeNames("queue"),
        help_text=_("The role reaches only jobs on these queues: no page shows others. None chosen: every queue."),
    )  # fmt: skip
    types = forms.MultipleChoiceField(
        label=_("Only job types"), required=False, widget=SomeNames("type"),
        help_text=_("The role reaches only jobs of these types, of the queues chosen. None chosen: every type."),
    )  # fmt: skip

    class Media:
        js = (forms.Script("dashboard/names.js", defer=True),)

    class Meta:
        model = Group
        fields = ("name", "permissions")

    def __init__(self, *args: Any, **options: Any) -> None:
        """What is chosen already stays a choice, also where the code knows it no more."""
        super().__init__(*args, **options)
        self.limit, known = limit_of(self.instance), limit_choices()
        for name in FIELDS:
            field: Any = self.fields[name]
            gone = [each for each in self.limit[name] if each not in known[name]]
            words = [(each, _("%(name)s (not known here)") % {"name": each}) for each in gone]
            field.choices = [*((each, each) for each in known[name]), *words]
            field.initial = self.limit[name]

    @property
    def chosen(self) -> dict[str, list[str]]:
        """What the form says, once it is valid."""
        return {name: sorted(self.cleaned_data.get(name) or []) for name in FIELDS}

    def clean(self) -> Any:
        """No more names than a role may have."""
        cleaned = super().clean()
        try:
            check_limit(self.chosen, self.limit)
        except InvalidJob as error:
            self.add_error(error.field, str(error))
        return cleaned

    def write_limit(self) -> None:
        """Write down how far the role reaches; what changed goes on the audit with the group's other changes."""
        if any(self.chosen.values()):
            RoleLimit.objects.update_or_create(group=self.instance.pk, defaults=self.chosen)
        else:
            RoleLimit.objects.filter(group=self.instance.pk).delete()


@receiver(post_delete, sender=Group)
def forget(instance: Group, **_: Any) -> None:
    """With the group its limit goes."""
    RoleLimit.objects.filter(group=instance.pk).delete()

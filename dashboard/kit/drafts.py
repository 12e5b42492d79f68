"""A form that is shown filled in, as it was sent when nobody was signed in, and that does nothing yet."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.translation import gettext_lazy

DRAFT = "_draft"
TOLD = gettext_lazy("Nothing was done. This is the form as you sent it: look it over, and send it.")


def is_draft(request: HttpRequest) -> bool:
    """Whether the form is only to be shown. A view that acts on POST asks this first."""
    return request.method == "POST" and DRAFT in request.POST

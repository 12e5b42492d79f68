"""Models are read where they are written."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.db import models

from handlers.models.kept import KeptManager


@pytest.mark.parametrize(
    "model", list(apps.get_app_config("jobsite_jobs").get_models()), ids=lambda model: model.__name__
)
def test_model_and_what_leads_to_it_is_read_where_it_is_written(model: type[models.Model]) -> None:
    assert isinstance(model._default_manager, KeptManager)
    assert isinstance(model._base_manager, KeptManager)

"""Numbers as the reader's language writes them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django import forms
from django.utils import translation

from dashboard.kit.charts import compact
from dashboard.kit.fields import SpanField, in_full
from dashboard.kit.languages import in_language
from dashboard.kit.numbers import thousands
from dashboard.kit.queries import Count
from dashboard.kit.text import duration
from handlers.retries import ExponentialBackoff, RetryPolicy


@pytest.mark.parametrize(
    ("language", "written"),
    [("en", "1,234,567"), ("de", "1.234.567"), ("fr", "1\N{NO-BREAK SPACE}234\N{NO-BREAK SPACE}567")],
)
def test_thousands_are_told_apart_as_the_language_does(language: str, written: str) -> None:
    with translation.override(language):
        assert thousands(1_234_567) == written
        assert str(Count(1_234_567, more=True)) == f"{written}+"
        assert [thousands(0), thousands(-999), thousands(999)] == ["0", "-999", "999"]


def test_a_number_is_written_the_same_where_there_is_no_language() -> None:
    with translation.override(None):
        assert thousands(1_234) == "1,234"


@pytest.mark.parametrize(("language", "mark"), [("en", "."), ("de", ","), ("fr", ",")])
def test_tenths_stand_behind_the_languages_mark(language: str, mark: str) -> None:
    policy = RetryPolicy(backoff=ExponentialBackoff(timedelta(milliseconds=500), factor=1.5), jitter=0.125)
    english = policy.describe()
    with translation.override(language):
        assert duration(3.24) == f"3{mark}2 s"
        assert in_full(timedelta(minutes=1, milliseconds=500)) == f"1 min 0{mark}5 s"
        assert compact(1_234) == f"1{mark}2k"
        for number in ("0.5 s", "1.5", "12.5"):
            assert number.replace(".", mark) in in_language(policy.describe())
        assert str(policy.describe()) == english


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_a_length_of_time_is_read_as_it_is_shown(language: str) -> None:
    field, span = SpanField(bare_unit="min"), timedelta(hours=30, seconds=2.25)
    with translation.override(language):
        assert field.clean(field.prepare_value(span)) == span
        assert field.clean("1.5 h") == timedelta(hours=1.5)
        assert field.clean("2.25") == timedelta(minutes=2.25)


@pytest.mark.parametrize(("language", "text"), [("en", "1,000 s"), ("en", "1,5 h"), ("de", "1.000 s"), ("fr", "1.000")])
def test_a_length_of_time_that_could_be_a_thousand_is_refused(language: str, text: str) -> None:
    with translation.override(language), pytest.raises(forms.ValidationError):
        SpanField(bare_unit="min").clean(text)

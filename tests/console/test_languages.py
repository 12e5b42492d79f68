"""Choosing a language, and what stays English whatever was chosen."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.test import Client, override_settings
from django.utils import translation

from dashboard.kit.languages import in_language
from handlers.exceptions import InvalidJob
from handlers.wording import nworded, worded

pytestmark = pytest.mark.once

NO_CHOICE = [path for path in settings.MIDDLEWARE if not path.endswith("LocaleMiddleware")]


def test_language_is_chosen_and_kept(viewer: Client) -> None:
    html = viewer.get("/admin/queues/").content.decode()
    assert '<html lang="en"' in html
    assert 'lang="de">Deutsch</button>' in html
    answer = viewer.post("/admin/language/", {"language": "de", "next": "/admin/queues/"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/queues/")
    assert answer.cookies[settings.LANGUAGE_COOKIE_NAME]["httponly"]
    html = viewer.get("/admin/queues/").content.decode()
    assert '<html lang="de"' in html
    assert '<button name="language" value="de" lang="de" aria-pressed="true">' in html


def test_language_leads_to_no_other_site(viewer: Client) -> None:
    answer = viewer.post("/admin/language/", {"language": "de", "next": "https://example.com/"})
    assert "example.com" not in answer.headers["Location"]
    assert viewer.get("/admin/language/").status_code == 405


@pytest.mark.django_db
def test_login_page_speaks_the_browsers_language(client: Client) -> None:
    html = client.get("/admin/login/", headers={"accept-language": "de-AT,de;q=0.9"}).content.decode()
    assert '<html lang="de"' in html
    assert "Passwort" in html


def test_site_with_one_language_offers_no_choice(viewer: Client) -> None:
    with override_settings(LANGUAGES=[("de", "Deutsch")], LANGUAGE_CODE="de"):
        html = viewer.get("/admin/queues/").content.decode()
    assert '<html lang="de"' in html
    assert 'class="languages"' not in html
    with override_settings(MIDDLEWARE=NO_CHOICE):
        assert 'class="languages"' not in viewer.get("/admin/queues/").content.decode()


def test_scripts_words_come_in_the_language_of_the_page(viewer: Client) -> None:
    assert "jsi18n" not in viewer.get("/admin/queues/").content.decode()
    in_german = {"accept-language": "de"}
    assert '/jsi18n/?language=de" defer' in viewer.get("/admin/queues/", headers=in_german).content.decode()
    answer = viewer.get("/admin/jsi18n/?language=de", headers=in_german)
    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert "max-age=3600" in answer.headers["Cache-Control"]


@pytest.mark.django_db
def test_api_answers_english(client: Client) -> None:
    answers = [client.get("/api/v1/jobs", headers={"accept-language": each}) for each in ("en", "de")]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Content-Language"] == "en"


def test_words_of_the_engine_stay_english_until_they_are_in_language() -> None:
    with translation.override("de"):
        error = InvalidJob(worded("Yes, and %(this)s", this=worded("No")), field="this")
        assert str(error) == "Yes, and No"
        assert in_language(error) == "Yes, and Nein"  # Django's own catalog has these
        assert in_language(ValueError("No")) == "No"
        assert str(nworded("%(count)s job", "%(count)s jobs", 2)) == "2 jobs"
    assert in_language(worded("100 %")) == "100 %"

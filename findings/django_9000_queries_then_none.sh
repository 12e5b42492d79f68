#!/usr/bin/env bash
# After 9000 queries a test sees none: assertNumQueries and CaptureQueriesContext of Django 5.2.19
#
# What they count is the length of the connection's log of queries, at the end less at the beginning. The log keeps the
# last 9000, and nothing empties it but the beginning of a request: not the end of a block, of a test or of a test
# class. So in tests that make no request the counts add up, and once the log is full its length stays: every later
# block has counted nothing. assertNumQueries(0) then passes whatever is asked, and so does each "at most"; an exact
# number fails with "0 executed" and an empty list, in a test that passes when it is run alone.
#
# Seen, of blocks of 600 queries each:
#     blocks counted as 600: 15, then 0 0 0
#     assertNumQueries(0) around 600 queries: passes
#     assertNumQueries(3) around 3 queries: 0 queries executed, 3 expected
#     after one request: 600
#
# Here the log is emptied before each test: tests/conftest.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check Django==5.2.19
"$work/venv/bin/python" -W ignore - <<'PY'
import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    ALLOWED_HOSTS=["testserver"],
    ROOT_URLCONF="__main__",
)
django.setup()
from django.db import connection
from django.http import HttpResponse
from django.test import Client, TransactionTestCase
from django.test.utils import CaptureQueriesContext
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse("fine"))]
test = TransactionTestCase()


def ask(times):
    with connection.cursor() as cursor:
        for _ in range(times):
            cursor.execute("SELECT 1")


def counted():
    with CaptureQueriesContext(connection) as queries:
        ask(600)
    return len(queries)


def asserted(expected, times):
    try:
        with test.assertNumQueries(expected):
            ask(times)
    except AssertionError as error:
        return str(error).splitlines()[0].partition(" : ")[2]
    return "passes"


counts = [counted() for _ in range(18)]
print(f"blocks counted as 600: {counts.count(600)}, then", *counts[15:])
none, three = asserted(0, 600), asserted(3, 3)
print("assertNumQueries(0) around 600 queries:", none)
print("assertNumQueries(3) around 3 queries:", three)
assert Client().get("/").content == b"fine"
after = counted()
print("after one request:", after)
assert counts == [600] * 15 + [0] * 3, "it behaves differently now"
assert none == "passes", "it behaves differently now"
assert three == "0 queries executed, 3 expected", "it behaves differently now"
assert after == 600, "it behaves differently now"
PY

"""A search finds just the jobs that a plain look at each one's arguments finds, on both databases."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from handlers import job_scheduler, lifecycle
from handlers.lifecycle import NewJob
from handlers.models import JobPayload, JobRecord
from handlers.selection import Selection, declared, matching
from tests.app.jobs import Note
from tests.console.factories import make_job

pytestmark = pytest.mark.django_db

WHOLE = [0, 7, 70, -7, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1]
WHOLE += [10**20, 10**20 + 1, 10**30]
BROKEN = [7.0, 1.5, 1.1, 0.1, 0.30000000000000004, 1e18, 1e20, 2.0**63, 2.0**64, -1e300, 5e-324]
TEXTS = ["7", "7.0", "1.1", "1.10", "12e5", "true", "null", "", str(2**64 - 1), "Zoë", "zoë", 'a "b" \\', "日本", "👍"]
VALUES = [*WHOLE, *BROKEN, *TEXTS, True, False, None, [7], {"n": 7}]
NAMED = 20  # jobs that one search names
NAMES = ["n", "größe", "日本", "N"]


def stored(payload: Any) -> int:
    """A job with these arguments, written as an enqueue writes them."""
    (message,) = lifecycle.create([NewJob("app.Any", to_json(payload), "default")])
    return message.job_id


def found(text: str) -> set[int]:
    """The ids that ``text`` finds, and finds page by page, looking, and as a bulk operation has it."""
    selection = Selection.parse(text)
    ids = set(selection.rows().values_list("pk", flat=True))
    assert {row.pk for row in selection.page(1_000)} == ids
    assert {row.pk for row in selection.look(1_000).rows} == ids
    kept = Selection.from_json(json.loads(json.dumps(selection.pinned().to_json())))
    assert set(kept.rows().values_list("pk", flat=True)) == ids
    assert set(Selection.parse(str(selection)).rows().values_list("pk", flat=True)) == ids
    return ids


def fits(payload: Any, path: str, typed: str, *, quoted: bool) -> bool:
    """What ``args.PATH:TYPED`` shall mean, told without a database."""
    data = json.loads(to_json(payload), parse_int=Decimal, parse_float=Decimal)
    for name in path.split("."):
        if not isinstance(data, dict) or name not in data:
            return False
        data = data[name]
    if isinstance(data, str):
        return data == typed
    if quoted or isinstance(data, dict | list):
        return False
    try:
        wanted = json.loads(typed, parse_int=Decimal, parse_float=Decimal, parse_constant=str)
    except ValueError:
        return False
    return type(wanted) is type(data) and bool(wanted == data)


def quoted(text: str) -> str:
    """``text`` in quotation marks."""
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))


def test_search_by_any_value_finds_what_a_look_at_each_job_finds() -> None:
    jobs: dict[int, Any] = {stored({name: value}): {name: value} for value in VALUES for name in NAMES[:2]}
    jobs |= {stored(payload): payload for payload in ({"größe": {"日本": 2**64}}, {"n": {"N": "Zoë"}}, [7], "n", {})}
    typed = [json.dumps(value, ensure_ascii=False) for value in VALUES[: -len([7, {"n": 7}])] if value != ""]
    typed += ["1e18", "1E5", "1.10", "12e5", "-0", "9.223372036854776e+18", "18446744073709552000", "Zoë", "a", "NaN"]
    for name in (*NAMES, "größe.日本", "n.N", "n.n"):
        for text in typed if name in NAMES[:2] else typed[:3]:
            is_quoted = text.startswith('"')
            plain = json.loads(text) if is_quoted else text
            asked = f"args.{name}:{quoted(plain) if is_quoted else text}"
            expected = {job_id for job_id, payload in jobs.items() if fits(payload, name, plain, quoted=is_quoted)}
            assert found(asked) == expected, asked


def test_search_in_any_argument_finds_what_one_by_each_name_finds() -> None:
    for name in ("text", "order_id", "undeclared"):
        for value in VALUES:
            stored({name: value})
    stored({"text": {"inner": 7}})
    stored({"card": {"number": 7}})
    names = declared.paths(sensitive=True)
    assert {"text", "order_id", "card.number", "undeclared"} - set(names) == {"undeclared"}
    for text in ("7", '"7"', "7.0", "1.1", "true", "null", '"Zoë"', str(2**64 - 1), "1e20", "nowhere"):
        assert found(f"args:{text}") == set().union(*(found(f"args.{name}:{text}") for name in names)), text
    assert len(found("args:7 state:enqueued")) > 2


def test_search_in_any_argument_goes_by_the_index_however_many_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "FEW", 2)
    ids = {stored({"text": "4711"}) for _ in range(5)}
    stored({"text": "4712"})
    assert found("args:4711") == ids


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70), st.booleans())
def test_search_by_any_number_finds_it(number: float, as_text: bool) -> None:
    job_id = stored({"n": str(number) if as_text else number})
    assert job_id in found(f"args.n:{number}")
    among = [found(f"args.n:{number} id:{','.join(map(str, few))}") for few in batched_ids()]
    assert found(f"args.n:{number}") == set().union(*among)


def batched_ids() -> list[list[int]]:
    """Every job, so many at a time as one search may name, however long their ids have become."""
    ids = list(JobRecord.objects.values_list("pk", flat=True))
    return [ids[at : at + NAMED] for at in range(0, len(ids), NAMED)]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["Zoë fehlt", "ZOË FEHLT", "zoë fehlt", "Zoe fehlt"], ["Zoë", "zoË", "FEHLT", "ë f"]),
        (["Größe ÄÖÜ", "GRÖSSE äöü", "größe äöü"], ["größe", "GRÖßE", "ÄÖü"]),
        (["дом 5", "ДОМ 5", "Дом 6"], ["дОм", "дом 5", "5 дом"]),
        (["100 % *[?] é", "100 % x[?] É"], ["*[?] É", "% *", "[?] é", "\\ é", "_ é", "^é", "é$", "(é)"]),
        (["日本語", "日本"], ["日本語", "日本"]),
        (["İSTANBUL", "istanbul"], ["İstanbul"]),
    ],
)
def test_text_is_found_in_any_case_and_language(texts: list[str], words: list[str]) -> None:
    in_errors = {make_job(message=text).pk: text for text in texts}
    in_arguments = {stored({"text": text}): text for text in texts}

    def letters(char: str) -> set[str]:
        if char.isascii():
            return {char, char.lower(), char.upper()}
        known = (char, char.lower(), char.upper(), char.lower().upper(), char.upper().lower())
        return {letter for letter in known if len(letter) == 1}

    def mentions(text: str, word: str) -> bool:
        places = range(len(text) - len(word) + 1)
        return any(all(text[at + i] in letters(char) for i, char in enumerate(word)) for at in places)

    def expected(jobs: dict[int, str], word: str) -> set[int]:
        return {job_id for job_id, text in jobs.items() if mentions(text, word)}

    some = False
    for word in words:
        assert found(f"error:{quoted(word)}") == expected(in_errors, word), word
        assert found(quoted(word)) == expected(in_errors | in_arguments, word), word
        some |= bool(expected(in_errors, word))
    assert some


def edit(job_id: int) -> None:
    job_scheduler.retry(job_id, Note("Zoë 👍"))


def restore(job_id: int) -> None:
    """As loaddata does."""
    JobPayload(job_id=job_id, data={"text": "Zoë 👍"}, job_type="app.Note", queue="default").save()


def migrate(job_id: int) -> None:
    """From before, when what was edited was escaped."""
    with connection.cursor() as cursor:
        escaped = json.dumps({"text": "Zoë 👍", "tab\t": 2**64 - 1})
        cursor.execute("UPDATE jobs_jobpayload SET data = %s WHERE job_id = %s", [escaped, job_id])
    module = import_module("handlers.migrations.0009_arguments_as_they_are")
    with connection.schema_editor() as editor:
        module.unescape(None, editor)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("noting")
@pytest.mark.parametrize("write", [edit, restore, migrate])
def test_arguments_are_found_whoever_wrote_them(write: Callable[[int], None]) -> None:
    job_id = make_job(payload={"text": "before"}).pk
    write(job_id)
    for text in ('args.text:"Zoë 👍"', "Zoë", "zoË", "👍"):
        assert found(text) == {job_id}, text
    assert JobRecord.objects.get(pk=job_id).payload["text"] == "Zoë 👍"


def test_words_with_a_number_are_looked_for_as_words() -> None:
    jobs = [make_job(message="order 4711 not found", payload={"n": 1}), make_job(message="order 4712 not found")]
    assert found("order 4711") == {jobs[0].pk}
    assert found("httpx.ConnectError: order 4711 not found") == {jobs[0].pk}, "as a traceback ends"
    assert found(f"{jobs[1].pk}") == {jobs[1].pk}
    refused = make_job(message="Error 111 connecting to localhost:6379. See https://redis.io/docs?a=1")
    assert found(f"redis.exceptions.{refused.error}") == {refused.pk}

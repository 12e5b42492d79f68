"""The words of the search box: read, bounded, refused with words, and written back."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.selection import ANY, InvalidSelection, Selection, mends
from handlers.selection.values import Number

pytestmark = pytest.mark.once

WORDS = st.text(st.characters(blacklist_categories=["Cc", "Cs"]), min_size=1, max_size=30).filter(str.strip)
PARTS = st.one_of(
    st.sampled_from(
        ["state:failed", "state:retrying,deleted", "queue:mail", "type:app.Note", "type:gre", "#17", "id:1,2"]
    ),
    st.sampled_from(
        [
            "since:2026-01-01",
            "until:2026-01-02",
            "parent:3",
            "bulk:4",
            "workflow:5",
            "worker:a-1.2",
            "args.a.b:7",
            "priority:-5",
        ]
    ),
    WORDS.map(lambda word: 'error:"{}"'.format(word.replace("\\", "\\\\").replace('"', '\\"'))),
    WORDS.map(lambda word: '"{}"'.format(word.replace("\\", "\\\\").replace('"', '\\"'))),
    WORDS.map(lambda word: f"args.name:{word.split()[0]}"),
)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_parse_raises_nothing_but_invalid_selection_for_any_text(text: str) -> None:
    try:
        selection = Selection.guess(text)
    except InvalidSelection:
        return
    assert Selection.parse(str(selection)) == selection
    assert all(Selection.guess(mend.text) for mend in mends(text))
    with contextlib.suppress(InvalidSelection):
        assert Selection.parse(text) == selection


@settings(deadline=None)
@given(st.lists(PARTS, max_size=6).map(" ".join))
def test_parse_reads_back_what_a_selection_writes(text: str) -> None:
    try:
        selection = Selection.parse(text)
    except InvalidSelection:
        return
    assert Selection.parse(str(selection)) == selection
    assert Selection.from_json(selection.to_json()) == selection


@settings(deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=20), st.lists, max_leaves=5))
def test_from_json_raises_nothing_but_invalid_selection(value: Any) -> None:
    for name in (
        "states",
        "types",
        "ids",
        "arguments",
        "since",
        "text",
        "worker",
        "lowest",
        "sensitive",
        "priority",
        "workflow",
        "nonsense",
    ):
        with contextlib.suppress(InvalidSelection):
            Selection.from_json({name: value})


@pytest.mark.parametrize("data", [None, [], "x", {"since": "soon"}, {"states": ["gone"]}, {"ids": [True]}, {"x": 1}])
def test_from_json_refuses_what_to_json_never_wrote(data: Any) -> None:
    with pytest.raises(InvalidSelection):
        Selection.from_json(data)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Selection()),
        ('  "" ', Selection()),
        ("17", Selection(ids=(17,))),
        ("#17 18", Selection(ids=(17, 18))),
        ("id:17,18", Selection(ids=(17, 18))),
        ("state:Failed,retrying", Selection(states=("failed", "retrying"))),
        ("state:failed state:failed", Selection(states=("failed",))),
        ("type:app.Greet", Selection(types=("app.Greet",))),
        ("type:gree", Selection(types=("app.Greet",))),
        ("type:old.Gone", Selection(types=("old.Gone",))),
        ("queue:mail,default", Selection(queues=("mail", "default"))),
        ('error:"connection refused"', Selection(error="connection refused")),
        ("args.order_id:7", Selection(arguments=(("order_id", 7),))),
        ('args.order_id:"7"', Selection(arguments=(("order_id", "7"),))),
        ("args.a.b:true args.c:null", Selection(arguments=(("a.b", True), ("c", None)))),
        ("args.code:NaN", Selection(arguments=(("code", "NaN"),))),
        ("args.code:1e999", Selection(arguments=(("code", "1e999"),))),
        ("args.url:http://x/", Selection(arguments=(("url", "http://x/"),))),
        ("worker:host-1.2", Selection(worker="host-1.2")),
        ("priority:-5", Selection(priority=-5)),
        ("priority:0 priority:00", Selection(priority=0)),
        ("group:3f2a", Selection(fingerprint="3f2a")),
        ("parent:5 correlation:abc bulk:9", Selection(parent=5, correlation="abc", operation=9)),
        ("workflow:7 workflow:#7", Selection(workflow=7)),
        ("since:2026-11-24", Selection(since=datetime(2026, 11, 24, tzinfo=UTC))),
        ("until:2026-11-24", Selection(until=datetime(2026, 11, 25, tzinfo=UTC))),  # the day is part of it
        ("since:2026-11-24+01:00", Selection(since=datetime(2026, 11, 23, 23, tzinfo=UTC))),
        ("until:2026-11-24-05:00", Selection(until=datetime(2026, 11, 25, 5, tzinfo=UTC))),
        ("since:2026-11-24T10:30+01:00", Selection(since=datetime(2026, 11, 24, 9, 30, tzinfo=UTC))),
        ('refused "by mail"', Selection(text=("refused", "by mail"))),
        ("order 4711", Selection(text=("order", "4711"))),
        ("4711 state:failed", Selection(ids=(4711,), states=("failed",))),
        ("order #4711 error:refused", Selection(text=("order", "#4711"), error="refused")),
        ('17 "18"', Selection(text=("17", "18"))),
        ("99999999999999999999", Selection(text=("99999999999999999999",))),  # no id is as large
        ("httpx.ConnectError: port 5432", Selection(text=("ConnectError:", "port", "5432"))),
        ("Error: 7 of 9", Selection(text=("Error:", "7", "of", "9"))),
        ("Refused: to localhost:6379.", Selection(text=("Refused:", "to", "localhost:6379."))),
        ("ValueError: type: not a name", Selection(text=("ValueError:", "type:", "not", "a", "name"))),
        ('Refused: at:"one host"', Selection(text=("Refused:", "at:", "one host"))),
        ("https://pay.example.com/?a=1", Selection(text=("https://pay.example.com/?a=1",))),
        ("args.n:18446744073709551615", Selection(arguments=(("n", 2**64 - 1),))),
        ("args.version:1.10", Selection(arguments=(("version", Number("1.10")),))),
        ("args.order_id=7", Selection(arguments=(("order_id", 7),))),
        ('args.url="http://x/?a=1" args.b=c:d', Selection(arguments=(("url", "http://x/?a=1"), ("b", "c:d")))),
        ("args:7 ARGS=8", Selection(arguments=((ANY, 7), (ANY, 8)))),
        ("order_id=7", Selection(text=("order_id=7",))),
        ("args.ok:true args.ok:1", Selection(arguments=(("ok", True), ("ok", 1)))),
        ('"17"', Selection(text=("17",))),
        (r'"a \"quote\" and \\"', Selection(text=('a "quote" and \\',))),
    ],
)
def test_parse_reads_each_qualifier(text: str, expected: Selection) -> None:
    assert Selection.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour:red", "colour: is not known here. Known are type:, queue:"),
        ("state:gone", "there is no state 'gone'"),
        ("type:", "right after the colon"),
        ("type:,", "right after the colon"),
        ('error:"open', "closing quotation mark"),
        ("id:x", "expects a number"),
        ("id:99999999999999999999", "no id is as large"),
        ("parent:-1", "expects a number"),
        ("priority:101", "expects a whole number from -100 to 100, not '101'"),
        ("priority:high", "expects a whole number from -100 to 100"),
        ("since:soon", "is no time"),
        ("since:0001-01-01", "too far away"),
        ("since:9999-12-31T23:59:59-12:00", "no time"),
        ("since:999999w", "no time"),
        ("a\x00b", "U+0000"),
        ("\ud800", "U+D800"),
        ("x" * 2001, "at most 2,000 characters"),
        ("error:" + "x" * 301, "at most 300 characters"),
        (" ".join("abcdefghijklmnopqrstu"), "at most 20 words"),
        ("args.:7", "name an argument"),
        ("args.a..b:7", "name an argument"),
        ("args.a.-1:7", "by a number, such as -1"),
        ("args.a.1_0:7", "by a number, such as 1_0"),
        ("worker:a worker:b", "can be given once only"),
    ],
)
def test_parse_says_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(InvalidSelection, match=r".") as caught:
        Selection.parse(text)
    assert words in str(caught.value)


CHAINED = """2026-11-24 03:12:40 ERROR worker job 17 failed
Traceback (most recent call last):
  File "/srv/shop/jobs.py", line 42, in handle
    order = orders[job.sku]
KeyError: 'sku'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/shop/jobs.py", line 44, in handle
    raise Refused(f"queue:{queue} \\"{sku}\\"")
shop.errors.Refused: order 4711: queue:mail "a\\b
DETAIL: Key (id)=(4711) is gone.
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CHAINED, Selection(text=('Refused: order 4711: queue:mail "a\\b',))),
        (f"{CHAINED} state:failed", Selection(text=('Refused: order 4711: queue:mail "a\\b',), states=("failed",))),
        (f'error:"x y" {CHAINED}', Selection(text=('Refused: order 4711: queue:mail "a\\b',), error="x y")),
        (
            # As a text field joins its lines.
            'Traceback (most recent call last):  File "/srv/x.py", line 4, in f    f(x)shop.errors.NoRoomError: 3 kg',
            Selection(text=("NoRoomError: 3 kg",)),
        ),
        ("Traceback (most recent call last):\n  File 'x'\n    exit()\nshop.errors.Gone\n", Selection(text=("Gone",))),
        ("KeyError: 'order_id'", Selection(text=("KeyError:", "'order_id'"))),
        ("KeyError: 'order_id' state:failed", Selection(text=("KeyError:", "'order_id'"), states=("failed",))),
        ("ValueError: there is no state:gone", Selection(text=("ValueError:", "there", "is", "no", "state:gone"))),
        ("ValueError: id:x of 17", Selection(text=("ValueError:", "id:x", "of", "17"))),
        ('JSONDecodeError: at "open', Selection(text=('JSONDecodeError: at "open',))),
        (
            "redis.exceptions.TimeoutError: " + "word " * 30,
            Selection(text=("TimeoutError: " + ("word " * 30).strip(),)),
        ),
        ("Error: " + "x" * 2_500, Selection(text=("Error: " + "x" * 193,))),
        ("socket.gaierror: [Errno -2] Name", Selection(text=("gaierror:", "[Errno", "-2]", "Name"))),
        (
            'UniqueViolation: duplicate key "a"\nDETAIL: Key (id)=(3) already exists.',
            Selection(text=('UniqueViolation: duplicate key "a"',)),
        ),
        ("state:failed\nqueue:mail", Selection(states=("failed",), queues=("mail",))),
    ],
)
def test_parse_reads_an_error_as_it_is_pasted(text: str, expected: Selection) -> None:
    found = Selection.parse(text)
    assert found == expected
    assert Selection.parse(str(found)) == found


def test_parse_says_that_a_traceback_is_without_its_error() -> None:
    for end in ("", "\n  File 'x', line 1\n    f()", '  File "/srv/x.py", line 4, in handle    f(x)'):
        with pytest.raises(InvalidSelection, match="without its end: paste its last line"):
            Selection.parse(f"Traceback (most recent call last):{end}")


def test_guess_looks_for_the_words_of_a_name_that_is_no_qualifier() -> None:
    assert Selection.guess("order_id:4711 state:failed") == Selection(text=("order_id", "4711"), states=("failed",))
    assert Selection.guess('sku:"a b"') == Selection(text=("sku", "a b"))
    assert Selection.guess("could not reach localhost:6379").text == ("could", "not", "reach", "localhost", "6379")
    with pytest.raises(InvalidSelection, match="there is no state"):
        Selection.guess("state:gone")


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("text:hello", ["args.text:hello"]),  # as app.Note declares it
        ("state:failed text=hello refused", ["state:failed args.text:hello refused"]),
        ('TEXT:"a b"', ['args.text:"a b"']),
        ("txt:hello", ["args.text:hello"]),
        ("never_declared:4711", ["args.never_declared:4711"]),
        ("typ:Note", ["type:Note"]),
        ("quue:mail state:failed", ["queue:mail state:failed"]),
        ("status:failed", ["state:failed"]),
        ("status:gone", []),  # that would be refused
        ("state=failed", ["state:failed"]),
        ("localhost=6379", []),
        ("KeyError: sku:7", []),
        ("http://x:80/", []),
        ("Type:Note", []),
        ("refused 4711", []),
    ],
)
def test_mends_offer_what_may_have_been_meant(text: str, offered: list[str]) -> None:
    assert [mend.text for mend in mends(text)] == offered


def test_parse_reads_how_long_ago() -> None:
    for text, ago in (
        ("since:2h", timedelta(hours=2)),
        ("since:3d", timedelta(days=3)),
        ("since:30min", timedelta(minutes=30)),
    ):
        since = Selection.parse(text).since
        assert since is not None
        assert abs(timezone.now() - ago - since) < timedelta(minutes=1)


def test_parse_lets_a_choice_beside_the_box_narrow_what_the_box_says() -> None:
    assert Selection.parse("state:failed,deleted", state="failed").states == ("failed",)
    assert Selection.parse("state:retrying", state="scheduled").states == ("retrying",)
    assert Selection.parse("state:scheduled", state="retrying").states == ("retrying",)
    assert Selection.parse("since:2026-01-01", since="2026-01-03").since == datetime(2026, 1, 3, tzinfo=UTC)
    with pytest.raises(InvalidSelection, match="no job is both"):
        Selection.parse("state:failed", state="deleted")
    with pytest.raises(InvalidSelection, match="no job is both"):
        Selection.parse("worker:a", worker="b")


def test_parse_takes_a_choice_beside_the_box_whole() -> None:
    assert Selection.parse("", type="odd name, with comma").types == ("odd name, with comma",)
    assert Selection.parse("", state="") == Selection()


def test_selection_knows_whether_anything_narrows_it() -> None:
    assert Selection.parse("").is_empty
    assert Selection(sensitive=False).is_empty
    assert not Selection.parse("state:failed").is_empty

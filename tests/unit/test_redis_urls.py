"""What a REDIS_URL may say, and that what is said about a wrong one holds nothing of it."""

from __future__ import annotations

import pytest

from handlers import redis_urls

SECRETS = ("s3", "cr", "t9")  # parts of the password that a misspelled URL may scatter


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis:///3",
        "redis://user:s3cr%23t9@host:6379/0",
        "redis://[::1]:6379/1?socket_timeout=3",
        "rediss://:s3cret@host:6380",
        "unix:///run/with%20a%20blank/and%3D/valkey.sock?db=2",
    ],
)
def test_plain_url_is_taken_as_it_is(url: str) -> None:
    assert redis_urls.place(url) == {"URL": url}


def test_sentinel_url_names_the_sentinels_the_master_and_the_database() -> None:
    found = redis_urls.place("redis+sentinel://app:p%40ss@s1,s2:26380,[::1]:5/jobs/2?sentinel_password=x%26y")
    assert found == {
        "SENTINELS": [("s1", 26379), ("s2", 26380), ("::1", 5)],
        "MASTER_NAME": "jobs",
        "DB": 2,
        "USERNAME": "app",
        "PASSWORD": "p@ss",
        "CONNECTION_KWARGS": {},
        "SENTINEL_KWARGS": {"password": "x&y"},
    }


def test_sentinel_url_over_tls_and_without_a_login() -> None:
    found = redis_urls.place("rediss+sentinel://s1/jobs")
    assert found["CONNECTION_KWARGS"] == found["SENTINEL_KWARGS"] == {"ssl": True}
    assert (found["USERNAME"], found["PASSWORD"], found["DB"]) == (None, None, 0)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "must begin with redis://"),
        ("s3cr.t9:6379/0", "must begin with redis://"),
        ("REDIS://s3cr.t9", "must begin with redis://"),
        ("http://s3cr.t9", "must begin with redis://"),
        ("redis://:s3#cr@t9:6379/0", "# as %23"),
        ("redis://:s3/cr@t9:6379/0", "port must be a number"),
        ("redis://s3/cr@t9:6379/0", "number of a database"),
        ("redis://s3?cr@t9:6379/0", "? as %3F"),
        ("redis://:s3[cr@t9:6379/0", "cannot be read"),
        ("redis://t9:s3cr/0", "port must be a number"),
        ("redis://t9:99999/0", "port must be a number"),
        ("redis://t9:6379/s3cr", "number of a database"),
        ("redis://t9?s3cr", "name=value"),
        ("unix://s3cr", "socket's path"),
        ("redis+sentinel://:s3cr@t9", "of the form redis+sentinel://"),
        ("redis+sentinel://:s3cr@/t9", "of the form redis+sentinel://"),
        ("redis+sentinel://t9/m/s3cr", "of the form redis+sentinel://"),
        ("redis+sentinel://t9:s3cr/m", "port must be a number"),
        ("redis+sentinel://t9/m?s3cr=1", "sentinel_password"),
    ],
)
def test_wrong_url_is_refused_in_one_line_that_repeats_nothing_of_it(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        redis_urls.place(url)
    text = str(caught.value)
    assert says in text
    assert "\n" not in text
    assert not any(secret in text for secret in SECRETS)

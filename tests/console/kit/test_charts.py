"""Charts: well-formed SVG without inline style, with words for those who do not see it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from dashboard.kit.charts import compact, delay_plot, failure_chart, sparkline, throughput_chart


class Point(NamedTuple):
    """What a chart is drawn of."""

    at: datetime
    succeeded: int = 0
    failed: int = 0
    retried: int = 0


START = datetime(2026, 11, 24, 11, 0, tzinfo=UTC)


def points(*values: tuple[int, int, int], step: timedelta = timedelta(minutes=1)) -> list[Point]:
    """Points a step apart."""
    return [Point(START + place * step, *value) for place, value in enumerate(values)]


def parsed(html: str) -> ET.Element:
    """The chart as XML, which it must be."""
    root = ET.fromstring(f"<root>{html}</root>")  # noqa: S314 - our own
    assert not [element for element in root.iter() if "style" in element.attrib]
    return root


def heights(root: ET.Element, kind: str) -> list[float]:
    """The heights of the bars of a kind."""
    return [float(bar.attrib["height"]) for bar in root.iter("rect") if bar.attrib["class"] == kind]


def test_throughput_chart_draws_failures_below_the_line_and_successes_above() -> None:
    root = parsed(throughput_chart(points((100, 10, 0), (50, 0, 20))))
    zero = next(float(line.attrib["y1"]) for line in root.iter("line") if line.attrib["class"] == "zero")
    for bar in root.iter("rect"):
        top = float(bar.attrib["y"])
        if bar.attrib["class"] == "up":
            assert top + float(bar.attrib["height"]) == pytest.approx(zero, abs=0.02)
        if bar.attrib["class"] in ("down", "again"):
            assert top >= zero - 0.02


def test_throughput_chart_uses_one_scale_for_both_directions() -> None:
    root = parsed(throughput_chart(points((100, 0, 0), (0, 50, 0))))
    assert heights(root, "up")[0] == pytest.approx(2 * heights(root, "down")[0], rel=0.01)


def test_single_failure_is_seen_beside_millions() -> None:
    root = parsed(throughput_chart(points((5_000_000, 0, 0), (5_000_000, 1, 1))))
    assert heights(root, "down")[0] >= 2
    assert heights(root, "again")[0] >= 2


def test_throughput_chart_says_in_words_what_it_shows() -> None:
    html = throughput_chart(points((1_200, 10, 3), (34, 0, 0)))
    assert 'aria-label="Attempts that ended from 11:00 to 11:02 UTC: 1,234 succeeded, 10 failed' in html
    assert ">11:00 UTC: 1,200 succeeded, 10 failed, 3 failed and run again</title>" in html
    assert '>11:01</th><td class="number">34</td>' in html


@pytest.mark.parametrize("values", [[], [(0, 0, 0)], [(0, 0, 0)] * 60])
def test_throughput_chart_of_nothing_is_drawn(values: list[tuple[int, int, int]]) -> None:
    root = parsed(throughput_chart(points(*values)))
    assert not heights(root, "up")


def test_throughput_chart_names_days_where_steps_are_long() -> None:
    html = throughput_chart(points(*[(1, 0, 0)] * 84, step=timedelta(hours=2)))
    assert "Tue 24" in html
    assert "Mon 30" in html


def test_sparkline_has_a_bar_for_each_value_that_is_not_zero() -> None:
    root = parsed(sparkline([0, 3, 0, 1], 'failures <per hour> "a"'))
    assert len(heights(root, "bar")) == 2
    assert max(heights(root, "bar")) <= 24


@pytest.mark.parametrize("values", [[], [0] * 24, [-1, 2]])
def test_sparkline_of_nothing_is_drawn(values: list[int]) -> None:
    parsed(sparkline(values, "failures"))


def test_delay_plot_names_each_wait() -> None:
    html = delay_plot([timedelta(seconds=2), timedelta(seconds=4)], "Patient")
    parsed(html)
    assert 'aria-label="Patient: 2 s, 4 s"' in html
    assert "<title>retry 2: after 4 s</title>" in html
    assert "logarithmic" not in html


def test_delay_plot_says_that_its_scale_is_logarithmic() -> None:
    html = delay_plot([timedelta(seconds=1), timedelta(hours=3)], "Growing")
    assert "logarithmic" in html
    assert heights(parsed(html), "delay")[0] < heights(parsed(html), "delay")[1]


@pytest.mark.parametrize(
    "delays", [[], [timedelta(0)], [timedelta(0), timedelta(days=3650)], [timedelta(seconds=1)] * 200, [-timedelta(1)]]
)
def test_delay_plot_of_odd_delays_is_drawn(delays: list[timedelta]) -> None:
    root = parsed(delay_plot(delays, "Odd"))
    assert len(heights(root, "delay")) == min(len(delays), 50)


@pytest.mark.parametrize(("value", "words"), [(0, "0"), (950, "950"), (1_200, "1.2k"), (3_000_000, "3M")])
def test_compact_number_fits_beside_an_axis(value: int, words: str) -> None:
    assert compact(value) == words


class Deployed(NamedTuple):
    """A mark on a chart."""

    version: str
    at: datetime


def test_marks_stand_at_their_moments_and_are_named_newest_first() -> None:
    hours = points(*[(1, 1, 0)] * 4, step=timedelta(hours=1))
    deploys = [Deployed("<1.0>\u202e", START + timedelta(hours=1)), Deployed("1.1", START + timedelta(hours=2))]
    outside = [Deployed("before", START - timedelta(hours=1)), Deployed("after", START + timedelta(hours=5))]
    for chart in (throughput_chart, failure_chart):
        html = chart(hours, [outside[0], *deploys, outside[1]])
        root = parsed(html)
        marks = [group for group in root.iter("g") if group.attrib["class"] == "mark"]
        assert [float(mark.findall("line")[0].attrib["x1"].rstrip("%")) for mark in marks] == [25, 50]
        assert ["deployed 1.1" in "".join(mark.itertext()) for mark in marks] == [False, True]
        named = ["".join(name.itertext()) for name in root.iter("span") if name.attrib.get("class") == "mark-name"]
        assert [name.split(" ")[0][:3] for name in named] == ["1.1", "<1."]
        assert "\u202e" not in html
        assert "before" not in html


def test_many_marks_are_counted_below_the_chart() -> None:
    deploys = [Deployed(f"1.{number}", START + timedelta(minutes=number)) for number in range(7)]
    html = failure_chart(points(*[(0, 1, 0)] * 9), deploys)
    assert html.count("mark-name") == 5
    assert "and 2 more" in html
    assert 'class="key marks"' not in throughput_chart(points((1, 0, 0), (1, 0, 0)))


def test_failure_chart_stacks_what_runs_again_on_what_failed_for_good() -> None:
    root = parsed(failure_chart(points((500, 10, 20), (0, 0, 0))))
    (down,), (again,) = heights(root, "down"), heights(root, "again")
    assert again == pytest.approx(2 * down, rel=0.01)
    assert not heights(root, "up")
    tops = {bar.attrib["class"]: float(bar.attrib["y"]) for bar in root.iter("rect")}
    assert tops["again"] + again == pytest.approx(tops["down"], abs=0.02)
    assert "10 failed for good, 20 failed and run again" in "".join(root.itertext())

"""The numbers as text, in Prometheus' own format and in OpenMetrics.

What ``prometheus_client`` would write, byte for byte: it looks at each name of each sample anew, which of the thousands
of a big site took half of a scrape. Ours are plain, and no sample of ours has a time or an exemplar.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString


def text(families: Iterable[Metric], *, openmetrics: bool = False) -> bytes:
    """All of them: gauges, counters and histograms."""
    lines: list[str] = []
    values, orders = dict[str, str](), dict[tuple[str, ...], list[str]]()
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" and not openmetrics else family.name
        told = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
        told = told.replace('"', r"\"") if openmetrics else told
        lines += (f"# HELP {name} {told}\n", f"# TYPE {name} {family.type}\n")
        for sample in family.samples:
            number = floatToGoString(sample.value)  # type: ignore[no-untyped-call]
            if not sample.labels:
                lines.append(f"{sample.name} {number}\n")
                continue
            names = tuple(sample.labels)
            order = orders.get(names) or orders.setdefault(names, sorted(names))
            parts = []
            for label in order:
                given = sample.labels[label]
                value = values.get(given)
                if value is None:
                    value = values[given] = given.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
                parts.append(f'{label}="{value}"')
            lines.append(f"{sample.name}{{{','.join(parts)}}} {number}\n")
    if openmetrics:
        lines.append("# EOF\n")
    return "".join(lines).encode()

"""Numbers counted by size: what a Prometheus histogram and the API's count and sum are made of."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping

from prometheus_client.core import HistogramMetricFamily

TIMES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200, 172800)
"""Bounds of durations, in seconds: from a local relay to the last retry of a message."""

SIZES = (1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864, 268435456)
"""Bounds of sizes, in octets."""


class Histogram:
    """Counts by upper bound; `observe` costs a bisection."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def cumulative(self) -> list[tuple[str, float]]:
        """The counts as prometheus_client wants them."""
        buckets: list[tuple[str, float]] = []
        seen = 0
        for bound, count in zip((*map(str, map(float, self.bounds)), "+Inf"), self.counts, strict=True):
            seen += count
            buckets.append((bound, seen))
        return buckets


Labelled = Mapping[tuple[str, ...], Histogram]
"""Histograms of one family by the values of its labels."""


def family(name: str, doc: str, histogram: Histogram) -> HistogramMetricFamily:
    """One histogram as a metric family."""
    return HistogramMetricFamily(name, doc, buckets=histogram.cumulative(), sum_value=histogram.total)


def labelled(name: str, doc: str, labels: Iterable[str], parts: Labelled) -> HistogramMetricFamily:
    """Histograms of one family, by the values of their labels."""
    found = HistogramMetricFamily(name, doc, labels=list(labels))
    for values, histogram in parts.items():
        found.add_metric(values, histogram.cumulative(), histogram.total)
    return found

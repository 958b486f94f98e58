"""Outside filters of one configuration, and of another at a reload."""

from __future__ import annotations

from relayd.assembly.loaded import Loaded
from relayd.filters.milters import Milters
from relayd.filters.options import FilterOptions, MilterOptions, ScanOptions
from relayd.filters.scanning import Scanners
from relayd.reception.filtering import Filtering


def open_filtering(loaded: Loaded) -> Filtering:
    """The scanners and milters; none of them is connected to yet."""
    config = loaded.config
    return Filtering(
        Scanners(config.records(FilterOptions)),
        Milters(config.records(MilterOptions)),
        config.section(ScanOptions),
        loaded.hostname,
    )


def reload_filtering(filtering: Filtering, loaded: Loaded) -> None:
    """Take another configuration; sessions under way keep the milters they began with."""
    config = loaded.config
    filtering.scanners.reconfigure(config.records(FilterOptions))
    filtering.milters = Milters(config.records(MilterOptions), filtering.milters)
    filtering.options, filtering.hostname = config.section(ScanOptions), loaded.hostname

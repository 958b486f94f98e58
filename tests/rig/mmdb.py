"""Files of networks and countries, written as their publishers do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

ASN = {"autonomous_system_number": 64500, "autonomous_system_organization": "Example Net"}
COUNTRY = {"country": {"iso_code": "DE", "names": {"en": "Germany"}}, "registered_country": {"iso_code": "NL"}}


def write_mmdb(path: Path, records: Mapping[str, Any], version: int = 6) -> Path:
    """Write records by network; an older file at `path` is replaced at once.  version: 4 of a file without IPv6."""
    writer = MMDBWriter(ip_version=version, ipv4_compatible=version == 6, database_type="Test", description="test")
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    made = path.with_suffix(".new")
    writer.to_db_file(str(made))
    os.replace(made, path)
    return path

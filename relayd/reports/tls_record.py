"""Whom a domain wants to be told about the TLS of its hosts (RFC 8460 §3)."""

from __future__ import annotations

import time

from relayd.events import tls_rpt as events
from relayd.events.event import Span
from relayd.resolver.answer import NoData, NoName, ResolveError, Resolver
from relayd.routing.tls_records import BadRecord
from relayd.routing.tls_report import Record, find_record, record_name


async def reporting_record(resolver: Resolver, domain: str, span: Span) -> Record | None:
    """The domain's record, None where it has none.  Raises ResolveError, BadRecord: then nobody is told."""
    started = time.monotonic()
    try:
        found = find_record((await resolver.txt(record_name(domain))).records)
    except (NoName, NoData):
        found = None
    except (ResolveError, BadRecord) as error:
        events.RECORD_FETCH_ERROR(span, domain=domain, reason=str(error), elapsed=time.monotonic() - started)
        raise
    elapsed = time.monotonic() - started
    if found is None:
        events.RECORD_NOT_FOUND(span, domain=domain, elapsed=elapsed)
    else:
        events.RECORD_FETCH(span, domain=domain, details=list(found.rua), elapsed=elapsed)
    return found

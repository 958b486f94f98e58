"""How a refusal of the directory is answered: each kind has its error form (control-api section 1.6)."""

from __future__ import annotations

from relayd.control.answers import Failure, Problem, other
from relayd.directory.refusals import (
    AlreadyExists,
    Configured,
    DirectoryRefusal,
    FieldMissing,
    Invalid,
    NotFound,
    OverTenantQuota,
)

TENANT_QUOTA = (403, "Tenant quota exceeded", "The tenant has as many principals of this type as it may.")


def form_of(refusal: DirectoryRefusal) -> Failure | Problem:
    """The error that says why."""
    match refusal:
        case AlreadyExists():
            return Failure("fieldAlreadyExists", field=refusal.field, value=refusal.value)
        case FieldMissing():
            return Failure("fieldMissing", field=refusal.field)
        case NotFound():
            return Failure("notFound", item=refusal.item)
        case Invalid():
            return other(refusal.details, refusal.reason)
        case Configured():
            return Failure("unsupported", details=str(refusal))
        case OverTenantQuota():
            return Problem(*TENANT_QUOTA)
        case _:
            return other(str(refusal))

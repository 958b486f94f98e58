"""Why a change of the directory, or a question to it, is refused; each is one error form of the control API."""

from __future__ import annotations


class DirectoryRefusal(Exception):
    """A change that is not made."""


class AlreadyExists(DirectoryRefusal):
    """`value` of `field` is another principal's."""

    def __init__(self, field: str, value: str) -> None:
        super().__init__(f"{field} {value} already exists")
        self.field = field
        self.value = value


class FieldMissing(DirectoryRefusal):
    """A field that must be given is not."""

    def __init__(self, field: str) -> None:
        super().__init__(f"{field} is missing")
        self.field = field


class NotFound(DirectoryRefusal):
    """There is no `item`: a principal, a member, the domain of an address."""

    def __init__(self, item: str) -> None:
        super().__init__(f"{item} does not exist")
        self.item = item


class Invalid(DirectoryRefusal):
    """A value that cannot be; details: what is wrong, reason: why."""

    def __init__(self, details: str, reason: str | None = None) -> None:
        super().__init__(f"{details}: {reason}" if reason else details)
        self.details = details
        self.reason = reason


class OverTenantQuota(DirectoryRefusal):
    """The tenant has as many principals of the type as it may."""


class Configured(DirectoryRefusal):
    """The principal stands in the configuration file, where alone it can be changed."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} stands in the configuration file: change account.{name}.* there")


def invalid_parameter(field: str, why: str) -> Invalid:
    """A field that cannot be set so."""
    return Invalid("Invalid parameter", f"{field}: {why}")

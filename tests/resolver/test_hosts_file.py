"""The hosts file before the DNS, for next hops that an operator wrote down."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relayd.resolver.answer import NoData, NoName
from relayd.resolver.hosts_file import HostsFile, LocalFirst
from relayd.resolver.zone import Zone

TEXT = """\
# comment
192.0.2.1  smart.example smart   # the smarthost
2001:db8::1 SMART.example.
not-an-address nobody.example
192.0.2.7
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "hosts"
    file.write_text(TEXT)
    return file


@pytest.fixture
def local(path: Path) -> LocalFirst:
    zone = Zone({"smart.example": {"A": ["203.0.113.1"]}, "dns.example": {"A": ["203.0.113.2"]}})
    return LocalFirst(zone, HostsFile(path))


async def test_a_name_of_the_file_has_the_addresses_there(local: LocalFirst) -> None:
    assert (await local.addresses("smart.example", 4)).records == ("192.0.2.1",)
    assert (await local.addresses("Smart.Example", 6)).records == ("2001:db8::1",)
    assert (await local.addresses("smart", 4)).records == ("192.0.2.1",)


async def test_a_family_that_the_file_has_not_is_not_asked_of_the_dns(local: LocalFirst) -> None:
    with pytest.raises(NoData):
        await local.addresses("smart", 6)


async def test_other_names_are_the_dns_s(local: LocalFirst) -> None:
    assert (await local.addresses("dns.example", 4)).records == ("203.0.113.2",)
    with pytest.raises(NoName):
        await local.addresses("nobody.example", 4)


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST.", "a.localhost"])
async def test_localhost_is_loopback_whatever_the_dns_says(local: LocalFirst, name: str) -> None:
    assert (await local.addresses(name, 4)).records == ("127.0.0.1",)
    assert (await local.addresses(name, 6)).records == ("::1",)


async def test_the_file_is_read_again_when_it_changes(local: LocalFirst, path: Path) -> None:
    assert (await local.addresses("smart", 4)).records == ("192.0.2.1",)
    _write(path, "192.0.2.2 smart\n")
    assert (await local.addresses("smart", 4)).records == ("192.0.2.2",)
    os.unlink(path)
    with pytest.raises(NoName):
        await local.addresses("smart", 4)


def _write(path: Path, text: str) -> None:
    """Change the file, with a time that no other version of it has."""
    path.write_text(text)
    os.utime(path, ns=(1, 1))

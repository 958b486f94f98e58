"""For whom an address of the directory stands, asked of a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relayd.directory.address_book import AddressBook, Target, TooMany
from relayd.directory.editing import Reserved
from relayd.directory.entry import Type
from relayd.directory.principals import Principals, open_principals
from relayd.events.event import EventStream, Span
from relayd.mail.srs import SrsKeys
from tests.directory.test_principals import add, patch

NOW = 1_800_000_000.0


@pytest.fixture
async def principals(tmp_path: Path) -> AsyncIterator[Principals]:
    opened = await open_principals(tmp_path, Span(EventStream(lambda: 0.0)))
    await add(opened, Type.DOMAIN, "example.org")
    await add(opened, Type.INDIVIDUAL, "jane", emails=["jane@example.org", "j.doe@example.org"])
    await add(opened, Type.INDIVIDUAL, "joe", emails=["joe@example.org", "@example.org"])
    yield opened
    await opened.close()


@pytest.fixture
def book(principals: Principals) -> AddressBook:
    return AddressBook(principals, lambda: NOW, srs=SrsKeys((b"key",)))


async def recipients(book: AddressBook, address: str) -> set[str]:
    found = await book.stands_for(address)
    assert found is not None
    return {each.address for each in found}


@pytest.mark.parametrize(
    ("address", "mailbox"),
    [
        ("jane@example.org", "jane@example.org"),
        ("JANE@Example.ORG", "jane@example.org"),
        ("j.doe@example.org", "jane@example.org"),
        ("j.doe+shop@example.org", "jane+shop@example.org"),
        ("nobody@example.org", "joe@example.org"),
    ],
)
async def test_an_individual_has_one_mailbox(book: AddressBook, address: str, mailbox: str) -> None:
    assert await recipients(book, address) == {mailbox}


async def test_whose_account_an_address_is(book: AddressBook, principals: Principals) -> None:
    principals.reserved = Reserved(addresses={"ann@example.org": "ann"})
    await add(principals, Type.GROUP, "all", emails=["all@example.org"], members=["jane"])
    names = ["Ann+x@example.org", "ann@example.org", "j.doe+shop@example.org", "all@example.org", "x@far.test"]
    assert [await book.account_of(each) for each in names] == ["ann", "ann", "jane", "", ""]


async def test_without_a_catch_all_a_stranger_is_nobody(book: AddressBook, principals: Principals) -> None:
    await patch(principals, "joe", ("removeItem", "emails", "@example.org"))
    assert await book.stands_for("nobody@example.org") is None


async def test_the_separator_may_be_none(book: AddressBook, principals: Principals) -> None:
    await patch(principals, "joe", ("removeItem", "emails", "@example.org"))
    book.separator = ""
    assert await book.stands_for("jane+shop@example.org") is None


async def test_a_group_stands_for_its_members_and_keeps_the_return_path(
    book: AddressBook, principals: Principals
) -> None:
    await add(
        principals, Type.GROUP, "all", emails=["all@example.org"], members=["jane"], externalMembers=["x@far.test"]
    )
    await add(principals, Type.GROUP, "both", emails=["both@example.org"], members=["all", "joe"])
    await patch(principals, "all", ("addItem", "members", "both"))
    found = await book.stands_for("both@example.org")
    assert found is not None
    assert {each.address for each in found} == {"jane@example.org", "joe@example.org", "x@far.test"}
    assert all(each.return_path is None and not each.of_list for each in found)


async def test_a_list_replaces_the_return_path_by_its_owner(book: AddressBook, principals: Principals) -> None:
    await add(principals, Type.LIST, "dev", emails=["dev@example.org", "d@example.org"], members=["jane"])
    await add(
        principals, Type.LIST, "news", emails=["news@example.org"], members=["dev"], externalMembers=["x@far.test"]
    )
    assert await book.stands_for("d@example.org") == (Target("jane@example.org", "d-owner@example.org", True),)
    found = await book.stands_for("news@example.org")
    assert found is not None
    assert {(each.address, each.return_path) for each in found} == {
        ("jane@example.org", "dev-owner@example.org"),
        ("x@far.test", "news-owner@example.org"),
    }


async def test_mail_to_the_owner_of_a_list_goes_to_the_postmaster_or_to_who_has_the_address(
    book: AddressBook, principals: Principals
) -> None:
    await add(principals, Type.LIST, "dev", emails=["dev@example.org"])
    assert await book.stands_for("dev-owner@example.org", ["ops@far.test"]) == (Target("ops@far.test"),)
    await patch(principals, "jane", ("addItem", "emails", "dev-owner@example.org"))
    assert await recipients(book, "dev-owner@example.org") == {"jane@example.org"}
    assert await recipients(book, "jane-owner@example.org") == {"joe@example.org"}


async def test_with_a_dash_for_separator_an_owner_is_not_a_sub_address_of_the_list(
    book: AddressBook, principals: Principals
) -> None:
    book.separator = "-"
    await add(principals, Type.LIST, "dev", emails=["dev@example.org"], members=["jane"])
    assert await book.stands_for("dev-owner@example.org", ["ops@far.test"]) == (Target("ops@far.test"),)
    assert await recipients(book, "dev-tag@example.org") == {"jane@example.org"}


async def test_without_a_postmaster_an_owner_is_that_of_the_domain(book: AddressBook, principals: Principals) -> None:
    await add(principals, Type.LIST, "dev", emails=["dev@example.org"])
    assert await recipients(book, "dev-owner@example.org") == {"joe@example.org"}
    await patch(principals, "joe", ("removeItem", "emails", "@example.org"))
    assert await recipients(book, "dev-owner@example.org") == {"postmaster@example.org"}
    await patch(principals, "jane", ("addItem", "emails", "postmaster@example.org"))
    assert await recipients(book, "dev-owner@example.org") == {"jane@example.org"}


async def test_who_has_a_catch_all_alone_gets_each_address_as_it_is(book: AddressBook, principals: Principals) -> None:
    await patch(principals, "joe", ("set", "emails", ["@example.org"]))
    assert await recipients(book, "Anybody+x@example.org") == {"Anybody+x@example.org"}
    await add(principals, Type.GROUP, "all", emails=["all@example.org"], externalMembers=["some@example.org"])
    assert await recipients(book, "all@example.org") == {"some@example.org"}


async def test_a_list_of_all_names_has_an_owner_for_each(book: AddressBook, principals: Principals) -> None:
    await patch(principals, "joe", ("removeItem", "emails", "@example.org"))
    await add(principals, Type.LIST, "dev", emails=["@example.org"], members=["jane"])
    assert await book.stands_for("any@example.org") == (Target("jane@example.org", "any-owner@example.org", True),)
    assert await book.stands_for("any-owner@example.org", ["ops@far.test"]) == (Target("ops@far.test"),)


async def test_a_list_without_an_address_keeps_the_owner_of_the_one_it_is_in(
    book: AddressBook, principals: Principals
) -> None:
    await add(principals, Type.LIST, "inner", members=["jane"])
    await add(principals, Type.LIST, "outer", emails=["outer@example.org"], members=["inner"])
    assert await book.stands_for("outer@example.org") == (Target("jane@example.org", "outer-owner@example.org", True),)


async def test_a_list_without_members_is_empty(book: AddressBook, principals: Principals) -> None:
    await add(principals, Type.LIST, "dev", emails=["dev@example.org"])
    assert await book.stands_for("dev@example.org") == ()


async def test_an_outside_member_that_is_ours_is_followed(book: AddressBook, principals: Principals) -> None:
    await add(principals, Type.GROUP, "all", emails=["all@example.org"], externalMembers=["j.doe@example.org"])
    assert await recipients(book, "all@example.org") == {"jane@example.org"}


async def test_a_list_may_be_too_large(
    book: AddressBook, principals: Principals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relayd.directory.address_book.MAX_TARGETS", 2)
    await add(
        principals, Type.LIST, "dev", emails=["dev@example.org"], externalMembers=[f"{n}@far.test" for n in "abc"]
    )
    with pytest.raises(TooMany, match="dev"):
        await book.stands_for("dev@example.org")


async def test_accounts_of_the_configuration_have_their_mailboxes(book: AddressBook, principals: Principals) -> None:
    principals.reserved = Reserved(addresses={"conf@example.org": "conf"})
    assert await recipients(book, "Conf@example.org") == {"Conf@example.org"}
    assert await recipients(book, "conf+shop@example.org") == {"conf+shop@example.org"}


async def test_a_rewritten_return_path_leads_back(book: AddressBook) -> None:
    address = book.leading_back("jane@sender.test", "example.org")
    assert address is not None
    assert book.returned(address) == "jane@sender.test"
    assert book.returned("SRS0=AAAAAA=AA=sender.test=jane@example.org") is None
    assert book.returned("jane@example.org") is None
    assert book.leading_back("", "example.org") is None


async def test_next_hops_of_domains_are_known_at_once(principals: Principals, tmp_path: Path) -> None:
    await add(principals, Type.DOMAIN, "a.test", nextHop="store")
    await add(principals, Type.DOMAIN, "b.test")
    assert principals.next_hops == {"a.test": "store"}
    await patch(principals, "b.test", ("set", "nextHop", "mx"))
    await patch(principals, "a.test", ("set", "name", "c.test"))
    assert principals.next_hops == {"b.test": "mx", "c.test": "store"}
    await principals.start()
    assert principals.next_hops == {"b.test": "mx", "c.test": "store"}
    await principals.delete("c.test")
    await patch(principals, "b.test", ("set", "nextHop", ""))
    assert principals.next_hops == {}

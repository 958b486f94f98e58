"""A resolver that can be another one tomorrow: who holds it asks the one in force, also after a reload."""

from __future__ import annotations

from collections.abc import Callable

from relayd.resolver.answer import Answer, Mx, Resolver, Tlsa


class Replaceable:
    """Passes every question to `inner`."""

    def __init__(self, inner: Resolver) -> None:
        self.inner = inner

    def knows(self, type: str, name: str) -> bool:
        """Whether the answer is there at once; False where `inner` cannot tell."""
        knows: Callable[[str, str], bool] | None = getattr(self.inner, "knows", None)
        return knows is not None and knows(type, name)

    async def mx(self, name: str) -> Answer[Mx]:
        """MX records; CNAMEs are followed, `canonical` names their end."""
        return await self.inner.mx(name)

    async def addresses(self, name: str, family: int) -> Answer[str]:
        """A (family 4) or AAAA (family 6) records as text."""
        return await self.inner.addresses(name, family)

    async def txt(self, name: str) -> Answer[bytes]:
        """TXT records, the strings of each joined."""
        return await self.inner.txt(name)

    async def ptr(self, address: str) -> Answer[str]:
        """Names of an IP address."""
        return await self.inner.ptr(address)

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        """TLSA records."""
        return await self.inner.tlsa(name)

"""Which limits hold for a destination: the rules, as files and settings have them, and the search among them.

A rule is an id with the destinations that it is about and their limits (ShapingOptions).  The operator's settings lie
over the operator's file, and that over the shipped one, option by option of the same id.  A destination's provider is
the rule that the site of its MX hosts fits best, else one that names the domain, else the site itself under the limits
of the rule `default`.  All other rules that name the domain hold too.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from relayd.options import OptionError, section_of
from relayd.routing.bounce_rules import RulesError
from relayd.routing.shaping.limits import DOMAIN, PROVIDER, UNSHAPED, Limits, Shape
from relayd.routing.shaping.options import ShapingOptions
from relayd.routing.shaping.responses import NO_RESPONSES, ResponseForm, build_responses, read_responses
from relayd.routing.shaping.site import site_of, suffixes

DEFAULT = "default"
"""Id of the rule for every site that no other rule names."""

_ROUTE = "route:"
_LIMITS = ("concurrency", "connections", "rate", "daily")
_PLAIN = {"messages": "messages-per-connection", "recipients": "recipients"}


@dataclasses.dataclass(frozen=True, slots=True)
class RuleFile:
    """A file of rules.  origin: its name.  providers: the options that it gives, by id."""

    origin: str
    providers: Mapping[str, ShapingOptions]
    responses: Sequence[ResponseForm] = ()


def read_rules(text: str, origin: str) -> RuleFile:
    """The rules of a file's text: tables `provider.<id>` with the keys of `queue.shaping.<id>`, and `[[response]]`.

    Raises RulesError.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RulesError(f"{origin}: {error}") from None
    unknown = sorted(set(tables) - {"provider", "response"})
    if unknown:
        raise RulesError(f"{origin}: {unknown[0]!r} is neither provider nor response")
    providers = tables.get("provider", {})
    if not isinstance(providers, dict):
        raise RulesError(f"{origin}: provider: expected tables [provider.<id>]")
    found = {id: _options(id, table, origin) for id, table in providers.items()}
    return RuleFile(origin, found, read_responses(tables.get("response", []), origin))


def _options(id: str, table: Any, origin: str) -> ShapingOptions:
    section = section_of(ShapingOptions)
    known = {each.key for each in section.options}
    if not isinstance(table, dict):
        raise RulesError(f"{origin}: provider.{id}: expected a table")
    values: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            values |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            values[key] = value
    for key in values:
        if key not in known:
            raise RulesError(f"{origin}: provider.{id}.{key}: there is no such key; known: {', '.join(sorted(known))}")
    try:
        built: ShapingOptions = section.build(values)
    except OptionError as error:
        raise RulesError(f"{origin}: provider.{id}.{error}") from None
    return built


class _Rule:
    """One id, with the options of all layers."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}

    def lay_over(self, options: ShapingOptions, origin: str) -> None:
        """Take what another layer says."""
        for field in dataclasses.fields(options):
            value = getattr(options, field.name)
            if value is not None and value != ():
                self.values[field.name] = value
                self.origins[field.name] = origin

    def limits(self, prefix: str, under: _Rule | None = None) -> Limits:
        """The limits whose names begin with `prefix`; what is not said is taken from the rule `under`."""
        found: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for name in _LIMITS:
            for rule in (self, under):
                value = rule.values.get(prefix + name) if rule is not None else None
                if rule is not None and value:
                    found["rates" if name == "rate" else name] = value
                    origins[name] = rule.origins[prefix + name]
                    break
        return Limits(**found, origins=origins)


class ShapingRules:
    """All rules in force.  registrable: the organisational domain of a host name."""

    def __init__(
        self,
        layers: Sequence[RuleFile] = (),
        records: Mapping[str, ShapingOptions] | None = None,
        *,
        registrable: Callable[[str], str] = lambda name: name,
    ) -> None:
        """layers: the lowest first.  records: `queue.shaping.<id>`, over all of them.  Raises RulesError."""
        self._registrable = registrable
        self._rules: dict[str, _Rule] = {}
        for layer in layers:
            for id, options in layer.providers.items():
                self._rule(id).lay_over(options, f"{layer.origin}: {id}")
        for id, options in (records or {}).items():
            self._rule(id).lay_over(options, f"queue.shaping.{id}")
        self._default = self._rules.get(DEFAULT)
        self._by_mx = self._index("mx")
        self._by_domain = self._index("domains")
        self._by_route = self._index("routes")
        self.responses = (
            build_responses([layer.responses for layer in reversed(layers)], frozenset(self._rules))
            if layers
            else NO_RESPONSES
        )

    def _rule(self, id: str) -> _Rule:
        return self._rules.setdefault(id, _Rule(id))

    def _index(self, name: str) -> dict[str, list[_Rule]]:
        found: dict[str, list[_Rule]] = {}
        for rule in self._rules.values():
            for key in rule.values.get(name, ()):
                found.setdefault(key if name == "routes" else key.lower().rstrip("."), []).append(rule)
        return found

    @property
    def needs_mx(self) -> bool:
        """Whether the MX hosts of a domain can make a difference."""
        return bool(self._by_mx) or self._default is not None

    @property
    def named(self) -> frozenset[str]:
        """The ids of the rules."""
        return frozenset(self._rules)

    def shape(self, destination: str, hosts: Sequence[str] | None = None) -> Shape:
        """What holds for a destination ("example.org", "mx:example.org", "route:<id>").

        hosts: its MX hosts of best preference, as A-labels; None: not known, or it has none to ask for.
        """
        if destination.startswith(_ROUTE):
            named = self._by_route.get(destination[len(_ROUTE) :], [])
            return self._shape(destination, named[0] if named else None, named, "")
        domain = destination.removeprefix("mx:")
        named = self._named(domain)
        provider, site = None, ""
        if hosts:
            provider = self._of_hosts(hosts)
            site = site_of(hosts, self._registrable)
        if provider is None and named and (named[0].values.get("mx") or not site):
            provider = named[0]
        return self._shape(domain, provider, named, site)

    def provider_of(self, host: str) -> str:
        """The id of the rule that an MX host fits, "" for none."""
        rule = self._of_host(host)
        return "" if rule is None else rule.id

    def _named(self, domain: str) -> list[_Rule]:
        """The rules that name a domain, the nearest first."""
        by_domain = self._by_domain
        found = list(by_domain.get(domain, ()))
        for suffix in suffixes(domain.partition(".")[2]):
            found += by_domain.get(f"*.{suffix}", ())
        return [*found, *by_domain.get("*", ())]

    def _of_hosts(self, hosts: Sequence[str]) -> _Rule | None:
        """The rule that the hosts fit best; None when they do not fit one and the same."""
        found = {self._of_host(host) for host in hosts}
        return found.pop() if len(found) == 1 else None

    def _of_host(self, host: str) -> _Rule | None:
        for suffix in suffixes(host.lower()):
            if suffix in self._by_mx:
                return self._by_mx[suffix][0]
        return None

    def _shape(self, name: str, provider: _Rule | None, named: Sequence[_Rule], site: str) -> Shape:
        default = self._default
        if provider is None and not named and (not site or default is None):
            return UNSHAPED if not site else Shape(provider=site)
        subjects: dict[str, Limits] = {}
        if provider is not None:
            subjects[PROVIDER + provider.id] = provider.limits("", default)
        elif site and default is not None:
            subjects[PROVIDER + site] = default.limits("")
        for rule in named:
            subjects.setdefault(PROVIDER + rule.id, rule.limits(""))
        chain = list(dict.fromkeys([rule for rule in (provider, *named, default) if rule is not None]))
        if name.startswith(_ROUTE):
            chain = [rule for rule in chain if rule is not default]
        own = next((limits for rule in chain if (limits := rule.limits("domain_")).origins), None)
        if own is not None:
            subjects[DOMAIN + name] = own
        plain = {key: next((rule for rule in chain if rule.values.get(key)), None) for key in _PLAIN}
        return Shape(
            provider=site if provider is None else provider.id,
            is_named=provider is not None,
            subjects=tuple((key, limits) for key, limits in subjects.items() if limits.origins),
            messages=plain["messages"].values["messages"] if plain["messages"] else None,
            recipients=plain["recipients"].values["recipients"] if plain["recipients"] else None,
            origins={_PLAIN[key]: rule.origins[key] for key, rule in plain.items() if rule is not None},
        )


NO_SHAPING = ShapingRules()
"""Nothing is limited."""

"""A configuration as the parts take it."""

from __future__ import annotations

import socket
import time

from relayd.assembly.spam import Spam
from relayd.config.bounces import bounce_rules
from relayd.config.configuration import Config
from relayd.config.places import data_directory, submit_socket
from relayd.config.roads import router_of
from relayd.config.shaping import shaping_rules
from relayd.delivery.scheduler import Settings
from relayd.listener import options as listening
from relayd.listener.listeners import ListenerConfiguration
from relayd.listener.options import Bind, ListenerOptions
from relayd.mail.options import ServerOptions
from relayd.mailauth.options import AuthOptions
from relayd.mailauth.signature_options import SignatureOptions
from relayd.queue.opening import QueueOptions
from relayd.queue.options import DeletedOptions, LimitOptions, SpaceOptions
from relayd.reception import options as receiving
from relayd.reception.geo_files import open_files
from relayd.reception.keyring import Keyring
from relayd.reception.policy import Policy
from relayd.resolver.exchange import parse_server
from relayd.resolver.options import ResolverOptions
from relayd.routing import options as routing
from relayd.routing.schedule import Schedule
from relayd.spam.dnsbl_options import DnsListOptions, enabled_lists
from relayd.spam.geo_options import GeoOptions
from relayd.telemetry.levels import levels_of
from relayd.telemetry.options import EventLevelOptions

SUBMIT = "submit"
"""Id of the listener that the submit socket is."""


class Loaded:
    """A configuration as the parts take it.  Raises OptionError, UnknownRoute, BadServer; nothing is touched then."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.server = config.section(ServerOptions)
        self.hostname = self.server.hostname or socket.getfqdn()
        self.data = data_directory(config)
        self.listeners = self._listeners()
        self.policy = Policy(self._reception())
        self.router = router_of(config)
        self.queue = QueueOptions(
            space=config.section(SpaceOptions),
            limits=config.section(LimitOptions),
            deleted=config.section(DeletedOptions),
        )
        self.resolving = config.section(ResolverOptions)
        for text in self.resolving.custom:
            parse_server(text, self.resolving.trust_ad)
        self.settings = Settings(
            schedule=Schedule(config.section(routing.ScheduleOptions)),
            concurrency=config.section(routing.ConcurrencyOptions),
            breaker=config.section(routing.BreakerOptions),
            shaping=shaping_rules(config),
        )
        self.keyring = keyring_of(config)
        self.spam = Spam(config, self.data)
        self.srs = config.section(receiving.SrsOptions)
        self.bounce_rules = bounce_rules(config)
        self.geo = config.section(GeoOptions)
        self.geo_files = open_files(self.geo)
        self.dns_lists = enabled_lists(config.records(DnsListOptions))
        self.levels = levels_of(config.records(EventLevelOptions))

    def _listeners(self) -> ListenerConfiguration:
        config = self.config
        listeners = dict(config.records(ListenerOptions))
        if not any(each.role == SUBMIT for each in listeners.values()):
            path = str(submit_socket(config))
            listeners[SUBMIT] = ListenerOptions(bind=(Bind(path=path),), role=SUBMIT)
        return ListenerConfiguration(
            hostname=self.hostname,
            listeners=listeners,
            certificates=config.records(listening.CertificateOptions),
            timeouts=config.section(listening.TimeoutOptions),
            errors=config.section(listening.ErrorLimitOptions),
            plugins=config.section(listening.PluginOptions),
        )

    def _reception(self) -> receiving.ReceptionOptions:
        config = self.config
        return receiving.ReceptionOptions(
            hostname=self.hostname,
            server=self.server,
            session=config.section(receiving.TrustedRelayOptions),
            auth=config.section(AuthOptions),
            extensions=config.section(receiving.ExtensionOptions),
            rcpt=config.section(receiving.RcptOptions),
            probe=config.section(receiving.ProbeOptions),
            known=config.records(receiving.KnownOptions),
            ehlo=config.section(receiving.EhloOptions),
            data=config.section(receiving.DataOptions),
            limits=config.section(receiving.DataLimits),
            received=config.section(receiving.ReceivedOptions),
            redirect=config.section(receiving.RedirectOptions),
            access=config.records(receiving.AccessOptions),
            rewrite=config.records(receiving.RewriteOptions),
            submission=config.section(receiving.SubmissionOptions),
            listener_networks={id: each.relay_networks for id, each in config.records(ListenerOptions).items()},
        )


def keyring_of(config: Config) -> Keyring:
    """The keys of a configuration; reads them, which blocks for a while.  Raises OptionError."""
    expire = config.section(routing.ScheduleOptions).expire
    return Keyring(config.records(SignatureOptions), expire, time.monotonic)

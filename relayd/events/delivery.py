"""Attempts to deliver (control-api family `delivery`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

ATTEMPT_START = EventKind(
    "delivery.attempt-start",
    Level.INFO,
    "Delivery attempt started",
    "A new delivery attempt was started",
    "queue_id from_ to size total",
)
ATTEMPT_END = EventKind(
    "delivery.attempt-end", Level.INFO, "Delivery attempt ended", "The delivery attempt is over", "queue_id elapsed"
)
COMPLETED = EventKind(
    "delivery.completed", Level.INFO, "Delivery completed", "Nothing is left to do for the message", "queue_id elapsed"
)
FAILED = EventKind(
    "delivery.failed", Level.INFO, "Delivery attempt failed", "The attempt could not be run", "queue_id reason"
)
DOMAIN_DELIVERY_START = EventKind(
    "delivery.domain-delivery-start",
    Level.INFO,
    "Delivery to a domain started",
    "The domain's recipients are being delivered",
    "domain total",
)
RAW_INPUT = EventKind(
    "delivery.raw-input",
    Level.TRACE,
    "Raw input of a delivery",
    "The peer answered in a transaction. Stated while somebody asks for it",
    "hostname size contents",
    on_demand=True,
)
RAW_OUTPUT = EventKind(
    "delivery.raw-output",
    Level.TRACE,
    "Raw output of a delivery",
    "Commands of a transaction were sent; of content the size alone. Stated while somebody asks for it",
    "hostname size contents",
    on_demand=True,
)
MX_LOOKUP = EventKind(
    "delivery.mx-lookup",
    Level.DEBUG,
    "MX lookup",
    "The MX records of a domain were looked up",
    "domain details elapsed",
)
MX_LOOKUP_FAILED = EventKind(
    "delivery.mx-lookup-failed",
    Level.INFO,
    "MX lookup failed",
    "The MX records could not be had",
    "domain reason elapsed",
)
NULL_MX = EventKind("delivery.null-mx", Level.INFO, "Null MX", "The domain takes no mail", "domain")
LOOP_TO_SELF = EventKind(
    "delivery.loop-to-self", Level.INFO, "Mail loops back to myself", "The MX hosts that remain are this host", "domain"
)
IP_LOOKUP = EventKind(
    "delivery.ip-lookup",
    Level.DEBUG,
    "Address lookup",
    "The addresses of a host were looked up",
    "domain hostname details limit elapsed",
)
IP_LOOKUP_FAILED = EventKind(
    "delivery.ip-lookup-failed",
    Level.INFO,
    "Address lookup failed",
    "The addresses of a host could not be had",
    "hostname reason elapsed",
)
PRIVATE_ADDRESS = EventKind(
    "delivery.private-address",
    Level.INFO,
    "Private address refused",
    "The host has an address that mail may not be sent to",
    "hostname remote_ip",
)
CONNECT = EventKind(
    "delivery.connect",
    Level.INFO,
    "Connected",
    "A connection to a remote server was made",
    "domain hostname local_ip remote_ip remote_port elapsed",
)
CONNECT_ERROR = EventKind(
    "delivery.connect-error",
    Level.INFO,
    "Connection failed",
    "A remote server could not be reached",
    "hostname remote_ip remote_port reason elapsed",
)
MISSING_OUTBOUND_HOSTNAME = EventKind(
    "delivery.missing-outbound-hostname",
    Level.WARN,
    "No outbound host name",
    "EHLO gives a name that is none on the net: many hosts refuse such mail; set server.hostname",
    "hostname",
)
GREETING_FAILED = EventKind(
    "delivery.greeting-failed",
    Level.INFO,
    "Greeting failed",
    "The remote server refused us in its greeting",
    "hostname code details",
)
EHLO = EventKind(
    "delivery.ehlo", Level.DEBUG, "EHLO sent", "The remote server answered EHLO", "hostname details elapsed"
)
EHLO_REJECTED = EventKind(
    "delivery.ehlo-rejected", Level.INFO, "EHLO rejected", "The remote server refused EHLO", "hostname code details"
)
AUTH = EventKind(
    "delivery.auth", Level.DEBUG, "Authenticated", "We signed in at the remote server", "hostname details elapsed"
)
TOKEN = EventKind("delivery.token", Level.DEBUG, "Token received", "A token to sign in with was received", "id expires")
TOKEN_FAILED = EventKind(
    "delivery.token-failed", Level.WARN, "No token", "No token to sign in with could be had", "id reason"
)
AUTH_FAILED = EventKind(
    "delivery.auth-failed",
    Level.INFO,
    "Authentication failed",
    "We could not sign in at the remote server",
    "hostname code details",
)
MAIL_FROM = EventKind(
    "delivery.mail-from",
    Level.DEBUG,
    "MAIL FROM sent",
    "The remote server took the return path",
    "hostname from_ code details elapsed",
)
MAIL_FROM_REJECTED = EventKind(
    "delivery.mail-from-rejected",
    Level.INFO,
    "MAIL FROM rejected",
    "The remote server refused the return path",
    "hostname from_ code details elapsed class_ rule",
)
RCPT_TO = EventKind(
    "delivery.rcpt-to",
    Level.DEBUG,
    "RCPT TO sent",
    "The remote server took a recipient",
    "hostname to code details elapsed",
)
RCPT_TO_REJECTED = EventKind(
    "delivery.rcpt-to-rejected",
    Level.INFO,
    "RCPT TO rejected",
    "The remote server refused a recipient",
    "hostname to code details class_ rule",
)
RCPT_TO_FAILED = EventKind(
    "delivery.rcpt-to-failed",
    Level.INFO,
    "RCPT TO failed",
    "The connection was lost before a recipient was answered",
    "hostname to reason",
)
MESSAGE_REJECTED = EventKind(
    "delivery.message-rejected",
    Level.INFO,
    "Message rejected",
    "The remote server refused the message",
    "hostname to code details class_ rule",
)
CONNECTION_LOST = EventKind(
    "delivery.connection-lost",
    Level.INFO,
    "Connection lost",
    "The remote server closed the connection, or went silent",
    "hostname reason",
)
MAYBE_DELIVERED = EventKind(
    "delivery.maybe-delivered",
    Level.INFO,
    "Maybe delivered",
    "The connection was lost after the final dot: a second copy may follow",
    "queue_id hostname to",
)
DELIVERED = EventKind(
    "delivery.delivered",
    Level.INFO,
    "Message delivered",
    "The remote server took the message",
    "queue_id hostname to code details elapsed delays maybe_again",
)
DEFERRED = EventKind(
    "delivery.deferred",
    Level.INFO,
    "Delivery deferred",
    "The recipient will be tried again",
    "queue_id hostname from_ to code details reason next_retry expires total class_ rule maybe_delivered",
)
BOUNCED = EventKind(
    "delivery.bounced",
    Level.INFO,
    "Delivery failed for good",
    "The recipient cannot be delivered",
    "queue_id hostname from_ to code details reason class_ rule maybe_delivered",
)
EXPIRED = EventKind(
    "delivery.expired",
    Level.INFO,
    "Delivery expired",
    "The recipient was tried for as long as it may be",
    "queue_id hostname from_ to details reason class_ rule maybe_delivered",
)
START_TLS = EventKind(
    "delivery.start-tls",
    Level.INFO,
    "TLS started",
    "TLS is active to the remote server",
    "hostname version details elapsed",
)
START_TLS_UNAVAILABLE = EventKind(
    "delivery.start-tls-unavailable",
    Level.INFO,
    "STARTTLS not available",
    "The remote server does not offer STARTTLS",
    "hostname",
)
START_TLS_ERROR = EventKind(
    "delivery.start-tls-error", Level.INFO, "STARTTLS failed", "TLS could not be started", "hostname reason"
)
TLS_GONE = EventKind(
    "delivery.tls-gone",
    Level.WARN,
    "TLS is gone",
    "A host that gave TLS before does not offer STARTTLS any more: a fault, or somebody on the way takes it out",
    "hostname since version",
)
START_TLS_DISABLED = EventKind(
    "delivery.start-tls-disabled",
    Level.INFO,
    "STARTTLS not tried",
    "TLS failed at the host a while ago: it is left out where it may be",
    "hostname reason",
)
IMPLICIT_TLS_ERROR = EventKind(
    "delivery.implicit-tls-error", Level.INFO, "Implicit TLS failed", "TLS could not be started", "hostname reason"
)
DOWNGRADED = EventKind(
    "delivery.downgraded",
    Level.INFO,
    "Sent in plain text",
    "TLS is broken at the host; opportunistic delivery went on without it",
    "hostname reason",
)
CONVERTED = EventKind(
    "delivery.converted",
    Level.DEBUG,
    "Body converted",
    "The body was converted to seven bits for a host without 8BITMIME",
    "queue_id hostname",
)
ROUTE_ALARM = EventKind(
    "delivery.route-alarm",
    Level.WARN,
    "Smarthost refuses us",
    "The route's own smarthost refuses our sign-in or relaying; its mail is deferred",
    "id code details",
)
SUSPENDED = EventKind(
    "delivery.suspended",
    Level.WARN,
    "Deliveries suspended",
    "Nothing is delivered to a domain, route or provider, for an account, or from a source, until it is resumed",
    "id account_name reason due",
)
RESUMED = EventKind("delivery.resumed", Level.INFO, "Deliveries resumed", "What was suspended is delivered again", "id")
SLOWED = EventKind(
    "delivery.slowed",
    Level.WARN,
    "Deliveries slowed",
    "A provider complained and is given less for a time",
    "id rule reason value due",
)
RATE_LIMIT_EXCEEDED = EventKind(
    "delivery.rate-limit-exceeded",
    Level.WARN,
    "Rate limit reached",
    "Mail waits until a rate or a daily cap lets it go",
    "id limit next_retry",
)
CONCURRENCY_LIMIT_EXCEEDED = EventKind(
    "delivery.concurrency-limit-exceeded",
    Level.WARN,
    "Concurrency limit reached",
    "As many deliveries run as may; mail waits for one of them to end",
    "id limit",
)
SMARTHOST_ASIDE = EventKind(
    "delivery.smarthost-aside",
    Level.WARN,
    "Smarthost set aside",
    "A host of a route failed; the route's other hosts are tried before it for a while",
    "id total due",
)
SMARTHOST_BACK = EventKind(
    "delivery.smarthost-back", Level.INFO, "Smarthost back", "A host that was set aside takes mail again", "id"
)
SMARTHOST_SPENT = EventKind(
    "delivery.smarthost-spent",
    Level.WARN,
    "Budget of a smarthost spent",
    "A host of a route has had its messages of the hour or the day",
    "id due",
)
SOURCE_FAILED = EventKind(
    "delivery.source-failed",
    Level.WARN,
    "Source cannot be used",
    "No connection can be made from the source's address",
    "id local_ip reason",
)
DOUBLE_BOUNCE = EventKind(
    "delivery.double-bounce",
    Level.INFO,
    "Double bounce",
    "A delivery status notification could not be delivered",
    "queue_id to",
)
DSN_SUCCESS = EventKind(
    "delivery.dsn-success",
    Level.INFO,
    "DSN: success",
    "A recipient was reported as delivered",
    "queue_id to hostname code details",
)
DSN_TEMP_FAIL = EventKind(
    "delivery.dsn-temp-fail",
    Level.INFO,
    "DSN: delay",
    "A recipient was reported as delayed",
    "queue_id to hostname code details next_retry expires total class_ rule",
)
DSN_PERM_FAIL = EventKind(
    "delivery.dsn-perm-fail",
    Level.INFO,
    "DSN: failure",
    "A recipient was reported as failed",
    "queue_id to hostname code details class_ rule",
)

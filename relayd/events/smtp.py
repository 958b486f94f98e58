"""An SMTP or LMTP session as a server (control-api family `smtp`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

CONNECTION_START = EventKind(
    "smtp.connection-start",
    Level.DEBUG,
    "SMTP connection started",
    "A new SMTP connection was started",
    "listener_id local_port remote_ip remote_port",
)
CONNECTION_END = EventKind(
    "smtp.connection-end", Level.DEBUG, "SMTP connection ended", "The SMTP connection was closed", "elapsed"
)
ERROR = EventKind(
    "smtp.error", Level.DEBUG, "SMTP error", "The session ended with a protocol or network error", "reason"
)
CONCURRENCY_LIMIT_EXCEEDED = EventKind(
    "smtp.concurrency-limit-exceeded",
    Level.INFO,
    "Too many connections",
    "A connection was refused, the limit is reached",
    "limit remote_ip",
)
RATE_LIMIT_EXCEEDED = EventKind(
    "smtp.rate-limit-exceeded", Level.INFO, "Rate limit exceeded", "The client is over its rate", "limit"
)
TIME_LIMIT_EXCEEDED = EventKind(
    "smtp.time-limit-exceeded", Level.INFO, "Session too slow", "The session ran into a time limit", "reason"
)
MESSAGE_PARSE_FAILED = EventKind(
    "smtp.message-parse-failed",
    Level.INFO,
    "Message not well formed",
    "The message was refused, it breaks the rules of transport",
    "reason queue_id",
)
MESSAGE_TOO_LARGE = EventKind(
    "smtp.message-too-large", Level.INFO, "Message too large", "The message is over the size limit", "size limit"
)
LOOP_DETECTED = EventKind(
    "smtp.loop-detected",
    Level.INFO,
    "Mail loop detected",
    "The message has passed too many hosts, or this one too often",
    "total limit",
)
TOO_MANY_MESSAGES = EventKind(
    "smtp.too-many-messages",
    Level.INFO,
    "Too many messages in a session",
    "The session has sent as many messages as it may",
    "limit",
)
EHLO = EventKind("smtp.ehlo", Level.INFO, "SMTP EHLO command", "The remote server sent an EHLO command", "domain")
HELO = EventKind("smtp.helo", Level.INFO, "SMTP HELO command", "The remote server sent a HELO command", "domain")
INVALID_EHLO = EventKind(
    "smtp.invalid-ehlo",
    Level.INFO,
    "Invalid EHLO argument",
    "The remote server sent an EHLO argument that is not acceptable",
    "domain",
)
DID_NOT_SAY_EHLO = EventKind(
    "smtp.did-not-say-ehlo", Level.DEBUG, "No EHLO yet", "The remote server sent a command before EHLO", ""
)
EHLO_EXPECTED = EventKind("smtp.ehlo-expected", Level.DEBUG, "EHLO expected", "LHLO was sent to an SMTP listener", "")
LHLO_EXPECTED = EventKind(
    "smtp.lhlo-expected", Level.DEBUG, "LHLO expected", "EHLO or HELO was sent to an LMTP listener", ""
)
MAIL_FROM = EventKind(
    "smtp.mail-from", Level.INFO, "SMTP MAIL FROM command", "The remote server sent a MAIL FROM command", "from_ size"
)
MAIL_FROM_UNAUTHENTICATED = EventKind(
    "smtp.mail-from-unauthenticated",
    Level.DEBUG,
    "Authentication required",
    "MAIL FROM before AUTH on a submission listener",
    "from_",
)
MAIL_FROM_UNAUTHORIZED = EventKind(
    "smtp.mail-from-unauthorized",
    Level.DEBUG,
    "Sender not allowed for the account",
    "The account may not use this return path",
    "from_ account_name reason",
)
AUTHOR_UNAUTHORIZED = EventKind(
    "smtp.author-unauthorized",
    Level.INFO,
    "Author not allowed for the account",
    "From names somebody whom the account may not write as",
    "from_ account_name queue_id",
)
MAIL_FROM_NOT_ALLOWED = EventKind(
    "smtp.mail-from-not-allowed", Level.DEBUG, "Sender refused", "The return path is refused by a rule", "from_ id"
)
MAIL_FROM_REWRITTEN = EventKind(
    "smtp.mail-from-rewritten", Level.DEBUG, "Return path rewritten", "A rule replaced the return path", "from_ to id"
)
MAIL_FROM_MISSING = EventKind(
    "smtp.mail-from-missing", Level.DEBUG, "MAIL FROM missing", "RCPT or DATA came before MAIL FROM", ""
)
MULTIPLE_MAIL_FROM = EventKind(
    "smtp.multiple-mail-from", Level.DEBUG, "Second MAIL FROM", "MAIL FROM came inside a transaction", ""
)
MAILBOX_DOES_NOT_EXIST = EventKind(
    "smtp.mailbox-does-not-exist", Level.INFO, "Mailbox does not exist", "The recipient is not known", "to"
)
RELAY_NOT_ALLOWED = EventKind(
    "smtp.relay-not-allowed", Level.INFO, "Relay not allowed", "The client may not send to this domain through us", "to"
)
RCPT_TO = EventKind(
    "smtp.rcpt-to", Level.INFO, "SMTP RCPT TO command", "The remote server sent an RCPT TO command", "to"
)
RCPT_TO_DUPLICATE = EventKind(
    "smtp.rcpt-to-duplicate", Level.DEBUG, "Duplicate recipient", "The recipient was already given", "to"
)
RCPT_TO_REWRITTEN = EventKind(
    "smtp.rcpt-to-rewritten", Level.DEBUG, "Recipient rewritten", "A rule replaced the recipient", "to from_ id"
)
RCPT_TO_MISSING = EventKind(
    "smtp.rcpt-to-missing", Level.DEBUG, "RCPT TO missing", "DATA came before any accepted recipient", ""
)
RCPT_TO_UNKNOWN = EventKind(
    "smtp.rcpt-to-unknown",
    Level.WARN,
    "Recipient cannot be looked up",
    "The directory could not say whose the address is",
    "to reason",
)
RCPT_TO_REJECTED = EventKind(
    "smtp.rcpt-to-rejected", Level.INFO, "Recipient refused", "The recipient was refused", "to code reason"
)
TOO_MANY_RECIPIENTS = EventKind(
    "smtp.too-many-recipients",
    Level.INFO,
    "Too many recipients",
    "The transaction has as many recipients as it may",
    "limit to",
)
TOO_MANY_INVALID_RCPT = EventKind(
    "smtp.too-many-invalid-rcpt",
    Level.INFO,
    "Too many errors",
    "The session was closed, it made too many errors",
    "limit",
)
ACCESS_RULE = EventKind(
    "smtp.access-rule", Level.INFO, "Access rule applied", "A rule of the access table matched", "id policy reason"
)
SPF_EHLO_PASS = EventKind(
    "smtp.spf-ehlo-pass", Level.INFO, "SPF EHLO check passed", "EHLO identity passed SPF check", "domain result elapsed"
)
SPF_EHLO_FAIL = EventKind(
    "smtp.spf-ehlo-fail", Level.INFO, "SPF EHLO check failed", "EHLO identity failed SPF check", "domain result elapsed"
)
IPREV_PASS = EventKind(
    "smtp.iprev-pass", Level.INFO, "IPREV check passed", "Reverse IP check passed", "domain result elapsed"
)
IPREV_FAIL = EventKind(
    "smtp.iprev-fail", Level.INFO, "IPREV check failed", "Reverse IP check failed", "domain result elapsed"
)
SPF_FROM_PASS = EventKind(
    "smtp.spf-from-pass",
    Level.INFO,
    "SPF From check passed",
    "MAIL FROM identity passed SPF check",
    "domain result elapsed",
)
SPF_FROM_FAIL = EventKind(
    "smtp.spf-from-fail",
    Level.INFO,
    "SPF From check failed",
    "MAIL FROM identity failed SPF check",
    "domain result elapsed",
)
DKIM_PASS = EventKind(
    "smtp.dkim-pass", Level.INFO, "DKIM verification passed", "Successful DKIM verification", "strict result elapsed"
)
DKIM_FAIL = EventKind(
    "smtp.dkim-fail", Level.INFO, "DKIM verification failed", "Failed to verify DKIM signature", "strict result elapsed"
)
ARC_PASS = EventKind(
    "smtp.arc-pass", Level.INFO, "ARC verification passed", "Successful ARC verification", "strict result elapsed"
)
ARC_FAIL = EventKind(
    "smtp.arc-fail", Level.INFO, "ARC verification failed", "Failed to verify ARC chain", "strict result elapsed"
)
DMARC_PASS = EventKind(
    "smtp.dmarc-pass",
    Level.INFO,
    "DMARC check passed",
    "Successful DMARC policy verification",
    "strict domain policy result elapsed",
)
DMARC_FAIL = EventKind(
    "smtp.dmarc-fail",
    Level.INFO,
    "DMARC check failed",
    "Failed to verify DMARC policy",
    "strict domain policy result elapsed",
)
AUTH_VERDICT = EventKind(
    "smtp.auth-verdict",
    Level.INFO,
    "Verdict on who sent the message",
    "What the checks found decides what becomes of the message",
    "policy reason code queue_id",
)
RAW_INPUT = EventKind(
    "smtp.raw-input",
    Level.TRACE,
    "SMTP raw input",
    "A command line came, of content the size alone, nothing of what signs in. Stated while somebody asks for it",
    "size contents",
    on_demand=True,
)
RAW_OUTPUT = EventKind(
    "smtp.raw-output",
    Level.TRACE,
    "SMTP raw output",
    "Replies were sent. Stated while somebody asks for it",
    "size contents",
    on_demand=True,
)
VRFY = EventKind("smtp.vrfy", Level.INFO, "SMTP VRFY command", "The remote server sent a VRFY command", "to")
VRFY_DISABLED = EventKind("smtp.vrfy-disabled", Level.INFO, "VRFY refused", "VRFY is not offered to this session", "")
VRFY_NOT_FOUND = EventKind(
    "smtp.vrfy-not-found", Level.INFO, "VRFY found nobody", "The address that VRFY named is nobody's", "to"
)
EXPN = EventKind("smtp.expn", Level.INFO, "SMTP EXPN command", "The remote server sent an EXPN command", "to")
EXPN_NOT_FOUND = EventKind(
    "smtp.expn-not-found", Level.INFO, "EXPN found nobody", "The address that EXPN named is no list", "to"
)
EXPN_DISABLED = EventKind("smtp.expn-disabled", Level.INFO, "EXPN refused", "EXPN is not offered to this session", "")
DSN_DISABLED = EventKind(
    "smtp.dsn-disabled", Level.DEBUG, "DSN not offered", "A DSN parameter was sent to which it is not offered", ""
)
REQUIRE_TLS_DISABLED = EventKind(
    "smtp.require-tls-disabled",
    Level.DEBUG,
    "REQUIRETLS not offered",
    "REQUIRETLS was sent to a session without TLS",
    "",
)
FUTURE_RELEASE_DISABLED = EventKind(
    "smtp.future-release-disabled",
    Level.DEBUG,
    "FUTURERELEASE not offered",
    "A parameter of FUTURERELEASE was sent to which it is not offered",
    "",
)
FUTURE_RELEASE_INVALID = EventKind(
    "smtp.future-release-invalid", Level.DEBUG, "Bad future release", "The time of release is bad or too far away", ""
)
DELIVER_BY_DISABLED = EventKind(
    "smtp.deliver-by-disabled", Level.DEBUG, "DELIVERBY not offered", "BY was sent to which it is not offered", ""
)
DELIVER_BY_INVALID = EventKind("smtp.deliver-by-invalid", Level.DEBUG, "Bad BY", "The time to deliver by is bad", "")
MT_PRIORITY_DISABLED = EventKind(
    "smtp.mt-priority-disabled",
    Level.DEBUG,
    "MT-PRIORITY not offered",
    "MT-PRIORITY was sent to which it is not offered",
    "",
)
MT_PRIORITY_INVALID = EventKind(
    "smtp.mt-priority-invalid", Level.DEBUG, "Bad MT-PRIORITY", "The priority is none from -9 to 9", ""
)
AUTH_NOT_ALLOWED = EventKind(
    "smtp.auth-not-allowed", Level.INFO, "AUTH not allowed", "AUTH is not offered to this session", "reason"
)
AUTH_MECHANISM_NOT_SUPPORTED = EventKind(
    "smtp.auth-mechanism-not-supported",
    Level.INFO,
    "AUTH mechanism not supported",
    "The mechanism is not offered",
    "type_",
)
AUTH_EXCHANGE_TOO_LONG = EventKind(
    "smtp.auth-exchange-too-long", Level.DEBUG, "AUTH exchange too long", "The AUTH exchange is over its limit", "limit"
)
ALREADY_AUTHENTICATED = EventKind(
    "smtp.already-authenticated", Level.DEBUG, "Already authenticated", "A second AUTH in the session", ""
)
NOOP = EventKind("smtp.noop", Level.DEBUG, "SMTP NOOP command", "The remote server sent a NOOP command", "")
START_TLS = EventKind("smtp.start-tls", Level.DEBUG, "SMTP STARTTLS command", "TLS was started", "version details")
START_TLS_UNAVAILABLE = EventKind(
    "smtp.start-tls-unavailable", Level.DEBUG, "STARTTLS not available", "STARTTLS is not offered here", ""
)
START_TLS_ALREADY = EventKind(
    "smtp.start-tls-already", Level.DEBUG, "TLS already active", "A second STARTTLS in the session", ""
)
RSET = EventKind("smtp.rset", Level.DEBUG, "SMTP RSET command", "The remote server sent a RSET command", "")
QUIT = EventKind("smtp.quit", Level.DEBUG, "SMTP QUIT command", "The remote server sent a QUIT command", "")
HELP = EventKind("smtp.help", Level.DEBUG, "SMTP HELP command", "The remote server sent a HELP command", "")
XCLIENT = EventKind(
    "smtp.xclient", Level.INFO, "XCLIENT command", "A trusted host told the real client", "remote_ip domain"
)
COMMAND_NOT_IMPLEMENTED = EventKind(
    "smtp.command-not-implemented",
    Level.DEBUG,
    "Command not implemented",
    "The command is known but not offered",
    "contents",
)
INVALID_COMMAND = EventKind(
    "smtp.invalid-command", Level.DEBUG, "Invalid command", "The command is not known", "contents"
)
INVALID_SENDER_ADDRESS = EventKind(
    "smtp.invalid-sender-address",
    Level.DEBUG,
    "Invalid sender address",
    "The return path does not follow the grammar",
    "from_ reason",
)
INVALID_RECIPIENT_ADDRESS = EventKind(
    "smtp.invalid-recipient-address",
    Level.DEBUG,
    "Invalid recipient address",
    "The recipient does not follow the grammar",
    "to reason",
)
INVALID_PARAMETER = EventKind(
    "smtp.invalid-parameter",
    Level.DEBUG,
    "Invalid parameter",
    "A parameter of MAIL or RCPT has a bad value",
    "key value",
)
UNSUPPORTED_PARAMETER = EventKind(
    "smtp.unsupported-parameter",
    Level.DEBUG,
    "Unsupported parameter",
    "A parameter of MAIL or RCPT is not offered",
    "key",
)
SYNTAX_ERROR = EventKind(
    "smtp.syntax-error", Level.DEBUG, "Syntax error", "The command does not follow the grammar", "contents"
)
REQUEST_TOO_LARGE = EventKind(
    "smtp.request-too-large", Level.INFO, "Line too long", "A command line is over its limit", "limit"
)
UNAUTHORIZED_PIPELINING = EventKind(
    "smtp.unauthorized-pipelining",
    Level.INFO,
    "Unauthorised pipelining",
    "The client sent data before it was its turn",
    "reason",
)
SMUGGLING_ATTEMPT = EventKind(
    "smtp.smuggling-attempt",
    Level.INFO,
    "Bare newline or NUL refused",
    "The message has a line end that other servers may take for the end of data",
    "reason",
)
HANDLER_ERROR = EventKind(
    "smtp.handler-error",
    Level.ERROR,
    "Internal error in a session",
    "A bug or a failing part; the client was told to come back",
    "reason",
)
PLUGIN_ERROR = EventKind(
    "smtp.plugin-error",
    Level.ERROR,
    "A plug-in failed",
    "The plug-in raised an exception; the client was told to come back",
    "id reason",
)
RCPT_TO_GREYLISTED = EventKind(
    "smtp.rcpt-to-greylisted",
    Level.INFO,
    "Recipient greylisted",
    "The remote host is new here and is asked to come again",
    "to from_ next_retry",
)
HELD_UP = EventKind(
    "smtp.held-up", Level.DEBUG, "Answer held up", "A host that asks for names waits for the answer", "elapsed total"
)

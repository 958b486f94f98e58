"""The entry points: `relayd`, and the names `sendmail` and `mailq` under which it also answers."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from relayd import __version__
from relayd.cli.failure import SOFTWARE, USAGE, Failure

if TYPE_CHECKING:
    import click

VERBS = {
    "serve": ("relayd.cli.serve:serve", "Run the relay."),
    "check": ("relayd.cli.check:check", "Validate the configuration; --live looks at the machine too."),
    "try": ("relayd.cli.trial:trial", "A whole relay in one terminal, with a sink as the next hop."),
    "send": ("relayd.cli.send:send", "Hand in a message."),
    "explain": ("relayd.cli.explain:explain", "Which way mail goes, or what is found out about a message."),
    "queue": ("relayd.cli.queue:queue", "Show and steer the queue."),
    "dkim": ("relayd.cli.dkim:dkim", "Create, publish, check and rotate signing keys."),
    "account": ("relayd.cli.account:account", "Accounts, their passwords, app passwords and one-time codes."),
    "domain": ("relayd.cli.domain:domain", "Local domains and the DNS records to publish."),
    "list": ("relayd.cli.membership:mailing_list", "Mailing lists and their members."),
    "group": ("relayd.cli.membership:group", "Groups and their members."),
    "role": ("relayd.cli.membership:role", "Roles: permissions under a name."),
    "tenant": ("relayd.cli.membership:tenant", "Tenants, whose accounts and domains are kept apart."),
    "settings": ("relayd.cli.settings:settings", "Show and change settings."),
    "reload": ("relayd.cli.reload:reload", "Put a changed configuration in force."),
    "message": ("relayd.cli.message:message", "Read queued mail; show what became of messages."),
    "log": ("relayd.cli.log:log", "Show the daemon's log."),
    "events": ("relayd.cli.events:events", "Every event there is."),
    "forget": ("relayd.cli.forget:forget", "Overwrite an address in traces, history and logs."),
    "quota": ("relayd.cli.quota:quota", "Show what an account, domain or tenant sent and may send."),
    "quarantine": ("relayd.cli.quarantine:quarantine", "Show and decide about held mail."),
    "greylist": ("relayd.cli.strangers:greylist", "Show and reset what greylisting remembers."),
    "reputation": ("relayd.cli.strangers:reputation", "Show and reset the records of senders."),
    "bans": ("relayd.cli.bans:bans", "Show and lift bans."),
    "spam": ("relayd.cli.spam:spam", "What the spam filter says, what it learns, and its rules."),
    "tls": ("relayd.cli.tls:tls", "What is known of the TLS of hosts, and results by domain."),
    "suppression": ("relayd.cli.suppression:suppression", "Recipients that are not sent to."),
    "webhook": ("relayd.cli.webhook:webhook", "Show, replay and test webhooks."),
    "api": ("relayd.cli.api:api", "Carry out any operation of the API."),
    "backup": ("relayd.cli.backup:backup", "Copy the running relay's data."),
}
"""Each verb: where it is, and its line in the help."""


def main(arguments: Sequence[str] | None = None, name: str | None = None) -> int:
    """Run the command line; the exit code.  name: what the program was called, argv[0] by default."""
    called = PurePath(name if name is not None else sys.argv[0]).name
    if called == "sendmail":
        return sendmail(arguments)
    if called == "mailq":
        return mailq(arguments)
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:  # without importing anything more
        print(f"relayd {__version__}")
        return 0
    return _run(_group(), given, "relayd")


def sendmail(arguments: Sequence[str] | None = None) -> int:
    """Run as `sendmail`: a message on stdin."""
    from relayd.cli.sendmail import run

    return _guarded(lambda: run(list(sys.argv[1:] if arguments is None else arguments)), "sendmail")


def mailq(arguments: Sequence[str] | None = None) -> int:
    """Run as `mailq`: the queue in Postfix's form."""
    from relayd.cli.mailq import mailq as command

    return _run(command, list(sys.argv[1:] if arguments is None else arguments), "mailq")


def _group() -> click.Group:
    import click

    from relayd.cli.where import url_option

    class Verbs(click.Group):
        def list_commands(self, ctx: click.Context) -> list[str]:
            return list(VERBS)

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            if cmd_name not in VERBS:
                return None
            module, _, attribute = VERBS[cmd_name][0].partition(":")
            command = getattr(importlib.import_module(module), attribute)
            return command if isinstance(command, click.Command) else None

        def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            with formatter.section("Commands"):
                formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])

    @click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
    @click.version_option(__version__, message="relayd %(version)s")
    @url_option
    def relayd() -> None:
        """An SMTP relay that promises mail when it is on disk, and shows every decision."""

    return relayd


def _run(command: click.Command, arguments: list[str], name: str) -> int:
    import click

    def run() -> int:
        try:
            answer = command.main(arguments, prog_name=name, standalone_mode=False)
        except click.UsageError as error:
            error.show()
            return USAGE
        except click.Abort:
            return 130
        except click.ClickException as error:
            error.show()
            return SOFTWARE
        return answer if isinstance(answer, int) else 0

    return _guarded(run, name)


def _guarded(run: Callable[[], int], name: str) -> int:
    try:
        code = run()
        sys.stdout.flush()
        return code
    except Failure as failure:
        for line in str(failure).splitlines():
            print(f"{name}: {line}", file=sys.stderr)
        return failure.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        sys.stderr.close()
        return 0
    except Exception:  # a bug: said in full, and with the exit code that says so
        traceback.print_exc()
        return SOFTWARE

"""`gradus serve`: the submission service. One command, one folder, no other service."""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from leaderboard.submissions.bundle import TEXTS, check_text
from suite.cli import app
from suite.cli import options as o
from suite.errors import UserError, exit_code, first_line, printable
from suite.execute import devices
from suite.untrusted import Unusable

DATABASE = "GRADUS_DATABASE"
LARGEST = 2**31 - 1  # number that a database holds in a column of this kind


EXAMPLES = (
    "gradus serve --data leaderboard-data",
    "gradus serve --data leaderboard-data token 'A lab' --days 30",
    "gradus serve --data leaderboard-data audit --last 20 --json",
)
SERVICE, VERIFICATION = "The service", "Verification"

Number = Annotated[int, typer.Argument(metavar="ID", help="its number", parser=o.integer, show_default=False)]

_app = app.group("leaderboard.serve")


@dataclass(frozen=True)
class Options:
    """What the service is started with; `data`, where all is kept, is of every command."""

    data: Path
    host: str
    port: int
    max_mb: int
    per_day: int
    workers: int
    cells: int
    device: str


@_app.callback(invoke_without_command=True)
def _serve(
    context: typer.Context,
    data: Annotated[Path, o.folder("--data", "DIR", "where all is kept")] = Path("leaderboard-data"),
    host: Annotated[str, o.option("--host", "ADDRESS", "address to listen on", SERVICE)] = "127.0.0.1",
    port: Annotated[int, o.option("--port", "N", "port to listen on", SERVICE, parser=o.integer)] = 8000,
    max_mb: Annotated[int, o.option("--max-mb", "MB", "largest bundle", SERVICE, parser=o.integer)] = 512,
    per_day: Annotated[int, o.option("--per-day", "N", "uploads of a token in a day", SERVICE, parser=o.integer)] = 20,
    workers: Annotated[int, o.option("--workers", "N", "verifications at a time", VERIFICATION, parser=o.integer)] = 1,
    cells: Annotated[int, o.option("--cells", "N", "cells that each runs again", VERIFICATION, parser=o.integer)] = 10,
    device: Annotated[str, o.option("--device", "DEVICE", "auto, cpu or cuda:K", VERIFICATION)] = "cpu",
) -> int:
    """Take submissions in, verify them, and rebuild the page. A command does something else with the same folder."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--data {data} cannot be made: {error.strerror}") from None
    context.obj = Options(data, host, port, max_mb, per_day, workers, cells, device)
    return 0 if context.invoked_subcommand else _run(context.obj)


def _store(args: Options, adopt: bool = False) -> Any:
    try:
        from sqlalchemy.exc import SQLAlchemyError

        from leaderboard.service.store import Store
    except ModuleNotFoundError as error:
        raise UserError(f"the service needs {error.name}; install it with: pip install gradus[serve]") from None

    url = os.environ.get(DATABASE) or f"sqlite:///{(args.data / 'service.db').resolve()}"
    try:
        store = Store(url)
        if not adopt:
            _folders(args).check(store)
        return store
    except (SQLAlchemyError, ModuleNotFoundError) as error:
        raise UserError(f"the database cannot be opened ({first_line(error)[:200]}); see {DATABASE}") from None


def _folders(args: Options) -> Any:
    from leaderboard.service.folders import Folders

    return Folders(args.data.resolve())


def listen(host: str, port: int) -> socket.socket:
    """A socket at that address; port 0 takes a free one. Raises `UserError`."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen on {host} port {port}: {error}; choose another --host or --port") from None


def _run(args: Options) -> int:
    from leaderboard.service.app import make_app
    from leaderboard.service.http import make_server
    from leaderboard.service.queue import Queue, Settings
    from leaderboard.service.uploads import MIB, Limits

    for name in ("workers", "cells", "max_mb", "per_day"):
        if vars(args)[name] < 1:
            raise UserError(f"--{name.replace('_', '-')} must be 1 or more, got {vars(args)[name]}")
    device = devices.slots(args.device)[0]
    store, folders = _store(args), _folders(args)
    _held = folders.prepare(store)  # locked until the process ends
    settings = Settings(args.workers, ("--device", device, "--cells", str(args.cells)))
    limits = Limits(bytes=args.max_mb * MIB, per_day=args.per_day)
    app = make_app(store, folders, Queue(store, folders, settings), limits)
    with listen(args.host, args.port) as held_port:
        print(f"http://{args.host}:{held_port.getsockname()[1]}", flush=True)
        make_server(app).run(sockets=[held_port])
    return 0


@app.subcommand(_app, "token")
def _token(
    context: typer.Context,
    submitter: Annotated[str, typer.Argument(metavar="SUBMITTER", help="the name that the bundles have to have")],
    days: Annotated[float, o.option("--days", "N", "how long it is valid", parser=o.number)] = 90.0,
) -> int:
    """Make a token for a submitter, and print it once."""
    try:
        check_text("submitter", submitter, TEXTS["submitter"])
    except Unusable as error:
        raise UserError(str(error)) from None
    if not 0 < days <= 3650:
        raise UserError(f"--days must be above 0 and at most 3650, got {days:g}")
    number, secret = _store(context.obj).add_token(submitter, days)
    print(secret)
    print(f"token {number} of {submitter!r}, valid for {days:g} days; it is not shown again", file=sys.stderr)
    return 0


@app.subcommand(_app, "tokens")
def _tokens(context: typer.Context, as_json: o.Json = False) -> int:
    """List the tokens."""
    found = _store(context.obj).list_tokens()
    if as_json:
        fields = ("id", "submitter", "expires", "revoked")
        print(json.dumps([{name: getattr(token, name) for name in fields} for token in found]))
        return 0
    for token in found:
        state = f"revoked {_time(token.revoked)}" if token.revoked else f"valid until {_time(token.expires)}"
        print(printable(f"{token.id:4}  {state}  {token.submitter}"))
    return 0


@app.subcommand(_app, "revoke", ignore_unknown_options=True)  # such as -1
def _revoke(context: typer.Context, id: Number) -> int:
    """Make a token invalid."""
    if not _store(context.obj).revoke_token(_checked("ID", id)):
        raise UserError(f"there is no valid token {id}; see the command tokens")
    return 0


@app.subcommand(_app, "requeue", ignore_unknown_options=True)  # such as -1
def _requeue(context: typer.Context, id: Number) -> int:
    """Verify a submission again whose verification failed."""
    if not _store(context.obj).queue_afresh(_checked("ID", id), "asked for by the operator"):
        raise UserError(f"submission {id} has not failed, or there is none")
    return 0


@app.subcommand(_app, "audit")
def _audit(
    context: typer.Context,
    last: Annotated[int, o.option("--last", "N", "lines", parser=o.integer)] = 1000,
    as_json: o.Json = False,
) -> int:
    """Print the audit log."""
    found = _store(context.obj).history(limit=_checked("--last", last))
    if as_json:
        fields = ("time", "action", "submission", "token", "address", "detail")
        print(json.dumps([{name: getattr(line, name) for name in fields} for line in found]))
        return 0
    for line in found:
        where = " ".join(f"{k}={v}" for k in ("submission", "token", "address") if (v := getattr(line, k)))
        print(printable(f"{_time(line.time)}  {line.action}  {where}  {line.detail}".rstrip()))
    return 0


@app.subcommand(_app, "adopt")
def _adopt(context: typer.Context) -> int:
    """Let the database and the folder belong together from now on."""
    _folders(context.obj).adopt(_store(context.obj, adopt=True))
    return 0


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _checked(name: str, value: int) -> int:
    if not 1 <= value <= LARGEST:
        raise UserError(f"{name} must be between 1 and {LARGEST}, got {value}")
    return value


main = app.Main(_app, "leaderboard.serve", EXAMPLES)

if __name__ == "__main__":
    sys.exit(exit_code("leaderboard.serve", main))

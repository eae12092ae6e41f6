"""`python -m leaderboard.serve`: the submission service. One command, one folder, no other service."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from leaderboard.submissions.bundle import TEXTS, check_text
from suite.errors import UserError, exit_code, first_line, printable
from suite.execute import devices
from suite.untrusted import Unusable

DATABASE = "GRADUS_DATABASE"
LARGEST = 2**31 - 1  # number that a database holds in a column of this kind


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m leaderboard.serve", description="The submission service.")
    parser.add_argument("--data", type=Path, default=Path("leaderboard-data"), metavar="DIR", help="where all is kept")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _serve_options(parser)
    add = commands.add_parser("token", help="make a token for a submitter, and print it once")
    add.add_argument("submitter", help="the name that the submitter's bundles have to have")
    add.add_argument("--days", type=float, default=90.0, help="how long it is valid (90)")
    commands.add_parser("tokens", help="list the tokens")
    revoke = commands.add_parser("revoke", help="make a token invalid")
    revoke.add_argument("id", type=int)
    requeue = commands.add_parser("requeue", help="verify a submission again whose verification failed")
    requeue.add_argument("id", type=int)
    audit = commands.add_parser("audit", help="print the audit log")
    audit.add_argument("--last", type=int, default=1000, metavar="N", help="lines (1000)")
    commands.add_parser("adopt", help="let the database and the folder belong together from now on")
    args = parser.parse_args(argv)
    try:
        args.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--data {args.data} cannot be made: {error.strerror}") from None
    for name, value in (("a number", getattr(args, "id", 1)), ("--last", getattr(args, "last", 1))):
        if not 1 <= value <= LARGEST:
            raise UserError(f"{name} must be between 1 and {LARGEST}, got {value}")
    work = {"token": _token, "tokens": _tokens, "revoke": _revoke, "requeue": _requeue, "audit": _audit}
    return (work | {"adopt": _adopt}).get(args.command, _serve)(args)


def _serve_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (8000)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="verifications at a time (1)")
    parser.add_argument("--device", default="cpu", help="what they run on: auto, cpu or cuda:K (cpu)")
    parser.add_argument("--cells", type=int, default=10, metavar="N", help="cells that each runs again (10)")
    parser.add_argument("--max-mb", type=int, default=512, metavar="MB", help="largest bundle (512)")
    parser.add_argument("--per-day", type=int, default=20, metavar="N", help="uploads of a token in a day (20)")


def _store(args: argparse.Namespace) -> Any:
    try:
        from sqlalchemy.exc import SQLAlchemyError

        from leaderboard.service.store import Store
    except ModuleNotFoundError as error:
        raise UserError(f"the service needs {error.name}; install it with: pip install gradus[serve]") from None

    url = os.environ.get(DATABASE) or f"sqlite:///{(args.data / 'service.db').resolve()}"
    try:
        store = Store(url)
        if args.command != "adopt":
            _folders(args).check(store)
        return store
    except (SQLAlchemyError, ModuleNotFoundError) as error:
        raise UserError(f"the database cannot be opened ({first_line(error)[:200]}); see {DATABASE}") from None


def _folders(args: argparse.Namespace) -> Any:
    from leaderboard.service.folders import Folders

    return Folders(args.data.resolve())


def listen(host: str, port: int) -> socket.socket:
    """A socket at that address; port 0 takes a free one. Raises `UserError`."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen on {host} port {port}: {error}; choose another --host or --port") from None


def _serve(args: argparse.Namespace) -> int:
    from leaderboard.service.app import make_app
    from leaderboard.service.http import make_server
    from leaderboard.service.queue import Queue, Settings
    from leaderboard.service.uploads import MIB, Limits

    for name in ("workers", "cells", "max_mb", "per_day"):
        if vars(args)[name] < 1:
            raise UserError(f"--{name.replace('_', '-')} must be 1 or more, got {vars(args)[name]}")
    device = devices.slots(args.device)[0]
    store, folders = _store(args), _folders(args)
    held = folders.prepare(store)  # noqa: F841 (locked until the process ends)
    settings = Settings(args.workers, ("--device", device, "--cells", str(args.cells)))
    limits = Limits(bytes=args.max_mb * MIB, per_day=args.per_day)
    app = make_app(store, folders, Queue(store, folders, settings), limits)
    with listen(args.host, args.port) as held_port:
        print(f"http://{args.host}:{held_port.getsockname()[1]}", flush=True)
        make_server(app).run(sockets=[held_port])
    return 0


def _token(args: argparse.Namespace) -> int:
    try:
        check_text("submitter", args.submitter, TEXTS["submitter"])
    except Unusable as error:
        raise UserError(str(error)) from None
    if not 0 < args.days <= 3650:
        raise UserError(f"--days must be above 0 and at most 3650, got {args.days:g}")
    number, secret = _store(args).add_token(args.submitter, args.days)
    print(secret)
    print(f"token {number} of {args.submitter!r}, valid for {args.days:g} days; it is not shown again", file=sys.stderr)
    return 0


def _tokens(args: argparse.Namespace) -> int:
    for token in _store(args).list_tokens():
        state = f"revoked {_time(token.revoked)}" if token.revoked else f"valid until {_time(token.expires)}"
        print(printable(f"{token.id:4}  {state}  {token.submitter}"))
    return 0


def _revoke(args: argparse.Namespace) -> int:
    if not _store(args).revoke_token(args.id):
        raise UserError(f"there is no valid token {args.id}; see the command tokens")
    return 0


def _requeue(args: argparse.Namespace) -> int:
    if not _store(args).queue_afresh(args.id, "asked for by the operator"):
        raise UserError(f"submission {args.id} has not failed, or there is none")
    return 0


def _audit(args: argparse.Namespace) -> int:
    for line in _store(args).history(limit=args.last):
        where = " ".join(f"{k}={v}" for k in ("submission", "token", "address") if (v := getattr(line, k)))
        print(printable(f"{_time(line.time)}  {line.action}  {where}  {line.detail}".rstrip()))
    return 0


def _adopt(args: argparse.Namespace) -> int:
    _folders(args).adopt(_store(args))
    return 0


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(exit_code("leaderboard.serve", main))

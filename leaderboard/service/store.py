"""What the service remembers: tokens, submissions, accepted runs and the audit log, in SQLite or PostgreSQL.

Every value reaches the database as a bound parameter. Times are seconds since 1970, UTC.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from suite.errors import printable

AnyRow = Row[*tuple[Any, ...]]

STATES = ("queued", "verifying", "accepted", "refused", "failed")
PREFIX = "gradus_"

_meta = MetaData()
tokens = Table(
    "tokens",
    _meta,
    Column("id", Integer, primary_key=True),
    Column("submitter", String(64), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("revoked", BigInteger),
)
submissions = Table(
    "submissions",
    _meta,
    Column("id", Integer, primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
    Column("token", ForeignKey("tokens.id"), nullable=False),
    Column("submitter", String(64), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("reason", Text, nullable=False, default=""),
    Column("title", String(120), nullable=False, default=""),
    Column("division", String(16), nullable=False, default=""),
    Column("attempts", Integer, nullable=False, default=0),
    Column("created", BigInteger, nullable=False),
    Column("decided", BigInteger),
)
runs = Table(
    "runs",
    _meta,
    Column("submission", ForeignKey("submissions.id"), nullable=False),
    Column("name", String(400), nullable=False),
    Column("episodes_sha256", String(64), nullable=False, index=True),
)
contents = Table(  # `runs` has the hashes of files, which another writer of the same values changes
    "contents",
    _meta,
    Column("submission", ForeignKey("submissions.id"), nullable=False),
    Column("name", String(400), nullable=False),
    Column("content", String(80), nullable=False, index=True),
)
audit = Table(
    "audit",
    _meta,
    Column("id", Integer, primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("action", String(32), nullable=False),
    Column("submission", Integer),
    Column("token", Integer),
    Column("address", String(64), nullable=False, default=""),
    Column("detail", Text, nullable=False, default=""),
    Index("audit_by_submission", "submission"),
)
service = Table("service", _meta, Column("name", String(32), primary_key=True), Column("value", String(64)))


@dataclass(frozen=True)
class Token:
    """Who may upload. `refused` says why not, where the token is no longer valid."""

    id: int
    submitter: str
    refused: str = ""


class Duplicate(Exception):
    """The bundle was submitted before."""

    def __init__(self, submission: int) -> None:
        """`submission` is the id of the earlier one."""
        super().__init__(f"this bundle is submission {submission} already")
        self.submission = submission


class Away(Exception):
    """The database cannot be reached now."""


class Store:
    """One database. Every method is one transaction, and may be called from any thread."""

    def __init__(self, url: str) -> None:
        """Open the database and create its tables if there are none. Raises `sqlalchemy.exc.SQLAlchemyError`."""
        self._engine: Engine = create_engine(url, pool_pre_ping=True)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _set_up_sqlite)
        _meta.create_all(self._engine)
        self._file = _file_of(self._engine)
        with suppress(IntegrityError), self._engine.begin() as db:  # where another process was faster
            if db.execute(select(service).where(service.c.name == "identity")).first() is None:
                db.execute(service.insert().values(name="identity", value=secrets.token_hex(16)))

    @property
    def identity(self) -> str:
        """The database's own name, drawn when it was made."""
        return self._value("identity")

    @property
    def folder(self) -> str:
        """The identity of the folder that the database belongs to; empty before the first service."""
        return self._value("folder")

    def bind(self, folder: str) -> None:
        """Bind the database to the folder of that identity."""
        with self._engine.begin() as db:
            db.execute(service.delete().where(service.c.name == "folder"))
            db.execute(service.insert().values(name="folder", value=folder))

    def _value(self, name: str) -> str:
        with self._engine.connect() as db:
            return db.execute(select(service.c.value).where(service.c.name == name)).scalar_one_or_none() or ""

    def check(self) -> None:
        """Raise `Away` if the database cannot be asked, or its file is no longer where it was."""
        try:
            if _file_of(self._engine) != self._file:
                raise Away("the database's file was moved or replaced")
            with self._engine.connect() as db:
                db.execute(select(submissions.c.id).limit(1))
        except SQLAlchemyError as error:
            raise Away("the database does not answer") from error

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def add_token(self, submitter: str, days: float) -> tuple[int, str]:
        """A new token's id and text; only the text's hash is kept."""
        secret = PREFIX + secrets.token_urlsafe(32)
        now = int(time.time())
        with self._engine.begin() as db:
            row = tokens.insert().values(
                submitter=submitter, sha256=_hash(secret), created=now, expires=now + int(days * 86400)
            )
            number = db.execute(row.returning(tokens.c.id)).scalar_one()
            _log(db, "token added", token=number, detail=submitter)
        return number, secret

    def revoke_token(self, number: int) -> bool:
        """Make a token invalid from now on; False if there is none of that id, or it was revoked before."""
        with self._engine.begin() as db:
            change = tokens.update().where(tokens.c.id == number, tokens.c.revoked.is_(None))
            if not db.execute(change.values(revoked=int(time.time()))).rowcount:
                return False
            _log(db, "token revoked", token=number)
        return True

    def list_tokens(self) -> Sequence[AnyRow]:
        """All tokens, without their hashes."""
        columns = [column for column in tokens.c if column.name != "sha256"]
        with self._engine.connect() as db:
            return db.execute(select(*columns).order_by(tokens.c.id)).all()

    def token(self, secret: str) -> Token | None:
        """The token with this text, or None. It is found by its hash, so comparing takes no telling time."""
        with self._engine.connect() as db:
            row = db.execute(select(tokens).where(tokens.c.sha256 == _hash(secret))).first()
        if row is None:
            return None
        if row.revoked is not None:
            return Token(row.id, row.submitter, "the token was revoked")
        if row.expires <= time.time():
            return Token(row.id, row.submitter, "the token has expired")
        return Token(row.id, row.submitter)

    def add(self, sha256: str, size: int, token: Token, address: str) -> int:
        """Queue a submission; returns its id. Raises `Duplicate` if there is one of the same hash, and `Away`."""
        self.check()
        try:
            with self._engine.begin() as db:
                row = submissions.insert().values(
                    sha256=sha256,
                    size=size,
                    token=token.id,
                    submitter=token.submitter,
                    state="queued",
                    created=int(time.time()),
                )
                number = db.execute(row.returning(submissions.c.id)).scalar_one()
                _log(db, "submitted", number, token.id, address, f"{size} bytes, sha256 {sha256}")
        except IntegrityError:
            with self._engine.connect() as db:
                found = db.execute(select(submissions.c.id).where(submissions.c.sha256 == sha256)).scalar_one()
            raise Duplicate(found) from None
        return number

    def uploads_since(self, token: int, seconds: float) -> int:
        """How many uploads a token began in the last `seconds`, failed ones included."""
        now = time.time()
        recent = audit.c.time.between(
            int(now - seconds) + 1, int(now) + 60
        )  # not what a wrong clock put into the future
        query = select(func.count()).where(audit.c.token == token, audit.c.action == "upload", recent)
        with self._engine.connect() as db:
            return db.execute(query).scalar_one()

    def waiting(self, token: int) -> int:
        """How many submissions of a token are not decided yet."""
        open_ones = submissions.c.state.in_(("queued", "verifying"))
        query = select(func.count()).select_from(submissions).where(submissions.c.token == token, open_ones)
        with self._engine.connect() as db:
            return db.execute(query).scalar_one()

    def get(self, number: int) -> AnyRow | None:
        """One submission, or None."""
        with self._engine.connect() as db:
            return db.execute(select(submissions).where(submissions.c.id == number)).first()

    def list(
        self, state: str | None = None, submitter: str | None = None, limit: int = 50, offset: int = 0
    ) -> tuple[Sequence[AnyRow], int]:
        """Submissions, newest first, and how many there are in all."""
        wanted = [submissions.c.state == state] if state else []
        wanted += [submissions.c.submitter == submitter] if submitter else []
        with self._engine.connect() as db:
            total = db.execute(select(func.count()).select_from(submissions).where(*wanted)).scalar_one()
            query = select(submissions).where(*wanted).order_by(submissions.c.id.desc()).limit(limit).offset(offset)
            return db.execute(query).all(), total

    def of_state(self, state: str) -> Sequence[AnyRow]:
        """All submissions in a state, oldest first."""
        with self._engine.connect() as db:
            query = select(submissions).where(submissions.c.state == state).order_by(submissions.c.id)
            return db.execute(query).all()

    def hashes(self) -> set[str]:
        """Hashes of all bundles."""
        with self._engine.connect() as db:
            return set(db.execute(select(submissions.c.sha256)).scalars())

    def resume(self) -> int:
        """Queue again what was being verified when the service ended; returns how many."""
        with self._engine.begin() as db:
            found = db.execute(select(submissions.c.id).where(submissions.c.state == "verifying")).scalars().all()
            db.execute(submissions.update().where(submissions.c.id.in_(found)).values(state="queued"))
            for number in found:
                _log(db, "queued again", number, detail="the service was stopped while it was verified")
        return len(found)

    def claim(self) -> AnyRow | None:
        """The oldest queued submission, now `verifying`, or None."""
        with self._engine.begin() as db:
            oldest = select(submissions).where(submissions.c.state == "queued").order_by(submissions.c.id).limit(1)
            if (row := db.execute(oldest).first()) is None:
                return None
            change = submissions.update().where(submissions.c.id == row.id, submissions.c.state == "queued")
            if not db.execute(change.values(state="verifying", attempts=row.attempts + 1)).rowcount:
                return None
            _log(db, "verification started", row.id, detail=f"try {row.attempts + 1}")
        return self.get(row.id)

    def queue_again(self, number: int, why: str, states: Sequence[str] = ("verifying",)) -> bool:
        """Put a submission that is in one of `states` back into the queue; False if it is in another."""
        with self._engine.begin() as db:
            change = submissions.update().where(submissions.c.id == number, submissions.c.state.in_(states))
            if not db.execute(change.values(state="queued")).rowcount:
                return False
            _log(db, "queued again", number, detail=why)
        return True

    def queue_afresh(self, number: int, why: str) -> bool:
        """Queue a submission whose verification failed like a new one; False if it has not failed."""
        with self._engine.begin() as db:
            change = submissions.update().where(submissions.c.id == number, submissions.c.state == "failed")
            if not db.execute(change.values(state="queued", attempts=0, reason="", decided=None)).rowcount:
                return False
            _log(db, "queued again", number, detail=why)
        return True

    def decide(self, number: int, state: str, reason: str, verdict: dict[str, Any]) -> str:
        """Record a verdict; returns the state: `refused` where another submitter's accepted run has the same content.

        A submitter may send runs again, beside new ones: on the page the newest submission of an entry counts.
        """
        with self._engine.begin() as db:
            found = verdict.get("runs", ()) if state == "accepted" else ()
            known = {_content(text): run["run"] for run in found for text in run.get("contents", ())}
            # A reference policy has no content of its own; a verdict of an older version says nothing of it.
            files = {run["episodes_sha256"]: run["run"] for run in found if run.get("contents", run["env_steps"])}
            for table, column, names in ((contents, contents.c.content, known), (runs, runs.c.episodes_sha256, files)):
                mine = select(submissions.c.submitter).where(submissions.c.id == number).scalar_subquery()
                others = select(table).join(submissions, submissions.c.id == table.c.submission)
                copies = others.where(column.in_(list(names)), submissions.c.submitter != mine)
                if (copy := db.execute(copies).mappings().first()) is not None:
                    what = "policy" if copy[column].startswith("policy") else "episodes"
                    state, reason = (
                        "refused",
                        f"{names[copy[column]]} has the {what} of submission {copy['submission']}",
                    )
                    break
            else:
                for table, column, names in ((contents, "content", known), (runs, "episodes_sha256", files)):
                    if rows := [{"submission": number, "name": run, column: value} for value, run in names.items()]:
                        db.execute(table.insert(), rows)
            change = submissions.update().where(submissions.c.id == number)
            texts = {key: verdict.get(key) or "" for key in ("title", "division")}
            db.execute(change.values(state=state, reason=reason, decided=int(time.time()), **texts))
            _log(db, state, number, detail=reason)
        return state

    def log(
        self, action: str, submission: int | None = None, token: int | None = None, address: str = "", detail: str = ""
    ) -> None:
        """Add a line to the audit log."""
        with self._engine.begin() as db:
            _log(db, action, submission, token, address, detail)

    def history(self, submission: int | None = None, limit: int = 1000) -> Sequence[AnyRow]:
        """Lines of the audit log, of one submission or of all, oldest first; the last `limit` of them."""
        query = select(audit) if submission is None else select(audit).where(audit.c.submission == submission)
        with self._engine.connect() as db:
            return db.execute(query.order_by(audit.c.id.desc()).limit(limit)).all()[::-1]


def _content(text: str) -> str:
    """What of a run's content identifies it, whatever budget or engine it was evaluated with."""
    kind, *_, digest = text.split()
    return f"{kind} {digest}"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()  # 256 random bits need no slow hash


def _log(
    db: Any, action: str, submission: int | None = None, token: int | None = None, address: str = "", detail: str = ""
) -> None:
    db.execute(
        audit.insert().values(
            time=int(time.time()),
            action=action,
            submission=submission,
            token=token,
            address=printable(address[:64]),
            detail=printable(detail[:2000]),
        )
    )


def _file_of(engine: Engine) -> tuple[int, int] | None:
    """What identifies SQLite's file on the disk; None where the database is none, or has no file."""
    if engine.dialect.name != "sqlite" or not engine.url.database or engine.url.database == ":memory:":
        return None
    try:
        found = os.stat(engine.url.database)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _set_up_sqlite(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")  # what was answered with "accepted" survives a power cut
    connection.execute("PRAGMA busy_timeout=10000")
    connection.execute("PRAGMA foreign_keys=ON")

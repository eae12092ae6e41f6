"""The service's command line."""

import os
import sys

import pytest

from leaderboard import serve
from leaderboard.service.store import audit
from suite.errors import UserError


def run(tmp_path, *argv):
    return serve.main(["--data", str(tmp_path / "data"), *argv])


def test_tokens(tmp_path, capsys):
    assert run(tmp_path, "token", "A lab") == 0
    secret, note = capsys.readouterr()
    assert secret.startswith("gradus_")
    assert "token 1 of 'A lab'" in note
    assert run(tmp_path, "tokens") == 0
    listed = capsys.readouterr().out
    assert "A lab" in listed
    assert secret.strip() not in listed
    assert run(tmp_path, "revoke", "1") == 0
    run(tmp_path, "tokens")
    assert "revoked" in capsys.readouterr().out
    assert run(tmp_path, "audit") == 0
    assert [line.split("  ")[1] for line in capsys.readouterr().out.splitlines()] == ["token added", "token revoked"]
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (("token", "<b>"), "holds the character"),
        (("token", "x", "--days", "0"), "--days"),
        (("revoke", "7"), "no valid token 7"),
        (("requeue", "7"), "submission 7"),
        (("--workers", "0"), "--workers"),
        (("--device", "tpu"), "tpu"),
        (("--host", "192.0.2.1"), "cannot listen on 192.0.2.1 port 8000"),
        (("--port", "70000"), "cannot listen on 127.0.0.1 port 70000"),
    ],
)
def test_bad_input(tmp_path, argv, why):
    with pytest.raises(UserError, match=why):
        run(tmp_path, *argv)


def test_databases_that_cannot_be_opened(tmp_path, monkeypatch):
    for url in ("nonsense", "oracle9000://x", f"sqlite:///{tmp_path}/no/such/folder/x.db"):
        monkeypatch.setenv(serve.DATABASE, url)
        with pytest.raises(UserError, match="cannot be opened"):
            run(tmp_path, "tokens")
    monkeypatch.setitem(sys.modules, "sqlalchemy.exc", None)
    with pytest.raises(UserError, match=r"gradus\[serve\]"):
        run(tmp_path, "tokens")


def test_requeue(tmp_path, capsys):
    from leaderboard.service.store import Store

    (tmp_path / "data").mkdir()
    store = Store(f"sqlite:///{tmp_path / 'data' / 'service.db'}")
    number = store.add("1" * 64, 1, store.token(store.add_token("me", 1)[1]), "")
    store.decide(number, "failed", "no engine", {})
    assert run(tmp_path, "requeue", str(number)) == 0
    assert store.get(number).state == "queued"
    store.close()


def prepared(data, url=None):
    """A store and its folder after one service has come and gone."""
    from leaderboard.service.folders import Folders
    from leaderboard.service.store import Store

    data.mkdir(exist_ok=True)
    store, folders = Store(url or f"sqlite:///{data / 'service.db'}"), Folders(data)
    os.close(folders.prepare(store))
    return store, folders


def test_another_database_deletes_no_bundle(tmp_path, monkeypatch, capsys):
    data = tmp_path / "data"
    store, folders = prepared(data)
    token = store.token(store.add_token("me", 1)[1])
    store.add("1" * 64, 1, token, "")
    folders.bundle("1" * 64).write_text("the only copy")
    for name in ("new.db", "used.db"):
        url = f"sqlite:///{tmp_path / name}"
        if name == "used.db":
            other, _ = prepared(tmp_path / "other", url)
            other.close()
        monkeypatch.setenv(serve.DATABASE, url)
        for argv in ((), ("audit",), ("requeue", "1"), ("token", "you")):
            with pytest.raises(UserError, match="belongs to another database"):
                run(tmp_path, *argv)
        assert folders.bundle("1" * 64).read_text() == "the only copy"
    monkeypatch.delenv(serve.DATABASE)
    os.close(folders.prepare(store))
    assert folders.bundle("1" * 64).exists()
    monkeypatch.setenv(serve.DATABASE, f"sqlite:///{tmp_path / 'new.db'}")
    assert run(tmp_path, "adopt") == 0  # what the operator asked for; even then nothing is deleted
    prepared(data, f"sqlite:///{tmp_path / 'new.db'}")[0].close()
    assert (data / "unknown" / f"bundles-{'1' * 64}.zip").read_text() == "the only copy"
    assert "of no submission that the database knows" in capsys.readouterr().err
    store.close()


def test_bundles_of_an_older_service_are_not_taken_for_rubbish(tmp_path):
    """Folders had no identity once: an empty database is then not the one that they had."""
    bundle = tmp_path / "data" / "bundles" / f"{'1' * 64}.zip"
    bundle.parent.mkdir(parents=True)
    bundle.write_text("the only copy")
    with pytest.raises(UserError, match="has bundles, and the database has no submission"):
        run(tmp_path)
    assert bundle.exists()


def test_a_second_folder_on_one_database_is_refused(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    prepared(tmp_path / "first", url)[0].close()
    monkeypatch.setenv(serve.DATABASE, url)
    with pytest.raises(UserError, match="the database belongs to another folder"):
        run(tmp_path)


def test_hashes_are_read_after_the_folder_is_locked(tmp_path):
    """A bundle that another service takes in until then is none to be put aside."""
    from leaderboard.service.folders import Folders

    store, folders = prepared(tmp_path)
    token = store.token(store.add_token("me", 1)[1])

    class Late(type(store)):
        def hashes(self):
            with pytest.raises(UserError, match="another service"):
                Folders(tmp_path).prepare(store)
            return super().hashes()

    store.__class__ = Late
    store.add("1" * 64, 1, token, "")
    folders.bundle("1" * 64).write_text("x")
    os.close(folders.prepare(store))
    assert folders.bundle("1" * 64).exists()
    store.close()


def test_whatever_lies_in_the_folders_the_service_starts(tmp_path):
    store, folders = prepared(tmp_path)
    for name in ("incoming/folder", "bundles/folder", "verified/.verify-x", "sites/.draft", "accepted/77"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    for name in ("incoming/file", "bundles/file", "verified/.file", "sites/.file", "accepted/file"):
        (tmp_path / name).write_text("x")
    (tmp_path / "incoming" / "link").symlink_to(tmp_path / "bundles")
    os.close(folders.prepare(store))
    left = sorted(path.name for path in (tmp_path / "unknown").iterdir())
    assert left == ["accepted-77", "accepted-file", "bundles-file", "bundles-folder"]
    assert [list((tmp_path / name).iterdir()) for name in ("incoming", "bundles", "accepted")] == [[], [], []]
    store.close()


@pytest.mark.parametrize("number", [0, -1, 2**31, 10**20, 10**300])
@pytest.mark.parametrize("argv", [("revoke",), ("requeue",), ("audit", "--last")])
def test_numbers_that_no_database_holds(tmp_path, argv, number):
    with pytest.raises(UserError, match="between 1 and 2147483647"):
        run(tmp_path, *argv, str(number))


def test_what_strangers_wrote_is_printed_as_text(tmp_path, capsys):
    store, _ = prepared(tmp_path / "data")
    store.log("token refused", address="1\x1b[2J", detail="\x1b]0;title\7 line\nnext \x9b31m")
    with store._engine.begin() as db:  # as an older service wrote it
        db.execute(audit.insert().values(time=1, action="x", address="\x1b[31m", detail="\x07"))
    run(tmp_path, "audit")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    store.close()


def test_requeue_starts_from_nothing(tmp_path):
    store, _ = prepared(tmp_path / "data")
    number = store.add("1" * 64, 1, store.token(store.add_token("me", 1)[1]), "")
    for _ in range(3):
        store.claim()
        store.queue_again(number, "it died")
    store.decide(number, "failed", "no engine", {})
    assert run(tmp_path, "requeue", str(number)) == 0
    row = store.get(number)
    assert (row.state, row.reason, row.decided, row.attempts) == ("queued", "", None, 0)
    store.close()

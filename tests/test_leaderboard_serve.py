"""The service's command line."""

import sys

import pytest

from leaderboard import serve
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

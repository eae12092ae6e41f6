"""The submission service against bad guests, and against its own death."""

import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from leaderboard import submit
from leaderboard.serve import listen
from leaderboard.service import http as http_server
from leaderboard.service import queue as queue_module
from leaderboard.service.folders import Folders
from leaderboard.service.http import make_server
from leaderboard.service.queue import Queue, Settings, public
from leaderboard.service.store import Store
from leaderboard.service.uploads import Limits
from suite.errors import UserError
from tests.helpers.processes import alive, wait_until
from tests.helpers.toy_runs import copy_run, edit_episodes, rehash, win
from tests.leaderboard.test_verify import TEXTS


class Service:
    """The service in this process, with its queue standing still, and a client."""

    def __init__(self, data, limits):
        from leaderboard.service.app import make_app

        self.store, self.folders = Store(f"sqlite:///{data / 'service.db'}"), Folders(data)
        self._held = self.folders.prepare(self.store)
        self.token = self.store.add_token("me", 1)[1]
        queue = Queue(self.store, self.folders, Settings(workers=0))
        app = make_app(self.store, self.folders, queue, limits)
        self._server, listening = make_server(app), listen("127.0.0.1", 0)
        self.port = listening.getsockname()[1]
        self._thread = threading.Thread(target=self._server.run, args=([listening],))
        self._thread.start()

    def stop(self):
        self._server.should_exit = True
        self._thread.join()
        os.close(self._held)

    def get(self, path, method="GET", body=None, **headers):
        return request(self.port, path, method, body, headers)

    def upload(self, data, token=None, **headers):
        headers = {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/zip"} | headers
        status, text, _ = request(self.port, "/api/submissions", "POST", data, headers)
        return status, json.loads(text)


def request(port, path, method="GET", body=None, headers=()):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # it may answer before it has heard all
            connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return response.status, response.read().decode(), dict(response.headers)
    finally:
        connection.close()


LIMITS = Limits(bytes=10_000, per_day=1000, waiting=1000, failures=1000, at_once=4, of_one=3)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    service = Service(tmp_path_factory.mktemp("data"), LIMITS)
    yield service
    service.stop()


@pytest.fixture
def service(shared):
    yield shared
    assert not list(shared.folders.incoming.iterdir())  # whatever happened, nothing half is left
    assert {path.stem for path in (shared.folders.root / "bundles").iterdir()} == shared.store.hashes()


def zip_of(text):
    return b"PK\3\4" + text.encode()


def test_an_upload_waits_in_the_queue(service):
    status, answer = service.upload(zip_of("one"))
    assert (status, answer["state"]) == (202, "queued")
    status, text, _ = service.get(answer["status"])
    assert status == 200
    assert "It waits for its turn" in text
    assert json.loads(service.get(f"/api/submissions/{answer['submission']}")[1])["sha256"] == answer["sha256"]
    status, answer = service.upload(zip_of("one"))
    assert status == 409
    assert "already" in answer["error"]


def test_tokens(service):
    expired = service.store.add_token("late", -1)[1]
    number, revoked = service.store.add_token("bad", 1)
    assert service.store.revoke_token(number)
    assert not service.store.revoke_token(number)
    before = service.store.list()[1]
    for token, why in (
        ("gradus_foreign", "none of this"),
        (expired, "expired"),
        (revoked, "revoked"),
        ("' OR 1=1--", "none"),
    ):
        status, answer = service.upload(zip_of("x"), token)
        assert status == 401
        assert why in answer["error"]
    status, _, headers = service.get("/api/submissions", "POST", zip_of("x"))
    assert status == 401
    assert headers["www-authenticate"] == "Bearer"
    assert service.store.list()[1] == before
    database = (service.folders.root / "service.db").read_bytes() + (
        service.folders.root / "service.db-wal"
    ).read_bytes()
    assert service.token.encode() not in database
    assert [line.action for line in service.store.history()].count("token refused") >= 4


def test_what_is_no_bundle(service):
    assert service.upload(zip_of("x" * 12_000))[0] == 413
    assert service.upload(iter([zip_of("x" * 6_000), b"y" * 6_000]))[0] == 413  # chunked: no length is told
    assert service.upload(b"#!/bin/sh\n")[0] == 415
    assert service.upload(b"")[0] == 400
    assert service.upload(zip_of("x"), **{"Content-Type": "text/html"})[0] == 415


def test_an_upload_that_is_cut_half_way(service):
    def half(chunked):
        head = f"POST /api/submissions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.token}\r\n"
        head += "Content-Type: application/zip\r\n"
        head += "Transfer-Encoding: chunked\r\n\r\n6\r\n" if chunked else "Content-Length: 1000\r\n\r\n"
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(head.encode() + zip_of("xx"))
            wait_until(lambda: list(service.folders.incoming.iterdir()))

    before = service.store.list()[1]
    for chunked in (False, True):
        half(chunked)
        wait_until(lambda: not list(service.folders.incoming.iterdir()))
    assert service.store.list()[1] == before
    wait_until(lambda: [line.action for line in service.store.history()].count("upload cut off") == 2)


def test_uploads_at_once(service):
    answers = []
    threads = [
        threading.Thread(target=lambda text=text: answers.append(service.upload(zip_of(text * 1_000))[0]))
        for text in ("same", "same", "other")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [202, 202, 409]


@pytest.mark.parametrize(
    "text", ["' OR 1=1 --", "1; DROP TABLE submissions", "<script>alert(1)</script>", "\0", "x" * 65]
)
def test_query_parameters(service, text):
    before = service.store.list()
    quoted = urllib.parse.quote(text)
    for path in ("/submissions", "/api/submissions"):
        for name in ("state", "page", "submitter"):
            status, answer, _ = service.get(f"{path}?{name}={quoted}")
            assert status == (422 if name != "submitter" or len(text) > 64 or text == "\0" else 200)
            assert "<script>alert" not in answer
            if status == 200 and path.startswith("/api"):
                assert json.loads(answer)["total"] == 0
    for path in ("/submissions/", "/api/submissions/"):
        assert service.get(path + quoted)[0] in (404, 422)
    assert service.store.list() == before


def test_pages_escape_what_they_show(service):
    """Texts with markup never get this far; if one did, it would be shown and not run."""
    number = service.upload(zip_of("markup"))[1]["submission"]
    evil = "<script>alert(1)</script>"
    verdict = {"title": evil, "division": evil, "description": evil}
    service.folders.verdict(number).write_text(json.dumps(verdict))
    service.store.decide(number, "refused", evil, verdict)
    for path in ("/submissions", f"/submissions/{number}"):
        text = service.get(path)[1]
        assert evil not in text
        assert "&lt;script&gt;" in text


@pytest.mark.parametrize("path", ["/", "/submissions", "/api/submissions", "/service.css", "/nothing", "/api/nothing"])
def test_headers(service, path):
    _, _, headers = service.get(path)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "server" not in headers


def test_nothing_but_the_site_is_served(service):
    site = service.folders.sites / "a"
    (site / "runs").mkdir(parents=True)
    (site / "index.html").write_text("the board")
    (site / "runs" / "one.html").write_text("one run")
    (site / "escape").symlink_to(service.folders.root)
    service.folders.serve(site)
    assert service.get("/")[1] == "the board"
    assert service.get("/runs/one.html")[1] == "one run"
    hidden = ("/runs/", "/runs", "/../service.db", "/%2e%2e/service.db", "/..%2fservice.db", "/escape/service.db")
    for path in (*hidden, "/docs", "/openapi.json", "/static/", "//etc/passwd", "/index.html%00.txt"):
        status, text, _ = service.get(path)
        assert status in (404, 307), path
        assert "one.html" not in text
    other = service.folders.sites / "b"
    other.mkdir()
    (other / "index.html").write_text("the next board")
    service.folders.serve(other)
    assert service.get("/")[1] == "the next board"
    service.folders.site.unlink()


def test_no_stack_traces(service, monkeypatch, capfd):
    def fail(*_):
        raise RuntimeError("secret of the database")

    monkeypatch.setattr(service.store, "get", fail)
    for path in ("/submissions/1", "/api/submissions/1"):
        status, text, headers = service.get(path)
        assert status == 500
        assert "secret" not in text
        assert "Traceback" not in text
        assert "content-security-policy" in headers
        assert re.search(r"number is [0-9a-f]{8}", text)
    assert "secret of the database" in capfd.readouterr().err


def test_limits(tmp_path):
    service = Service(tmp_path, Limits(per_day=3, waiting=2, failures=2))
    try:
        assert service.upload(zip_of("1"))[0] == service.upload(zip_of("2"))[0] == 202
        status, answer = service.upload(zip_of("3"))
        assert (status, "waiting" in answer["error"]) == (429, True)
        service.store.decide(1, "refused", "", {})
        assert service.upload(zip_of("1"))[0] == 409
        status, answer = service.upload(zip_of("4"))
        assert (status, "a day" in answer["error"]) == (429, True)
        assert [service.upload(zip_of("x"), "wrong")[0] for _ in range(3)] == [401, 401, 429]
        with pytest.raises(UserError, match="another service"):
            Folders(tmp_path).prepare(service.store)
    finally:
        service.stop()


def test_a_copy_of_anothers_accepted_run_is_refused(tmp_path):
    """Whatever file it is in, and however many env steps it says that it took."""
    store = Store(f"sqlite:///{tmp_path / 'service.db'}")
    tokens = {name: store.token(store.add_token(name, 1)[1]) for name in ("alice", "mallory")}

    def decided(who, file, *contents, env_steps=5):
        run = {"run": "a", "episodes_sha256": file * 64, "env_steps": env_steps, "contents": list(contents)}
        number = store.add(secrets.token_hex(32), 1, tokens[who], "")
        state = store.decide(number, "accepted", "", {"runs": [run], "title": "t", "division": "open"})
        return state, store.get(number).reason

    assert decided("alice", "1", "policy full p1", "episodes ovphysx e1")[0] == "accepted"
    assert decided("mallory", "2", "policy quick p1", "episodes ovphysx e2") == (
        "refused",
        "a has the policy of submission 1",
    )
    assert decided("mallory", "2", "policy full p2", "episodes ovphysx e1", env_steps=0)[0] == "refused"
    assert decided("mallory", "1", "policy full p2", "episodes ovphysx e2")[0] == "refused"
    assert decided("mallory", "2", "policy full p2", "episodes ovphysx e2")[0] == "accepted"
    assert decided("alice", "1", "policy full p1", "episodes ovphysx e1")[0] == "accepted"  # again, beside new seeds
    assert decided("mallory", "3")[0] == "accepted"  # a reference policy, which anyone can make
    assert decided("alice", "3")[0] == "accepted"
    store.close()


def test_a_verification_that_dies_is_tried_again(tmp_path, monkeypatch):
    store, folders = Store(f"sqlite:///{tmp_path / 'service.db'}"), Folders(tmp_path)
    os.close(folders.prepare(store))
    number = store.add("1" * 64, 1, store.token(store.add_token("me", 1)[1]), "")
    crash = ["-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **kw: start([sys.executable, *crash], **kw))
    queue = Queue(store, folders, Settings(workers=1))
    queue.start()
    wait_until(lambda: store.get(number).state == "failed")
    queue.stop()
    actions = [line.action for line in store.history(number)]
    assert actions.count("verification started") == 3
    assert actions.count("queued again") == 2
    assert store.queue_again(number, "by hand", ("failed",))
    assert not store.queue_again(number, "by hand", ("failed",))
    store.close()


def connect(service, text=b""):
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=30)
    connection.sendall(text)
    return connection


def begun(service, token=None):
    """An upload that does not go on."""
    head = f"POST /api/submissions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token or service.token}\r\n"
    before = len(list(service.folders.incoming.iterdir()))
    held = connect(service, f"{head}Content-Type: application/zip\r\nContent-Length: 9000\r\n\r\nPK\3\4".encode())
    wait_until(lambda: len(list(service.folders.incoming.iterdir())) > before, 30)
    return held


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost:", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /"])
def test_silent_connections_are_closed(service, monkeypatch, said):
    monkeypatch.setattr(http_server, "HEAD_S", 0.3)
    connection = connect(service, said)
    dripping = threading.Thread(target=lambda: drip(connection))
    dripping.start()
    with suppress(ConnectionResetError):
        while connection.recv(65536):
            pass
    dripping.join()
    connection.close()
    assert service.get("/healthz")[0] == 200


def drip(connection):
    """A byte at a time makes no new time limit."""
    with suppress(OSError):
        for _ in range(100):
            connection.sendall(b"x")
            time.sleep(0.05)


def test_silent_connections_do_not_stop_the_service(service):
    silent = [connect(service) for _ in range(150)]
    assert service.get("/healthz")[0] == 200
    for connection in silent:
        connection.close()


def test_a_client_that_does_not_listen_is_left(service, monkeypatch):
    monkeypatch.setattr(http_server, "STALLED_S", 0.3)
    site = service.folders.sites / "large"
    site.mkdir()
    (site / "index.html").write_bytes(b"x" * 2**25)
    service.folders.serve(site)
    try:
        connection = connect(service, b"GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(1.5)
        got = 0
        with suppress(ConnectionResetError):
            while more := len(connection.recv(2**20)):
                got += more
        assert got < 2**25
        connection.close()
    finally:
        service.folders.site.unlink()


def test_one_token_does_not_hold_all_places(service):
    other = service.store.add_token("other", 1)[1]
    held = [begun(service) for _ in range(2)]
    held.append(begun(service, service.store.add_token("third", 1)[1]))
    status, answer = service.upload(zip_of("mine"))  # of this address, too, there are three under way
    assert (status, "are under way" in answer["error"]) == (429, True)
    away = {"X-Forwarded-For": "192.0.2.7"}
    assert service.upload(zip_of("others"), other, **away)[0] == 202
    for connection in held:
        connection.close()
    wait_until(lambda: not list(service.folders.incoming.iterdir()))
    assert service.upload(zip_of("mine"))[0] == 202


def test_an_upload_has_to_come_at_some_rate(tmp_path):
    service = Service(tmp_path, Limits(pause=0.5, rate=100))
    try:

        def slowly():
            for _ in range(20):
                yield zip_of("x")
                time.sleep(0.1)

        def steadily():
            yield zip_of("x" * 100)
            for _ in range(10):
                time.sleep(0.1)
                yield b"x" * 100

        status, answer = service.upload(slowly())
        assert (status, answer["error"]) == (408, "the upload was too slow")
        assert service.upload(steadily())[0] == 202
        assert not list(service.folders.incoming.iterdir())
    finally:
        service.stop()


@pytest.mark.parametrize("code", ["%00", "%01", "%0a", "%1b%5b31m", "%7f", "%c2%85", "a%00b"])
def test_control_characters_in_parameters(service, code):
    for path in ("/submissions", "/api/submissions"):
        for name in ("submitter", "state", "page"):
            assert service.get(f"{path}?{name}={code}")[0] == 422
        assert service.get(f"{path}/{code}")[0] in (404, 422)
        assert service.get(f"{path}?unknown={code}")[0] == 200


def test_parameters_may_be_empty(service):
    """As the documentation writes the address."""
    for path in ("/submissions", "/api/submissions"):
        assert service.get(f"{path}?state=&submitter=")[0] == 200
    assert service.get("/api/submissions?state=&submitter=")[1] == service.get("/api/submissions")[1]


@pytest.mark.parametrize(
    "path", ["/", "/index.html", "/submissions", "/api/submissions", "/healthz", "/service.css", "/x"]
)
def test_head_answers_as_get_without_the_body(service, path):
    status, text, headers = service.get(path)
    again = service.get(path, "HEAD")
    assert (again[0], again[1]) == (status, "")
    assert again[2]["content-type"] == headers["content-type"]
    assert again[2]["content-length"] == str(len(text.encode()))


@pytest.mark.parametrize("headers", [{"Host": "["}, {"Host": "a]b"}, {"X-Forwarded-Proto": "[", "Host": "["}])
def test_hosts_that_are_none(service, headers):
    for path in ("/submissions/x/..", "/nothing", "/api/nothing", "/runs"):
        assert service.get(path, **headers)[0] in (400, 404)


def test_addresses_that_are_none(service):
    for address in ("127.0.0.1", "", ",", "\x1b[31m", "\xff", "x" * 500):
        assert service.upload(zip_of("x"), "wrong", **{"X-Forwarded-For": address})[0] == 401
    assert all(line.address.isprintable() for line in service.store.history())


def test_health_says_when_the_database_is_gone(tmp_path):
    service = Service(tmp_path, Limits())
    try:
        assert service.get("/healthz")[0] == 200
        (tmp_path / "service.db").rename(tmp_path / "moved.db")
        assert service.get("/healthz")[0] == 503
        status, answer = service.upload(zip_of("x"))
        assert (status, "database" in answer["error"]) == (503, True)
        assert not list((tmp_path / "incoming").iterdir())
        (tmp_path / "service.db").write_text("another")
        assert service.get("/healthz")[0] == 503
        (tmp_path / "moved.db").rename(tmp_path / "service.db")
        assert service.get("/healthz")[0] == 200
        assert service.upload(zip_of("x"))[0] == 202
    finally:
        service.stop()


def test_wrong_tokens_of_many_threads(tmp_path):
    from leaderboard.service.uploads import Rejected, Uploads

    store, folders = Store(f"sqlite:///{tmp_path / 'service.db'}"), Folders(tmp_path)
    store.token, store.log = lambda _: None, lambda *_, **__: None
    uploads, raised = Uploads(store, folders, Limits(failures=10**9)), []

    def ask(k):
        try:
            for i in range(300):
                with suppress(Rejected):
                    uploads.authorise("Bearer x", f"{k}.{i}")
        except RuntimeError as error:
            raised.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=ask, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)
    assert not raised
    store.close()


def test_the_verdict_of_a_copy_says_refused(service):
    number = service.upload(zip_of("copy"))[1]["submission"]
    service.folders.verdict(number).write_text(json.dumps({"decision": "accepted", "reason": "fine", "runs": []}))
    assert service.get(f"/api/submissions/{number}/verdict")[0] == 404  # not decided yet
    service.store.decide(number, "refused", "a copy of submission 1", {})
    verdict = json.loads(service.get(f"/api/submissions/{number}/verdict")[1])
    assert (verdict["decision"], verdict["reason"]) == ("refused", "a copy of submission 1")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("no space left: /srv/data/verified/.verify-x1/rerun/a.json", "no space left: a.json"),
        ("cannot write '/srv/data/x'; see /tmp/log", "cannot write 'x'; see log"),
        ("runs/0.1.0/toy-reach/ppo has 3 / 4 cells, and/or https://a.b/c/d", None),
        ("two\nlines \x1b[31m", "two\ufffdlines \ufffd[31m"),
    ],
)
def test_reasons_do_not_show_the_servers_paths(said, shown):
    assert public(said) == (said if shown is None else shown)


class Scripted:
    """A queue whose processes end as told: `codes` by module, one after the other."""

    def __init__(self, tmp_path, monkeypatch, **codes):
        self.store, self.folders = Store(f"sqlite:///{tmp_path / 'service.db'}"), Folders(tmp_path)
        os.close(self.folders.prepare(self.store))
        self.token = self.store.token(self.store.add_token("me", 1)[1])
        self.started, self.codes = [], codes
        self.queue = Queue(self.store, self.folders, Settings(workers=1))
        monkeypatch.setattr(self.queue, "_start", self._start)

    def _start(self, module, *arguments, log):
        name = module.rpartition(".")[2] + ("_trial" if "--strict" in arguments else "")
        self.started.append(name)
        log.write_text(f"last line of {name}")
        out = Path(arguments[arguments.index("--out") + 1])
        if name == "verify":
            Path(arguments[arguments.index("--unpack") + 1]).mkdir()
            out.write_text(json.dumps({"decision": "accepted", "reason": "fine", "runs": [], "title": "t"}))
        else:
            out.mkdir()
        code = self.codes.get(name, [0]).pop(0) if self.codes.get(name) else 0
        return subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"])

    def work(self, done):
        self.queue.start()
        wait_until(done)
        self.queue.stop()


def test_a_submission_that_cannot_be_shown_is_not_accepted(tmp_path, monkeypatch):
    s = Scripted(tmp_path, monkeypatch, build_trial=[1])
    numbers = [s.store.add(str(k) * 64, 1, s.token, "") for k in (1, 2)]
    s.work(lambda: s.store.get(numbers[1]).state == "accepted" and s.folders.served())
    assert [s.store.get(n).state for n in numbers] == ["failed", "accepted"]
    assert "pages cannot be made: last line of build_trial" in s.store.get(numbers[0]).reason
    assert [path.name for path in s.folders.accepted.iterdir()] == [str(numbers[1])]
    assert s.started.index("build") > s.started.index("build_trial")
    assert not list(s.folders.sites.glob(".*"))
    s.store.close()


def test_a_site_that_could_not_be_built_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(queue_module, "AGAIN_S", 0.5)
    s = Scripted(tmp_path, monkeypatch, build=[1, 1])
    s.store.add("1" * 64, 1, s.token, "")
    s.work(lambda: s.folders.served())
    assert s.started.count("build") == 3
    s.store.close()


@pytest.mark.skipif(
    "CI" not in os.environ  # which has to have it
    and not shutil.which("initdb")
    and not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")),
    reason="needs PostgreSQL",
)
def test_postgresql():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # short enough for a socket, and open to another user
        _in_postgresql(Path(folder))


def _in_postgresql(tmp_path):
    tools = (
        Path(shutil.which("initdb") or sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))[-1]).resolve().parent
    )
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
    if as_user:
        shutil.chown(tmp_path, "postgres")
    data, options = str(tmp_path / "pg"), f"-k {tmp_path} -c listen_addresses="
    subprocess.run(
        [*as_user, tools / "initdb", "-D", data, "-A", "trust", "-U", "gradus"], check=True, capture_output=True
    )
    subprocess.run(
        [*as_user, tools / "pg_ctl", "-D", data, "-o", options, "-l", f"{data}/log", "-w", "start"], check=True
    )
    try:
        store = Store(f"postgresql+psycopg://gradus@/postgres?host={tmp_path}")
        token = store.token(store.add_token("me", 1)[1])
        number = store.add("1" * 64, 1, token, "127.0.0.1")
        assert store.claim().id == number
        assert store.resume() == 1
        assert store.decide(number, "accepted", "fine", {"title": "t", "division": "open"}) == "accepted"
        assert store.list(state="accepted")[1] == 1
        store.close()
    finally:
        subprocess.run([*as_user, tools / "pg_ctl", "-D", data, "-m", "immediate", "stop"], check=True)


def start(data):
    """The service as an operator starts it, and its port."""
    command = [sys.executable, "-m", "leaderboard.serve", "--data", str(data), "--port", "0"]
    process = subprocess.Popen([*command, "--cells", "1", "--workers", "2"], stdout=subprocess.PIPE, text=True)
    port = int(process.stdout.readline().rpartition(":")[2])
    assert request(port, "/healthz")[0] == 200
    return process, port


@pytest.fixture(scope="module")
def verified(tmp_path_factory):
    """The service after a good and a forged submission, killed by SIGKILL while it verified them, and started again."""
    tmp = tmp_path_factory.mktemp("service")
    good, forged = copy_run(tmp / "good"), copy_run(tmp / "forged")
    edit_episodes(forged, win)
    rehash(forged)
    submit.pack([good], tmp / "good.zip", "open", TEXTS)
    submit.pack([forged], tmp / "forged.zip", "open", TEXTS | {"title": "Too good"})
    data = tmp / "data"
    made = subprocess.run(
        [sys.executable, "-m", "leaderboard.serve", "--data", str(data), "token", "me"], capture_output=True, text=True
    )
    headers = {"Authorization": f"Bearer {made.stdout.strip()}", "Content-Type": "application/zip"}
    process, port = start(data)
    for name in ("good.zip", "forged.zip"):
        assert request(port, "/api/submissions", "POST", (tmp / name).read_bytes(), headers)[0] == 202
    wait_until(lambda: all(row["state"] == "verifying" for row in listed(port)))
    service = psutil.Process(process.pid)
    wait_until(lambda: len(service.children()) == 2)
    children = service.children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not any(alive(child.pid) for child in children))
    process, port = start(data)
    wait_until(lambda: (data / "site" / "index.html").exists())
    wait_until(lambda: all(row["decided"] for row in listed(port)))
    yield data, port
    process.terminate()
    assert process.wait(60) in (0, -signal.SIGTERM)


def listed(port):
    return json.loads(request(port, "/api/submissions")[1])["submissions"][::-1]


@pytest.mark.faults
def test_a_killed_service_loses_no_submission(verified):
    data, port = verified
    good, forged = listed(port)
    assert good["state"] == "accepted", good["reason"]
    assert forged["state"] == "refused"
    assert "run again on the same stack, the episodes differ" in forged["reason"]
    for row in (good, forged):
        text = request(port, f"/submissions/{row['id']}")[1]
        assert "queued again" in text
    verdict = json.loads(request(port, f"/api/submissions/{good['id']}/verdict")[1])
    assert verdict["reruns"][0]["mode"] == "bitwise"
    assert sorted(path.name for path in (data / "accepted").iterdir()) == [str(good["id"])]
    assert not list((data / "verified").iterdir())


@pytest.mark.browser
def test_the_pages_in_a_browser(verified, browser):
    _, port = verified
    browser.get_log("browser")
    browser.get(f"http://127.0.0.1:{port}/submissions")
    rows = [row.text for row in browser.find_elements("css selector", "tbody tr")]
    assert len(rows) == 2
    assert "refused" in rows[0]
    assert "accepted" in rows[1]
    browser.find_element("link text", "Spring").click()
    assert "equal in every bit" in browser.find_element("tag name", "main").text
    assert browser.execute_script("return getComputedStyle(document.querySelector('.state')).borderRadius") == "99px"
    browser.set_window_size(390, 844)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    browser.set_window_size(1280, 900)
    browser.find_element("link text", "Ranking").click()
    assert "toy-reach" in browser.find_element("tag name", "body").text
    browser.find_element("link text", "Cost").click()
    browser.find_element("link text", "Submissions").click()
    assert browser.find_element("tag name", "h1").text == "Submissions"
    browser.find_element("link text", "Methods and data").click()
    assert browser.find_element("tag name", "h1").text == "Methods and data"
    assert [entry["message"] for entry in browser.get_log("browser")] == []

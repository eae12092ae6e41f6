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
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from leaderboard import submit
from leaderboard.serve import listen, make_server
from leaderboard.service.folders import Folders
from leaderboard.service.queue import Queue, Settings
from leaderboard.service.store import Store
from leaderboard.service.uploads import Limits
from suite.errors import UserError
from tests.processes import alive, wait_until
from tests.test_leaderboard_verify import TEXTS
from tests.toy_runs import copy_run, edit_episodes, rehash, win


class Service:
    """The service in this process, with its queue standing still, and a client."""

    def __init__(self, data, limits):
        from leaderboard.service.app import make_app

        self.store, self.folders = Store(f"sqlite:///{data / 'service.db'}"), Folders(data)
        self._held = self.folders.prepare(set())
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


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    service = Service(tmp_path_factory.mktemp("data"), Limits(bytes=10_000, per_day=1000, waiting=1000, failures=1000))
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
            assert status == (422 if name != "submitter" or len(text) > 64 else 200)
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
            Folders(tmp_path).prepare(set())
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
    os.close(folders.prepare(set()))
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

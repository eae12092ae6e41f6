"""What strangers may send to the service, and what may lie in folders that a site is built from: generated."""

import contextlib
import io
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from leaderboard import build
from leaderboard.board import board
from leaderboard.data import runs
from leaderboard.service.app import make_app
from leaderboard.service.folders import Folders
from leaderboard.service.queue import Queue, Settings
from leaderboard.service.store import STATES, Store
from leaderboard.service.uploads import Limits
from leaderboard.site import page
from suite.errors import UserError
from tests.helpers.synthetic_runs import rehash, write_run

CHARACTERS = st.one_of(st.sampled_from("/.%\\?&=#<>'\"\0\n\x1b\x7f\u202e\ud800é0aZ["), st.characters())
TEXT = st.text(CHARACTERS, max_size=40)
PLACES = ("", "submissions", "api/submissions", "api", "runs", "site", "healthz", "service.css", "index.html", "..")


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The application in this process, its folder, and a token."""
    data = tmp_path_factory.mktemp("outside") / "data"
    data.mkdir()
    store, folders = Store(f"sqlite:///{data / 'service.db'}"), Folders(data)
    held = folders.prepare(store)
    _, secret = store.add_token("me", 1)
    row = store.add("1" * 64, 1, store.token(secret), "")
    folders.verdict(row).write_text('{"decision": "accepted", "reason": "", "contact": "me@example.org"}')
    store.decide(row, "accepted", "fine", {"title": "t"})
    site = folders.sites / "a"
    (site / "runs").mkdir(parents=True)
    for name in ("index.html", "runs/one.html"):
        (site / name).write_text("the board")
    folders.serve(site)
    (data.parent / "secret.txt").write_text("a secret")
    limits = Limits(bytes=2000, per_day=10**6, waiting=10**6, failures=10**6)
    app = make_app(store, folders, Queue(store, folders, Settings(workers=0)), limits)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client, folders, secret
    os.close(held)


def asked(client, method, path, query, headers, body=b""):
    """The answer to a request whose path is sent as it is; None for one that no client can send."""
    try:
        url = client.base_url.copy_with(raw_path=f"/{path}?{query}".encode("ascii"))
        return client.request(method, url, headers=headers, content=body)
    except (ValueError, TypeError):  # the client's own rules
        return None


def escaped(text):
    return "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))


def harmless(answer):
    assert answer.status_code < 500, answer.text
    assert "Traceback" not in answer.text
    assert "a secret" not in answer.text
    assert "me@example.org" not in answer.text
    assert "content-security-policy" in answer.headers


def outside(folders):
    return sorted(path.name for path in folders.root.parent.iterdir())


@given(
    method=st.sampled_from(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")),
    parts=st.lists(st.one_of(st.sampled_from(PLACES), TEXT.map(escaped), st.integers().map(str)), max_size=4),
    query=st.lists(
        st.tuples(
            st.sampled_from(("state", "submitter", "page", "x")),
            st.one_of(TEXT.map(escaped), st.integers().map(str), st.sampled_from(STATES)),
        ),
        max_size=3,
    ),
)
def test_fuzz_addresses(service, method, parts, query):
    client, folders, _ = service
    answer = asked(client, method, "/".join(parts), "&".join("=".join(pair) for pair in query), {})
    if answer is not None:
        harmless(answer)
    assert outside(folders) == ["data", "secret.txt"]


HEADERS = ("Authorization", "Content-Type", "Content-Length", "X-Forwarded-For", "X-Forwarded-Proto", "Host", "Range")


@given(
    headers=st.dictionaries(
        st.sampled_from(HEADERS),
        st.one_of(st.sampled_from(("application/zip", "chunked", "[", "bytes=0-1,5-")), st.text(max_size=40)),
        max_size=4,
    ),
    body=st.one_of(st.binary(max_size=3000), st.binary(max_size=300).map(lambda data: b"PK\3\4" + data)),
    known=st.booleans(),
    path=st.sampled_from(("api/submissions", "submissions", "index.html", "runs", "api/submissions/1")),
)
def test_fuzz_uploads(service, headers, body, known, path):
    client, folders, secret = service
    if known:
        headers = headers | {"Authorization": f"Bearer {secret}", "Content-Type": "application/zip"}
    sent = {name: value.encode("utf-8", "replace") for name, value in headers.items()}
    answer = asked(client, "POST" if "submissions" in path else "GET", path, "", sent, body)
    if answer is not None:
        harmless(answer)
    assert not list(folders.incoming.iterdir())
    assert outside(folders) == ["data", "secret.txt"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Two runs."""
    folder = tmp_path_factory.mktemp("sound")
    write_run(folder, episodes=4, engines=("newton_mjwarp",), perturbed=True, curve=True, curriculum="staged")
    write_run(folder, algo="sac", episodes=4)
    return folder


@st.composite
def damage(draw):
    """What is done to a file: a function of its bytes."""
    kind = draw(st.sampled_from(("cut", "flip", "insert", "replace", "number")))
    where, data = draw(st.floats(0, 1)), draw(st.binary(max_size=30))
    number = draw(st.sampled_from((b"1e308", b"-1", b"9" * 30, b"NaN", b"[]", b'"\\ud800"', b"null", b"1e999")))

    def apply(content):
        at = int(where * len(content))
        if kind == "cut":
            return content[:at]
        if kind == "flip":
            return (
                content[:at] + bytes([content[at] ^ (1 + len(data))]) + content[at + 1 :] if content[at:] else content
            )
        if kind == "insert":
            return content[:at] + data + content[at:]
        if kind == "replace":
            return data
        end = next((i for i in range(at, len(content)) if content[i : i + 1] in b",}\n"), at)
        return content[: content.rfind(b":", 0, end) + 1] + number + content[end:]

    return apply


@given(data=st.data(), change=damage(), hashed=st.booleans())
def test_fuzz_damaged_runs(sound, data, change, hashed):
    """A damaged run is shown or named as left out; the other one is shown always."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(shutil.copytree(sound, Path(scratch) / "runs"))
        folder = next(root.glob("*/*/ppo/*/*"))
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        file = data.draw(st.sampled_from(files))
        file.write_bytes(change(file.read_bytes()))
        if hashed and file.parent == folder and file.suffix == ".parquet":
            rehash(folder)
        found = runs.find(root)
        assert "sac" in [run.entry.algo for run in found.runs]
        damaged = [run for run in found.runs if run.entry.algo == "ppo"]
        assert damaged or any("/ppo/" in left.path for left in found.skipped)
        if damaged:
            shown, pages = page.run_pages(board.make(damaged))
            assert len(pages) == len(shown.runs) == 1


@given(names=st.lists(TEXT, max_size=5), kind=st.sampled_from(("file", "folder", "link")))
@example(names=["a"], kind="folder")
@example(names=["a"], kind="link")
def test_fuzz_site_folders(cheap, sound, names, kind):
    """Whatever lies in the folder of a site, and whatever its list of pages says, nothing outside is touched.

    A folder in the place of a page is refused in one line.
    """
    with tempfile.TemporaryDirectory() as scratch:
        out, kept = Path(scratch) / "site", Path(scratch) / "kept.html"
        (out / "runs").mkdir(parents=True)
        kept.write_text("kept")
        listed = [*names, *(f"runs/{name}" for name in names), "../kept.html", "runs/../../kept.html"]
        (out / build.PAGES).write_text(build.json.dumps(listed))
        for name in names:
            with contextlib.suppress(OSError, ValueError):
                path = out / "runs" / f"{name}.html"
                if kind == "file":
                    path.write_text("x")
                elif kind == "folder":
                    path.mkdir()
                else:
                    path.symlink_to(kept)
        in_the_way = (out / "runs" / "a.html").is_dir()
        with contextlib.redirect_stderr(io.StringIO()):
            if in_the_way:
                with pytest.raises(UserError, match=r"^cannot write the leaderboard to .*: Is a directory; [^\n]*$"):
                    build.write(cheap, sound, out)
            else:
                build.write(cheap, sound, out)
        assert kept.read_text() == "kept"
        assert (out / "index.html").is_file() or in_the_way


@pytest.fixture(scope="module")
def cheap(sound):
    """The board of the runs; its pages are cheap, since what is tested is the folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "files", lambda *_: iter([("runs/a.html", "a"), ("index.html", "index")]))
        patch.setattr(page, "run_pages", lambda made, _: (made, {"runs/a.html": "a"}))
        yield board.load(sound)

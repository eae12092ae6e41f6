"""The web application: the site, status pages, and the upload."""

from __future__ import annotations

import secrets
import sys
import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.staticfiles import StaticFiles

import suite
from leaderboard.service.folders import Folders
from leaderboard.service.queue import Queue
from leaderboard.service.store import STATES, Away, Store
from leaderboard.service.uploads import Limits, Rejected, Uploads
from leaderboard.site.render import NAV, render, source
from suite.runs.rundir import read_json

PAGE = 50
PUBLIC_ACTIONS = ("submitted", "verification started", "queued again", *STATES)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
STRICT = (
    "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# The site's pages are built here, escape what they show, and have no script but the site's own.
SITE = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Number = Annotated[int, Path(ge=1, lt=2**31)]
State = Annotated[Literal["", "queued", "verifying", "accepted", "refused", "failed"], Query()]  # `store.STATES`
Submitter = Annotated[str, Query(max_length=64, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
PageNumber = Annotated[int, Query(alias="page", ge=1, le=100_000)]


def make_app(store: Store, folders: Folders, queue: Queue, limits: Limits) -> FastAPI:
    """The application. It starts the queue with itself and stops it at its end."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        queue.start()
        yield
        await run_in_threadpool(queue.stop)
        store.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    uploads = Uploads(store, folders, limits)

    def get(path: str) -> Any:
        return app.api_route(path, methods=["GET", "HEAD"])

    def page(template: str, status: int = 200, here: str = "", **values: Any) -> HTMLResponse:
        parts = NAV if (folders.site / "index.html").is_file() else NAV[:1]  # before the first site: its first page
        where = {"root": "/", "nav": parts, "submissions": "/submissions", "here": here}
        return HTMLResponse(render(f"service/{template}", **where, **values), status)

    def failure(request: Request, status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
        if request.scope["path"].startswith("/api/"):
            return JSONResponse({"error": reason}, status, headers)
        response = page("error.html", status, reason=reason)
        response.headers.update(headers or {})
        return response

    @app.middleware("http")
    async def secure(request: Request, call_next: Any) -> Response:
        try:
            response = await call_next(request) if _is_address(request) else failure(request, 400, "no such host")
        except Exception:  # the user gets a number, the log the rest
            number = secrets.token_hex(4)
            print(f"error {number} at {request.method[:20]!a} {request.scope['path'][:200]!a}", file=sys.stderr)
            traceback.print_exc()
            response = failure(request, 500, f"something went wrong here; its number is {number}")
        response.headers.update(HEADERS)
        response.headers.setdefault("Content-Security-Policy", STRICT)
        return response

    @app.exception_handler(Rejected)
    async def rejected(request: Request, error: Rejected) -> Response:
        headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
        if error.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return failure(request, error.status, error.reason, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return failure(request, 422, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def missing(request: Request, error: HTTPException) -> Response:
        return failure(
            request, error.status_code, "there is nothing here" if error.status_code == 404 else error.detail
        )

    @get("/healthz")
    def health() -> Response:
        try:
            store.check()
            ok = queue.alive
        except Away:
            ok = False
        return JSONResponse({"ok": ok, "suite_version": suite.__version__}, 200 if ok else 503)

    @get("/service.css")
    def style() -> Response:
        return Response(source("style.css") + source("service/service.css"), media_type="text/css")

    @app.post("/api/submissions", status_code=202)
    async def upload(request: Request) -> dict[str, Any]:
        address = (request.client and request.client.host) or ""
        token = await run_in_threadpool(uploads.authorise, request.headers.get("authorization"), address)
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/zip":
            raise Rejected(415, "send the bundle as the body, with Content-Type: application/zip")
        length = request.headers.get("content-length", "")
        with uploads.place(token, address):
            await run_in_threadpool(
                uploads.check_rate, token, int(length) if length.isdecimal() and len(length) < 20 else None, address
            )
            try:
                received = await uploads.receive(request.stream(), run_in_threadpool)
            except ClientDisconnect:
                await run_in_threadpool(store.log, "upload cut off", None, token.id, address)
                raise Rejected(400, "the upload was cut off") from None
            try:
                number = await run_in_threadpool(uploads.keep, *received, token, address)
            except Away:
                raise Rejected(503, "the database is away; try again later", 60) from None
        return {"submission": number, "sha256": received[1], "state": "queued", "status": f"/submissions/{number}"}

    @get("/api/submissions")
    def listing(state: State = "", submitter: Submitter = "", number: PageNumber = 1) -> dict[str, Any]:
        rows, total = store.list(state, submitter, PAGE, (number - 1) * PAGE)
        return {"total": total, "page": number, "submissions": [_public(row) for row in rows]}

    @get("/api/submissions/{number}")
    def one(number: Number) -> dict[str, Any]:
        return _public(_get(number))

    @get("/api/submissions/{number}/verdict")
    def verdict(number: Number) -> Response:
        row = _get(number)
        found = read_json(folders.verdict(number)) if row.decided else None
        if found is None:
            raise HTTPException(404)
        # The last word is the database's: it knows what else was accepted, and the site that was tried.
        decision = {"accepted": "accepted", "refused": "refused"}.get(row.state, "undecided")
        found |= {"decision": decision, "reason": row.reason}
        return JSONResponse({key: value for key, value in found.items() if key != "contact"})  # for the operators

    @get("/submissions")
    def submissions(state: State = "", submitter: Submitter = "", number: PageNumber = 1) -> Response:
        rows, total = store.list(state, submitter, PAGE, (number - 1) * PAGE)
        shown = {"state": state, "submitter": submitter}
        found: dict[str, Any] = {"rows": rows, "total": total, "page": number, "pages": -(-total // PAGE)}
        return page("list.html", here="/submissions", shown=shown, states=STATES, **found)

    @get("/submissions/{number}")
    def status(number: Number) -> Response:
        row = _get(number)
        events = [event for event in store.history(number) if event.action in PUBLIC_ACTIONS]
        found = read_json(folders.verdict(number)) if row.decided else None
        return page("submission.html", row=row, events=events, verdict=found)

    def _get(number: int) -> Any:
        if (row := store.get(number)) is None:
            raise HTTPException(404)
        return row

    @get("/")
    @get("/index.html")
    def home() -> Response:
        index = folders.site / "index.html"
        if not index.is_file():
            return page("empty.html", here="index.html")
        return FileResponse(index, headers={"Content-Security-Policy": SITE, "Cache-Control": "no-cache"})

    app.mount("/", _Site(folders))
    return app


class _Site(StaticFiles):
    """The site that is linked now. Folders have no listing, and what is not in the site's folder does not exist."""

    def __init__(self, folders: Folders) -> None:
        super().__init__(directory=folders.site, html=True, check_dir=False)

    async def check_config(self) -> None:
        """Before the first submission is accepted there is no site, which is no error."""

    async def get_response(self, path: str, scope: Any) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Content-Security-Policy"] = SITE
        response.headers["Cache-Control"] = "no-cache"
        return response


def _is_address(request: Request) -> bool:
    """False where the headers Host and X-Forwarded-Proto make no URL."""
    try:
        return bool(request.url.path)
    except (ValueError, KeyError):
        return False


def _public(row: Any) -> dict[str, Any]:
    keys = ("id", "sha256", "size", "submitter", "title", "division", "state", "reason", "created", "decided")
    return {key: getattr(row, key) for key in keys}

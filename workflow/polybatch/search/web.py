"""The page: answers questions of a browser on this machine, and of no other.

inputs: a `Loading`
outputs: a Starlette application: the page, its script and style, and JSON for them

Nothing changes by a request: all are GET. Only this machine can connect (`serve` binds the loopback address). A page of
another site cannot read answers through the browser, also not with a name of its own that leads here: the Host must be
this machine's own, and the browser must say that the request comes from the page itself. Nothing is loaded from
elsewhere, and no text becomes markup: the page's script writes texts as text, and the policy runs no other script.
"""

from __future__ import annotations

import contextlib
import json
import socket
import webbrowser
from collections.abc import Callable
from dataclasses import asdict
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from polybatch.core import stage
from polybatch.core.errors import ConfigError, PolybatchError
from polybatch.search.answers import Answers, name_of
from polybatch.search.differences import ORDERS, ordered
from polybatch.search.loading import Loading
from polybatch.search.questions import MOST_CHARACTERS
from polybatch.search.retriever import OTHER_LANGUAGE

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ADDRESS = "127.0.0.1"
_HOSTS = [ADDRESS, "localhost"]
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_PAGE = {
    "/": ("index.html", "text/html"),
    "/script.js": ("script.js", "text/javascript"),
    "/style.css": ("style.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
# A question of 100,000 characters in any script is still read, so that it can be refused in words.
_LONGEST_REQUEST = 2**20
_ROWS = 50


def application(loading: Loading, study: str) -> Starlette:
    """The application.

    Args:
        loading: What is loaded, or being loaded.
        study: Its name, for the page.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.routing import Route

    pages = [Route(path, _file(*page)) for path, page in _PAGE.items()]
    answers = {
        "state": lambda request: _state(loading, study),
        "search": lambda request: _search(_ready(loading), request),
        "translations": lambda request: _translations(_ready(loading), request),
        "queries": lambda request: _queries(loading, request),
    }
    return Starlette(
        routes=[*pages, *(Route(f"/api/{name}", _json(answer)) for name, answer in answers.items())],
        middleware=[
            Middleware(_Headers),
            Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS, www_redirect=False),
            Middleware(_OwnPageOnly),
        ],
    )


class _Headers:
    """Puts the security headers on every response, those of refusals too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


class _OwnPageOnly:
    """Refuses requests that a browser makes for another site's page. Older browsers and other programs say nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.responses import PlainTextResponse

        site = dict(scope.get("headers", ())).get(b"sec-fetch-site", b"none")
        if scope["type"] == "http" and scope["path"] != "/" and site not in (b"same-origin", b"none"):
            await PlainTextResponse("Only the page itself is answered.", 403)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def _file(name: str, kind: str) -> Callable[[Request], Response]:
    def respond(request: Request) -> Response:
        from starlette.responses import Response

        content = (files("polybatch.search") / "page" / name).read_bytes()
        return Response(content, media_type=kind)

    return respond


def _json(answer: Callable[[Request], dict[str, Any]]) -> Callable[[Request], Response]:
    """An endpoint. Starlette runs it in a thread, so that the page goes on while a model works."""

    def respond(request: Request) -> Response:
        from starlette.responses import Response

        status = 200
        try:
            found = answer(request)
        except PolybatchError as error:
            status, found = 400, _told(error)
        except Exception as error:
            stage.log.exception("while a question was answered")
            fault = PolybatchError(
                "That could not be answered, for a reason that was not foreseen.",
                found=f"{type(error).__name__}: {error}",
                remedy="the terminal has the details; please report it with them",
            )
            status, found = 500, _told(fault)
        content = json.dumps(found, ensure_ascii=False).encode("utf-8", "replace")
        return Response(content, status, media_type="application/json")

    return respond


def _told(error: PolybatchError) -> dict[str, Any]:
    facts = {"where": error.where, "expected": error.expected, "found": error.found, "to do": error.remedy}
    return {"fault": {"problem": error.problem, "facts": {name: text for name, text in facts.items() if text}}}


def _ready(loading: Loading) -> Answers:
    if loading.answers is None and loading.fault is not None:
        raise loading.fault
    if loading.answers is None:
        raise ConfigError("The models are still being loaded.", found=loading.line, remedy="ask again in a moment")
    return loading.answers


def _state(loading: Loading, study: str) -> dict[str, Any]:
    """What the page shows around the answers, and how far loading has come."""
    found: dict[str, Any] = {
        "study": study,
        "benchmark": loading.chosen[0].benchmark.name,
        "runs": [indexed.run for indexed in loading.chosen],
        "line": loading.line,
        "ready": loading.answers is not None,
        "most_characters": MOST_CHARACTERS,
    }
    if loading.answers is None:
        return {**found, **(_told(loading.fault) if loading.fault else {})}
    corpus = loading.answers.pool
    asked = {own.lang for own in loading.answers.queries}
    exact = [model.factory for model in loading.answers.retrievers]
    return {
        **found,
        "languages": [
            {"code": lang, "name": name_of(lang), "passages": corpus.get(lang, 0), "queries": lang in asked}
            for lang in loading.answers.benchmark.languages
        ],
        "question_languages": [
            {"code": lang, "name": "another language" if lang == OTHER_LANGUAGE else name_of(lang)}
            for lang in loading.answers.question_languages
        ],
        "indexes": [kind for kind in exact if kind != "Flat"],
        "compared": loading.compared,
        "orders": {name: words for name, (words, _) in ORDERS.items()} if len(loading.chosen) > 1 else {},
    }


def _search(answers: Answers, request: Request) -> dict[str, Any]:
    given = request.query_params
    languages, top = _languages(given.get("langs", "")), _number(given.get("top", "10"))
    return asdict(answers.ask(given.get("q", ""), given.get("id", ""), languages, top, given.get("lang", "")))


def _translations(answers: Answers, request: Request) -> dict[str, Any]:
    given = request.query_params
    found = answers.translations(
        given.get("passage", ""), given.get("q", ""), given.get("id", ""), given.get("lang", "")
    )
    return {"passages": [asdict(passage) for passage in found]}


def _queries(loading: Loading, request: Request) -> dict[str, Any]:
    """A part of the list of the benchmark's queries."""
    answers, given = _ready(loading), request.query_params
    start = _number(given.get("start", "0"))
    if loading.differences is None and loading.fault is not None:
        raise loading.fault
    if loading.differences is None:
        return {"rows": [], "total": 0, "of": len(answers.queries), "compared": loading.compared}
    found = ordered(loading.differences, given.get("by", "passages"), given.get("lang", ""))
    rows = [asdict(row) for row in found[start : start + _ROWS]]
    compared = {"compared": 1.0, "sampled": len(loading.differences)}
    return {"rows": rows, "total": len(found), "of": len(answers.queries), **compared}


def _languages(text: str) -> list[str]:
    return [lang for lang in dict.fromkeys(text.split(",")) if lang]


def _number(text: str) -> int:
    try:
        found = int(text)
    except ValueError:
        found = -1
    if found < 0:
        raise ConfigError("That is no number.", expected="a whole number from 0", found=text[:40])
    return found


def listen(port: int) -> socket.socket:
    """A socket on the loopback address; a port of 0 takes any that is free.

    Raises:
        ConfigError: The port is taken, or not this user's to take.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((ADDRESS, port))
        found.listen()
    except OSError as error:
        found.close()
        raise ConfigError(
            f"The page cannot be opened at port {port} of this machine.",
            expected="a port that is free, and above 1023 for users but root",
            found=str(error.strerror or error).lower(),
            remedy="end what listens there (another `polybatch search`?), or take any free port with --port 0",
        ) from error
    return found


def server(loading: Loading, study: str) -> uvicorn.Server:
    """The server of the application, not yet started: `run(sockets=[listen(port)])` starts it."""
    import uvicorn

    config = uvicorn.Config(
        application(loading, study),
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        http="h11",
        h11_max_incomplete_event_size=_LONGEST_REQUEST,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def serve(loading: Loading, study: str, port: int, *, browser: bool) -> None:
    """Answers until Ctrl-C.

    Args:
        loading: What to answer with; its loading is started here.
        study: Its name, for the page.
        port: See `listen`.
        browser: Whether the page is opened in this machine's browser.
    """
    sock = listen(port)
    address = f"http://{ADDRESS}:{sock.getsockname()[1]}/"
    print(f"{address}   (Ctrl-C ends it)", flush=True)
    loading.start()
    if browser:
        webbrowser.open(address)
    # It comes back without one where Ctrl-C is ignored, as it is of what a script starts in the background.
    with contextlib.suppress(KeyboardInterrupt):
        server(loading, study).run(sockets=[sock])
    stage.log.info("the page is closed")

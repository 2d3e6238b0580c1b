"""HTTP around the review: who may ask, what is answered, and what a browser may do with it."""

from __future__ import annotations

import hmac
import importlib.resources
import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol, cast
from urllib.parse import parse_qs, urlsplit

from noisycorrect.review.server.pictures import shown_picture
from noisycorrect.review.server.state import ReviewState, StaleDecisionError
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError

MOST_BYTES = 2**20  # of a request's body
IDLE_SECONDS = 60
STATIC = {
    "": ("index.html", "text/html; charset=utf-8"),
    "review.css": ("review.css", "text/css; charset=utf-8"),
    "review.js": ("review.js", "text/javascript; charset=utf-8"),
    "regions.js": ("regions.js", "text/javascript; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",  # the token stands in the address
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
LASTING = "private, max-age=86400"  # of pictures, which do not change while the server runs


class Reviewing(Protocol):
    """What the handler asks of its server: the run, the secret in its address, and the names it answers to."""

    state: ReviewState
    token: str
    hosts: set[str]


class RefusedError(Exception):
    """A request that is not answered: an HTTP status, and a sentence."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class ReviewHandler(BaseHTTPRequestHandler):
    """Answers the review page, and nobody else: by token, by host, by origin."""

    protocol_version = "HTTP/1.1"
    server_version = "noisycorrect"
    sys_version = ""
    timeout = IDLE_SECONDS

    @property
    def _review(self) -> Reviewing:
        return cast(Reviewing, self.server)

    def do_GET(self) -> None:
        """Answer a question."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Take a decision."""
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Print nothing: the token would stand in every line."""

    # ---------------------------------------------------------------- who may ask

    def _asked(self) -> str:
        """Return the path behind the token, or refuse the request."""
        if self.headers.get("Host", "").lower() not in self._review.hosts:  # a name that somebody let lead here
            raise RefusedError(HTTPStatus.FORBIDDEN, "this server answers only at its own address")
        origin = self.headers.get("Origin")
        if origin is not None and origin.lower() not in {f"http://{host}" for host in self._review.hosts}:
            raise RefusedError(HTTPStatus.FORBIDDEN, "this server answers only its own page")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            raise RefusedError(HTTPStatus.FORBIDDEN, "this server answers only its own page")
        try:
            token, slash, rest = urlsplit(self.path).path.removeprefix("/").partition("/")
        except ValueError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the address cannot be read") from error
        if not hmac.compare_digest(token.encode(), self._review.token.encode()):
            raise RefusedError(HTTPStatus.FORBIDDEN, "open the address that `noisycorrect review` printed")
        if not slash:
            raise RefusedError(HTTPStatus.NOT_FOUND, "the address ends with /")
        return rest

    # ---------------------------------------------------------------- what is answered

    def _answer(self, made: Any) -> None:
        try:
            made(self._asked())
        except RefusedError as refused:
            self.close_connection = True  # a body that nobody reads must not be taken for the next request
            self._send_json({"error": str(refused)}, refused.status)
        except StaleDecisionError as error:
            item = self._review.state.shown([error.position])[0]
            self._send_json({"error": str(error), "item": item}, HTTPStatus.CONFLICT)
        except NoisyCorrectError as error:
            self._send_json({"error": str(error)}, HTTPStatus.BAD_REQUEST)
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _get(self, path: str) -> None:
        state = self._review.state
        query = {key: values[-1] for key, values in parse_qs(urlsplit(self.path).query).items()}
        if path in STATIC:
            name, kind = STATIC[path]
            folder = importlib.resources.files("noisycorrect.review.server").joinpath("static")
            self._send(folder.joinpath(name).read_bytes(), kind)
        elif path == "api/run":
            self._send_json(state.about())
        elif path == "api/queue":
            filters = {key: query[key] for key in ("show", "given", "suggested", "annotator") if key in query}
            self._send_json({"order": state.queue(**filters), "states": state.states(), "progress": state.progress()})
        elif path == "api/items":
            self._send_json({"items": state.shown(_numbers(query.get("at", "")))})
        elif path == "api/changes":
            self._send_json(state.changes(_numbers(query.get("since", "0"))[0]))
        elif path.startswith(("picture/", "layer/")):
            self._picture(path.split("/"))
        else:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"nothing at {path!r}")

    def _picture(self, words: list[str]) -> None:
        state = self._review.state
        try:
            at = state.checked(_numbers(words[1])[0])
            if words[0] == "layer" and state.view is not None and len(words) == 3:
                kind, content = "image/png", state.view.layer(at, words[2])
            else:
                image = state.items[at].image
                if image is None:
                    raise RefusedError(HTTPStatus.NOT_FOUND, "this item has no picture")
                own = None if state.view is None else state.view.picture(at, state.folder / image)
                kind, content = shown_picture(state.folder / image) if own is None else ("image/jpeg", own)
        except InvalidInputError as error:
            self._send_json({"error": str(error)}, HTTPStatus.NOT_FOUND)
            return
        self._send(content, kind, cache=LASTING)

    def _post(self, path: str) -> None:
        if path != "api/decisions":
            raise RefusedError(HTTPStatus.NOT_FOUND, f"nothing at {path!r}")
        if "Origin" not in self.headers:  # every browser sends one; a form of another page would send its own
            raise RefusedError(HTTPStatus.FORBIDDEN, "decisions come from the page")
        if self.headers.get_content_type() != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "decisions come as JSON")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a decision has at most {MOST_BYTES} bytes")
        try:
            said = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"a decision is JSON: {error}") from error
        if not isinstance(said, dict):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "a decision is a JSON object")
        self._send_json(self._review.state.decide(said))

    # ---------------------------------------------------------------- how it is sent

    def _send_json(self, value: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        content = json.dumps(value, ensure_ascii=False).encode()
        self._send(content, "application/json; charset=utf-8", status=status)

    def _send(self, content: bytes, kind: str, *, status: HTTPStatus = HTTPStatus.OK, cache: str = "no-store") -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", cache)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)


def _numbers(text: str) -> list[int]:
    words = text.split(",")
    if not all(word.isascii() and word.isdecimal() and len(word) < 12 for word in words):
        raise InvalidInputError("whole numbers", got=repr(text[:80]), fix="reload the page")
    return [int(word) for word in words]

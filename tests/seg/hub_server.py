"""A stand-in for the Hugging Face hub on this machine: `from hub_server import serving`."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Files by repository and name, and what was asked for."""

    def __init__(self):
        self.files = {}
        self.requests = []
        self.stated = {}  # a digest that is stated instead of the right one
        self.break_after = None  # bytes after which the next download breaks off


@contextlib.contextmanager
def serving(monkeypatch, cache):
    """Let the hub's client talk to a server here, with its cache in a folder."""
    import huggingface_hub.constants as constants

    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    hub.address = address
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words):
            pass

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, *, body):
            owner, name, _, revision, *file = self.path.strip("/").split("?")[0].split("/")
            repo, filename = f"{owner}/{name}", "/".join(file)
            hub.requests.append((self.command, repo, filename, self.headers.get("Range")))
            files = hub.files.get(repo)
            if files is None or revision not in ("main", COMMIT) or filename not in files:
                code = "RepoNotFound" if files is None else "EntryNotFound"
                code = "RevisionNotFound" if files is not None and revision not in ("main", COMMIT) else code
                self.send_response(404)
                self.send_header("X-Error-Code", code)
                self.send_header("X-Error-Message", code)
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = files[filename]
            etag = hub.stated.get(filename, hashlib.sha256(content).hexdigest())
            start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
            part = content[start:]
            self.send_response(206 if start else 200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{etag}"')
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(part)))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if body:
                if hub.break_after is not None:
                    part, hub.break_after = part[: hub.break_after], None
                    self.close_connection = True
                self.wfile.write(part)

    return Handler

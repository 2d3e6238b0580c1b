"""The review's server: what it answers, whom it refuses, and that no decision is lost."""

import http.client
import json
import re
import socket
import threading
from contextlib import contextmanager

import pytest
from cleaning_runs import EVIL, items_of, save_picture, write_mask_store, write_run

from noisycorrect.review.server import ReviewServer, ReviewState, StaleDecisionError, serve_review, serving
from noisycorrect.review.session import Decision, Item, Journal, final_labels, read_decisions
from noisycorrect.support.errors import InvalidInputError, RunInUseError, StoreError
from noisycorrect.support.locks import locked
from noisycorrect_seg.sessions import write_mask_items


class Client:
    """Asks a server as its page would."""

    def __init__(self, server):
        self.server = server
        self.port = server.server_address[1]
        self.path = f"/{server.token}/"

    def ask(self, path, body=None, *, method=None, token=True, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            own = {"Origin": f"http://127.0.0.1:{self.port}", "Content-Type": "application/json"} if body else {}
            own |= {name.replace("_", "-"): value for name, value in headers.items()}
            sent = {name: value for name, value in own.items() if value is not None}
            content = body if isinstance(body, (bytes, type(None))) else json.dumps(body)
            method = method or ("POST" if body else "GET")
            connection.request(method, (self.path if token else "/") + path, content, sent)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def json(self, path, body=None, **headers):
        answer, content = self.ask(path, body, **headers)
        return answer.status, json.loads(content)

    def decide(self, at, action, seen=0, **more):
        return self.json("api/decisions", {"at": at, "action": action, "seen": seen, "tab": "t", **more})


@contextmanager
def served(folder):
    with ReviewServer(ReviewState(folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Client(server)
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def run_dir(tmp_path):
    return write_run(tmp_path)


@pytest.fixture
def client(run_dir):
    with served(run_dir) as client:
        yield client


# ---------------------------------------------------------------- what is answered


def test_the_page_and_its_files(client):
    for path, kind in (("", "text/html"), ("review.js", "text/javascript"), ("regions.js", "text/javascript"),
                       ("review.css", "text/css"), ("icon.svg", "image/svg+xml")):  # fmt: skip
        answer, content = client.ask(path)
        assert answer.status == 200
        assert answer.getheader("Content-Type").startswith(kind)
        assert len(content) > 100
        policy = answer.getheader("Content-Security-Policy")
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.getheader("Referrer-Policy") == "no-referrer"
        assert answer.getheader("X-Content-Type-Options") == "nosniff"


def test_the_pages_files_name_no_other_host(client):
    for path in ("", "review.js", "regions.js", "review.css"):
        assert not re.search(rb"https?://|[\"'(]//", client.ask(path)[1]), path


def test_worst_first_and_what_an_item_shows(client):
    status, about = client.json("api/run")
    assert status == 200
    assert about["annotators"] == ["anna", "bob"]
    assert about["progress"] == {"issues": 10, "issues_decided": 0, "decided": 0, "skipped": 0, "count": 0}
    assert client.json("api/queue")[1]["order"] == list(range(10))
    assert client.json("api/queue?show=all")[1]["order"] == list(range(12))
    (item,) = client.json("api/items?at=1")[1]["items"]
    assert item["text"] == f"text 1 {EVIL}"  # as data; the page writes it as text
    assert (item["given"], item["suggested"], item["revision"], item["decision"]) == ("billing", "bug", 0, None)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("show=unlabelled", [11]),
        ("show=all&given=billing&suggested=billing", [10]),
        ("show=issues&suggested=how-to", []),
        ("show=issues&annotator=bob", []),
        ("show=all&annotator=bob", [11]),
        ("show=decided", [2]),
        ("show=skipped", [3]),
    ],
)
def test_filters(client, query, expected):
    client.decide(2, "keep")
    client.decide(3, "skip")
    assert client.json(f"api/queue?{query}")[1]["order"] == expected


@pytest.mark.parametrize("path", ["api/queue?show=none", "api/queue?given=cat", "api/items?at=12", "api/items?at=x",
                                  "api/items?at=" + ",".join(["1"] * 65), "api/changes?since=-1"])  # fmt: skip
def test_what_cannot_be_answered_is_one_sentence(client, path):
    status, said = client.json(path)
    assert status == 400
    assert "expected" in said["error"]
    assert "to fix" in said["error"]


# ---------------------------------------------------------------- decisions


def test_a_decision_is_in_the_journal_when_it_is_answered(client, run_dir):
    status, said = client.decide(0, "accept")
    assert status == 200
    assert said["progress"]["issues_decided"] == 1
    (line,) = read_decisions(run_dir)
    assert (line.id, line.action, line.label, line.tab) == ("t0", "accept", "bug", "t")
    assert client.decide(1, "keep")[0] == 200
    assert client.decide(2, "class", label="how-to")[0] == 200
    assert client.decide(2, "undo", seen=3)[1]["decision"] is None
    labels = [final.label for final in final_labels(run_dir)]
    assert labels[:3] == ["bug", "billing", "bug"]


def test_a_name_of_a_tab_that_no_file_can_hold(client, run_dir):
    assert client.decide(1, "keep", tab="\ud800")[0] == 200
    assert [decision.tab for decision in read_decisions(run_dir)] == ["\\ud800"]


def test_two_tabs_do_not_lose_each_others_decisions(client, run_dir):
    """The second one has not seen the first's: it is refused, and shown how the item stands."""
    assert client.decide(0, "keep")[0] == 200
    status, said = client.decide(0, "accept")
    assert status == 409
    assert said["item"]["decision"]["action"] == "keep"
    assert len(read_decisions(run_dir)) == 1
    assert client.decide(0, "accept", seen=said["item"]["revision"])[0] == 200
    heard = client.json("api/changes?since=1")[1]
    assert [(each["at"], each["revision"], each["decision"]["action"]) for each in heard["changed"]] == [
        (0, 2, "accept")
    ]
    assert heard["progress"]["count"] == 2


def test_decisions_at_the_same_time_are_all_kept(client, run_dir):
    statuses = []

    def decide(at):
        statuses.append(client.decide(at % 10, ("keep", "accept")[at // 10])[0])

    threads = [threading.Thread(target=decide, args=(at,)) for at in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 10 + [409] * 10  # one of two for each item
    assert sorted(each.id for each in read_decisions(run_dir)) == sorted(f"t{number}" for number in range(10))


@pytest.mark.parametrize(
    "said",
    [
        {"at": 99, "action": "keep", "seen": 0},
        {"at": True, "action": "keep", "seen": 0},
        {"at": 0, "action": "delete", "seen": 0},
        {"at": 0, "action": "class", "label": "cat", "seen": 0},
        {"at": 0, "action": "class", "seen": 0},
        {"at": 0, "action": "undo", "seen": 0},
        {"action": "keep"},
    ],
)
def test_no_decision_is_taken_that_means_nothing(client, run_dir, said):
    status, answer = client.json("api/decisions", said)
    assert status == 400
    assert "to fix" in answer["error"]
    assert read_decisions(run_dir) == []


def test_a_disk_that_is_full_is_said_and_the_item_stays_open(client, monkeypatch):
    def full(self, decision):
        raise InvalidInputError("to write decisions.jsonl", got="No space left on device", fix="free space")

    monkeypatch.setattr(Journal, "append", full)
    status, said = client.decide(0, "keep")
    assert status == 400
    assert "No space left" in said["error"]
    assert client.json("api/items?at=0")[1]["items"][0]["decision"] is None


def test_what_was_decided_before_is_there_again(run_dir):
    Journal(run_dir).append(Decision(id="t4", action="class", label="how-to"))
    with served(run_dir) as client:
        assert client.json("api/queue")[1]["states"] == {"4": "class"}
        assert client.decide(4, "keep")[0] == 409


def test_the_state_alone_refuses_what_is_stale(run_dir):
    state = ReviewState(run_dir)
    state.decide({"at": 0, "action": "keep", "seen": 0})
    with pytest.raises(StaleDecisionError) as caught:
        state.decide({"at": 0, "action": "keep", "seen": 0})
    assert caught.value.position == 0


# ---------------------------------------------------------------- who may ask


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),  # a name that was made to lead to 127.0.0.1
        ({"Host": "127.0.0.1"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
    ],
)
def test_others_get_nothing(client, headers, status):
    answer, content = client.ask("api/run", **headers)
    assert answer.status == status
    assert (b"classes" in content) == (status == 200)


def test_the_token_is_asked_for_everywhere(client):
    wrong = client.server.token[:-1] + ("a" if client.server.token[-1] != "a" else "b")
    for path in (
        "",
        "api/run",
        f"{wrong}/",
        f"{wrong}/review.js",
        f"{wrong}/api/run",
        "favicon.ico",
        "é".encode().hex(),
    ):
        answer, content = client.ask(path, token=False)
        assert answer.status == 403, path
        assert b"noisycorrect review" in content
    assert len(client.server.token) >= 32
    with ReviewServer(client.server.state) as other:
        assert other.token != client.server.token
    answer, content = client.ask(client.server.token, token=False)  # without its last slash: links would lead astray
    assert answer.status == 404
    assert b"ends with /" in content


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Origin": None}, {"at": 0}, 403),
        ({"Origin": "https://127.0.0.1"}, {"at": 0}, 403),
        ({"Content_Type": "text/plain"}, {"at": 0}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, {"at": 0}, 415),
        ({}, b"{", 400),
        ({}, b"[" * 100_000, 400),
        ({}, b"[1]", 400),
        ({"Content_Length": str(2**30)}, {"at": 0}, 413),
        ({"Content_Length": "-1"}, {"at": 0}, 413),
    ],
)
def test_decisions_come_from_the_page_alone(client, run_dir, headers, body, status):
    assert client.json("api/decisions", body, **headers)[0] == status
    assert read_decisions(run_dir) == []


@pytest.mark.parametrize(
    "path",
    [
        "../cleaning.json", "..%2fcleaning.json", "static/review.js", "items.jsonl", "picture/",
        "picture/../../etc/passwd", "picture/0", "layer/0/given",
    ],
)  # fmt: skip
def test_no_other_file_is_served(client, path):
    answer, content = client.ask(path)
    assert answer.status in (400, 404)
    assert b"error" in content


def test_other_methods_are_refused(client):
    for method in ("PUT", "DELETE", "OPTIONS", "HEAD"):
        assert client.ask("api/run", method=method)[0].status == 501


def test_an_address_that_is_none_is_refused(client):
    with socket.create_connection(("127.0.0.1", client.port), timeout=60) as asking:
        asking.sendall(f"GET http://[/ HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n\r\n".encode())
        assert b" 400 " in asking.recv(100)


def test_only_this_machine_can_connect(client):
    assert client.server.server_address[0] == "127.0.0.1"


# ---------------------------------------------------------------- pictures and masks


def test_pictures_and_what_is_wrong_with_them(tmp_path):
    save_picture(tmp_path / "a.png")
    save_picture(tmp_path / "b.tif", size=(4000, 20))
    (tmp_path / "c.xyz").write_bytes(b"no picture")
    outside = save_picture(tmp_path.parent / f"{tmp_path.name}-other" / "d.png")
    images = ["a.png", "b.tif", "c.xyz", "gone.png", str(outside), *["a.png"] * 7]
    write_run(tmp_path / "run", items_of(image=[str(tmp_path / name) for name in images]), kind="image")
    with served(tmp_path / "run") as client:
        answer, content = client.ask("picture/0")
        assert (answer.status, answer.getheader("Content-Type")) == (200, "image/png")
        assert content == (tmp_path / "a.png").read_bytes()
        answer, content = client.ask("picture/1")
        assert (answer.status, answer.getheader("Content-Type")) == (200, "image/jpeg")
        assert client.ask("picture/4")[0].status == 200
        for at, said in ((2, "can be read"), (3, "no such file")):
            status, answer = client.json(f"picture/{at}")
            assert status == 404
            assert said in answer["error"]


def test_masks_are_decided_about_region_by_region(tmp_path):
    write_mask_store(tmp_path)
    write_mask_items(tmp_path, ["background", "cat", "dog"], ids=["a", "b", "c"])
    with served(tmp_path) as client:
        (item,) = client.json("api/items?at=0")[1]["items"]
        regions = item["regions"]["regions"]
        assert len(regions) == 2
        assert client.ask("layer/0/regions")[1].startswith(b"\x89PNG")
        assert client.ask("layer/0/nothing")[0].status == 404
        assert client.decide(0, "accept")[0] == 400  # nothing said about its regions
        assert client.decide(0, "class", label="cat")[0] == 400
        chosen = {"accepted": [regions[0]["id"]], "rejected": [regions[1]["id"]]}
        status, said = client.decide(0, "accept", regions=chosen)
        assert status == 200
        assert said["decision"]["regions"]["accepted"] == chosen["accepted"]
        assert client.decide(1, "keep")[0] == 200


# ---------------------------------------------------------------- starting


def test_a_port_in_use_is_one_sentence(run_dir):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInputError, match=f"a free port; got port {port}, which is in use; to fix: leave"):
            ReviewServer(ReviewState(run_dir), port)
    with pytest.raises(InvalidInputError, match="a free port"):
        ReviewServer(ReviewState(run_dir), 70_000)


def test_a_second_review_of_a_run_is_told_of_the_first(run_dir):
    with locked(run_dir), pytest.raises(RunInUseError, match="many tabs may share it"):
        serve_review(run_dir, browser=False)


def test_a_read_only_folder_is_said_before_anybody_has_worked(run_dir, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(serving, "locked", refuse)
    with pytest.raises(InvalidInputError, match="where decisions can be saved.*Permission denied.*make it writable"):
        serve_review(run_dir, browser=False)


def test_a_folder_that_is_no_run_is_left_as_it_was(tmp_path):
    with pytest.raises(StoreError, match="noisycorrect clean"):
        serve_review(tmp_path, browser=False)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_it_and_the_count_is_told(run_dir, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(serving.webbrowser, "open", opened.append)
    Journal(run_dir).append(Decision(id="t0", action="keep", label="billing"))

    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(ReviewServer, "serve_forever", stop)
    assert serve_review(run_dir) == 1
    shown = capsys.readouterr().out
    assert "10 labels to look at, 1 of them decided" in shown
    assert opened[0] in shown
    with locked(run_dir):  # and the folder is free again
        pass


def test_items_and_masks_of_different_runs_are_told_apart(tmp_path):
    write_mask_store(tmp_path, count=3)
    write_run(tmp_path, [Item(id="a", given=None, suggested=None, quality=1, is_issue=False)], kind="mask")
    with pytest.raises(InvalidInputError, match="3 items, as the labels are; got 1"):
        ReviewState(tmp_path)

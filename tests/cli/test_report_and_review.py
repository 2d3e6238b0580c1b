"""``noisycorrect report`` and ``noisycorrect review``, from words to files and exit status."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cleaning_runs import write_mask_store, write_run, write_store_run

from noisycorrect.cli import main
from noisycorrect.review.server import serving
from noisycorrect.review.session import final_labels, read_decisions
from noisycorrect.support.locks import locked

ROOT = Path(__file__).parents[2]


def test_a_report_is_written_into_the_run_or_where_it_is_wanted(tmp_path, capsys):
    write_store_run(tmp_path / "run")
    assert main(["report", str(tmp_path / "run")]) == 0
    assert "report.html" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "run" / "labels"), "--out", str(tmp_path / "labels.html")]) == 0
    whole, reduced = (path.read_text() for path in (tmp_path / "run" / "report.html", tmp_path / "labels.html"))
    assert "text 0" in whole
    assert "class 0" in reduced
    assert len(whole) > len(reduced)


def test_a_report_of_masks(tmp_path):
    write_mask_store(tmp_path)
    assert main(["report", str(tmp_path)]) == 0
    assert "Wrong pixels" in (tmp_path / "report.html").read_text()


def test_errors_are_one_sentence_and_status_2(tmp_path, capsys):
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert main(["review", str(tmp_path), "--no-browser"]) == 2
    write_run(tmp_path / "run")
    with locked(tmp_path / "run"):
        assert main(["review", str(tmp_path / "run"), "--no-browser"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 3
    assert all(line.startswith("noisycorrect: expected") and "to fix" in line for line in said)


def test_the_help_says_how_a_run_of_masks_is_reviewed(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["review", "--help"])
    assert "write_mask_items" in capsys.readouterr().out


def test_the_options_reach_the_server(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(serving.webbrowser, "open", asked.append)
    monkeypatch.setattr(serving.ReviewServer, "serve_forever", lambda self: asked.append(self.server_address[1]))
    write_run(tmp_path)
    assert main(["review", str(tmp_path), "--no-browser"]) == 0
    assert main(["review", str(tmp_path), "--port", str(asked[0])]) == 0  # free again
    assert asked[1] == f"http://127.0.0.1:{asked[0]}/" + asked[1].split("/", 3)[3]
    assert asked[2] == asked[0]
    assert "0 decisions are saved" in capsys.readouterr().out


def test_decisions_survive_the_command_being_killed(tmp_path):
    write_run(tmp_path)
    words = [sys.executable, "-m", "noisycorrect.cli", "review", str(tmp_path), "--no-browser"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        process.stdout.readline()
        address = re.search(r"http://(127.0.0.1:\d+)(/\S+)", process.stdout.readline())
        host, path = address.groups()
        connection = http.client.HTTPConnection(host, timeout=60)
        said = json.dumps({"at": 3, "action": "class", "label": "how-to", "seen": 0, "tab": "t"})
        headers = {"Origin": f"http://{host}", "Content-Type": "application/json"}
        connection.request("POST", f"{path}api/decisions", said, headers)
        assert connection.getresponse().status == 200
        process.send_signal(signal.SIGKILL)
        connection.close()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert [(each.id, each.label) for each in read_decisions(tmp_path)] == [("t3", "how-to")]
    assert final_labels(tmp_path)[3].label == "how-to"
    with locked(tmp_path):  # the dead process holds nothing
        pass

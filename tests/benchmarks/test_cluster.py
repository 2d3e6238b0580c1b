"""The plan for many machines, and the files of docs/cluster.md that start a run on them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import torch

from benchmarks import cluster
from benchmarks.cluster import Cluster, Units, plan, seconds, size
from noisycorrect.labels.storage import TopEvidence

PAGE = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_plan_by_hand() -> None:
    units = Units(order=1e-8, digest=2e-8, batch=1e-6, publish=1e-5, evidence=4.0, latency=1e-4, bandwidth=1e9)
    rows = {what: amount for what, amount, _ in plan(units, Cluster(10**6, 100, 4, 1e6, 1e5, 500.0, 1e9, 50))}
    assert rows["an epoch of training"] == "8 min"  # 10^6 / (4 * 500) = 500 s
    assert rows["images read in an epoch"] == "100 GB"
    assert rows["all-reduce of a step's gradient"] == "6 MB"  # 2 * 3/4 * 4 * 10^6 bytes
    assert rows["its time"] == "6 ms"
    assert rows["the same by gloo, as measured here"] == "6.1 ms"
    assert rows["steps of an epoch"] == "5,000"
    assert rows["order of an epoch"] == "10 ms"
    assert rows["given labels"] == "8 MB"
    assert rows["evidence of a generation"] == rows["evidence of every step"] == "400 MB"
    assert rows["the same in float32"] == "400 MB"
    assert (rows["publishing it"], rows["merging it"]) == ("2.5 s", "10.0 s")
    assert (size(1.1e13), seconds(7200)) == ("11 TB", "2.0 h")


def test_evidence_of_every_step_is_held_as_a_run_holds_it() -> None:
    units = Units(order=1e-8, digest=2e-8, batch=1e-6, publish=1e-5, evidence=4.0, latency=1e-4, bandwidth=1e9)
    rows = {what: (amount, why) for what, amount, why in plan(units, Cluster(10**8, 1000, 64, 1e6, 1e5, 1e3, 1e9, 64))}
    amount, why = rows["evidence of every step"]
    held = TopEvidence.uniform(64, own=torch.tensor([0, 1]), num_classes=1000)
    assert sum(tensor.nbytes for tensor in held.tensors().values()) == 2 * 516
    assert (amount, "top-64" in why, rows["the same in float32"][0]) == (size(516 * 10**8), True, "400 GB")


def test_the_command_prints_the_rows_of_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "MEASURED", 600)
    monkeypatch.setattr(cluster, "all_reduce_seconds", lambda folder: (1e-4, 1e-1))
    assert cluster.main(["--classes", "10"]) == 0
    printed = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    table = [line.split("|")[1].strip() for line in PAGE.splitlines() if line.startswith("| ")]
    assert printed == table
    assert cluster.main(["--ranks", "1"]) == 2
    assert "--ranks" in capsys.readouterr().err


def test_the_scripts_of_the_page_are_bash() -> None:
    (script,) = blocks("bash")
    found = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")
    assert "srun torchrun" in script


def test_the_manifests_of_the_page_are_yaml() -> None:
    yaml = pytest.importorskip("yaml")
    (text,) = blocks("yaml")
    service, job = yaml.safe_load_all(text)
    spec = job["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    options = dict(each[2:].split("=") for each in container["args"] if each.startswith("--"))
    assert int(options["nnodes"]) == spec["completions"] == spec["parallelism"]
    assert int(options["nproc-per-node"]) == container["resources"]["limits"]["nvidia.com/gpu"]
    assert options["rdzv-endpoint"].split(":")[0] == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    values = {each["name"]: each["value"] for each in container["env"]}
    assert values["RUN_DIR"].startswith(container["volumeMounts"][0]["mountPath"])


def test_the_options_of_the_page_are_those_of_torchrun() -> None:
    from torch.distributed.run import get_args_parser

    known = {option.replace("_", "-") for action in get_args_parser()._actions for option in action.option_strings}
    used = set(re.findall(r"--(?:nnodes|nproc-per-node|rdzv-[a-z]+|max-restarts)", PAGE))
    assert len(used) == 6
    assert used <= known

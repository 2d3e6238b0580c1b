"""Weights by name: files, folders, repositories of a stand-in for the hub, and all that can be wrong with them."""

import copy
import hashlib
import json
import pickle
import sys

import numpy as np
import pytest
import torch

from noisycorrect.support.checkpoint import load_checkpoint, save_checkpoint
from noisycorrect.support.errors import ArgumentError, CheckpointError, InvalidInputError
from noisycorrect_seg.ace2p import ACE2P
from noisycorrect_seg.classes import classes_named
from noisycorrect_seg.hub import RELEASED, ReleasedWeights, file_of_repo, model_card
from noisycorrect_seg.inference import parse_image
from noisycorrect_seg.inputs import Normalisation, normalisation_named

safetensors = pytest.importorskip("safetensors.torch", reason="needs the extra safetensors")
PASCAL = classes_named("pascal")


def small(classes=7, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ACE2P(classes, "resnet50", width=0.125).eval()


@pytest.fixture(scope="module")
def network():
    return small()


def same(one, other):
    mine, theirs = one.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    for name in mine:
        torch.testing.assert_close(mine[name], theirs[name], rtol=0, atol=0)


# ---------------------------------------------------------------- files and folders


@pytest.mark.parametrize("name", ["own.pt", "own.safetensors"])
def test_a_file_says_its_classes_and_size(name, network, tmp_path):
    network.save(tmp_path / name, classes=PASCAL, size=(64, 48))
    assert ACE2P.details(tmp_path / name) == (PASCAL, (64, 48))
    for found in (ACE2P.load(tmp_path / name), ACE2P.from_pretrained(tmp_path / name)):
        same(found, network)
        assert not found.training
        assert (found.classes, found.size) == (PASCAL, (64, 48))
    found.save(tmp_path / "again.pt")  # what it knows goes on
    assert ACE2P.details(tmp_path / "again.pt") == (PASCAL, (64, 48))
    assert ACE2P.from_pretrained(str(tmp_path / name), classes=[*"abcdefg"], size=(8, 8)).size == (8, 8)


def test_a_folder_and_its_card(network, tmp_path):
    folder = tmp_path / "mine"
    metrics = {"mean IoU | validation": 0.5}
    network.save_pretrained(
        folder, classes=PASCAL, size=(64, 48), data="8 <drawn> people", licence="mit", metrics=metrics, notes="Small."
    )
    assert {path.name for path in folder.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    found = ACE2P.from_pretrained(folder)
    same(found, network)
    assert (found.classes, found.size, found.config) == (PASCAL, (64, 48), network.config)
    card = (folder / "README.md").read_text()
    for said in ("# mine", "8 &lt;drawn&gt; people", r"| mean IoU \| validation | 0.5 |", "| 1 | Head |  |", "Small."):
        assert said in card, said
    assert card.startswith('---\nlicense: "mit"\nlibrary_name: noisycorrect\n')
    assert json.loads((folder / "config.json").read_text())["id2label"]["1"] == "Head"
    # The photo is parsed as the folder says.
    parsing = parse_image(found, torch.zeros(20, 10, 3, dtype=torch.uint8).numpy())
    assert parsing.classes == PASCAL
    assert found.with_classes(3).classes is None


@pytest.mark.parametrize("shown", ["rgb", Normalisation([90.0] * 3, [70.0] * 3)])
def test_weights_say_how_they_are_shown_images(shown, network, tmp_path):
    network = copy.deepcopy(network)
    network.classes, network.size, network.normalisation = PASCAL, (64, 48), shown
    image = np.random.default_rng(0).integers(0, 256, (30, 20, 3), np.uint8)
    expected = parse_image(network, image, probs=True).probs
    network.save(tmp_path / "own.pt")
    network.save(tmp_path / "own.safetensors")
    network.save_pretrained(tmp_path / "folder")
    for name in ("own.pt", "own.safetensors", "folder", "folder/model.safetensors"):
        found = ACE2P.from_pretrained(tmp_path / name)
        assert (found.classes, found.size, found.normalisation) == (PASCAL, (64, 48), normalisation_named(shown)), name
        assert (parse_image(found, image, probs=True).probs == expected).all()
    said = {"rgb": "red first, normalised with ImageNet"}.get(
        str(shown), "(value / 1 - mean) / std with mean 90, 90, 90"
    )
    assert said in (tmp_path / "folder" / "README.md").read_text()
    network.normalisation = None
    assert (parse_image(network, image, probs=True).probs != expected).any()


@pytest.mark.parametrize("size", [(64,), 64, (64, 48, 3), (0, 48), ("64", "48")])
def test_a_size_that_is_none_is_refused_when_weights_are_saved(size, network, tmp_path):
    """Not when they are loaded, which they could not be any more."""
    for write in (lambda: network.save(tmp_path / "own.pt", size=size),
                  lambda: network.save_pretrained(tmp_path / "folder", size=size)):  # fmt: skip
        with pytest.raises(InvalidInputError, match="size|height"):
            write()
    assert not list(tmp_path.iterdir())


def test_what_is_not_said_is_not_guessed():
    card = model_card("own", network="ACE2P", parameters=3, classes=None, size=None)
    assert card.count("Not stated.") == 4
    assert "license" not in card
    pairs = model_card("own", network="ACE2P", parameters=3, classes=classes_named("lip"), size=(2, 2))
    assert "| 14 | Left-arm | Right-arm |" in pairs
    with pytest.raises(InvalidInputError, match="a licence as an identifier"):
        model_card("own", network="ACE2P", parameters=3, classes=None, size=None, licence="mit\nfoo: bar")


def official(network, prefix="module."):
    return network.to_official_state_dict(prefix)


@pytest.fixture
def narrow(monkeypatch):
    """Let networks of the authors' layout be narrow ones."""
    monkeypatch.setattr(
        ACE2P, "_unfilled", classmethod(lambda cls, config: small(config["num_classes"], seed=1)), raising=True
    )


@pytest.mark.parametrize("count", [7, 18, 20, 5])
def test_files_of_the_authors(count, narrow, tmp_path):
    network = small(count)
    torch.save({"state_dict": official(network)}, tmp_path / "theirs.pth")
    # As copies for Transformers are: another prefix, and counters of batches.
    copy = {f"model.{name}": value for name, value in official(network, "").items()}
    copy["model.bn1.num_batches_tracked"] = torch.tensor(3)
    safetensors.save_file(copy, tmp_path / "theirs.safetensors")
    for name in ("theirs.pth", "theirs.safetensors"):
        found = ACE2P.from_pretrained(tmp_path / name)
        crops = torch.randn(1, 3, 33, 33, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            torch.testing.assert_close(found(crops).final, network(crops).final, rtol=1e-4, atol=1e-4)
        listed = {7: "pascal", 18: "atr", 20: "lip"}.get(count)
        assert (found.classes and found.classes.name) == listed
        assert found.size == {None: None, "lip": (473, 473)}.get(listed, (512, 512))


# ---------------------------------------------------------------- the hub


@pytest.fixture
def hub(monkeypatch, tmp_path):
    pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    from hub_server import serving

    with serving(monkeypatch, tmp_path / "cache") as found:
        yield found


def test_a_released_network_by_name(hub, narrow, monkeypatch, tmp_path):
    network = small(18)
    safetensors.save_file({f"model.{k}": v for k, v in official(network, "").items()}, tmp_path / "copy.safetensors")
    content = (tmp_path / "copy.safetensors").read_bytes()
    hub.files[RELEASED["atr"].repo] = {"model.safetensors": content}
    found = ACE2P.from_pretrained("atr")
    assert (found.classes.name, found.size, found.num_classes) == ("atr", (512, 512), 18)
    fetched = [request for request in hub.requests if request[0] == "GET"]
    ACE2P.from_pretrained("atr")
    assert [request for request in hub.requests if request[0] == "GET"] == fetched  # it lies in the cache

    # A digest in the table is asked for.
    entry = {**vars(RELEASED["atr"]), "sha256": "0" * 64}
    monkeypatch.setitem(RELEASED, "atr", ReleasedWeights(**entry))
    with pytest.raises(CheckpointError, match="model.safetensors of pirocheto/schp-atr-18 of SHA-256 0000"):
        ACE2P.from_pretrained("atr")
    entry["sha256"] = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(RELEASED, "atr", ReleasedWeights(**entry))
    assert ACE2P.from_pretrained("atr").num_classes == 18


def test_a_repository_of_ones_own(hub, network, tmp_path):
    network.save_pretrained(tmp_path / "mine", classes=PASCAL, size=(64, 48))
    hub.files["me/mine"] = {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()}
    found = ACE2P.from_pretrained("me/mine", revision="main")
    same(found, network)
    assert (found.classes, found.size) == (PASCAL, (64, 48))
    with pytest.raises(InvalidInputError, match="7 classes, as the network has; got 18 of the list 'atr'"):
        ACE2P.from_pretrained("me/mine", classes="atr")
    with pytest.raises(InvalidInputError, match=r"repository 'me/mine' on the hub with a revision 'v9'"):
        ACE2P.from_pretrained("me/mine", revision="v9")
    with pytest.raises(InvalidInputError, match="repository 'me/nothing' on the hub"):
        ACE2P.from_pretrained("me/nothing")
    hub.files["me/bare"] = {"config.json": b"{}"}
    with pytest.raises(InvalidInputError, match="file model.safetensors in me/bare; got none"):
        ACE2P.from_pretrained("me/bare")
    assert file_of_repo("me/bare", "other", optional=True) is None


def test_a_download_that_breaks_off_goes_on(hub, monkeypatch):
    content = bytes(range(256)) * 2000
    hub.files["me/mine"] = {"model.safetensors": content}
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub.break_after = 100_000
    path = file_of_repo("me/mine", "model.safetensors")
    assert path.read_bytes() == content
    assert [request[3] for request in hub.requests if request[0] == "GET" and request[3]] == ["bytes=100000-"]


def test_a_file_of_other_bytes_than_stated_is_refused(hub):
    hub.files["me/mine"] = {"model.safetensors": b"something else"}
    hub.stated["model.safetensors"] = hashlib.sha256(b"what was published").hexdigest()
    with pytest.raises(CheckpointError, match="model.safetensors of me/mine of SHA-256 .*; got .*delete .*blobs"):
        file_of_repo("me/mine", "model.safetensors")


def test_without_a_network_the_message_says_what_to_do(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs the extra hub")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        CheckpointError, match=r"no way to the hub .*download exp-schp-201908261155-lip.pth in a browser"
    ):
        ACE2P.from_pretrained("lip")
    with pytest.raises(CheckpointError, match="config.json of me/mine, or to find it in the cache"):
        ACE2P.from_pretrained("me/mine")


def test_without_the_client_the_message_says_what_to_install(monkeypatch, network):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InvalidInputError, match=r"noisycorrect\[hub\]'; or download exp-schp-201908270938-pascal"):
        ACE2P.from_pretrained("pascal")
    with pytest.raises(InvalidInputError, match="huggingface_hub, to upload to me/mine"):
        network.push("me/mine", data="none", licence="mit")


class Api:
    """What is uploaded with the hub's client."""

    uploaded = None

    def create_repo(self, repo, *, private, exist_ok):
        assert exist_ok
        self.made = (repo, private)
        return f"https://hub/{repo}"

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        from pathlib import Path

        Api.uploaded = (*self.made, repo_id, {each.name: each.read_bytes() for each in Path(folder_path).iterdir()})


def test_pushing(monkeypatch, network, tmp_path):
    hub = pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    monkeypatch.setattr(hub, "HfApi", Api)
    address = network.push("me/mine", data="drawn people", licence="mit", classes="pascal", size=(64, 48))
    repo, private, into, files = Api.uploaded
    assert (address, repo, private, into) == ("https://hub/me/mine", "me/mine", True, "me/mine")
    assert b'ACE2P.from_pretrained("me/mine")' in files["README.md"]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    same(ACE2P.from_pretrained(tmp_path), network)

    def refused(self, *args, **kwargs):
        raise hub.errors.LocalTokenNotFoundError("no token")

    monkeypatch.setattr(Api, "create_repo", refused)
    with pytest.raises(InvalidInputError, match="to upload to me/mine; got no token; to fix: hf auth login"):
        network.push("me/mine", data="drawn people", licence="mit")


# ---------------------------------------------------------------- invalid input


class Harm:
    def __reduce__(self):
        return print, ("pickled code was run",)


def test_what_is_no_weights_is_refused(network, tmp_path, capsys):
    for name in ("code.pth", "code.pt"):
        torch.save({"state_dict": Harm()}, tmp_path / name)
        with pytest.raises(CheckpointError, match="code when loaded"):
            ACE2P.from_pretrained(tmp_path / name)
    (tmp_path / "code.safetensors").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(CheckpointError, match="whole weights"):
        ACE2P.from_pretrained(tmp_path / "code.safetensors")
    assert "pickled code was run" not in capsys.readouterr().out
    with pytest.raises(InvalidInputError, match="a file or folder of weights at .*gone.pt; got no such file"):
        ACE2P.from_pretrained(tmp_path / "gone.pt")
    with pytest.raises(InvalidInputError, match="did you mean 'pascal'"):
        ACE2P.from_pretrained("pascall")
    with pytest.raises(CheckpointError, match="model.safetensors in .*; got none"):
        ACE2P.from_pretrained(tmp_path)
    with pytest.raises(InvalidInputError, match="revision= with a repository"):
        ACE2P.from_pretrained(tmp_path, revision="main")
    with pytest.raises(InvalidInputError, match="7 classes, as the network has; got 20"):
        network.save_pretrained(tmp_path / "x", classes="lip")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"library": "noisycorrect", "format": 9, "config": {}}', "format 1 or older"),
        ('{"library": "noisycorrect", "format": 1}', "a whole .*config.json"),
        ("{", "a whole .*config.json"),
        ('{"library": "noisycorrect", "format": 1, "config": {"num_classes": 9}, "classes": [1]}', "a whole "),
        ('{"library": "noisycorrect", "format": 1, "config": {}, "size": [64]}', "a whole "),
        ('{"library": "noisycorrect", "format": 1, "config": {}, "normalisation": {"mean": [0]}}', "a whole "),
    ],
)
def test_a_damaged_description(content, message, network, tmp_path):
    network.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        ACE2P.from_pretrained(tmp_path)


def test_the_table_says_what_is_known():
    for name, entry in RELEASED.items():
        assert entry.classes.name == name == entry.name
        assert entry.sha256 is None  # nobody has published one
        assert entry.licence == "mit"
        assert entry.url.startswith("https://drive.google.com/file/d/")
        assert entry.file in entry.by_hand
        assert entry.url in entry.by_hand


# ---------------------------------------------------------------- files that are none, or were made to do harm


def _with(path, **fields):
    """Write a network of ours, some of its fields exchanged."""
    small(7).save(path, classes="pascal", size=(64, 48))
    content = load_checkpoint(path)
    save_checkpoint(path, {name: content[name] for name in ("kind", "config", "state", "details")} | fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"config": None}, "a network's configuration by name; got NoneType"),
        ({"config": {"num_classes": 10**9, "backbone": "resnet50", "width": 0.125}}, r"of shape \(1000000000"),
        ({"state": None}, "weights by name; got NoneType"),
        ({"details": [1]}, "classes, size and normalisation of a network at .*own.pt"),
        ({"details": {"classes": 5}}, "classes, size and normalisation of a network"),
        ({"details": {"size": "large"}}, "classes, size and normalisation of a network"),
        ({"details": {"normalisation": {"mean": [0.0]}}}, "classes, size and normalisation of a network"),
    ],
)
def test_what_a_file_declares_takes_no_memory_and_ends_in_one_error(tmp_path, fields, message):
    _with(tmp_path / "own.pt", **fields)
    for read in (ACE2P.load, ACE2P.from_pretrained):
        with pytest.raises(CheckpointError, match=message):
            read(tmp_path / "own.pt")


def test_a_weight_of_more_numbers_than_are_stored_is_refused(tmp_path):
    network = small(7)
    name, weight = next(iter(network.state_dict().items()))
    state = network.state_dict() | {name: torch.zeros(1).expand(weight.shape)}
    _with(tmp_path / "own.pt", state=state)
    with pytest.raises(CheckpointError, match=f"all numbers of '{name}'; got 1 of"):
        ACE2P.load(tmp_path / "own.pt")


@pytest.mark.parametrize("content", [b"", b"abc", b"\x80\x02" + b"]" * 2000, b"<!doctype html><html></html>"])
def test_any_bytes_end_in_one_error(tmp_path, content):
    (tmp_path / "own.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="own.pt"):
        ACE2P.from_pretrained(tmp_path / "own.pt")


def test_methods_with_files_name_arguments_that_are_missing_or_unknown(tmp_path):
    network = small()
    with pytest.raises(ArgumentError, match=r"got missing a required argument: 'data'"):
        network.push("a/b")
    with pytest.raises(ArgumentError, match="did you mean 'licence'"):
        network.save_pretrained(tmp_path / "x", license="mit")
    with pytest.raises(ArgumentError, match="a known argument of StoredNetwork.from_pretrained; got 'class'"):
        ACE2P.from_pretrained("lip", **{"class": "lip"})
    with pytest.raises(ArgumentError, match="'path'"):
        network.save()
    with pytest.raises(ArgumentError, match=r"load\(path\)"):
        ACE2P.load()

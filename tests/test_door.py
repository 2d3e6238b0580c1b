"""Bad arguments of every public callable end in one clear error: nobody meets a raw one of Python, NumPy or torch."""

import contextlib
import functools
import inspect
import io
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import noisycorrect as nc
import noisycorrect_seg as ns
from noisycorrect import noise
from noisycorrect.labels import CODECS, KINDS
from noisycorrect.task import TASKS
from noisycorrect_seg import noise as mask_noise
from noisycorrect_seg.ace2p.backbones import BACKBONES


@pytest.fixture(autouse=True)
def registers_forget_what_was_tried():
    """A bad value is a good name for what is registered under it; other tests go through all names."""
    yield
    for register in (nc.RECIPES, KINDS, TASKS, BACKBONES, CODECS):
        register._things.pop(NO_SUCH_THING, None)


NO_SUCH_THING = "no such thing"
X = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(24) % 3
PROBS = torch.softmax(X[:, :3], 1).numpy()
MASK = np.zeros((8, 8), np.uint8)
MASK[2:6, 2:6] = 1
LOGITS = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
MASKS = torch.from_numpy(np.stack([MASK, MASK.T])).long()
QUIET = [nc.Progress(enabled=False)]


class Parser(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 20, 1)

    def forward(self, images):
        return self.layer(images[:, :, ::4, ::4])


@functools.cache
def drawn(kind, count):
    """Return a source whose pictures are drawn once for all bad values: nothing changes them."""
    return kind(count, size=(32, 48) if kind is ns.SyntheticScenes else (32, 32))


def net():
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def corrector(**options):
    given = {"num_classes": 3, "recipe": "paper", "epochs": 3, "callbacks": QUIET, **options}
    return nc.SelfCorrector(net(), **given)


def fit(**options):
    return corrector().fit(**{"train": (X, Y), **options})


def votes():
    return nc.Votes.from_table(np.stack([Y.numpy()] * 2, 1), classes=range(3))


def sgd():
    return torch.optim.SGD(net().parameters(), lr=0.1)


def metrics_update(pred, labels):
    ns.SegmentationMetrics(3).update(pred, labels)


# What is called, with arguments that are right: (name, callable, arguments). A function makes what a call may change.
CALLS = {
    "SelfCorrector": (nc.SelfCorrector, lambda: {
        "model": net(), "task": "classification", "num_classes": 3, "recipe": "paper", "epochs": 3, "lr": 0.1,
        "batch_size": 8, "optimizer": None, "augment": None, "collate_fn": None, "num_workers": 0, "device": "cpu",
        "precision": "auto", "seed": 0, "class_names": None, "run_dir": None, "callbacks": QUIET}),
    "SelfCorrector.fit": (fit, lambda: {
        "train": (X, Y), "val": None, "unlabeled": None, "canonical": None, "sample_weight": None, "clean_labels": None,
        "val_clean_labels": None, "resume": "auto"}),
    "AtCycleEnd": (nc.AtCycleEnd, lambda: {"momentum": None, "trust": "paper", "keep": 2}),
    "AtCycleEnds": (nc.AtCycleEnds, lambda: {"restart": "student", "recalibration": nc.Recalibration()}),
    "CSVLog": (nc.CSVLog, lambda: {"path": "log.csv"}),
    "Classification": (nc.Classification, lambda: {
        "num_classes": 3, "loss": lambda logits, targets: -(targets * logits.log_softmax(1)).sum(1),
        "allow_empty_classes": False, "class_weight": None}),
    "CosineCycles": (nc.CosineCycles, lambda: {"warmup_epochs": 1, "cycle_lr": 0.1, "min_lr": 0.0}),
    "CrossFitting": (nc.CrossFitting, lambda: {
        "momentum": 0.7, "start": 0.1, "trust": "class-relative", "input_dropout": 0.1, "keep": 2}),
    "CyclicalLR": (nc.CyclicalLR, lambda: {
        "optimizer": sgd(), "warmup_epochs": 1, "init_epochs": 4, "cycle_epochs": 2, "cycle_lr": 0.1, "min_lr": 0.0,
        "last_epoch": -1}),
    "EarlyLearning": (nc.EarlyLearning, lambda: {"strength": 3.0, "consistency": 0.0, "strong_augment": None}),
    "EarlyStopping": (nc.EarlyStopping, lambda: {"metric": "val_accuracy", "patience": 2, "min_delta": 0.0}),
    "EpochCycles": (nc.EpochCycles, lambda: {"init_share": 0.5}),
    "EveryStep": (nc.EveryStep, lambda: {"decay": 0.9, "recalibration": nc.Recalibration()}),
    "MultiLabel": (nc.MultiLabel, lambda: {"num_classes": 3}),
    "NeighborCorrection": (nc.NeighborCorrection, lambda: {
        "neighbors": 20, "most_rounds": 15, "features": "inputs", "share": 0.1, "momentum": 0.7, "start": 0.1,
        "clean_rate": 0.02, "noisy_rate": 0.06, "keep": 2}),
    "OneCosine": (nc.OneCosine, lambda: {"warmup_epochs": 1, "min_lr": 0.0}),
    "OnlineCorrection": (nc.OnlineCorrection, lambda: {
        "momentum": 0.7, "start": "auto", "trust": "class-relative", "input_dropout": 0.1, "balance": False,
        "keep": 2}),
    "Progress": (nc.Progress, lambda: {"enabled": True, "console": None}),
    "Recalibration": (nc.Recalibration, lambda: {"method": "fast", "samples": 10, "inputs": "augmented"}),
    "Recipe": (nc.Recipe, lambda: {
        "schedule": nc.Shares(), "rates": nc.OneCosine(), "average": None, "correction": None,
        "objective": nc.TaskLoss(), "lr": 0.1, "batch_size": 8, "epochs": 4, "clip_grad_norm": None, "accumulate": 1}),
    "Recipe.replace": (nc.RECIPES["paper"].replace, lambda: {
        "schedule": nc.Shares(), "rates": nc.OneCosine(), "average": nc.AtCycleEnds(), "correction": nc.AtCycleEnd(),
        "objective": nc.TaskLoss(), "lr": 0.1, "batch_size": 8, "epochs": 10}),
    "RecordLog": (nc.RecordLog, lambda: {"function": print}),
    "RefinedDataset": (nc.RefinedDataset, lambda: {"data": torch.utils.data.TensorDataset(X, Y), "store": None}),
    "Schedule": (nc.Schedule, lambda: {"init_epochs": 2, "cycles": 1, "cycle_epochs": 1}),
    "Shares": (nc.Shares, lambda: {"init_share": 0.5, "cycles": 2}),
    "SoftLabelStore": (nc.SoftLabelStore, lambda: {"folder": "no such store", "writable": False}),
    "SoftLabelStore.create": (nc.SoftLabelStore.create, lambda: {
        "folder": None, "given": Y, "num_classes": 3, "kind": "classification", "evidence": "mean", "momentum": 0.7,
        "codec": None, "keep": 2, "frame": None}),
    "TokenLabeling": (nc.TokenLabeling, lambda: {"num_classes": 3, "max_length": 8, "classes_first": False}),
    "VoteCorrection": (nc.VoteCorrection, lambda: {
        "votes": votes(), "momentum": 0.7, "start": 0.1, "strength": 4.0, "input_dropout": 0.0, "keep": 2}),
    "Votes": (nc.Votes, lambda: {
        "item": [0, 0, 1], "annotator": [0, 1, 1], "label": [0, 1, 1], "num_items": 2, "classes": ["a", "b"],
        "annotators": ["x", "y"]}),
    "Votes.from_table": (nc.Votes.from_table, lambda: {"labels": np.stack([Y.numpy()] * 2, 1), "classes": range(3)}),
    "WeightAggregator": (nc.WeightAggregator, lambda: {"model": net()}),
    "dawid_skene": (nc.dawid_skene, lambda: {
        "votes": votes(), "evidence": None, "strength": 4.0, "iterations": 10, "tolerance": 1e-6}),
    "evidence_from_features": (nc.evidence_from_features, lambda: {
        "features": X.numpy(), "labels": Y.numpy(), "class_names": None, "neighbors": 5, "folds": 2, "seed": 0}),
    "find_label_issues": (nc.find_label_issues, lambda: {
        "labels": Y.numpy(), "probs": PROBS, "top": None, "score": "self-confidence", "class_names": None}),
    "fit_votes": (nc.fit_votes, lambda: {
        "corrector": corrector(), "inputs": X, "votes": votes(), "val": None, "start": 0.1}),
    "prune_retrain": (nc.prune_retrain, lambda: {
        "model": net(), "train": (X, Y), "num_classes": 3, "epochs": 1, "folds": 2, "callbacks": QUIET}),
    "recalibrate_batchnorm": (nc.recalibrate_batchnorm, lambda: {
        "model": nn.Sequential(nn.BatchNorm1d(4)), "batches": [X], "method": "fast", "max_samples": 24}),
    "register_recipe": (nc.register_recipe, lambda: {
        "name": "paper", "thing": nc.RECIPES["paper"], "replace": False}),
    "noise.Asymmetric": (noise.Asymmetric, lambda: {"rate": 0.2, "mapping": {0: 1}, "sampling": "exact"}),
    "noise.ClassConditional": (noise.ClassConditional, lambda: {"transition": np.eye(3), "sampling": "exact"}),
    "noise.Clusters": (noise.Clusters, lambda: {"rate": 0.2, "centres": 3}),
    "noise.FeatureDependent": (noise.FeatureDependent, lambda: {"rate": 0.2, "teacher_probs": PROBS}),
    "noise.Human": (noise.Human, lambda: {"labels_or_path": Y.numpy(), "key": None}),
    "noise.InstanceDependent": (noise.InstanceDependent, lambda: {
        "rate": 0.2, "std": 0.1, "shared_weights": False, "normalise": None}),
    "noise.OpenSet": (noise.OpenSet, lambda: {"rate": 0.2, "pool": X.numpy(), "sampling": "exact"}),
    "noise.PairFlip": (noise.PairFlip, lambda: {"rate": 0.2, "sampling": "exact"}),
    "noise.Symmetric": (noise.Symmetric, lambda: {"rate": 0.2, "inclusive": False, "sampling": "exact"}),
    "noise.parse": (noise.parse, lambda: {"spelling": "symmetric:0.2"}),
    "noise.apply": (noise.Symmetric(0.4).apply, lambda: {
        "labels": Y.numpy(), "num_classes": 3, "seed": 0, "inputs": None}),
    "noise.apply of inputs": (noise.InstanceDependent(0.4).apply, lambda: {
        "labels": Y.numpy(), "num_classes": 3, "seed": 0, "inputs": X.numpy()}),
    "noise.realised_transition": (noise.realised_transition, lambda: {
        "given": Y.numpy(), "noisy": Y.numpy(), "num_classes": 3}),
    "Classes": (ns.Classes, lambda: {"name": "own", "names": ("a", "left", "right"), "flip_pairs": ((1, 2),)}),
    "classes_named": (ns.classes_named, lambda: {"name": ["a", "b"]}),
    "class_map": (ns.class_map, lambda: {"source": "lip", "target": "atr", "changes": {"Glove": "Scarf"}}),
    "ClassMap": (ns.ClassMap, lambda: {
        "source": ns.classes_named("lip"), "target": ns.classes_named("lip"), "shares": np.eye(20)}),
    "translate": (ns.translate, lambda: {"mask": MASK, "source": "lip", "target": "atr", "changes": None}),
    "agnostic_mask": (ns.agnostic_mask, lambda: {
        "mask": 5 * MASK, "garment": "upper", "classes": "lip", "shape": "hull", "margin": 1, "keep": ("Scarf",),
        "replace": ("Scarf",)}),
    "cut_out": (ns.cut_out, lambda: {
        "photo": np.zeros((8, 8, 3), np.uint8), "mask": 5 * MASK, "garment": "upper", "classes": "lip", "probs": None,
        "edge": 3, "margin": 1}),
    "Folder": (ns.Folder, lambda: {
        "root": "no such folder", "images": None, "masks": None, "classes": "lip", "split": None, "unlabeled": "error",
        "values": {}, "colours": None, "mask_suffix": "", "image_suffix": "", "mask_size": "image", "channels": "rgb",
        "layout": None, "orientation": "auto", "links": False}),
    "HumanParsing": (ns.HumanParsing, lambda: {
        "classes": "lip", "size": (32, 32), "loss": None, "aux_weight": 0.4, "flip_average": False,
        "codec": "sqrt-uint8"}),
    "Segmentation": (ns.Segmentation, lambda: {
        "classes": ["ground", "road"], "size": (32, 32), "loss": None, "aux_weight": 0.4, "flip_average": False,
        "codec": "sqrt-uint8"}),
    "Normalisation": (ns.Normalisation, lambda: {"mean": [0.0], "std": [1.0], "scale": 1.0, "reverse": False}),
    "Tiles": (ns.Tiles, lambda: {
        "source": drawn(ns.SyntheticPeople, 2), "size": (16, 16), "overlap": 4}),
    "parse_scene": (ns.parse_scene, lambda: {
        "model": Parser(), "image": np.zeros((16, 16, 3), np.uint8), "classes": "lip", "tile": (16, 16), "overlap": 4,
        "scales": (1.0,), "flip": False, "normalisation": "bgr", "batch_size": 1, "device": "cpu",
        "precision": "float32"}),
    "ACE2P": (ns.ACE2P, lambda: {"num_classes": 3, "backbone": "mobilenet_v2", "context": "psp"}),
    "CE2P": (ns.CE2P, lambda: {"num_classes": 3, "backbone": "mobilenet_v2"}),
    "ParsingDataset": (ns.ParsingDataset, lambda: {
        "source": drawn(ns.SyntheticPeople, 2), "size": (32, 32), "augment": True, "scale_factor": 0.2,
        "rotation_factor": 10.0, "rotation_prob": 0.5, "mirror_prob": 0.5, "normalisation": "bgr", "cache": False}),
    "ParsingLoss": (ns.ParsingLoss, lambda: {
        "lambda_edge": 1.0, "lambda_parsing": 1.0, "lambda_consistency": 0.1, "cross_entropy": True, "lovasz": True,
        "edge": True, "consistency": True, "lovasz_method": "exact",
        "lovasz_targets": "soft", "ignore_index": 255, "class_weights": None}),
    "PixelEarlyLearning": (ns.PixelEarlyLearning, lambda: {"strength": 3.0, "momentum": 0.7, "stride": 4}),
    "GatheredObjectCorrection": (ns.GatheredObjectCorrection, lambda: {"momentum": 0.7, "stride": 4, "keep": 2}),
    "AbstainingLoss": (ns.AbstainingLoss, lambda: {"sure": 0.9}),
    "ObjectCorrection": (ns.ObjectCorrection, lambda: {
        "parts": ("missing", "misnamed"), "least": 3, "sure": 0.8, "recall": 0.5, "ground": 0.8, "attached": None,
        "shift": 0.5, "relative": 0.5, "weigh": 0.0, "momentum": None, "keep": 2}),
    "AdaptiveEarlyLearning": (ns.AdaptiveEarlyLearning, lambda: {
        "fall": 0.9, "confidence": 0.8, "strength": 1.0, "agreed": 0.8, "scales": (0.7, 1.0), "mirror": True,
        "contested": "replace"}),
    "SegmentationMetrics": (ns.SegmentationMetrics, lambda: {
        "num_classes": 3, "ignore_index": 255, "boundary_width": 0.1}),
    "SegmentationMetrics.update": (metrics_update, lambda: {"pred": MASKS, "labels": MASKS}),
    "SyntheticScenes": (ns.SyntheticScenes, lambda: {
        "count": 1, "people": (1, 2), "seed": 0, "size": (32, 48), "noise": None, "split": "train", "classes": "lip",
        "cache": True}),
    "PersonCrops": (ns.PersonCrops, lambda: {
        "source": drawn(ns.SyntheticScenes, 1), "margin": 0.1, "least": 1, "progress": False}),
    "put_back": (ns.put_back, lambda: {"crops": None, "labels": None, "generation": None}),
    "PersonDetector": (ns.PersonDetector, lambda: {
        "size": (32, 48), "width": 1, "threshold": 0.3, "overlap": 0.7, "most": 10}),
    "train_detector": (ns.train_detector, lambda: {
        "source": drawn(ns.SyntheticScenes, 2), "epochs": 1, "batch_size": 2, "lr": 0.01, "size": (32, 48),
        "width": 1, "seed": 0, "progress": False}),
    "PeopleMetrics": (ns.PeopleMetrics, lambda: {"num_classes": 3, "thresholds": (0.5,)}),
    "PeopleMetrics.update": (ns.PeopleMetrics(3).update, lambda: {
        "instances": MASK * 0, "classes": MASK * 0, "scores": [], "true_instances": MASK * 0, "true_classes": MASK}),
    "parse_people": (ns.parse_people, lambda: {
        "model": Parser(), "image": np.zeros((20, 30, 3), np.uint8), "boxes": [[0, 0, 9, 9]], "scores": [0.5],
        "classes": "lip", "size": (16, 16), "scales": (1.0,), "flip": False, "margin": 0.1, "depth": 0.1,
        "min_score": 0.0, "batch_size": 1, "device": "cpu", "precision": "float32", "probs": False}),
    "SyntheticPeople": (ns.SyntheticPeople, lambda: {
        "count": 2, "seed": 0, "size": (32, 32), "noise": None, "split": "train", "cache": True}),
    "balanced_edge_loss": (ns.balanced_edge_loss, lambda: {
        "logits": LOGITS[:, :2], "targets": MASKS, "ignore_index": 255}),
    "consistency_loss": (ns.consistency_loss, lambda: {
        "parsing_logits": LOGITS, "edge_logits": LOGITS[:, :2], "labels": MASKS, "ignore_index": 255}),
    "cross_entropy": (ns.cross_entropy, lambda: {
        "logits": LOGITS, "targets": MASKS, "ignore_index": 255, "class_weights": None}),
    "edge_targets": (ns.edge_targets, lambda: {"labels": MASKS, "ignore_index": 255, "width": 3}),
    "lovasz_softmax": (ns.lovasz_softmax, lambda: {
        "probs": LOGITS.softmax(1), "labels": MASKS, "ignore_index": 255, "classes": "present", "per_image": False,
        "method": "exact", "bins": 64}),
    "soft_edges": (ns.soft_edges, lambda: {"probs": LOGITS.softmax(1)}),
    "parse_image": (ns.parse_image, lambda: {
        "model": Parser(), "image": np.zeros((16, 16, 3), np.uint8), "classes": "lip", "size": (16, 16),
        "scales": (1.0,), "flip": False, "convention": "extractor", "device": "cpu", "precision": "float32"}),
    "parse_folder": (ns.parse_folder, lambda: {
        "model": Parser(), "folder": "no such folder", "out": "out", "classes": "lip", "size": (16, 16)}),
    "evaluate_source": (ns.evaluate_source, lambda: {
        "model": Parser(), "source": drawn(ns.SyntheticPeople, 1), "size": (16, 16), "scales": (1.0,),
        "flip": False, "batch_size": 1, "device": "cpu"}),
    "parse_video": (ns.parse_video, lambda: {
        "model": Parser(), "video": [np.zeros((16, 16, 3), np.uint8)], "out": "out", "classes": "lip", "size": (16, 16),
        "window": 1, "progress": False, "device": "cpu"}),
    "parse_frames": (ns.parse_frames, lambda: {
        "model": Parser(), "frames": [np.zeros((16, 16, 3), np.uint8)], "classes": "lip", "size": (16, 16),
        "window": 1, "batch_size": 1, "device": "cpu"}),
    "pseudo_masks": (ns.pseudo_masks, lambda: {"parsed": None, "confidence": 0.5, "every": 1}),
    "SoftPseudoMasks": (ns.SoftPseudoMasks, lambda: {"source": None, "momentum": None, "trust": "paper", "keep": 2}),
    "OnnxNetwork": (ns.OnnxNetwork, lambda: {"path": "no such file.onnx", "threads": 1}),
    "quantize_onnx": (ns.quantize_onnx, lambda: {
        "source": "no such file.onnx", "path": "a.onnx", "photos": [], "most": 4, "reduce_range": False}),
    "load_imagenet": (ns.load_imagenet, lambda: {"model": net(), "source": "no such file", "rgb": None}),
    "export_onnx": (ns.export_onnx, lambda: {"model": None, "size": (32, 32), "path": "a.onnx", "batch_size": 1}),
    "export_program": (ns.export_program, lambda: {"model": None, "size": (32, 32), "path": "a.pt2", "batch_size": 1}),
    "ParsingOutput": (ns.ParsingOutput, lambda: {"parsing": LOGITS, "fusion": None, "edge": None}),
    "masks.apply": (mask_noise.Boundary(2.0).apply, lambda: {
        "masks": [MASK], "classes": ["background", "thing"], "seed": 0, "images": None}),
    "masks.Boundary": (mask_noise.Boundary, lambda: {"radius": 2.0}),
    "masks.CoarsePolygon": (mask_noise.CoarsePolygon, lambda: {"vertices": 8, "jitter": 0.0}),
    "masks.Compose": (mask_noise.Compose, lambda: {"models": [mask_noise.Boundary(1.0)]}),
    "masks.Confusion": (mask_noise.Confusion, lambda: {"rate": 0.1, "pairs": ((1, 2),), "whole": False}),
    "masks.DroppedPart": (mask_noise.DroppedPart, lambda: {"rate": 0.1, "fill": "around", "at_most": 1.0}),
    "masks.LeftRightSwap": (mask_noise.LeftRightSwap, lambda: {"rate": 0.1, "together": False}),
    "masks.MarkovBoundary": (mask_noise.MarkovBoundary, lambda: {
        "steps": 10, "theta1": 0.5, "theta2": 0.05, "theta3": 0.0, "smooth": False}),
    "masks.MatrixConfusion": (mask_noise.MatrixConfusion, lambda: {
        "transition": ((1.0, 0.0), (0.0, 1.0)), "whole": False}),
    "masks.PartAffine": (mask_noise.PartAffine, lambda: {"rate": 0.1, "shift": 0.1, "angle": 1.0, "scale": 0.1}),
    "masks.Superpixel": (mask_noise.Superpixel, lambda: {"size": 8}),
    "masks.parse": (mask_noise.parse, lambda: {"spelling": "boundary:2"}),
    "masks.realistic": (mask_noise.realistic, lambda: {"height": 32, "classes": "lip"}),
    "masks.move_borders": (mask_noise.move_borders, lambda: {"mask": MASK, "radii": np.ones(1)}),
}  # fmt: skip

BAD = {
    "None": None,
    "text": NO_SUCH_THING,
    "empty text": "",
    "number": 3.5,
    "negative": -1,
    "NaN": float("nan"),
    "numpy NaN": np.float64("nan"),
    "numpy number": np.int64(5),
    "huge": 10**30,
    "object": object(),
    "class": int,
    "bytes": b"\0\xff",
    "empty list": [],
    "empty array": np.zeros((0, 4)),
    "ragged": [[1, 2], [3]],
    "tensor of another dtype": torch.ones(3, 2, dtype=torch.complex64),
    "wrong shape": torch.zeros(5, 2, 7),
    "array of NaN": np.full((24, 3), np.nan),
    "array of texts": np.array(["a", "b"] * 12),
    "Series": pd.Series([0, 1, None], index=[7, 8, 9]),
    "DataFrame": pd.DataFrame({"a": ["x", "y"], "b": [1, 2]}),
    "dates": pd.Series(pd.date_range("2020-01-01", periods=3)),
    "dict": {"a": 1},
    "set": {1, 2},
}


def ending(function, arguments):
    """Return how a call ends: None if well or by an error of ours, else the raw error."""
    silent = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stderr(silent), contextlib.redirect_stdout(silent):
        warnings.simplefilter("ignore")
        try:
            function(**arguments)
        except nc.NoisyCorrectError as error:
            return None if len(str(error)) > 20 else f"a message that says nothing: {error}"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return None


# Calls that take a while: of each argument every sixth bad value, others for other arguments.
SLOW = {
    *("SelfCorrector", "SelfCorrector.fit", "prune_retrain", "fit_votes", "evidence_from_features", "ACE2P", "CE2P"),
    *(
        "Recipe",
        "Recipe.replace",
        "SoftLabelStore.create",
        "HumanParsing",
        "Segmentation",
        "parse_scene",
        "parse_image",
        "parse_people",
        "train_detector",
        "CyclicalLR",
        "evaluate_source",
    ),
}
# Nothing is wrong with them but the time: 10^30 epochs, and 200 pictures that are drawn if there is no source.
ENDLESS = {("prune_retrain", "epochs", "huge"), ("train_detector", "source", "None")}


@pytest.mark.parametrize("name", CALLS)
def test_bad_arguments_end_in_one_clear_error(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function, make = CALLS[name]
    raw = {}
    for place, argument in enumerate(make()):
        for number, (what, bad) in enumerate(BAD.items()):
            if (name in SLOW and (number + place) % 6) or (name, argument, what) in ENDLESS:
                continue
            found = ending(function, {**make(), argument: bad})
            if found is not None:
                raw[f"{argument}={what}"] = found
    assert not raw, "\n".join(f"{call}: {found}" for call, found in raw.items())


CONSTANTS = {"RECIPES", "noise", "datasets"}
BASES = {"Callback", "Correction", "Objective", "Task", "TaskLoss", "OnePhase"}  # take nothing
RESULTS = {"Consensus", "CorrectionResult", "FeatureEvidence", "LabelIssue", "NoiseEstimate", "VotesResult", "Parsing",
           "PeopleParsing", "Person", "Agnostic", "CutOut", "Translation", "ParsedVideo"}  # fmt: skip
OTHERS = {
    "SelfCorrectingClassifier",  # see tests/integrations
    "TensorBoard",  # needs its package
    "ParsingNetwork",  # as CE2P
}


@pytest.mark.parametrize("package", [nc, ns])
def test_every_public_callable_is_looked_at(package):
    things = {name: getattr(package, name) for name in package.__all__}
    errors = {name for name, thing in things.items() if inspect.isclass(thing) and issubclass(thing, Exception)}
    assert set(package.__all__) - errors - CONSTANTS - BASES - RESULTS - OTHERS <= CALLS.keys()


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda: corrector(epoch=3), "epochs"),
        (lambda: corrector(learning_rate=0.1), "lr"),
        (lambda: corrector(preset="robust"), "recipe"),
        (lambda: corrector().fit((X, Y), validation=(X, Y)), "val"),
        (lambda: nc.Shares(init_shares=0.5), "init_share"),
        (lambda: ns.lovasz_softmax(LOGITS, MASKS, ignore=255), "ignore_index"),
        (lambda: nc.find_label_issues(Y, PROBS, scores="margin"), "score"),
        (lambda: noise.Symmetric(rates=0.2), "rate"),
    ],
)
def test_an_unknown_argument_gets_the_nearest_name(call, meant):
    with pytest.raises(nc.ArgumentError, match=f"did you mean '{meant}'"):
        call()
    with pytest.raises(TypeError):
        call()


def test_a_door_keeps_signature_and_documentation():
    assert str(inspect.signature(nc.Shares)) == "(init_share: 'float' = 0.6666666666666666, cycles: 'int' = 5) -> None"
    assert inspect.getdoc(nc.find_label_issues).startswith("Return")
    assert inspect.signature(ns.soft_edges).parameters.keys() == {"probs"}

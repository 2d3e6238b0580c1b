"""The runs of the golden record, in the words of the present API."""

from __future__ import annotations

import torch
from record import (
    CLASSES,
    SHAPES,
    SIZE,
    Squares,
    convnet,
    mlp,
    summary,
    vectors,
)
from spawn import run_processes

from noisycorrect import CrossFitting, OnlineCorrection, SelfCorrector, fit_baseline
from noisycorrect.baselines import BASELINES
from noisycorrect.classification import CoTeaching, TwinNetworks
from noisycorrect.correction.cross_fitting import CrossFittedNetworks
from noisycorrect_seg import HumanParsing, ParsingDataset, ParsingLoss
from noisycorrect_seg.methods import AdaptiveEarlyLearning, PixelEarlyLearning

LENGTHS = {"init_epochs": 3, "cycles": 3, "cycle_epochs": 2}


def shifted(inputs):
    return inputs + 0.1 * torch.randn_like(inputs)


def classify(
    folder, *, model=None, unlabeled=0, val=False, batchnorm=True, stop=None, run_dir=None, joined=False, **options
):
    inputs, given, clean = vectors(unlabeled)
    options = {
        "num_classes": CLASSES,
        "batch_size": 16,
        "keep_generations": None,
        "verbose": False,
        "seed": 3,
        **options,
    }
    if options.get("preset") != "robust" and "epochs" not in options:
        options = {**LENGTHS, "lr": 0.1, **options}

    def kill(_, record):
        if stop is not None and record["epoch"] == stop:
            raise KeyboardInterrupt

    options["run_dir"] = folder / "run" if stop else run_dir
    result = None
    model = model() if model else mlp(batchnorm)
    for on_epoch in [kill, None] if stop else [None]:
        corrector = SelfCorrector(model, on_epoch=on_epoch, **options)
        more = {"val": (inputs, given), "val_clean_labels": clean} if val else {}
        train, extra = (inputs, given), None
        if joined:
            train, extra = (inputs[:50], given[:50]), inputs[50:]
        try:
            result = corrector.fit(train, unlabeled=extra, clean_labels=clean, **more)
        except KeyboardInterrupt:
            continue
    return result


def baseline(folder, *, method, **options):
    inputs, given, clean = vectors()
    augment = shifted if BASELINES[method].needs_augment else None
    common = {"num_classes": CLASSES, "epochs": 6, "lr": 0.1, "batch_size": 16, "seed": 3, "augment": augment}
    more = {} if method == "prune-retrain" else {"clean_labels": clean}
    return fit_baseline(method, mlp(), (inputs, given), (inputs, given), **common, options=options, **more)


def masks(
    folder,
    *,
    unlabeled=(),
    method=None,
    stop=None,
    preset="paper",
    flip_average=False,
    loss=None,
    **options,
):
    loss = loss or ParsingLoss(edge=False, consistency=False)
    task = HumanParsing(SHAPES, size=SIZE, loss=loss, flip_average=flip_average)
    source = Squares(damaged=(1, 4, 7), unlabeled=unlabeled)
    train = ParsingDataset(source, SIZE, augment=True)
    val = ParsingDataset(Squares(), SIZE)
    clean = [source.clean(index) for index in range(len(source))]
    if preset == "paper":
        options = {"init_epochs": 3, "cycles": 3, "cycle_epochs": 1, **options}
    result = None

    def kill(_, record):
        if stop is not None and record["epoch"] == stop:
            raise KeyboardInterrupt

    for on_epoch in [kill, None] if stop else [None]:
        corrector = SelfCorrector(
            convnet(), task=task, preset=preset, lr=0.05, batch_size=4, seed=2, keep_generations=None, verbose=False,
            objective=method, on_epoch=on_epoch, run_dir=folder / "run" if stop else None, **options,
        )  # fmt: skip
        try:
            result = corrector.fit(train, val, clean_labels=clean)
        except KeyboardInterrupt:
            continue
    return result


def one_rank(folder, options, kind):
    torch.set_num_threads(1)
    if kind == "masks":
        from pathlib import Path

        options = {**options, "run_dir": Path(folder) / "run"}
        task = HumanParsing(SHAPES, size=SIZE, loss=ParsingLoss(edge=False, consistency=False))
        corrector = SelfCorrector(convnet(), task=task, lr=0.05, batch_size=4, seed=2, verbose=False, **options)
        return summary(corrector.fit(ParsingDataset(Squares(damaged=(1, 4)), SIZE, augment=True)))
    return summary(classify(folder, run_dir=folder / "run", **options))


def two_ranks(folder, *, kind="classes", **options):
    both = run_processes(one_rank, 2, folder, folder, options, kind)
    both[0].pop("generations") if kind == "masks" else None
    return both[0]


def cross_fitted():
    return CrossFittedNetworks.of(mlp(), seed=0)


def twin():
    return TwinNetworks.of(mlp(), seed=4)


def table():
    found = {}

    def add(name, function, /, **options):
        found[name] = (function, options)

    add("paper", classify, val=True)
    add("paper budget", classify, epochs=9, lr=0.1)
    add("paper without batchnorm", classify, batchnorm=False)
    add("paper exponential evidence", classify, evidence="exponential", evidence_momentum=0.6)
    for trust in ("class-balanced", "agreement", "confident"):
        add(f"paper {trust}", classify, trust=trust)
    add("paper exact recalibration", classify, recalibration="exact", recalibration_samples=40)
    add("paper canonical recalibration", classify, recalibration_inputs="canonical", augment=shifted)
    add("paper augmented", classify, augment=shifted, clip_grad_norm=0.5)
    add("paper student restart", classify, restart="student")
    add("paper no refinement", classify, refine=False, val=True)
    add("paper no averaging", classify, aggregate=False)
    add("paper neither", classify, aggregate=False, refine=False)
    add("paper every step", classify, aggregation="exponential", aggregation_decay=0.9, val=True)
    add("paper adamw", classify, optimizer=torch.optim.AdamW, lr=0.01, cycle_lr=0.004, min_lr=0.001, warmup_epochs=1.5)
    add("paper unlabeled", classify, unlabeled=16)
    add("paper joined unlabeled", classify, joined=True)
    add("paper one cosine", classify, lr_schedule="cosine")
    add("paper bfloat16", classify, precision="bfloat16")
    add("robust", classify, preset="robust", epochs=10, val=True)
    add("robust unlabeled", classify, preset="robust", epochs=10, unlabeled=16)
    add("robust augmented", classify, preset="robust", epochs=8, augment=shifted)
    for trust in ("relative", "agreement", "mixture", "posterior", "none", "class-relative"):
        objective = OnlineCorrection(trust=trust, start=0.2)
        add(f"robust {trust}", classify, preset="robust", epochs=8, objective=objective)
    add("robust no averaging", classify, preset="robust", epochs=8, aggregate=False)
    parts = {
        "balance": {"balance": True},
        "no dropout": {"input_dropout": 0.0},
        "no early learning": {"early_learning": 0.0},
        "consistency": {"consistency": 0.5, "strong_augment": shifted},
        "momentum": {"momentum": 0.5, "start": 0.1},
    }
    for name, options in parts.items():
        add(f"robust {name}", classify, preset="robust", epochs=9, objective=OnlineCorrection(**options))
    for name, options in {"": {}, " early learning": {"early_learning": 2.0, "trust": "posterior"}}.items():
        crossed = CrossFitting(**options)
        add(f"cross-fitting{name}", classify, model=cross_fitted, preset="robust", epochs=8, objective=crossed)
    add(
        "cross-fitting unlabeled",
        classify,
        model=cross_fitted,
        preset="robust",
        epochs=8,
        objective=CrossFitting(),
        unlabeled=16,
    )
    add(
        "cross-fitting no averaging",
        classify,
        model=cross_fitted,
        preset="robust",
        epochs=8,
        objective=CrossFitting(),
        aggregate=False,
    )
    for name in BASELINES:
        add(f"method {name}", baseline, method=name, **({"noise_rate": 0.3} if name == "coteaching" else {}))
    add("method gce 0.5", baseline, method="gce", q=0.5)
    add("method ema 0.9", baseline, method="ema", decay=0.9)
    add("method prune-retrain 3", baseline, method="prune-retrain", folds=3)
    add("coteaching refined", classify, model=twin, objective=CoTeaching(noise_rate=0.2))
    add("resume paper", classify, stop=5, val=True)
    add("resume robust", classify, preset="robust", epochs=10, stop=6)
    add("resume exponential", classify, evidence="exponential", stop=7)
    add(
        "resume cross-fitting",
        classify,
        model=cross_fitted,
        preset="robust",
        epochs=8,
        objective=CrossFitting(),
        stop=5,
    )
    add("two ranks paper", two_ranks)
    add("two ranks robust", two_ranks, preset="robust", epochs=8)
    add("two ranks masks", two_ranks, kind="masks", init_epochs=2, cycles=2, cycle_epochs=1)

    add("masks paper", masks)
    for trust in ("class-balanced", "agreement", "confident"):
        add(f"masks {trust}", masks, trust=trust)
    add("masks robust", masks, preset="robust", epochs=8)
    add("masks flip average", masks, flip_average=True)
    add("masks exponential", masks, evidence="exponential")
    add("masks unlabeled", masks, unlabeled=(2, 8))
    add("masks no averaging", masks, aggregate=False)
    add("masks every step", masks, aggregation="exponential", restart="student")
    add("masks neither", masks, aggregate=False, refine=False)
    add("masks resume", masks, stop=4, trust="class-balanced")
    plain = {"init_epochs": 6, "cycles": 0, "aggregate": False, "refine": False}
    add("masks elr", masks, method=PixelEarlyLearning(strength=1.0), **plain)
    add("masks adele", masks, method=AdaptiveEarlyLearning(fall=0.1), **plain)
    return found

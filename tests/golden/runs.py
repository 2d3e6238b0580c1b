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

from noisycorrect import (
    RECIPES,
    AtCycleEnd,
    AtCycleEnds,
    Callback,
    CosineCycles,
    CrossFitting,
    EarlyLearning,
    EveryStep,
    OneCosine,
    OnePhase,
    OnlineCorrection,
    Progress,
    Recalibration,
    Schedule,
    SelfCorrector,
    TaskLoss,
    prune_retrain,
)
from noisycorrect.classification import CoTeaching, GeneralizedCrossEntropy
from noisycorrect.correction.cross_fitting import CrossFittedNetworks
from noisycorrect.correction.twin import TwinNetworks
from noisycorrect_seg import HumanParsing, ParsingDataset, ParsingLoss
from noisycorrect_seg.methods import AdaptiveEarlyLearning, PixelEarlyLearning

PAPER, ROBUST = RECIPES["paper"], RECIPES["robust"]
LENGTHS = Schedule(init_epochs=3, cycles=3, cycle_epochs=2)
QUIET = Progress(enabled=False)


class Kill(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_checkpoint(self, run):
        if run.epoch == self.epoch:
            raise KeyboardInterrupt


def shifted(inputs):
    return inputs + 0.1 * torch.randn_like(inputs)


def kept(recipe):
    """Return a recipe that keeps all generations."""
    if recipe.correction is not None:
        vars(recipe.correction)["keep"] = None
    return recipe


def classify(
    folder, *, recipe=PAPER, model=None, unlabeled=0, val=False, batchnorm=True, stop=None, run_dir=None, joined=False,
    **options,
):  # fmt: skip
    inputs, given, clean = vectors(unlabeled)
    if recipe.objective.__class__ is TaskLoss and "epochs" not in options and not isinstance(recipe.schedule, Schedule):
        recipe = recipe.replace(schedule=LENGTHS)
        options = {"lr": 0.1, **options}
    options = {"num_classes": CLASSES, "batch_size": 16, "seed": 3, "recipe": kept(recipe), **options}
    run_dir = folder / "run" if stop else run_dir
    model = model() if model else mlp(batchnorm)
    result = None
    for kill in [[Kill(stop)], []] if stop else [[]]:
        corrector = SelfCorrector(model, callbacks=[QUIET, *kill], run_dir=run_dir, **options)
        more = {"val": (inputs, given), "val_clean_labels": clean} if val else {}
        train, extra = (inputs, given), None
        if joined:
            train, extra = (inputs[:50], given[:50]), inputs[50:]
        try:
            result = corrector.fit(train, unlabeled=extra, clean_labels=clean, **more)
        except KeyboardInterrupt:
            continue
    return result


def baseline(folder, *, method, recipe=None, folds=5):
    inputs, given, clean = vectors()
    common = {"num_classes": CLASSES, "epochs": 6, "lr": 0.1, "batch_size": 16, "seed": 3, "callbacks": [QUIET]}
    if method == "prune-retrain":
        return prune_retrain(mlp(), (inputs, given), (inputs, given), folds=folds, **common)
    recipe = recipe or RECIPES[method]
    if recipe.correction is None:
        recipe = recipe.replace(optimizer=PAPER.optimizer)
    augment = shifted if recipe.needs_augment else None
    corrector = SelfCorrector(mlp(), recipe=recipe, augment=augment, **common)
    return corrector.fit((inputs, given), (inputs, given), clean_labels=clean)


def masks(folder, *, recipe=PAPER, unlabeled=(), stop=None, flip_average=False, epochs=None):
    loss = ParsingLoss(edge=False, consistency=False)
    task = HumanParsing(SHAPES, size=SIZE, loss=loss, flip_average=flip_average)
    source = Squares(damaged=(1, 4, 7), unlabeled=unlabeled)
    train = ParsingDataset(source, SIZE, augment=True)
    val = ParsingDataset(Squares(), SIZE)
    clean = [source.clean(index) for index in range(len(source))]
    if epochs is None and not isinstance(recipe.schedule, OnePhase):
        recipe = recipe.replace(schedule=Schedule(init_epochs=3, cycles=3, cycle_epochs=1))
    result = None
    for kill in [[Kill(stop)], []] if stop else [[]]:
        corrector = SelfCorrector(
            convnet(), task=task, recipe=kept(recipe), epochs=epochs, lr=0.05, batch_size=4, seed=2,
            callbacks=[QUIET, *kill], run_dir=folder / "run" if stop else None,
        )  # fmt: skip
        try:
            result = corrector.fit(train, val, clean_labels=clean)
        except KeyboardInterrupt:
            continue
    return result


def one_rank(folder, options, kind):
    torch.set_num_threads(1)
    if kind == "masks":
        task = HumanParsing(SHAPES, size=SIZE, loss=ParsingLoss(edge=False, consistency=False))
        recipe = PAPER.replace(schedule=Schedule(init_epochs=2, cycles=2, cycle_epochs=1))
        corrector = SelfCorrector(
            convnet(), task=task, recipe=recipe, lr=0.05, batch_size=4, seed=2, run_dir=folder / "run",
            callbacks=[QUIET],
        )  # fmt: skip
        return summary(corrector.fit(ParsingDataset(Squares(damaged=(1, 4)), SIZE, augment=True)))
    if options.pop("robust", False):
        options["recipe"] = ROBUST
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

    def paper(name, *, parts=None, **options):
        add(name, classify, recipe=PAPER.replace(correction=AtCycleEnd()).replace(**(parts or {})), **options)

    def exact(**options):
        return AtCycleEnds(recalibration=Recalibration(**options))

    def cycle_rates(**options):
        return {"rates": CosineCycles(**options)}

    def robust(name, *, early=None, objective=None, average=None, epochs=9, **options):
        correction = OnlineCorrection(**(early or {}))
        recipe = ROBUST.replace(
            correction=correction, objective=objective or EarlyLearning(), average=average or EveryStep()
        )
        add(name, classify, recipe=recipe, epochs=epochs, **options)

    def crossed(name, *, correction=None, objective=None, average=ROBUST.average, **options):
        recipe = ROBUST.replace(
            correction=correction or CrossFitting(), objective=objective or TaskLoss(), average=average
        )
        add(name, classify, model=cross_fitted, recipe=recipe, epochs=8, **options)

    paper("paper", val=True)
    paper("paper budget", epochs=9, lr=0.1)
    paper("paper without batchnorm", batchnorm=False)
    paper("paper exponential evidence", parts={"correction": AtCycleEnd(momentum=0.6)})
    for trust in ("class-balanced", "agreement", "confident"):
        paper(f"paper {trust}", parts={"correction": AtCycleEnd(trust=trust)})
    paper("paper exact recalibration", parts={"average": exact(method="exact", samples=40)})
    paper("paper canonical recalibration", parts={"average": exact(inputs="canonical")}, augment=shifted)
    paper("paper augmented", parts={"clip_grad_norm": 0.5}, augment=shifted)
    paper("paper student restart", parts={"average": AtCycleEnds(restart="student")})
    paper("paper no refinement", parts={"correction": None}, val=True)
    paper("paper no averaging", parts={"average": None})
    paper("paper neither", parts={"average": None, "correction": None})
    paper("paper every step", parts={"average": EveryStep(0.9)}, val=True)
    paper(
        "paper adamw", parts=cycle_rates(cycle_lr=0.004, min_lr=0.001, warmup_epochs=1.5),
        optimizer=torch.optim.AdamW, lr=0.01,
    )  # fmt: skip
    paper("paper unlabeled", unlabeled=16)
    paper("paper joined unlabeled", joined=True)
    paper("paper one cosine", parts={"rates": OneCosine()})
    paper("paper bfloat16", precision="bfloat16")
    robust("robust", epochs=10, val=True)
    robust("robust unlabeled", epochs=10, unlabeled=16)
    robust("robust augmented", epochs=8, augment=shifted)
    for trust in ("relative", "agreement", "mixture", "posterior", "none", "class-relative"):
        robust(f"robust {trust}", epochs=8, early={"trust": trust, "start": 0.2})
    add("robust no averaging", classify, recipe=ROBUST.replace(average=None, correction=OnlineCorrection()), epochs=8)
    robust("robust balance", early={"balance": True})
    robust("robust no dropout", early={"input_dropout": 0.0})
    robust("robust no early learning", objective=EarlyLearning(0.0))
    robust("robust consistency", objective=EarlyLearning(consistency=0.5, strong_augment=shifted))
    robust("robust momentum", early={"momentum": 0.5, "start": 0.1})
    crossed("cross-fitting")
    crossed("cross-fitting early learning", correction=CrossFitting(trust="posterior"), objective=EarlyLearning(2.0))
    crossed("cross-fitting unlabeled", unlabeled=16)
    crossed("cross-fitting no averaging", average=None)
    methods = ("ce", "ls", "mixup", "gce", "sce", "bootstrap-soft", "bootstrap-hard", "forward", "ema", "swa",
               "ce-wa-aug", "elr", "sop", "dividemix", "prune-retrain")  # fmt: skip
    for name in methods:
        add(f"method {name}", baseline, method=name)
    coteaching = RECIPES["coteaching"].replace(objective=CoTeaching(noise_rate=0.3))
    add("method coteaching", baseline, method="coteaching", recipe=coteaching)
    gce = RECIPES["gce"].replace(objective=GeneralizedCrossEntropy(q=0.5))
    add("method gce 0.5", baseline, method="gce", recipe=gce)
    add("method ema 0.9", baseline, method="ema", recipe=RECIPES["ema"].replace(average=EveryStep(0.9)))
    add("method prune-retrain 3", baseline, method="prune-retrain", folds=3)
    refined = PAPER.replace(objective=CoTeaching(noise_rate=0.2), schedule=LENGTHS)
    add("coteaching refined", classify, model=twin, recipe=refined, lr=0.1)
    paper("resume paper", stop=5, val=True)
    robust("resume robust", epochs=10, stop=6)
    paper("resume exponential", parts={"correction": AtCycleEnd(momentum=0.7)}, stop=7)
    crossed("resume cross-fitting", stop=5)
    add("two ranks paper", two_ranks)
    add("two ranks robust", two_ranks, robust=True, epochs=8)
    add("two ranks masks", two_ranks, kind="masks")

    def mask(name, *, parts=None, **options):
        add(name, masks, recipe=PAPER.replace(correction=AtCycleEnd()).replace(**(parts or {})), **options)

    mask("masks paper")
    for trust in ("class-balanced", "agreement", "confident"):
        mask(f"masks {trust}", parts={"correction": AtCycleEnd(trust=trust)})
    add("masks robust", masks, recipe=RECIPES["robust/segmentation"], epochs=8)
    mask("masks flip average", flip_average=True)
    mask("masks exponential", parts={"correction": AtCycleEnd(momentum=0.7)})
    mask("masks unlabeled", unlabeled=(2, 8))
    mask("masks no averaging", parts={"average": None})
    mask("masks every step", parts={"average": EveryStep()})
    mask("masks neither", parts={"average": None, "correction": None})
    mask("masks resume", parts={"correction": AtCycleEnd(trust="class-balanced")}, stop=4)
    plain = {"schedule": OnePhase(), "average": None, "correction": None}
    mask("masks elr", parts={**plain, "objective": PixelEarlyLearning(strength=1.0)}, epochs=6)
    mask("masks adele", parts={**plain, "objective": AdaptiveEarlyLearning(fall=0.1)}, epochs=6)
    return found

"""SelfCorrectingClassifier: what it learns and finds, and how it lives beside scikit-learn's own parts."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from spawn import run_script
from torch import nn

from noisycorrect import InvalidInputError, SelfCorrectingClassifier, VotesResult
from noisycorrect.integrations.sklearn import estimator as module

RNG = np.random.default_rng(0)
IS_BEE = RNG.random(240) < 0.5
X = RNG.normal(size=(240, 4)).astype(np.float32)
X[:, 0] += np.where(IS_BEE, 2, -2)
CLEAN = np.where(IS_BEE, "bee", "ant")
WRONG = RNG.random(240) < 0.2
GIVEN = np.where(WRONG, np.where(CLEAN == "ant", "bee", "ant"), CLEAN).astype(object)
GIVEN[::20] = None
KNOWN = np.array([label is not None for label in GIVEN])
QUICK = SelfCorrectingClassifier(epochs=4, random_state=0)


@pytest.fixture(scope="module")
def fitted():
    """Return a classifier of a table with an index that does not begin at 0."""
    frame = pd.DataFrame(X, columns=list("pqrs"), index=np.arange(1000, 1240))
    return SelfCorrectingClassifier(epochs=20, random_state=0).fit(frame, pd.Series(GIVEN)), frame


def test_labels_become_better_and_issues_find_the_wrong_ones(fitted):
    classifier, frame = fitted
    issues = classifier.issues_
    assert classifier.score(frame, CLEAN) > 0.93
    assert (classifier.labels_ == CLEAN).mean() > 0.93 > (GIVEN == CLEAN).mean() + 0.1
    assert list(issues.columns) == ["is_label_issue", "label_quality", "given_label", "predicted_label"]
    assert issues.index.equals(frame.index)
    found = issues["is_label_issue"].to_numpy()
    assert found[WRONG & KNOWN].mean() > 0.85
    assert found[~WRONG & KNOWN].mean() < 0.1
    assert issues["given_label"].isna().tolist() == (~KNOWN).tolist()
    assert not found[~KNOWN].any()
    assert (issues["label_quality"][~KNOWN] == 1).all()
    assert issues["label_quality"].between(0, 1).all()
    assert (issues["predicted_label"][found] != issues["given_label"][found]).all()


def test_what_a_fit_leaves(fitted):
    classifier, frame = fitted
    assert classifier.classes_.tolist() == ["ant", "bee"]
    assert (classifier.n_features_in_, classifier.n_iter_) == (4, 20)
    assert classifier.feature_names_in_.tolist() == list("pqrs")
    assert classifier.label_probs_.shape == (240, 2)
    assert np.allclose(classifier.label_probs_.sum(1), 1)
    assert np.allclose(classifier.class_shares_, classifier.label_probs_.mean(0))
    assert "ant" in classifier.noise_.verdict()
    assert not hasattr(classifier, "annotators_")
    assert classifier.module_ is classifier.result_.model
    assert classifier.result_.class_names == ("ant", "bee")
    assert (classifier.result_.predict(frame.to_numpy(), names=True) == classifier.predict(frame)).all()
    probs = classifier.predict_proba(frame)
    assert (classifier.predict(frame) == classifier.classes_[probs.argmax(1)]).all()


def test_scores_are_of_what_has_a_label(fitted):
    classifier, frame = fitted
    some = np.where(np.arange(240) < 100, classifier.predict(frame), None)
    assert classifier.score(frame, some) == 1
    assert classifier.score(frame, ["ant"] * 240) == (classifier.predict(frame) == "ant").mean()
    some[0] = "bee" if some[0] == "ant" else "ant"
    assert classifier.score(frame, some, sample_weight=np.where(np.arange(240) == 0, 99, 1)) == pytest.approx(0.5)
    with pytest.raises(InvalidInputError, match=r"y of shape \(N,\) to score with"):
        classifier.score(frame, np.stack([CLEAN, CLEAN], 1))


def test_it_survives_pickling_without_its_folder(fitted, tmp_path):
    classifier, frame = fitted
    path = tmp_path / "classifier.pickle"
    path.write_bytes(pickle.dumps((classifier, frame)))
    code = (
        "import pickle, sys, numpy as np; c, X = pickle.load(open(sys.argv[1], 'rb')); r = c.result_;"
        "print(c.predict_proba(X).sum(0).tolist(), r.labels.refined().numpy().sum(0).tolist());"
        "print(len(r.find_label_issues()))"
    )
    done = run_script(code, str(path))
    assert done.returncode == 0, done.stderr
    refined = classifier.result_.labels.refined().numpy().sum(0).tolist()
    issues = len(classifier.result_.find_label_issues())
    assert done.stdout.split() == f"{classifier.predict_proba(frame).sum(0).tolist()} {refined} {issues}".split()


def test_several_annotators():
    errors = RNG.random((240, 3)) < [0.05, 0.2, 0.3]
    table = np.where(errors, np.where(CLEAN == "ant", "bee", "ant")[:, None], CLEAN[:, None]).astype(object)
    table[RNG.random((240, 3)) < 0.3] = None
    table[0] = None
    frame = pd.DataFrame(table, columns=["Ann", "Bo", "Cy"]).assign(idle=None)
    classifier = SelfCorrectingClassifier(epochs=15, random_state=0).fit(X, frame)
    assert isinstance(classifier.result_, VotesResult)
    assert [record["annotator"] for record in classifier.annotators_] == ["Cy", "Bo", "Ann", "idle"]
    assert (classifier.labels_ == CLEAN).mean() > 0.93
    assert classifier.issues_["given_label"].isna()[0]
    majority = classifier.issues_["given_label"].to_numpy()[1:]
    assert classifier.noise_.rate == pytest.approx((majority != CLEAN[1:]).mean(), abs=0.03)
    assert classifier.noise_.interval[0] <= classifier.noise_.rate <= classifier.noise_.interval[1]
    assert classifier.score(X, CLEAN) > 0.93
    classifier.fit(X, GIVEN)
    assert not hasattr(classifier, "annotators_")


def test_predictions_relative_to_the_shares_of_the_classes():
    rare = np.where(X[:, 1] > 1, "rare", "often")
    noisy = np.where(RNG.random(240) < 0.15, "often", rare)
    plain = SelfCorrectingClassifier(epochs=10, random_state=0).fit(X, noisy)
    even = clone(plain).set_params(balance=1.0).fit(X, noisy)
    odds = [probs[:, 1] / probs[:, 0] for probs in (plain.predict_proba(X), even.predict_proba(X))]
    shares = plain.class_shares_
    assert np.allclose(odds[1] / odds[0], shares[0] / shares[1])
    assert (even.predict(X) == "rare").sum() > (plain.predict(X) == "rare").sum()
    with pytest.raises(InvalidInputError, match="balance"):
        clone(QUICK).set_params(balance=2).fit(X, noisy)


def test_the_same_seed_is_the_same_run_and_none_draws_one():
    probs = [clone(QUICK).fit(X, GIVEN).predict_proba(X) for _ in range(2)]
    assert np.array_equal(*probs)
    free = clone(QUICK).set_params(random_state=None)
    assert not np.array_equal(*(free.fit(X, GIVEN).predict_proba(X) for _ in range(2)))


def test_a_run_folder_is_gone_on_with(tmp_path):
    first = SelfCorrectingClassifier(epochs=4, run_dir=tmp_path / "run").fit(X, GIVEN)
    again = SelfCorrectingClassifier(epochs=4, run_dir=tmp_path / "run").fit(X, GIVEN)
    assert again.result_.class_names == tuple(map(str, again.classes_))  # for what reads the folder
    assert np.array_equal(first.predict_proba(X), again.predict_proba(X))
    assert (tmp_path / "run" / "checkpoint.pt").exists()


def test_beside_other_parts_of_scikit_learn():
    search = GridSearchCV(
        make_pipeline(StandardScaler(), QUICK), {"selfcorrectingclassifier__epochs": [3, 4]}, cv=2, error_score="raise"
    )
    search.fit(X, CLEAN)
    assert search.best_score_ > 0.8
    probs = cross_val_predict(QUICK, X, CLEAN, cv=2, method="predict_proba")
    assert probs.shape == (240, 2)
    copied = clone(SelfCorrectingClassifier(nn.Linear(4, 2), recipe="elr", lr=0.1))
    assert copied.get_params()["lr"] == 0.1
    with pytest.raises(NotFittedError):
        copied.predict(X)
    with pytest.raises(NotFittedError):
        copied.module_  # noqa: B018


def test_texts():
    texts = [
        f"{'honey hive' if label == 'bee' else 'hill queen'} word{number % 7}" for number, label in enumerate(CLEAN)
    ]
    pipeline = make_pipeline(TfidfVectorizer(), SelfCorrectingClassifier(epochs=8, random_state=0))
    assert pipeline.fit(texts, CLEAN).score(texts, CLEAN) == 1


@pytest.mark.parametrize("several", [False, True])
def test_a_large_sparse_matrix_is_never_dense_as_a_whole(monkeypatch, several):
    wide = sparse.csr_array(np.where(X > 0.3, X, 0))
    labels = np.stack([CLEAN, GIVEN], 1) if several else GIVEN
    settings = {"epochs": 4, "recipe": "elr", "n_components": None, "random_state": 0}
    reference = SelfCorrectingClassifier(**settings).fit(wide, labels).predict_proba(wide)
    most = []
    whole = module.dense
    monkeypatch.setattr(module, "DENSE_VALUES", 100)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 50)
    monkeypatch.setattr(module, "dense", lambda rows: (most.append(rows.shape[0]), whole(rows))[1])
    classifier = SelfCorrectingClassifier(**settings).fit(wide, labels)
    assert np.allclose(classifier.predict_proba(wide), reference, atol=1e-5)
    assert max(most) == 50


def test_neighbours_are_not_sought_among_what_is_too_wide(monkeypatch):
    monkeypatch.setattr(module, "DENSE_VALUES", 100)
    with pytest.raises(InvalidInputError, match='n_components="auto"'):
        SelfCorrectingClassifier(n_components=None).fit(sparse.csr_array(X), CLEAN)


def test_wide_sparse_inputs_are_reduced():
    wide = sparse.random_array((150, 1500), density=0.02, rng=0, format="csr")
    classifier = clone(QUICK).fit(wide, CLEAN[:150])
    assert (classifier.n_features_in_, classifier.reduction_.n_components) == (1500, 150)
    assert classifier.predict(wide).shape == (150,)
    with pytest.raises(ValueError, match="1499 features"):
        classifier.predict(wide[:, 1:])


def small_cnn(shape, classes):
    return nn.Sequential(
        nn.Conv2d(shape[0], 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)
    )


def test_images_with_a_network_of_ones_own():
    images = RNG.normal(size=(80, 2, 6, 6)).astype(np.float32)
    images[CLEAN[:80] == "bee", 0] += 2
    classifier = SelfCorrectingClassifier(small_cnn, epochs=40, lr=0.1, random_state=0).fit(
        torch.from_numpy(images), CLEAN[:80]
    )
    assert classifier.score(images, CLEAN[:80]) > 0.9
    with pytest.raises(InvalidInputError, match=r"X of shape \(N, 2, 6, 6\); got shape \(80, 2, 6, 3\)"):
        classifier.predict(images[..., :3])


def test_token_ids():
    tokens = RNG.integers(0, 5, (80, 6)) + 5 * (CLEAN[:80] == "bee")[:, None]
    network = nn.Sequential(nn.EmbeddingBag(10, 8), nn.Linear(8, 2))
    classifier = SelfCorrectingClassifier(network, recipe="ema", epochs=20, lr=1.0, random_state=0)
    assert classifier.fit(tokens, CLEAN[:80]).score(tokens, CLEAN[:80]) > 0.9


def test_token_ids_are_no_vectors():
    """Neighbours of their numbers mean nothing: the default is the recipe of other inputs, and nothing warns."""
    tokens = np.random.default_rng(1).integers(0, 5, (80, 6)) + 5 * (CLEAN[:80] == "bee")[:, None]
    torch.manual_seed(0)
    network = nn.Sequential(nn.EmbeddingBag(10, 8), nn.Linear(8, 2))
    classifier = SelfCorrectingClassifier(network, epochs=4, random_state=0).fit(tokens, CLEAN[:80])
    assert "expected_rate" not in classifier.result_.history[-1]
    assert (classifier.labels_ == CLEAN[:80]).all()


def test_a_recipe_that_corrects_nothing_leaves_the_labels():
    classifier = SelfCorrectingClassifier(recipe="ce", epochs=4, random_state=0).fit(X, GIVEN)
    assert (classifier.labels_[KNOWN] == GIVEN[KNOWN]).all()
    assert (classifier.labels_[~KNOWN] == classifier.predict(X)[~KNOWN]).all()
    predicted = classifier.predict(X)
    assert (classifier.issues_["is_label_issue"].to_numpy()[KNOWN] == (predicted != GIVEN)[KNOWN]).all()


@pytest.mark.parametrize("number", [2, 3, 5])
def test_few_samples(number):
    labels = ["ant", "bee", "bee", "ant", "ant"][:number]
    assert set(clone(QUICK).fit(X[:number], labels).predict(X)) <= {"ant", "bee"}


def test_it_does_without_pandas():
    """In a process in which pandas cannot be imported it learns and finds."""
    code = (
        "import sys; pandas = {name: None for name in sys.modules if name.partition('.')[0] == 'pandas'};"
        "sys.modules.update(pandas, pandas=None); import numpy as np;"
        "from noisycorrect import SelfCorrectingClassifier; X = np.random.default_rng(0).normal(size=(60, 3));"
        "y = np.where(X[:, 0] > 0, 'ant', 'bee').astype(object); y[0] = None;"
        "i = SelfCorrectingClassifier(epochs=3).fit(X, y).issues_;"
        "print(type(i).__name__, *i.dtype.names, len(i), i['given_label'][0], i.given_label[1] == y[1])"
    )
    done = run_script(code)
    assert done.returncode == 0, done.stderr
    names = "is_label_issue label_quality given_label predicted_label"
    assert done.stdout.split() == f"recarray {names} 60 None True".split()


def test_names_that_are_not_there():
    import noisycorrect

    with pytest.raises(AttributeError, match="no attribute 'SelfCorrectingRegressor'"):
        noisycorrect.SelfCorrectingRegressor  # noqa: B018

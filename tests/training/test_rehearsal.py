"""What would go wrong later is found in the rehearsal, before the first epoch."""

import copy

import numpy as np
import pytest
import torch
from scipy import sparse
from tiny_runs import CLASSES, PLAIN, SHORT, Records, blobs, corrector, network
from torch import nn
from torch.utils.checkpoint import checkpoint

from noisycorrect import Callback
from noisycorrect.support.errors import InvalidInputError

INPUTS, GIVEN, _ = blobs(60)


class Began(Callback):
    """Notes that training has begun, which no test here should see."""

    begun = False

    def on_fit_begin(self, run):
        self.begun = True


def refused(match, model=None, data=(INPUTS, GIVEN), val=None, **settings):
    began = Began()
    recipe = settings.pop("recipe", PLAIN)
    with pytest.raises(InvalidInputError, match=match):
        corrector(model or network(), recipe, callbacks=[began], **settings).fit(data, val)
    assert not began.begun


# ---------------------------------------------------------------- outputs


class Ends(nn.Module):
    def __init__(self, end):
        super().__init__()
        self.layer, self.end = nn.Linear(4, CLASSES), end

    def forward(self, x):
        return self.end(self.layer(x))


@pytest.mark.parametrize(
    ("end", "match"),
    [
        (torch.sigmoid, "ends with a Sigmoid; to fix: drop the model's last Sigmoid"),
        (lambda z: z.sigmoid().view(-1, CLASSES)[:, :].float(), "ends with a Sigmoid"),
        (lambda z: z.softmax(1), "Softmax"),
        (lambda z: {"logits": z.sigmoid()}, "ends with a Sigmoid"),
        (torch.Tensor.detach, "depends on the parameters that train; got a detached one"),
        (lambda z: torch.from_numpy(z.detach().numpy()), "got a detached one"),
        (lambda z: z.detach() + nn.Parameter(torch.zeros(CLASSES)), "depends on none of them"),
    ],
)
def test_outputs_that_cannot_be_learnt_from(end, match):
    refused(match, Ends(end))


def test_a_sigmoid_of_a_gate_is_none_of_the_output():
    corrector(Ends(lambda z: 4 * z.sigmoid() - 2), PLAIN).fit((INPUTS, GIVEN))


class GradientsInTrainingAlone(Ends):
    def forward(self, x):
        with torch.set_grad_enabled(self.training):
            return super().forward(x)


class Checkpointed(Ends):
    def forward(self, x):
        return checkpoint(self.layer, x.requires_grad_(), use_reentrant=True)


@pytest.mark.parametrize("kind", [GradientsInTrainingAlone, Checkpointed])
def test_models_that_keep_gradients_for_training_train(kind):
    model = kind(nn.Identity())
    result = corrector(model, PLAIN).fit((INPUTS, GIVEN))
    assert not torch.equal(result.model.layer.weight, model.layer.weight)


class Closes(nn.Module):
    """Its function knows this very module, also in a copy of it."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(4, 8), nn.Linear(8, CLASSES)
        self.body = lambda x: self.layer(x).relu()

    def forward(self, x):
        return self.head(self.body(x))


def test_a_function_that_knows_the_callers_model_is_named():
    refused("got one that depends on 'layer.*' of the model that was passed.*write what a lambda", Closes())


def test_a_hook_that_knows_the_callers_model_is_named():
    model = Ends(nn.Identity())
    model.extra = nn.Linear(CLASSES, CLASSES)
    model.layer.register_forward_hook(lambda module, inputs, output: model.extra(output))
    refused("depends on 'extra", model)


def test_the_rehearsal_leaves_no_trace():
    """Statistics, counters and gradients are as if nobody had looked."""
    seen = []

    class Sees(Callback):
        def on_fit_begin(self, run):
            seen.append((copy.deepcopy(run.student.state_dict()), [p.grad for p in run.student.parameters()]))

    model = network()
    corrector(model, PLAIN, callbacks=[Sees()]).fit((INPUTS, GIVEN))
    ((state, gradients),) = seen
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())
    assert gradients == [None] * 6


# ---------------------------------------------------------------- inputs


def with_value(value, row, inputs=INPUTS):
    inputs = inputs.clone()
    inputs[row, 2] = value
    return inputs


FORMS = {
    "tensor": lambda x: x,
    "array": lambda x: x.numpy(),
    "items": lambda x: Records(x, GIVEN[: len(x)]),
    "sparse": lambda x: sparse.csr_array(x.numpy()),
}


def data_of(form, inputs):
    made = FORMS[form](inputs)
    return made if form == "items" else (made, GIVEN[: len(inputs)])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("value", "named"), [(float("nan"), "nan"), (float("inf"), "inf")])
def test_values_that_are_none_are_found_wherever_they_are(form, value, named):
    good = data_of(form, INPUTS)
    refused(f"finite validation inputs; got {named} in sample 31", data=good, val=data_of(form, with_value(value, 31)))
    refused(f"finite training inputs; got {named} in sample 7", data=data_of(form, with_value(value, 7)))


def test_one_row_of_many_is_found():
    inputs = torch.randn(20_000, 4)
    val = (with_value(float("nan"), 12_345, inputs), torch.zeros(20_000, dtype=torch.int64))
    refused("got nan in sample 12345", val=val)


class Fills(nn.Linear):
    def forward(self, x):
        return super().forward(x.nan_to_num())


def test_a_model_that_knows_what_is_missing_gets_it():
    data = (with_value(float("nan"), 7), GIVEN)
    assert corrector(Fills(4, CLASSES), PLAIN).fit(data, data).history[-1]["val_accuracy"] > 0.3


class NaNLater(Records):
    """Items of which one is no number when it is read in earnest."""

    readings = 0

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        self.readings += index == 9
        return (x * float("nan") if index == 9 and self.readings > 3 else x), y


def test_what_the_rehearsal_has_not_seen_is_named_when_it_is_met():
    with pytest.raises(InvalidInputError, match="finite validation inputs; got nan in sample 9"):
        corrector(network(), PLAIN).fit((INPUTS, GIVEN), NaNLater(INPUTS, GIVEN))


# ---------------------------------------------------------------- labels and lengths


class Claims(Records):
    """Says other labels than its items have, from a row on."""

    def __init__(self, inputs, labels, claimed, name):
        super().__init__(inputs, labels)
        setattr(self, name, claimed)


@pytest.mark.parametrize("name", ["targets", "given"])
def test_labels_that_lie_about_the_items(name):
    claimed = GIVEN.clone()
    claimed[30] = (claimed[30] + 1) % CLASSES
    lies = Claims(INPUTS, GIVEN, claimed.tolist(), name)
    message = f"label {int(claimed[30])} at index 30, as at the start of the run; got {int(GIVEN[30])}"
    refused(message, data=lies, batch_size=30)
    refused(message, val=lies, batch_size=30)


class Grows(Records):
    """Has a sample more once some of it has been read."""

    read = 0

    def __len__(self):
        return super().__len__() - 1 + (self.read > 100)

    def __getitem__(self, index):
        self.read += 1
        return super().__getitem__(index)


def test_a_set_that_grows():
    refused(
        "a training set of 59 samples, as at the start of the run; got 60", data=Grows(INPUTS, GIVEN), batch_size=30
    )
    refused("a validation set of 59 samples.*got 60", val=Grows(INPUTS, GIVEN), batch_size=30)


class GrowsLater(Callback):
    def __init__(self, data):
        self.data = data

    def on_epoch_end(self, run):
        self.data.labels = np.append(self.data.labels, 0)
        self.data.inputs = torch.cat([self.data.inputs, self.data.inputs[:1]])


def test_a_validation_set_that_grows_during_the_run_is_named():
    val = Records(INPUTS, GIVEN.numpy())
    with pytest.raises(InvalidInputError, match="a validation set of 60 samples.*got 61"):
        corrector(network(), SHORT, callbacks=[GrowsLater(val)]).fit((INPUTS, GIVEN), val)


def test_a_model_that_cannot_be_copied_is_refused_before_data_are_read():
    class Unread(Records):
        def __getitem__(self, index):
            raise AssertionError("read")

    model = network()
    model.lock = (each for each in ())
    refused("a model that can be copied.*got lock", model, data=Unread(INPUTS, GIVEN))

"""Data sets and models as Hugging Face has them: dicts of named inputs, objects with logits, tuples."""

from types import SimpleNamespace

import pytest
import torch
from tiny_runs import QUIET, SHORT, assert_equal_runs
from torch import nn

from noisycorrect import RECIPES, CrossFitting, Schedule, SelfCorrector, TaskLoss, TokenLabeling
from noisycorrect.classification.methods.coteaching import CoTeaching
from noisycorrect.data.datasets import read_given
from noisycorrect.support.calling import KeywordInputs, called, logits_of
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.tokens import pad_sequences

QUICK = SHORT.replace(schedule=Schedule(2, 1, 1))
COUNT, LENGTH = 48, 5
GENERATOR = torch.Generator().manual_seed(0)
IDS = torch.randint(1, 9, (COUNT, LENGTH), generator=GENERATOR)
LENGTHS = torch.randint(2, LENGTH + 1, (COUNT,), generator=GENERATOR)
MASK = (torch.arange(LENGTH) < LENGTHS[:, None]).long()
LABELS = (IDS[:, 0] > 4).long()


class TinyText(nn.Module):
    """Called as BERT is: token_type_ids and a dict alone are an error."""

    def __init__(self, answer="object", tokens=False):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.embedding, self.head = nn.Embedding(9, 8), nn.Linear(8, 2)
        self.answer, self.tokens = answer, tokens

    def forward(self, input_ids=None, attention_mask=None, labels=None, return_dict=None):
        assert labels is None
        hidden = self.embedding(input_ids) * attention_mask.unsqueeze(2)
        logits = self.head(hidden if self.tokens else hidden.sum(1))
        answers = {"object": SimpleNamespace(loss=None, logits=logits), "tuple": (logits, hidden)}
        return {"dict": {"logits": logits, "hidden": hidden}, **answers}[self.answer]


class Table:
    """What `datasets.Dataset` is here: dicts by position, a column by name, lists of numbers."""

    column_names = ("text", "input_ids", "token_type_ids", "attention_mask", "label")

    def __init__(self, name="label", padded=True):
        self.name, self.padded, self.reads = name, padded, 0

    def __len__(self):
        return COUNT

    def __getitem__(self, key):
        if isinstance(key, str):
            return LABELS.tolist()
        self.reads += 1
        length = LENGTH if self.padded else int(LENGTHS[key])
        fields = {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": torch.zeros_like(IDS)}
        item = {name: value[key, :length].tolist() for name, value in fields.items()}
        return {"text": f"sample {key}", self.name: int(LABELS[key]), "idx": key, **item}

    def __getitems__(self, keys):
        return [self[key] for key in keys]


def corrector(model, recipe=QUICK, **settings):
    return SelfCorrector(
        model, **{"num_classes": 2, "callbacks": [QUIET], "batch_size": 16, "lr": 0.1, **settings}, recipe=recipe
    )


def pad(items):
    """Pad as DataCollatorWithPadding does, and name the labels as it does."""
    found = {
        name: nn.utils.rnn.pad_sequence([torch.tensor(item[name]) for item in items], batch_first=True)
        for name in ("input_ids", "attention_mask")
    }
    return {**found, "labels": torch.tensor([item["label"] for item in items])}


def test_every_form_of_named_inputs_gives_the_same_run():
    arrays = {"input_ids": IDS, "attention_mask": MASK}
    reference = corrector(TinyText()).fit((arrays, LABELS), (arrays, LABELS))
    assert reference.history[-1]["val_accuracy"] > 0.7
    for answer in ("object", "tuple", "dict"):
        for data in ({**arrays, "labels": LABELS}, Table("label"), Table("labels"), Table("label_ids")):
            assert_equal_runs(corrector(TinyText(answer)).fit(data, data), reference)
    ragged = corrector(TinyText(), collate_fn=pad).fit(Table(padded=False))
    assert_equal_runs(ragged, corrector(TinyText()).fit(Table()))
    assert_equal_runs(corrector(TinyText(), num_workers=1).fit(Table()), corrector(TinyText()).fit(Table()))


def test_a_column_of_labels_saves_reading_every_item():
    table = Table()
    assert [int(label) for label in read_given(table)] == LABELS.tolist()
    assert table.reads == 8


def test_lists_of_many_lengths_are_refused_with_a_collator():
    with pytest.raises(InvalidInputError, match=r"items whose input_ids can be stacked.*DataCollatorWithPadding"):
        corrector(TinyText()).fit(Table(padded=False))


class TinyImage(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(12, 2)

    def forward(self, pixel_values, labels=None, return_dict=None):
        return (self.head(pixel_values.flatten(1)),)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pictures_by_name(dtype):
    pictures = torch.randn(COUNT, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    items = [{"pixel_values": pictures[i], "labels": int(LABELS[i]), "image": object()} for i in range(COUNT)]
    result = corrector(TinyImage().to(dtype)).fit(items, unlabeled=[{"pixel_values": picture} for picture in pictures])
    assert len(result.labels) == 2 * COUNT
    arrays = corrector(TinyImage().to(dtype)).fit(
        ({"pixel_values": pictures}, LABELS), None, {"pixel_values": pictures}
    )
    assert len(arrays.labels) == 2 * COUNT
    with pytest.raises(InvalidInputError, match=r"unlabeled inputs \['pixel_values'\]; got dense"):
        corrector(TinyImage()).fit(({"pixel_values": pictures}, LABELS), None, pictures)


@pytest.mark.parametrize("recipe", ["robust", "elr", "coteaching", "cross-fitted"])
def test_recipes_take_named_inputs(recipe):
    arrays = {"input_ids": IDS, "attention_mask": MASK, "labels": LABELS}
    chosen = {
        "coteaching": RECIPES["coteaching"].replace(objective=CoTeaching(noise_rate=0.2)),
        "cross-fitted": RECIPES["robust"].replace(correction=CrossFitting(), objective=TaskLoss(), average=None),
    }.get(recipe, recipe)
    if recipe == "robust":
        with pytest.warns(UserWarning, match="no label is corrected"):
            result = corrector(TinyText(), recipe=chosen, epochs=3).fit(arrays)
    else:
        result = corrector(TinyText(), recipe=chosen, epochs=3).fit(arrays)
    with torch.no_grad():
        logits = logits_of(called(result.model, KeywordInputs(input_ids=IDS, attention_mask=MASK)))
    assert logits.shape == (COUNT, 2)


def test_tokens_with_ignored_places_and_an_answer_with_logits():
    given = torch.where(MASK == 1, (IDS > 4).long(), -100)
    given[:, 1] = -100  # a special token
    items = [
        {
            "input_ids": IDS[i, : LENGTHS[i]].tolist(),
            "attention_mask": MASK[i, : LENGTHS[i]].tolist(),
            "labels": given[i, : LENGTHS[i]].tolist(),
        }
        for i in range(COUNT)
    ]
    result = SelfCorrector(
        TinyText(tokens=True), task=TokenLabeling(2), recipe=QUICK, collate_fn=pad_sequences, callbacks=[QUIET],
        batch_size=16, lr=0.5,
    ).fit(items, items)  # fmt: skip
    refined = result.labels.refined([0])[0]
    assert refined[:, 1].tolist() == [0, 0], "an ignored place has no label"
    assert result.history[-1]["val_accuracy"] > 0.8


class Positional(nn.Linear):
    def forward(self, x):
        return super().forward(x)


def test_how_models_are_called():
    inputs = KeywordInputs(pixel_values=torch.ones(2, 3), attention_mask=torch.ones(2))
    with pytest.raises(
        InvalidInputError, match=r"forward takes one of pixel_values, attention_mask; got Positional.forward"
    ):
        called(Positional(3, 2), inputs)
    assert called(Positional(3, 2), KeywordInputs(pixel_values=torch.ones(2, 3))).shape == (2, 2)

    class Anything(nn.Module):
        def forward(self, **inputs):
            return sorted(inputs)

    assert called(Anything(), inputs) == ["attention_mask", "pixel_values"]
    assert called(nn.Identity(), {"a": 1}) == {"a": 1}, "a dict that is not named so is one input"

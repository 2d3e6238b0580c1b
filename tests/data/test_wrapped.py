"""Data sets inside torch's wrappers, wrappers of wrappers, and wrappers that hide what they hold."""

import pickle

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset, random_split

from noisycorrect.data.datasets import as_dataset, read_given
from noisycorrect.data.wrapped import Rows
from noisycorrect.support.errors import InvalidInputError


class Own(Dataset):
    """Labels in a frame of their own, and items that change unless they are canonical."""

    classes = ("a", "b")

    def __init__(self, first, count=4, augment=True):
        self.first, self.count, self.augment = first, count, augment
        self.given = [f"given {first + index}" for index in range(count)]
        self.sample_names = [f"name {first + index}" for index in range(count)]

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.first + range(self.count)[index], "augmented" if self.augment else "as it is"

    def canonical(self):
        return Own(self.first, self.count, augment=False)


WRAPPED = {
    "subset": (lambda: Subset(Own(0), [3, 1]), [3, 1]),
    "negative position": (lambda: Subset(Own(0), [-1]), [3]),
    "subset of a subset": (lambda: Subset(Subset(Own(0), [3, 1, 0]), [2, 0]), [0, 3]),
    "joined": (lambda: ConcatDataset([Own(0, 2), Own(10, 3)]), [0, 1, 10, 11, 12]),
    "subset of joined": (lambda: Subset(ConcatDataset([Own(0, 2), Own(10, 3)]), [4, 0]), [12, 0]),
    "joined subsets": (lambda: ConcatDataset([Subset(Own(0), [2]), Subset(Own(10), [1, 0])]), [2, 11, 10]),
    "split": (lambda: random_split(Own(0), [3, 1], torch.Generator().manual_seed(0))[0], None),
    "loader": (lambda: DataLoader(Subset(Own(0), [3, 1])), [3, 1]),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_what_data_sets_say_is_said_of_their_wrappers(kind):
    make, numbers = WRAPPED[kind]
    made = make()
    numbers = list(made.indices) if numbers is None else numbers
    data = as_dataset(made, "train")
    assert [data[index] for index in range(len(data))] == [(number, "augmented") for number in numbers]
    assert list(read_given(data)) == [f"given {number}" for number in numbers]
    assert data.sample_names == [f"name {number}" for number in numbers]
    assert data.classes == ("a", "b")
    canonical = data.canonical()
    assert [canonical[index] for index in range(len(data))] == [(number, "as it is") for number in numbers]
    again = pickle.loads(pickle.dumps(data))
    assert list(again.given) == list(data.given)
    assert again.canonical()[0] == canonical[0]


def test_plain_data_sets_stay_as_they_are():
    plain = TensorDataset(torch.zeros(4, 2), torch.zeros(4))
    for data in (Subset(plain, [0]), ConcatDataset([plain, plain]), Subset(ConcatDataset([plain]), [1])):
        assert as_dataset(data, "train") is data


def test_rows_like_a_list():
    rows = Rows([["a"], [], ["b", "c"]])
    assert (list(rows), rows[2], rows[-3], rows[1:], len(rows)) == (["a", "b", "c"], "c", "a", ["b", "c"], 3)
    with pytest.raises(IndexError):
        rows[3]


# --- invalid input


class Changed(Subset):
    def __getitem__(self, index):
        return super().__getitem__(index)

    def __getitems__(self, indices):
        return [self[index] for index in indices]


class Around:
    """Not even a torch data set."""

    def __init__(self, inner):
        self.inner = inner

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.inner[index]


HIDING = [Around(Own(0)), Changed(Own(0), [0]), Subset(Around(Own(0)), [0]), Around(Around(Own(0))), Around([Own(0)])]


@pytest.mark.parametrize("data", HIDING)
def test_wrappers_that_hide_labels_are_refused(data):
    with pytest.raises(InvalidInputError, match=r"train with the given labels .*; got a (Around|Changed) .*`canonical"):
        as_dataset(data, "train")


def test_a_wrapper_around_class_numbers_hides_nothing():
    class Numbers(TensorDataset):
        given = (0, 1)

    around = Around(Numbers(torch.zeros(2, 2), torch.tensor([0, 1])))
    assert as_dataset(around, "train") is around
    around.inner.given = ([[0, 1]], [[1, 1]])  # masks of another frame
    with pytest.raises(InvalidInputError, match="got a Around"):
        as_dataset(around, "train")


def test_a_wrapper_that_passes_them_on_is_taken():
    around = Around(Own(0))
    around.given = around.inner.given
    assert as_dataset(around, "train") is around


def test_data_sets_with_and_without_labels_of_their_own_are_not_joined():
    with pytest.raises(InvalidInputError, match="got one of TensorDataset, which has none, beside 1 that do"):
        as_dataset(ConcatDataset([Own(0), TensorDataset(torch.zeros(2, 2), torch.zeros(2))]), "val")

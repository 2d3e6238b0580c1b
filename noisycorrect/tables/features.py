"""Columns as numbers that a network sees, kept as JSON and arrays: no file of a run can carry code."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, final

import numpy as np

from noisycorrect.support.arrays import is_missing
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.tables.columns import MOST_CATEGORIES, numbers_of

Cells: TypeAlias = Mapping[str, Sequence[str]]
MOST_WORDS = 20_000
MOST_DENSE = 2048  # words; beyond, and where they take more than so many bytes, texts are projected
MOST_BYTES = 2**28
DIMENSIONS = (64, 256)
_ROWS_AT_ONCE = 8192
_LETTERS_A_WORD = 15.0  # from which on a text is not divided by blanks


class Block(Protocol):
    """Some columns, and how they become numbers."""

    name: str
    columns: tuple[str, ...]

    def fit(self, cells: Cells, seed: int) -> None:
        """Learn what is needed of the training rows."""
        ...

    def transform(self, cells: Cells) -> np.ndarray:
        """Return float32 (N, F); F is the same for all rows."""
        ...

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return plain values and arrays that :meth:`restore` needs."""
        ...

    def restore(self, plain: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Become what :meth:`state` described."""
        ...


@final
class TextBlock:
    """TF-IDF of words (Salton & Buckley 1988) of one column or several; of many words projected (LSA).

    Words that occur in one row alone are left out from 200 rows on, and so are the rarest beyond 20,000. Where words
    are more than 2,048 or the table would be too large, rows are projected on the 64 to 256 leading singular vectors
    (Deerwester et al. 1990, "Indexing by Latent Semantic Analysis"). Texts without blanks are divided into pieces of
    one to three letters.

    Parameters
    ----------
    columns : sequence of str
        Names; their texts are put one after the other.

    Examples
    --------
    >>> block = TextBlock(["text"])
    >>> block.fit({"text": ["red ball", "blue ball"]}, seed=0)
    >>> block.transform({"text": ["blue"]})
    array([[0., 1., 0.]], dtype=float32)
    """

    name = "text"

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self.words: list[str] = []
        self.weights = np.zeros(0)
        self.letters = False
        self.projection: np.ndarray | None = None  # (F, words)
        self._made: Any = None

    def fit(self, cells: Cells, seed: int) -> None:
        """Learn words, their weights, and the projection.

        Raises
        ------
        InvalidInputError
            If there is no word at all.
        """
        texts = self._texts(cells)
        said = [text for text in texts[:: max(1, len(texts) // 1000)] if text.strip()]
        pieces = [len(piece) for text in said for piece in text.split()]
        self.letters = bool(pieces) and float(np.mean(pieces)) > _LETTERS_A_WORD
        vectorizer = self._vectorizer(min_df=2 if len(texts) >= 200 else 1, max_features=MOST_WORDS)
        try:
            found = vectorizer.fit_transform(texts)
        except ValueError as error:  # an empty vocabulary
            listed = ", ".join(self.columns)
            fix = "choose another column with --text"
            raise InvalidInputError(f"words in {listed}", got="none that two rows share", fix=fix) from error
        self.words = vectorizer.get_feature_names_out().tolist()
        self.weights = np.asarray(vectorizer.idf_)
        self._made = vectorizer
        if len(self.words) > MOST_DENSE or 4 * len(self.words) * len(texts) > MOST_BYTES:
            self.projection = self._projected(found, seed)

    @staticmethod
    def _projected(found: Any, seed: int) -> np.ndarray | None:
        from sklearn.decomposition import TruncatedSVD

        low, high = DIMENSIONS
        size = min(max(low, min(high, MOST_BYTES // (4 * found.shape[0]))), found.shape[1] - 1)
        return np.asarray(TruncatedSVD(size, random_state=seed).fit(found).components_, np.float32)

    def _vectorizer(self, **options: Any) -> Any:
        # Imported here: scikit-learn takes a second to import.
        from sklearn.feature_extraction.text import TfidfVectorizer

        pieces = {"analyzer": "char", "ngram_range": (1, 3)} if self.letters else {}
        return TfidfVectorizer(sublinear_tf=True, dtype=np.float32, **pieces, **options)

    def _texts(self, cells: Cells) -> list[str]:
        if len(self.columns) == 1:
            return list(cells[self.columns[0]])
        return ["\n".join(texts) for texts in zip(*(cells[name] for name in self.columns), strict=True)]

    def sparse(self, cells: Cells) -> Any:
        """Return TF-IDF, a CSR array of float32 (N, words)."""
        from scipy import sparse

        if self._made is None:
            self._made = self._vectorizer(vocabulary=self.words)
            self._made.idf_ = self.weights
        return sparse.csr_array(self._made.transform(self._texts(cells)))

    def transform(self, cells: Cells) -> np.ndarray:
        """Return TF-IDF or its projection, float32 (N, F)."""
        found = self.sparse(cells)
        if self.projection is None:
            return np.asarray(found.toarray(), np.float32)
        return np.asarray(found @ self.projection.T, np.float32)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return words, and arrays of weights and projection."""
        arrays = {"weights": self.weights}
        if self.projection is not None:
            arrays["projection"] = self.projection
        return {"words": self.words, "letters": self.letters}, arrays

    def restore(self, plain: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Become what :meth:`state` described."""
        self.words, self.letters = list(plain["words"]), bool(plain["letters"])
        self.weights, self.projection, self._made = arrays["weights"], arrays.get("projection"), None


@final
class NumberBlock:
    """Columns of numbers: standardised, a gap at the median, and for columns with gaps whether there is one.

    Examples
    --------
    >>> block = NumberBlock(["age"])
    >>> block.fit({"age": ["10", "", "30"]}, seed=0)
    >>> block.transform({"age": ["20", "n/a"]}).round(3)
    array([[0., 0.],
           [0., 1.]], dtype=float32)
    """

    name = "numbers"

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self.median, self.mean, self.scale = (np.zeros(len(self.columns)) for _ in range(3))
        self.gaps = np.zeros(len(self.columns), bool)

    def fit(self, cells: Cells, seed: int) -> None:
        """Learn median, mean and deviation of each column."""
        values = self._values(cells)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a column of gaps has no median
            self.median = np.nan_to_num(np.nanmedian(values, 0))
        missing = np.isnan(values)
        self.gaps = missing.any(0)
        filled = np.where(missing, self.median, values)
        self.mean, deviation = filled.mean(0), filled.std(0)
        self.scale = np.where(deviation > 1e-9 * np.abs(self.mean), deviation, 1.0)

    def _values(self, cells: Cells) -> np.ndarray:
        return np.stack([numbers_of(cells[name]) for name in self.columns], 1)

    def transform(self, cells: Cells) -> np.ndarray:
        """Return standard values, then the gaps, float32 (N, F)."""
        values = self._values(cells)
        missing = np.isnan(values)
        standard = (np.where(missing, self.median, values) - self.mean) / self.scale
        return np.concatenate([standard, missing[:, self.gaps]], 1).astype(np.float32)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the arrays."""
        return {}, {"median": self.median, "mean": self.mean, "scale": self.scale, "gaps": self.gaps}

    def restore(self, plain: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Become what :meth:`state` described."""
        self.median, self.mean, self.scale, self.gaps = (arrays[name] for name in ("median", "mean", "scale", "gaps"))


@final
class CategoryBlock:
    """Columns of categories, one-hot: the 50 most frequent values of a column that occur twice; others are zeros.

    Examples
    --------
    >>> block = CategoryBlock(["colour"])
    >>> block.fit({"colour": ["red", "blue", "red", "blue"]}, seed=0)
    >>> block.transform({"colour": ["red", "green"]})
    array([[0., 1.],
           [0., 0.]], dtype=float32)
    """

    name = "categories"

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self.values: list[list[str]] = [[] for _ in self.columns]

    def fit(self, cells: Cells, seed: int) -> None:
        """Learn the values of each column."""
        for place, name in enumerate(self.columns):
            counts = Counter(cell.strip() for cell in cells[name] if not is_missing(cell, words=True))
            frequent = [value for value, count in counts.most_common(MOST_CATEGORIES) if count > 1]
            self.values[place] = sorted(frequent)

    def transform(self, cells: Cells) -> np.ndarray:
        """Return zeros and ones, float32 (N, F)."""
        parts = []
        for name, values in zip(self.columns, self.values, strict=True):
            place = {value: number for number, value in enumerate(values)}
            codes = np.fromiter((place.get(cell.strip(), -1) for cell in cells[name]), np.int64, len(cells[name]))
            part = np.zeros((len(codes), len(values)), np.float32)
            known = np.flatnonzero(codes >= 0)
            part[known, codes[known]] = 1
            parts.append(part)
        return np.concatenate(parts, 1)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the values."""
        return {"values": self.values}, {}

    def restore(self, plain: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Become what :meth:`state` described."""
        self.values = [list(values) for values in plain["values"]]


_BLOCKS: dict[str, type[TextBlock | NumberBlock | CategoryBlock]] = {
    block.name: block for block in (TextBlock, NumberBlock, CategoryBlock)
}


@dataclass
class Features:
    """Blocks of columns, side by side.

    Attributes
    ----------
    blocks : list of Block
        At least one.

    Examples
    --------
    >>> features = Features([NumberBlock(["a"]), CategoryBlock(["b"])])
    >>> cells = {"a": ["1", "3"] * 2, "b": ["x", "y"] * 2}
    >>> features.fit_transform(cells, seed=0).shape
    (4, 3)
    """

    blocks: list[Block] = field(default_factory=list)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns that are needed."""
        return tuple(name for block in self.blocks for name in block.columns)

    def fit_transform(self, cells: Cells, seed: int) -> np.ndarray:
        """Learn from the training rows and return them, float32 (N, F).

        Raises
        ------
        InvalidInputError
            If nothing varies.
        """
        for block in self.blocks:
            block.fit(cells, seed)
        found = self.transform(cells)
        if not found.size or not np.ptp(found, axis=0).any():
            listed = ", ".join(self.columns)
            fix = "choose columns that tell rows apart"
            raise InvalidInputError(f"values that vary in {listed}", got="equal rows alone", fix=fix)
        return found

    @property
    def are_texts(self) -> bool:
        """Whether there are texts alone."""
        return all(isinstance(block, TextBlock) for block in self.blocks)

    def matrix(self, cells: Cells, rows: np.ndarray) -> Any:
        """Return what evidence is made of: TF-IDF of texts alone as it is, a CSR array; else `rows`, as transformed."""
        texts = [block.sparse(cells) for block in self.blocks if isinstance(block, TextBlock)]
        return texts[0] if len(texts) == len(self.blocks) == 1 else rows

    def transform(self, cells: Cells) -> np.ndarray:
        """Return the rows, float32 (N, F), made a few thousand at a time."""
        count = len(next(iter(cells.values())))
        found: np.ndarray | None = None
        for start in range(0, count, _ROWS_AT_ONCE):
            some = {name: cells[name][start : start + _ROWS_AT_ONCE] for name in self.columns}
            part = np.concatenate([block.transform(some) for block in self.blocks], 1)
            found = np.empty((count, part.shape[1]), np.float32) if found is None else found
            found[start : start + len(part)] = part
        return np.zeros((0, 0), np.float32) if found is None else found

    def described(self) -> str:
        """Return in words what is seen."""
        return "; ".join(f"{block.name}: {', '.join(block.columns)}" for block in self.blocks)

    def state(self) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
        """Return plain values, a dict a block, and arrays by name."""
        plain: list[dict[str, Any]] = []
        arrays: dict[str, np.ndarray] = {}
        for number, block in enumerate(self.blocks):
            values, own = block.state()
            plain.append({"block": block.name, "columns": list(block.columns), **values})
            arrays |= {f"{number}.{name}": array for name, array in own.items()}
        return plain, arrays

    @classmethod
    def restored(cls, plain: Sequence[Mapping[str, Any]], arrays: Mapping[str, np.ndarray]) -> Features:
        """Return what :meth:`state` described."""
        blocks: list[Block] = []
        for number, values in enumerate(plain):
            block = _BLOCKS[values["block"]](values["columns"])
            start = f"{number}."
            block.restore(values, {name.removeprefix(start): arrays[name] for name in arrays if name.startswith(start)})
            blocks.append(block)
        return cls(blocks)

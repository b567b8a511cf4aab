"""The columns of the caller's frame that can be shown beside its pictures, read as they are needed.

Nothing is converted before somebody asks for it: a row's values are read one by one, and a whole
column only when it is searched, filtered or sorted by.
"""

from __future__ import annotations

import datetime
import math
import numbers
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Literal, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from blip2_widget.view.errors import unknown

#: `computed` is a number that changes, such as a score; `probability` one that is a choice's.
Computed = Literal["computed", "probability"]
Kind = Literal["text", "number", "bool", Computed]
Floats = NDArray[np.float64]

#: The most columns that are shown, and the longest text of one value.
_MOST_COLUMNS = 50
_LONGEST = 200
#: How many values of a column that may hold anything are looked at, to say what it holds.
_LOOKED_AT = 200
#: How many values of a column are held at once, while all are read.
_READ = 10_000


class ShownColumn(TypedDict):
    """A column as the page knows it."""

    name: str
    kind: Kind


class _Source(Protocol):
    """One column of a frame, whatever the frame is."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def count(self) -> int:
        """How many rows there are."""

    @property
    def at(self) -> Callable[[int], Any]:
        """Gives one value, by its row."""

    def between(self, start: int, stop: int) -> Sequence[Any]:
        """The values of these rows, in order."""

    def numbers(self) -> Floats | None:
        """Every value as a number, where that can be had faster than one by one."""


class FrameColumns:
    """The text, number and bool columns of a frame; none where there is no frame.

    `frame` is pandas', polars', pyarrow's, any other that narwhals reads, or a Hugging Face
    Dataset. `picture` names the column of pictures, which is shown only if it holds texts. Columns
    that hold anything else than texts, numbers, times and truth values are left out.
    """

    def __init__(self, frame: Any, picture: str | None = None) -> None:
        sources = [each for each in _sources(frame) if each.kind == "text" or each.name != picture]
        self._sources = {each.name: each for each in reversed(sources)}  # the first of one name
        names = list(dict.fromkeys(each.name for each in sources))[:_MOST_COLUMNS]
        self._sources = {name: self._sources[name] for name in names}
        self._numbers: dict[str, Floats] = {}

    @property
    def shown(self) -> list[ShownColumn]:
        """Each column's name and kind, in the frame's order."""
        return [{"name": each.name, "kind": each.kind} for each in self._sources.values()]

    @property
    def names(self) -> list[str]:
        return list(self._sources)

    def put(
        self,
        name: str,
        count: int,
        number: Callable[[int], float | None],
        kind: Computed = "computed",
    ) -> None:
        """Show a number beside the frame's columns that is read anew whenever its row changes.

        `number` gives it by row, None where there is none (yet). In place of one of that name.
        """
        self._sources[name] = _Computed(name, count, number, kind)

    def kind(self, name: str) -> Kind:
        """What a column holds; raises Blip2Error where there is none of that name."""
        return self._source(name).kind

    def values(self, row: int) -> list[str | None]:
        """A row's values as texts, cut to a length that can be shown; None for a missing one."""
        found = [_shown(each, each.at(row)) for each in self._sources.values()]
        return [None if text is None else text[:_LONGEST] for text in found]

    def texts(self, name: str) -> Iterator[str | None]:
        """A whole column as texts, uncut; None where a value is missing."""
        return map(as_text, _all(self._source(name)))

    def texts_of(self, rows: Sequence[int]) -> Iterable[Sequence[str | None]]:
        """Each row's values of the columns of texts, uncut; a range of rows is read the fastest."""
        texts = [each for each in self._sources.values() if each.kind == "text"]
        if isinstance(rows, range):
            columns = [each.between(rows.start, rows.stop) for each in texts]
        else:
            columns = [[each.at(row) for row in rows] for each in texts]
        if not columns:
            return repeat((), len(rows))
        return zip(*(map(as_text, values) for values in columns), strict=True)

    def numbers(self, name: str) -> Floats:
        """A whole column as numbers; NaN where a value is missing. Kept once it was read, unless
        it is computed."""
        source = self._source(name)
        if isinstance(source, _Computed):
            return np.array([_as_number(value) for value in _all(source)], dtype=np.float64)
        if name not in self._numbers:
            array = source.numbers()
            if array is None:
                array = np.array([_as_number(value) for value in _all(source)], dtype=np.float64)
            self._numbers[name] = array
        return self._numbers[name]

    def is_computed(self, name: str) -> bool:
        return isinstance(self._sources.get(name), _Computed)

    def number(self, name: str) -> Callable[[int], float]:
        """Reads a row's number."""
        at = self._source(name).at
        return lambda row: _as_number(at(row))

    def _source(self, name: str) -> _Source:
        if name not in self._sources:
            raise unknown("column", name, self._sources)
        return self._sources[name]


# --- values -------------------------------------------------------------------------------------


def as_text(value: Any) -> str | None:
    """A value as a person reads it; None for a missing one and for one that is no plain value."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if (
        value is None or not _is_plain(value) or value != value
    ):  # NaN and NaT differ from themselves
        return None
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time(0)
        return str(value.date() if midnight and value.tzinfo is None else value)
    if isinstance(value, numbers.Number):
        return number_text(float(value))  # type: ignore[arg-type]
    return str(value)


def number_text(number: float) -> str:
    """A number as a person reads it: six digits that count, whole ones whole."""
    if math.isfinite(number) and number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    return f"{number:.6g}"


def _shown(source: _Source, value: Any) -> str | None:
    """A value as a tile shows it: of what was computed the first three digits say enough."""
    if isinstance(source, _Computed) and value is not None and math.isfinite(value) and value % 1:
        return f"{value:.3g}"
    return as_text(value)


def _as_number(value: Any) -> float:
    if isinstance(value, numbers.Number) and not isinstance(value, complex):
        return float(value)  # type: ignore[arg-type]
    return math.nan


def _is_plain(value: Any) -> bool:
    """Whether a value is a number or a time; pandas.NA, which cannot be compared, is neither."""
    kinds = (numbers.Number, datetime.date, datetime.time, datetime.timedelta)
    return isinstance(value, kinds) and not isinstance(value, complex)


def _kind_of(values: Iterable[Any]) -> Kind | None:
    """What a column that may hold anything holds, from its first values; None if not one kind."""
    kinds = {_kind_of_value(value) for value in values} - {"missing"}
    return kinds.pop() if len(kinds) == 1 else None  # type: ignore[return-value]


def _kind_of_value(value: Any) -> Kind | Literal["missing"] | None:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool | np.bool_):
        return "bool"
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return "missing"
    if not _is_plain(value):
        return None
    if value != value:
        return "missing"
    return "number" if isinstance(value, numbers.Number) else "text"


def _all(source: _Source) -> Iterator[Any]:
    """Every value, few of them at a time."""
    for start in range(0, source.count, _READ):
        yield from source.between(start, start + _READ)


# --- frames -------------------------------------------------------------------------------------


def _sources(frame: Any) -> list[_Source]:
    """The columns of a frame that can be shown."""
    if frame is None:
        return []
    if hasattr(frame, "iloc"):  # pandas' columns by place, since their names may be alike
        found = [_series(frame.iloc[:, at], name) for at, name in enumerate(frame.columns)]
    else:
        import narwhals.stable.v2 as nw

        try:
            read = nw.from_native(frame, eager_only=True)
        except TypeError:
            return _dataset_sources(frame)
        found = [_series(read[name].to_native(), name) for name in read.columns]
    return [each for each in found if each is not None]


@dataclass(frozen=True)
class _Series:
    """A column of a data frame, as narwhals reads it."""

    name: str
    kind: Kind
    series: Any
    #: Gives one value: pandas' own way takes a tenth of the time.
    at: Callable[[int], Any]

    @property
    def count(self) -> int:
        return len(self.series)

    def between(self, start: int, stop: int) -> Sequence[Any]:
        values: list[Any] = self.series[start:stop].to_list()
        return values

    def numbers(self) -> Floats | None:
        """All values at once where the column holds nothing but numbers; NaN for a missing one."""
        import narwhals.stable.v2 as nw

        if not self.series.dtype.is_numeric():
            return None
        return np.asarray(self.series.cast(nw.Float64).to_numpy(), dtype=np.float64)


@dataclass(frozen=True)
class _Computed:
    """A number that was computed of each row."""

    name: str
    count: int
    at: Callable[[int], float | None]
    kind: Computed

    def between(self, start: int, stop: int) -> Sequence[Any]:
        return [self.at(row) for row in range(start, min(stop, self.count))]

    def numbers(self) -> Floats | None:
        return None


def _series(native: Any, name: object) -> _Source | None:
    import narwhals.stable.v2 as nw

    series = nw.from_native(native, series_only=True)
    kind: Kind | None
    if series.dtype.is_numeric():
        kind = "number"
    elif series.dtype == nw.Boolean:
        kind = "bool"
    elif series.dtype in (nw.String, nw.Date, nw.Datetime, nw.Time, nw.Duration):
        kind = "text"
    elif series.dtype in (nw.Object, nw.Unknown, nw.Categorical, nw.Enum):
        kind = _kind_of(series.drop_nulls().head(_LOOKED_AT).to_list())
    else:
        kind = None
    if kind is None:
        return None
    at = native.iat.__getitem__ if hasattr(native, "iat") else series.item
    return _Series(str(name), kind, series, at)


@dataclass(frozen=True)
class _DatasetColumn:
    """A column of a Hugging Face Dataset. `rows` holds this column alone: reading a row of it
    decodes no picture. `names` are what the numbers of a column of classes stand for."""

    name: str
    kind: Kind
    rows: Any
    names: Sequence[str] | None

    def at(self, row: int) -> Any:
        return self._named(self.rows[row][self.name])

    @property
    def count(self) -> int:
        return len(self.rows)

    def between(self, start: int, stop: int) -> Sequence[Any]:
        return [self._named(value) for value in self.rows[start:stop][self.name]]

    def numbers(self) -> Floats | None:
        return None

    def _named(self, value: Any) -> Any:
        if self.names is None or value is None:
            return value
        return self.names[value] if 0 <= value < len(self.names) else None


def _dataset_sources(dataset: Any) -> list[_Source]:
    """The columns of a Hugging Face Dataset, or of what can be asked the same way."""
    if not hasattr(dataset, "column_names") or not hasattr(dataset, "select_columns"):
        return []
    found: list[_Source] = []
    for name in dataset.column_names:
        feature = (getattr(dataset, "features", None) or {}).get(name)
        kind = _kind_of_feature(feature)
        if kind is not None:
            rows = dataset.select_columns([name])
            found.append(_DatasetColumn(str(name), kind, rows, getattr(feature, "names", None)))
    return found


def _kind_of_feature(feature: Any) -> Kind | None:
    if getattr(feature, "names", None) is not None:  # ClassLabel
        return "text"
    if type(feature).__name__ != "Value":  # pictures, lists and the like
        return None
    dtype = str(feature.dtype)
    if dtype == "bool":
        return "bool"
    if dtype.startswith(("int", "uint", "float", "decimal")):
        return "number"
    plain = ("string", "large_string", "date", "time", "timestamp", "duration")
    return "text" if dtype.startswith(plain) else None

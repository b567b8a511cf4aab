"""What is asked of a gallery: a search, filters, an order. Only parsed here, not done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blip2_widget.errors import Blip2Error
from blip2_widget.view.errors import unknown

#: Longer ones are no search a person typed.
_LONGEST_SEARCH = 1000


@dataclass(frozen=True)
class Filter:
    """A row passes where its value is one of `values`, or a number within [low, high].

    "" among the values stands for a missing one.
    """

    key: str
    values: tuple[str, ...] | None = None
    low: float | None = None
    high: float | None = None

    @property
    def has_range(self) -> bool:
        return self.low is not None or self.high is not None

    @classmethod
    def parse(cls, message: object) -> Filter:
        """A filter of a message; raises Blip2Error."""
        found = _fields("filter", message, ("key", "values", "min", "max"))
        values = found.get("values")
        if values is not None:
            values = tuple(_text("a filter's value", each) for each in _list("values", values))
        low, high = _number("min", found.get("min")), _number("max", found.get("max"))
        key = _text("a filter's key", found.get("key"))
        if values is None and low is None and high is None:
            raise Blip2Error(f"the filter by {key!r} says neither values nor min or max")
        return cls(key, values, low, high)

    def message(self) -> dict[str, Any]:
        """As the page knows it."""
        found = {
            "key": self.key,
            "values": None if self.values is None else list(self.values),
            "min": self.low,
            "max": self.high,
        }
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Sort:
    """By what rows are sorted; those without a value come last either way."""

    key: str
    descending: bool = False

    @classmethod
    def parse(cls, message: object) -> Sort:
        """A message's order; raises Blip2Error."""
        found = _fields("sort", message, ("key", "descending"))
        key = _text("the sort's key", found.get("key"))
        return cls(key, _truth("descending", found.get("descending", False)))


@dataclass(frozen=True)
class Query:
    """What is shown of a gallery, and in which order."""

    search: str = ""
    filters: tuple[Filter, ...] = ()
    sort: Sort | None = None
    unique: bool = False

    @classmethod
    def parse(cls, message: object) -> Query:
        """A query as the page sends it; what is left out is as in the plain one.

        Raises Blip2Error in one line for what is unknown or of another type.
        """
        found = _fields("query", message, ("search", "filters", "sort", "unique"))
        search = _text("the search", found.get("search", ""))
        if len(search) > _LONGEST_SEARCH:
            raise Blip2Error(f"the search is longer than {_LONGEST_SEARCH} characters")
        filters = _list("filters", found.get("filters", ()))
        sort = found.get("sort")
        return cls(
            search,
            tuple(Filter.parse(each) for each in filters),
            None if sort is None else Sort.parse(sort),
            _truth("unique", found.get("unique", False)),
        )

    def message(self) -> dict[str, Any]:
        """As the page knows it."""
        sort = self.sort
        return {
            "search": self.search,
            "filters": [each.message() for each in self.filters],
            "sort": None if sort is None else {"key": sort.key, "descending": sort.descending},
            "unique": self.unique,
        }


def _fields(what: str, message: object, names: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(message, Mapping):
        raise Blip2Error(f"a {what} is a dict, not a {type(message).__name__}")
    for name in message:
        if name not in names:
            raise unknown(f"part of a {what}", str(name), names)
    return message


def _list(what: str, value: object) -> Iterable[Any]:
    if not isinstance(value, list | tuple):
        raise Blip2Error(f"{what} is a list, not a {type(value).__name__}")
    return value


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise Blip2Error(f"{what} is a text, not {value!r:.60}")
    return value


def _truth(what: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise Blip2Error(f"{what} is true or false, not {value!r:.60}")
    return value


def _number(what: str, value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value:
        raise Blip2Error(f"{what} is a number, not {value!r:.60}")
    try:
        return float(value)
    except OverflowError:
        raise Blip2Error(f"{what} is too large a number") from None

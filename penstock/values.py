"""What Penstock uses of `dataclasses`, made to start fast: `dataclass`, `replace`, `asdict`, `fields`.

The standard ones write the methods of each class as source text and compile it whenever the module is imported: half a
millisecond and ten kilobytes for each of some eighty classes, and `inspect` with all that it imports on top, between
the command and the first request, and in each process for good. Here the methods are made once and shared; what that
costs is a microsecond whenever a value is made, which the control plane does a few thousand times.

A type checker sees the standard ones and checks every use. Not offered: `field`, `__post_init__`, order, inheritance of
fields, and values whose fields can be changed yet are hashed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import asdict, dataclass, fields, replace
else:

    class _Field:
        """What `fields` tells of one field."""

        __slots__ = ("name",)

        def __init__(self, name):
            self.name = name

    def dataclass(cls=None, /, *, frozen=False, slots=False, kw_only=False):
        """Make a class of values out of its annotations, as `dataclasses.dataclass` does."""
        if cls is None:
            return lambda each: _make(each, frozen, slots, kw_only)
        return _make(cls, frozen, slots, kw_only)

    def _make(cls, frozen, slots, kw_only):
        names = tuple(cls.__annotations__)
        space = dict(cls.__dict__)
        space["_defaults"] = {name: space[name] for name in names if name in space}
        space["_names"] = names
        space["__match_args__"] = () if kw_only else names
        for name, method in (
            ("__init__", _init_by_name if kw_only else _init),
            ("__repr__", _repr),
            ("__eq__", _eq),
            ("__hash__", _hash if frozen else None),
        ):
            # As there: what the class defines itself stays.
            if name != "__hash__" or "__eq__" not in cls.__dict__:
                space.setdefault(name, method)
        if frozen:
            space["__setattr__"] = _refuse_set
            space["__delattr__"] = _refuse_delete
        if slots:
            # A default and a slot of the same name can not both stand in a class.
            for name in names:
                space.pop(name, None)
            space["__slots__"] = names
        space.pop("__dict__", None)
        space.pop("__weakref__", None)
        made = type(cls)(cls.__name__, cls.__bases__, space)
        made.__qualname__ = cls.__qualname__
        return made

    _set = object.__setattr__

    def _init(self, *values, **named):
        names = self._names
        if len(values) > len(names):
            raise TypeError(f"{type(self).__name__} takes {len(names)} values, and {len(values)} were given")
        for name, value in zip(names, values, strict=False):
            _set(self, name, value)
        _init_rest(self, names[len(values) :], named)

    def _init_by_name(self, **named):
        _init_rest(self, self._names, named)

    def _init_rest(self, names, named):
        defaults = self._defaults
        for name in names:
            if name in named:
                _set(self, name, named.pop(name))
            elif name in defaults:
                _set(self, name, defaults[name])
            else:
                raise TypeError(f"{type(self).__name__} lacks a value for {name}")
        if named:
            raise TypeError(f"{type(self).__name__} takes no {', '.join(named)}, or has it already")

    def _values(self):
        return tuple([getattr(self, name) for name in self._names])

    def _repr(self):
        pairs = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._names)
        return f"{type(self).__qualname__}({pairs})"

    def _eq(self, other):
        return _values(self) == _values(other) if other.__class__ is self.__class__ else NotImplemented

    def _hash(self):
        return hash(_values(self))

    def _refuse_set(self, name, value):
        raise AttributeError(f"{type(self).__name__} can not be changed: {name}; replace() makes another one")

    def _refuse_delete(self, name):
        raise AttributeError(f"{type(self).__name__} can not be changed: {name}")

    def replace(value, /, **changes):
        """Make a copy in which some fields have other values."""
        named = dict(zip(value._names, _values(value), strict=True))
        unknown = changes.keys() - named.keys()
        if unknown:
            raise TypeError(f"{type(value).__name__} has no {', '.join(sorted(unknown))}")
        return type(value)(**{**named, **changes})

    def fields(value):
        """List the fields of a value or a class."""
        return tuple([_Field(name) for name in value._names])

    def asdict(value):
        """Turn a value into a dictionary, and so with every value in it, at any depth."""
        return {name: _plain(getattr(value, name)) for name in value._names}

    def _plain(value):
        if hasattr(type(value), "_names"):
            return asdict(value)
        if isinstance(value, list | tuple):
            return type(value)([_plain(each) for each in value])
        if isinstance(value, dict):
            return {key: _plain(each) for key, each in value.items()}
        return value


__all__ = ["asdict", "dataclass", "fields", "replace"]

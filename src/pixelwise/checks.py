"""Type and range of an option, declared once: as the annotation of the argument or the key that receives it.

A constructor declares its options by its signature, and a section of the config that no class receives by a
`TypedDict`. Here values are compared with such annotations, and annotations are put into words for messages.
"""

from __future__ import annotations

import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from os import PathLike
from pathlib import PurePath
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from pixelwise.errors import UserError, guess, some
from pixelwise.kinds import Range, Where

T = TypeVar("T", bound=type)


class Misfit(NamedTuple):
    """A value that its annotation does not admit."""

    key: str
    value: Any
    kind: Any


class Option(NamedTuple):
    """An argument of a class: its annotation and its default, or `inspect.Parameter.empty`."""

    kind: Any
    default: Any


def check(key: str, value: Any, kind: Any) -> None:
    """Raise `UserError` if an annotation does not admit a value; the message names the key below `key`."""
    if found := misfit(key, value, kind):
        raise refusal(found)


def checked(cls: T) -> T:
    """Decorate a class whose constructor refuses arguments that its annotations do not admit.

    `pixelwise.build.make` compares the values of a config with the annotations of any class. This decorator
    does the same for a class that is used in Python.
    """
    constructor = cls.__init__  # type: ignore[misc]
    parameters = inspect.signature(constructor)

    @functools.wraps(constructor)
    def __init__(self: Any, *values: Any, **named: Any) -> None:
        options = arguments(cls)
        try:
            given = parameters.bind(self, *values, **named).arguments
        except TypeError:  # the constructor explains it
            given = {}
        for name, value in given.items():
            if name in options and (
                found := of_option(f"{type(self).__name__}.{name}", value, options[name])
            ):
                raise refusal(found)
        constructor(self, *values, **named)

    cls.__init__ = __init__  # type: ignore[misc]
    return cls


@functools.cache
def arguments(cls: type) -> dict[str, Option]:
    """The arguments of a class by name; with those of its base class if it passes `**options` on."""
    found: dict[str, Option] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base) or base is object:
            continue
        constructor = inspect.unwrap(vars(base)["__init__"])
        try:
            parameters = list(inspect.signature(constructor).parameters.values())[1:]
        except (TypeError, ValueError):  # written in C
            break
        for parameter in parameters:
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                found.setdefault(
                    parameter.name, Option(_evaluated(parameter, constructor), parameter.default)
                )
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


def _evaluated(parameter: inspect.Parameter, constructor: Callable[..., Any]) -> Any:
    """The annotation of a parameter; `Any` if there is none, or it names what only type checkers import."""
    holder = types.SimpleNamespace(__annotations__={"it": parameter.annotation})
    if parameter.annotation is parameter.empty:
        return Any
    try:
        return typing.get_type_hints(holder, constructor.__globals__, include_extras=True)["it"]
    except Exception:
        return Any


def of_option(key: str, value: Any, option: Option) -> Misfit | None:
    """The part of a value that an option does not admit; its own default is always admitted."""
    if type(value) is type(option.default) and value is option.default:
        return None
    return misfit(key, value, option.kind)


def refusal(found: Misfit, origin: str = "") -> UserError:
    """The error for a value, with the choices in words; `origin` says where the value comes from."""
    value = found.value
    choices = [member for member in _members(found.kind) if isinstance(member, str)]
    near = guess("did you mean …?", value, choices) if isinstance(value, str) else None
    quote = "text; put a number in quotes" if _is_number(value) and str in _members(found.kind) else None
    return UserError(found.key + origin, found=shown(value), expected=quote or describe(found.kind), fix=near)


def misfit(key: str, value: Any, kind: Any) -> Misfit | None:
    """The first part of a value that an annotation does not admit; None if it admits the value.

    A whole number is a number, a list is any sequence, and text is a path, as in YAML. Numbers are finite. A
    mapping with `_target_` is an object, which its own class checks.
    """
    origin, parts = get_origin(kind), get_args(kind)
    wrong = Misfit(key, value, kind)
    if origin is Annotated:
        inner = misfit(key, value, parts[0])
        if inner and inner.key != key:
            return inner
        limits = [limit for limit in parts[1:] if isinstance(limit, Range | Where)]
        return None if not inner and all(limit.admits(value) for limit in limits) else wrong
    if origin in (Union, types.UnionType):
        found = [misfit(key, value, part) for part in parts]
        deeper = [each for each in found if each and each.key != key]
        return None if None in found else deeper[0] if len(deeper) == 1 else wrong
    if origin is Literal:
        return None if any(type(value) is type(part) and value == part for part in parts) else wrong
    if kind in _SCALARS:
        return None if _SCALARS[kind](value) else wrong
    if kind is Any or isinstance(kind, TypeVar | typing.ForwardRef):
        return None
    if typing.is_typeddict(kind) and isinstance(value, Mapping):
        hints = typing.get_type_hints(kind, include_extras=True)
        if missing := sorted(kind.__required_keys__ - value.keys()):
            return Misfit(_below(key, missing[0]), None, hints[missing[0]])
        return _first(misfit(_below(key, name), value[name], hints[name]) for name in value if name in hints)
    if not isinstance(value, bool | int | float | str | Mapping | Sequence | None) or is_target(value):
        return None
    base = origin or kind
    if not inspect.isclass(base) or typing.is_typeddict(kind):
        return wrong
    if issubclass(base, Mapping) and isinstance(value, Mapping):
        of_name, of_value = parts or (Any, Any)
        if any(misfit(key, name, of_name) for name in value):
            return wrong
        return _first(misfit(_below(key, name), item, of_value) for name, item in value.items())
    if _is_list(base) and isinstance(value, Sequence) and not isinstance(value, str):
        fixed = base is tuple and parts and parts[-1] is not ...
        kinds = parts if fixed else parts[:1] * len(value) if parts else [Any] * len(value)
        fits = len(kinds) == len(value) and not any(map(misfit, [key] * len(value), value, kinds))
        return None if fits else wrong
    return None if issubclass(base, PurePath | PathLike) and isinstance(value, str) else wrong


def class_indices(key: str, names: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Indices of the classes with these names; raises `UserError` for a name that is not one of a class."""
    if unknown := [name for name in names if name not in classes]:
        raise UserError(
            f"{key}: {some(unknown)} is not a class",
            expected=some(classes, 12),
            fix=guess("perhaps …?", unknown[0], classes),
        )
    return [list(classes).index(name) for name in names]


def describe(kind: Any) -> str:
    """An annotation in words: "a whole number from 1, or null"."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        limits = [limit for limit in parts[1:] if isinstance(limit, Range | Where)]
        return functools.reduce(lambda words, limit: limit.describe(words), limits, describe(parts[0]))
    if origin in (Union, types.UnionType, Literal):
        members = [each for part in _members(kind) for each in ((True, False) if part is bool else (part,))]
        words = [word for word in dict.fromkeys(map(describe, members)) if word != "null"]
        null = ", or null" if type(None) in members else ""
        return ", ".join(words[:-1]) + " or " * (len(words) > 1) + words[-1] + null
    if kind in _WORDS:
        return _WORDS[kind]
    if isinstance(kind, str | int | bool | None):
        return shown(kind).strip("'")
    base = origin or kind
    if typing.is_typeddict(kind):
        return "a mapping with keys such as " + ", ".join(list(typing.get_type_hints(kind))[:3])
    if inspect.isclass(base) and issubclass(base, Mapping):
        if not parts or parts[1] is Any:
            return "a mapping"
        names = "" if parts[0] is str else f" from {describe(parts[0])}"
        return f"a mapping{names}, each value {describe(parts[1])}"
    if inspect.isclass(base) and _is_list(base):
        each = [describe(part) for part in parts if part is not ...]
        if len(each) > 1:
            return f"[{', '.join(each)}]"
        return "a list" + (f", each entry {each[0]}" if each and parts[0] is not Any else "")
    return "a path" if inspect.isclass(base) and issubclass(base, PathLike) else "a mapping with _target_"


def shown(value: Any) -> str:
    """A value as in a config: null, true, and text in quotes, to tell it from numbers."""
    constants = {None: "null", True: "true", False: "false"}
    return constants[value] if value is None or isinstance(value, bool) else repr(value)


def is_target(value: Any) -> bool:
    """Whether a value of a config is a mapping that names a class."""
    return isinstance(value, Mapping) and "_target_" in value


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


_SCALARS: dict[Any, Callable[[Any], bool]] = {
    bool: lambda value: isinstance(value, bool),
    int: lambda value: isinstance(value, Integral) and not isinstance(value, bool),
    float: _is_number,
    str: lambda value: isinstance(value, str),
    type(None): lambda value: value is None,
}

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "null",
    Any: "any value",
}


def _members(kind: Any) -> list[Any]:
    """The alternatives of an annotation."""
    if get_origin(kind) in (Union, types.UnionType):
        return [member for part in get_args(kind) for member in _members(part)]
    return list(get_args(kind)) if get_origin(kind) is Literal else [kind]


def _is_list(base: type) -> bool:
    return issubclass(base, Sequence | set | frozenset) or base in (typing.Iterable, Iterable)


def _below(key: str, name: Any) -> str:
    return f"{key}.{name}" if key else str(name)


def _first(found: Iterable[Misfit | None]) -> Misfit | None:
    return next((each for each in found if each), None)

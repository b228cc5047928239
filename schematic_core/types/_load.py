"""Load generated models on demand, with all that they refer to; read what does not quite fit them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any, get_args

from schematic_core import lifecycle
from schematic_core.types._generated.index import INDEX

__all__ = ["is_loaded", "load", "parse_leniently"]

_PACKAGE = "schematic_core.types._generated"
_loaded: dict[str, Any] = {}


class _Loading:
    """Lets one thread at a time load; a forked child gets a lock of its own, since the parent's may be held."""

    def __init__(self) -> None:
        self.after_fork_in_child()

    def after_fork_in_child(self) -> None:
        """Start with a free lock."""
        self.lock = threading.RLock()


_loading = _Loading()
lifecycle.register(_loading)


def is_loaded(name: str) -> bool:
    """Whether ``load(name)`` would return at once."""
    return name in _loaded


def load(name: str) -> Any:
    """Give the model or enum called ``name``, ready for use.

    Models refer to each other by name and their modules import none of the others, so that one model costs its own
    closure and not the whole API; here each module is given the models its annotations name.

    Raises:
        KeyError: there is no such name.
    """
    model = _loaded.get(name)
    if model is not None:
        return model
    with _loading.lock:
        closure = _closure(name)
        modules = {member: import_module(f"{_PACKAGE}.{INDEX[member][0]}") for member in closure}
        for member, module in modules.items():
            for reference in INDEX[member][1]:
                setattr(module, reference, getattr(modules[reference], reference))
        model = getattr(modules[name], name)
        rebuild = getattr(model, "model_rebuild", None)  # enums are plain aliases
        if rebuild is not None:
            rebuild()
        _loaded[name] = model
    return model


def _closure(name: str) -> list[str]:
    closure, waiting = [name], [name]
    while waiting:
        for reference in INDEX[waiting.pop()][1]:
            if reference not in closure:
                closure.append(reference)
                waiting.append(reference)
    return closure


def parse_leniently(name: str, data: Mapping[str, Any]) -> Any:
    """Read ``data`` as the model called ``name`` even where it breaks the model's promises; for webhook bodies.

    A required member that is missing or null reads as None (a list as empty), one of the wrong type stays as it came.
    Use it where losing the whole message over one member would be worse, not for answers to calls.

    Source: ``http-api.md`` section 20: published samples of webhook bodies lack required members.
    """
    model = load(name)
    try:
        return model.model_validate(data)
    except ValueError:
        return _construct(model, data)


def _construct(model: Any, data: Mapping[str, Any]) -> Any:
    """Build ``model`` member by member, keeping what its own type refuses."""
    values: dict[str, Any] = {}
    known: set[str] = set()
    for name, field in model.model_fields.items():
        aliases = getattr(field.validation_alias, "choices", (name,))
        key = next((alias for alias in aliases if alias in data), None)
        if key is not None:
            known.add(key)
            values[name] = _read(field.rebuild_annotation(), data[key])
        else:
            values[name] = None if field.is_required() else field.get_default(call_default_factory=True)
    unknown = {key: value for key, value in data.items() if key not in known and key not in values}
    made = model.model_construct(_fields_set=set(values) & known | set(unknown), **values)
    made.model_extra.update(unknown)  # not as keywords: a member may be called like a parameter
    return made


def _read(annotation: Any, value: Any) -> Any:
    try:
        return _adapter(annotation).validate_python(value)
    except ValueError:
        inner = next((part for part in _parts(annotation) if hasattr(part, "model_fields")), None)
    if inner is not None and isinstance(value, Mapping):
        return _construct(inner, value)
    if inner is not None and isinstance(value, list):
        return [_read(inner, item) for item in value]
    return value


@lru_cache(maxsize=1024)  # making one takes a hundred times as long as using it
def _adapter(annotation: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(annotation)


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for argument in get_args(annotation):
        yield from _parts(argument)

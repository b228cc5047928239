"""Turn endpoint definitions into methods: arguments become a call, its answer becomes a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from schematic_core import types
from schematic_core.api.call import Call, Endpoint, Response
from schematic_core.api.endpoints import RESOURCES
from schematic_core.api.prepare import prepare
from schematic_core.errors import ParsingError

__all__ = ["AsyncResource", "RawResponse", "Resource", "decode"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RawResponse(Generic[T]):
    """A typed answer together with what HTTP said.

    Attributes:
        data: the model that the plain method would give.
        headers: lower-case names.
        status_code: always in 2xx; anything else was raised.
    """

    data: T
    headers: dict[str, str]
    status_code: int

    def close(self) -> None:
        """Do nothing: the answer was read whole and its connection is free (the vendor's contract has this method)."""


class _Methods(ABC):
    """Looks methods up in the table of endpoints and keeps those that were used."""

    def __init__(self, name: str, *, raw: bool = False) -> None:
        self._name = name
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        endpoint = None if name.startswith("_") else RESOURCES[self._name].get(name)
        if endpoint is None:
            raise AttributeError(f"{self._name} has no method {name!r}")
        method = self._method(endpoint)
        method.__name__ = method.__qualname__ = name
        method.__doc__ = _describe(endpoint)
        self.__dict__[name] = method
        return method

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *RESOURCES[self._name]})

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}>"

    @abstractmethod
    def _method(self, endpoint: Endpoint) -> Callable[..., Any]:
        """Make the method of one endpoint."""

    def _result(self, endpoint: Endpoint, response: Response) -> Any:
        data = decode(endpoint, response)
        return RawResponse(data, dict(response.headers), response.status) if self._raw else data


class Resource(_Methods):
    """One resource of the API with blocking methods, e.g. ``client.companies``.

    Args:
        name: one of ``RESOURCES``.
        run: makes a call and gives its answer in 2xx; raises ``ApiError``.
        raw: give ``RawResponse`` instead of models.
    """

    def __init__(self, name: str, run: Callable[[Call], Response], *, raw: bool = False) -> None:
        super().__init__(name, raw=raw)
        self._run = run

    @property
    def with_raw_response(self) -> Resource:
        """The same methods, giving status and headers as well."""
        return Resource(self._name, self._run, raw=True)

    def _method(self, endpoint: Endpoint) -> Callable[..., Any]:
        def method(*args: object, **arguments: object) -> Any:
            return self._result(endpoint, self._run(prepare(endpoint, args, arguments)))

        return method


class AsyncResource(_Methods):
    """One resource of the API with awaitable methods; arguments as for `Resource`, ``run`` gives an awaitable."""

    def __init__(self, name: str, run: Callable[[Call], Awaitable[Response]], *, raw: bool = False) -> None:
        super().__init__(name, raw=raw)
        self._run = run

    @property
    def with_raw_response(self) -> AsyncResource:
        """The same methods, giving status and headers as well."""
        return AsyncResource(self._name, self._run, raw=True)

    def _method(self, endpoint: Endpoint) -> Callable[..., Any]:
        async def method(*args: object, **arguments: object) -> Any:
            response = await self._run(prepare(endpoint, args, arguments))
            if endpoint.response is not None and not types.is_loaded(endpoint.response):
                await _load_off_loop(endpoint.response)
            return self._result(endpoint, response)

        return method


async def _load_off_loop(name: str) -> None:
    """Load a model on a thread: its first use imports pydantic and builds schemas, which would hold up the loop."""
    from schematic_core.offloop import off_loop

    await off_loop(lambda: types.load(name))


def decode(endpoint: Endpoint, response: Response) -> Any:
    """Give the model of an answer; None when the endpoint promises no payload.

    Raises:
        ParsingError: the body does not fit the model, or there is none although the endpoint promises one.
    """
    if endpoint.response is None:
        return None
    try:
        return types.load(endpoint.response).model_validate_json(response.body)
    except ValueError as error:
        raise ParsingError(
            status_code=response.status,
            headers=response.headers,
            body=response.body.decode("utf-8", "replace"),
            message=f"{endpoint.resource}.{endpoint.name}: the API's answer does not fit {endpoint.response}",
        ) from error


def _describe(endpoint: Endpoint) -> str:
    optional = [name for name in (*endpoint.query, *endpoint.body) if name not in endpoint.required]
    lines = [f"Call ``{endpoint.method} {endpoint.path}``.", ""]
    needed = (*endpoint.path_parameters, *endpoint.required)
    lines += [f"Needed: {', '.join(needed)}."] if needed else []
    lines += [f"Optional: {', '.join((*optional, 'request_options'))}."]
    return "\n".join([*lines, "", "Raises:", "    ApiError: by status; ``TransportError`` when no answer arrived."])

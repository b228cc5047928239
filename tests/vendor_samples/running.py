"""Running one sample: in a namespace of its own, its output kept, its clients closed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

import httpx

from schematic_core.client import AsyncSchematic, Schematic
from tests.vendor_samples.corrections import corrected
from tests.vendor_samples.readme import blocks, rooted

__all__ = ["Sample", "running"]


class Sample:
    """A sample that has run."""

    def __init__(self, names: dict[str, Any], output: StringIO) -> None:
        self.names = names
        self._output = output

    @property
    def client(self) -> Any:
        """The client the sample made."""
        return self.names["client"]

    @property
    def printed(self) -> str:
        """What was printed so far, by the sample or by what it defined."""
        return self._output.getvalue()


@contextmanager
def running(name: str, **given: object) -> Iterator[Sample]:
    """Run the block of this name, corrected; ``given`` are names that exist before it."""
    code = compile(corrected(name, rooted(blocks()[name])), f"<the vendor's README: {name}>", "exec", dont_inherit=True)
    names: dict[str, Any] = {"__name__": "sample", **given}
    with redirect_stdout(StringIO()) as output:
        try:
            exec(code, names)
            yield Sample(names, output)
        finally:
            _close(names.get("client"))


def _close(client: Schematic | AsyncSchematic | None) -> None:
    if client is None:
        return
    (client if isinstance(client, Schematic) else client.sync).close()
    if isinstance(client.settings.http_client, httpx.Client):
        client.settings.http_client.close()

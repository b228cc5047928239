"""Which documented operation a method and path mean; segments are decoded one by one, so a key may hold a slash."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from urllib.parse import unquote_to_bytes

__all__ = ["Operation", "Router", "documented_operations"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the API, e.g. ``Operation("GET", "/companies/{company_id}", "get_company")``."""

    method: str
    path: str
    name: str


@dataclass(slots=True)
class _Branch:
    fixed: dict[str, _Branch] = field(default_factory=dict)
    open: _Branch | None = None
    operations: dict[str, Operation] = field(default_factory=dict)


class Router:
    """Finds operations by path; a fixed segment is preferred to a parameter."""

    def __init__(self, operations: list[Operation]) -> None:
        self._root = _Branch()
        for operation in operations:
            branch = self._root
            for segment in operation.path.strip("/").split("/"):
                if segment.startswith("{"):
                    branch.open = branch = branch.open or _Branch()
                else:
                    branch = branch.fixed.setdefault(segment, _Branch())
            branch.operations[operation.method] = operation

    def find(self, raw_path: bytes) -> tuple[dict[str, Operation], list[str]]:
        """Give what stands at a path.

        Args:
            raw_path: the path as it was sent, percent-encoded, without query.

        Returns:
            The operations by method, empty when there are none, and the values of the path's parameters in order.
        """
        segments = [unquote_to_bytes(part).decode("utf-8", "replace") for part in raw_path.split(b"/")[1:]]
        return self._find(self._root, segments, []) or ({}, [])

    def _find(
        self, branch: _Branch, segments: list[str], values: list[str]
    ) -> tuple[dict[str, Operation], list[str]] | None:
        if not segments:
            return (branch.operations, values) if branch.operations else None
        head, rest = segments[0], segments[1:]
        if head in branch.fixed and (found := self._find(branch.fixed[head], rest, values)):
            return found
        if branch.open is not None and head:
            return self._find(branch.open, rest, [*values, head])
        return None


def documented_operations() -> list[Operation]:
    """Give every operation that the API documents, implemented here or not."""
    text = files("schematic_core.server").joinpath("endpoints.txt").read_text(encoding="utf-8")
    return [Operation(*line.split(" ")) for line in text.splitlines()]

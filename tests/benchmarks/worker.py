"""One side of a benchmark: a process of either package that runs batches when told to, one JSON line each way.

Arguments: the package, the URLs of service and stream, ``brief`` or ``thorough``.

- ``{"open": "cached_check"}`` prepares a subject;
- ``{"batch": 0.05}`` runs it for about so many seconds, answered by ``{"each": 2.1e-06}``, the seconds of one call;
- ``{"once": true}`` runs the smallest batch;
- ``{"answer": true}`` is answered by ``{"answer": ...}``, what the subject answers now;
- ``{"close": true}`` ends the subject.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
from collections.abc import Mapping

from tests.benchmarks.subject import Package, Subject
from tests.benchmarks.subjects import SUBJECTS


class Worker:
    """Keeps the subject that is open and how many calls fill a batch."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self._subject: Subject | None = None
        self._each = 0.0

    def obey(self, order: Mapping[str, object]) -> dict[str, object]:
        """Do what one line says and give the answer to it."""
        name = order.get("open")
        if isinstance(name, str):
            self._subject, self._each = SUBJECTS[name](self._package), 0.0
            return {}
        subject = self._subject
        assert subject is not None, "nothing is open"
        seconds = order.get("batch")
        if isinstance(seconds, float):
            return {"each": self._batch(subject, seconds)}
        if "once" in order:
            subject.run(subject.section)
            return {}
        if "answer" in order:
            return {"answer": subject.answer()}
        subject.close()
        self._subject = None
        return {}

    def _batch(self, subject: Subject, seconds: float) -> float:
        if not self._each:
            self._each = self._learn(subject, seconds / 10)
        gc.collect()
        sections = max(1, round(seconds / self._each / subject.section))
        count = min(sections, subject.most_sections) * subject.section
        self._each = subject.run(count) / count
        return self._each

    @staticmethod
    def _learn(subject: Subject, enough: float) -> float:
        count = subject.section
        while (spent := subject.run(count)) < enough:
            count *= 2
        return spent / count


def main() -> None:
    """Obey standard input until it ends."""
    root, url, stream_url, manner = sys.argv[1:]
    logging.getLogger("schematic").setLevel(logging.WARNING)
    worker = Worker(Package(root, url, stream_url, is_brief=manner == "brief"))
    for line in sys.stdin:
        sys.stdout.write(json.dumps(worker.obey(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""What is timed: each function prepares one thing of a package and gives it as a `Subject`.

Written once for both packages, since they share their names; runs inside a worker, in either's interpreter.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from itertools import count as count_from
from itertools import repeat
from time import perf_counter
from typing import Any

from tests.benchmarks.fixtures import REALISTIC, TRIVIAL, Fixture, encoded
from tests.benchmarks.stream_subjects import STREAM_SUBJECTS
from tests.benchmarks.subject import Loop, Package, Subject, made, timed

__all__ = ["SUBJECTS"]

# The vendor's buffer sends inside the caller's ``track`` at 100 events: a section stays below, so that enqueueing is timed.
_WARM_UP, _SECTION = 10, 80
_FULL = 100
"""Events of a batch."""


def cached_check(package: Package) -> Subject:
    """`check_flag` answered by the flag-check cache, sync."""
    client = package.client()
    check = client.check_flag

    def run(count: int) -> float:
        value = None
        started = perf_counter()
        for _ in repeat(None, count):
            value = check("exports", company={"id": "acme"}, user={"id": "ada"})
        spent = perf_counter() - started
        return timed(spent, value)

    def answer() -> object:
        return [check("exports", company={"id": company}, user={"id": "ada"}) for company in ("acme", "globex")]

    return Subject(run, answer, client.shutdown)


def cached_check_async(package: Package) -> Subject:
    """`check_flag` answered by the flag-check cache, async."""
    loop = Loop()
    client = loop.run(made(package))
    check = client.check_flag

    async def batch(count: int) -> float:
        value = None
        started = perf_counter()
        for _ in repeat(None, count):
            value = await check("exports", company={"id": "acme"}, user={"id": "ada"})
        spent = perf_counter() - started
        return timed(spent, value)

    async def answer() -> object:
        return [await check("exports", company={"id": company}, user={"id": "ada"}) for company in ("acme", "globex")]

    return Subject(lambda count: loop.run(batch(count)), lambda: loop.run(answer()), lambda: loop.end(client))


def track(package: Package) -> Subject:
    """`track` up to the return of the call, sync; each section meets an empty queue."""
    queued = _Queued(package)
    client = package.client()

    def run(count: int) -> float:
        nonlocal client
        spent = 0.0
        for _ in range(count // _SECTION):
            for options in queued.options(_WARM_UP):
                client.track("export_created", company={"id": "acme"}, user={"id": "ada"}, quantity=1, options=options)
            prepared = queued.options(_SECTION)
            started = perf_counter()
            for options in prepared:
                client.track("export_created", company={"id": "acme"}, user={"id": "ada"}, quantity=1, options=options)
            spent += perf_counter() - started
            if hasattr(client, "flush"):
                client.flush()
            else:
                client.shutdown()
                client = package.client()
        return spent

    def close() -> None:
        client.shutdown()

    return Subject(run, lambda: queued.total, close, _SECTION, 200)


def track_async(package: Package) -> Subject:
    """`track` up to the return of the call, async; each section meets an empty queue."""
    queued = _Queued(package)
    loop = Loop()
    client = loop.run(made(package))

    async def batch(count: int) -> float:
        nonlocal client
        spent = 0.0
        for _ in range(count // _SECTION):
            track = client.track
            for options in queued.options(_WARM_UP):
                await track("export_created", company={"id": "acme"}, user={"id": "ada"}, quantity=1, options=options)
            prepared = queued.options(_SECTION)
            started = perf_counter()
            for options in prepared:
                await track("export_created", company={"id": "acme"}, user={"id": "ada"}, quantity=1, options=options)
            spent += perf_counter() - started
            if hasattr(client, "flush"):
                await client.flush()
            else:
                await client.shutdown()
                client = package.async_client()
        return spent

    return Subject(lambda count: loop.run(batch(count)), lambda: queued.total, lambda: loop.end(client), _SECTION, 200)


def flush(package: Package) -> Subject:
    """Delivery of what `track` queued, sync, in batches of 100; per event."""
    queued = _Queued(package)
    client = package.client()
    send = client.flush if package.is_ours else client.event_buffer.flush
    send()

    def run(count: int) -> float:
        spent = 0.0
        for _ in range(count // _FULL):
            for options in queued.options(_FULL):
                client.track("export_created", company={"id": "acme"}, user={"id": "ada"}, quantity=1, options=options)
            started = perf_counter()
            send()
            spent += perf_counter() - started
        return spent

    def answer() -> object:
        send()
        return queued.total

    return Subject(run, answer, client.shutdown, _FULL)


def engine_realistic(package: Package) -> Subject:
    """`Engine.result` on held documents, realistic; ours alone."""
    return _engine(package, REALISTIC)


def engine_trivial(package: Package) -> Subject:
    """`Engine.result` on held documents, trivial; ours alone."""
    return _engine(package, TRIVIAL)


def engine_fresh(package: Package) -> Subject:
    """`Engine.result`, realistic, each time on a company taken in since; ours alone. Taking it in is not timed."""
    return _engine(package, REALISTIC, _SECTION)


def _engine(package: Package, fixture: Fixture, section: int = 1) -> Subject:
    engine = package.module("rules.engine").Engine()
    flag, held = engine.put_flag(encoded(fixture.flag)), engine.put_company(encoded(fixture.company))
    user = None if fixture.user is None else engine.put_user(encoded(fixture.user))
    standing, as_of = package.module("values").Standing(), datetime.now(timezone.utc)
    now_ms, numbers = int(time.time() * 1000), count_from(1)

    def ask(company: Any) -> Any:
        return engine.result(flag, company, user, None, now_ms=now_ms, source="stream", standing=standing, as_of=as_of)

    def over(companies: Iterable[Any]) -> float:
        value = None
        started = perf_counter()
        for company in companies:
            value = ask(company)[0].value
        spent = perf_counter() - started
        return timed(spent, value)

    def run(count: int) -> float:
        if section == 1:
            return over(repeat(held, count))
        spent = 0.0
        for _ in range(count // section):
            companies = [engine.put_company(encoded(fixture.used(next(numbers)))) for _ in range(section)]
            spent += over(companies)
            for company in companies:
                engine.drop(company)
        return spent

    def answer() -> object:
        result, _ = ask(held)
        return [result.value, result.rule_type, result.feature_usage, result.feature_allocation]

    return Subject(run, answer, lambda: None, section)


def verify_1_kb(package: Package) -> Subject:
    """`verify_signature` on a body of 1 KB."""
    return _verify(package, 1_000)


def verify_100_kb(package: Package) -> Subject:
    """`verify_signature` on a body of 100 KB."""
    return _verify(package, 100_000)


def _verify(package: Package, size: int) -> Subject:
    module = package.module("webhook_utils")
    verify = module.verify_signature
    secret, timestamp = "whsec_benchmark", str(int(time.time()))
    body = b'{"action": "test.send", "body": {"text": "'.ljust(size - 3, b"x") + b'"}}'
    signature = hmac.new(secret.encode(), body + b"+" + timestamp.encode(), hashlib.sha256).hexdigest()

    def run(count: int) -> float:
        started = perf_counter()
        for _ in repeat(None, count):
            verify(body, signature, timestamp, secret)
        return perf_counter() - started

    def answer() -> object:
        verify(body, signature, timestamp, secret)
        try:
            verify(body.replace(b"x", b"y", 1), signature, timestamp, secret)
        except module.WebhookSignatureError:
            return "genuine accepted, tampered refused"
        return "tampered accepted"

    return Subject(run, answer, lambda: None)


class _Queued:
    """Options of the events to come, each with its own idempotency key; counts them."""

    def __init__(self, package: Package) -> None:
        self._options = package.module("client").TrackOptions
        self._sent_at = datetime.now(timezone.utc)
        self.total = 0

    def options(self, count: int) -> list[Any]:
        first, self.total = self.total, self.total + count
        return [self._options(idempotency_key=f"b-{n}", sent_at=self._sent_at) for n in range(first, self.total)]


SUBJECTS: dict[str, Callable[[Package], Subject]] = {
    subject.__name__: subject
    for subject in (
        *(cached_check, cached_check_async, track, track_async, verify_1_kb, verify_100_kb),
        *(engine_realistic, engine_trivial, engine_fresh, flush),
    )
} | STREAM_SUBJECTS
"""By name, as a worker is asked for them."""

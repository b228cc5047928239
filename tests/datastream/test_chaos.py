"""Random changes and disturbances for both clients at once, with the server's own evaluation as the oracle.

In a disturbed phase every answer is recorded together with when it was asked and given. It must be one that the server could
have given in the moments before: ``LAG`` seconds while the stream stands by it, ``STALE_AFTER`` more when it says that it
is stale. The trait behind ``seats`` only ever grows, so what an answer says of its usage tells which state it is of, and a
client's answers from the stream never go back in time. In each quiet period no answer may differ from the server's.

About 15 seconds in the normal suite. ``SCHEMATIC_CHAOS_SECONDS`` makes it longer, ``SCHEMATIC_CHAOS_SEED`` repeats a run.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from schematic_core.client import AsyncSchematic, Schematic
from schematic_core.values import CheckResult
from tests.datastream.support import Json, Service, hasten, serving, stream_of, until

SECONDS = float(os.environ.get("SCHEMATIC_CHAOS_SECONDS", "12"))
SEED = int(os.environ.get("SCHEMATIC_CHAOS_SEED", "20"))

STALE_AFTER = 0.15
LAG = 3.0
"""Seconds that a frame may take under all that happens here: the longest stall, slow frames, a machine shared with others."""

ENVIRONMENT = """
version: 1
features:
  exports: {type: event, event: export_created}
  daily: {type: event, event: report_run}
  reports: {type: boolean}
  seats: {type: trait, trait: seats}
flags:
  new-nav: {default: false, rules: [{name: beta, value: true, when: [{plan: pro}, {trait: region, value: eu}]}]}
  on-by-default: {default: true}
plans:
  free: {entitlements: {exports: {limit: 4}, daily: {limit: 3}, seats: {limit: 100000}}}
  pro: {entitlements: {reports: true, exports: {limit: 20}, daily: {limit: 50}, seats: {limit: 100000}}}
companies:
  c0: {plan: pro, traits: {region: eu, seats: 0}}
  c1: {plan: free, traits: {region: us, seats: 0}}
  c2: {plan: pro, traits: {region: eu, seats: 0}}
  c3: {traits: {seats: 0}}
  beacon: {plan: free, traits: {seats: 0}}
users:
  ada: {keys: {id: ada}, company: c0}
"""

FLAGS = ("exports", "reports", "seats", "new-nav", "on-by-default")
"""Asked in disturbed phases; ``daily`` is moved by the clients' own usage, of which the server hears later."""


class Verdict(NamedTuple):
    """What an answer says, as far as the two sides can be compared."""

    value: bool
    reason: str
    usage: int | None


@dataclass
class Epoch:
    """One state of the server, and when it was that: the change to the next one lies before ``until``."""

    since: float
    until: float
    verdicts: dict[tuple[str, str], Verdict] = field(default_factory=dict)


class Seen(NamedTuple):
    """One answer that a client gave."""

    client: str
    flag: str
    company: str
    asked_at: float
    given_at: float
    verdict: Verdict
    source: str
    is_stale: bool
    age: float


class World:
    """The server, its past, and random changes of it."""

    def __init__(self, service: Service, seed: int) -> None:
        self.service = service
        self.random = random.Random(seed)
        self.ids = {key: f"comp_{key}" for key in ("c0", "c1", "c2", "c3")}
        self.overrides: list[tuple[str, str]] = []
        self.seats = 0
        self.is_stalled = False
        self.epochs: list[Epoch] = []
        self.known = list(self.ids)
        self.note(time.monotonic())

    def note(self, changed_at: float) -> None:
        """Note what the server says now; it changed no earlier than ``changed_at``."""
        epoch = Epoch(changed_at, float("inf"))
        for key in self.known:
            for one in self.service.call("POST", "/flags/check", {"company": {"id": key}})["flags"]:
                epoch.verdicts[key, one["flag"]] = Verdict(one["value"], one["reason"], one.get("feature_usage"))
        if self.epochs:
            self.epochs[-1].until = time.monotonic()
        self.epochs.append(epoch)

    def possible(self, flag: str, company: str, since: float, until: float) -> list[Verdict]:
        """Give what the server could have said in this time."""
        return [
            epoch.verdicts[company, flag]
            for epoch in self.epochs
            if epoch.since <= until and epoch.until >= since and (company, flag) in epoch.verdicts
        ]

    def change(self) -> None:
        """Change something, in one of many ways."""
        began = time.monotonic()
        key = self.random.choice(list(self.ids))
        self.random.choice(
            [
                *[self._plan] * 2,
                *[self._trait] * 3,
                self._track,
                self._override,
                self._take_back,
                self._delete,
                self._create,
            ]
        )(key)
        self.note(began)

    def _plan(self, key: str) -> None:
        plan = self.random.choice([None, "plan_free", "plan_pro"])
        self.service.call("PUT", f"/company-plans/{self.ids[key]}", {"base_plan_id": plan, "add_on_ids": []})

    def _trait(self, key: str) -> None:
        self.seats += 1
        region = self.random.choice(["eu", "us"])
        body = {"keys": {"id": key}, "traits": {"seats": self.seats, "region": region}}
        self.ids[key] = self.service.call("POST", "/companies", body)["id"]

    def _track(self, key: str) -> None:
        self.service.track("export_created", key, self.random.randint(1, 3))

    def _override(self, key: str) -> None:
        held = {company for company, _ in self.overrides}
        if key not in held:
            body = {"company_id": self.ids[key], "feature_id": "feat_exports", "value_type": "numeric"}
            limit = self.random.choice([0, 2, 1000])
            made = self.service.call("POST", "/company-overrides", {**body, "value_numeric": limit})
            self.overrides.append((key, made["id"]))

    def _take_back(self, key: str) -> None:
        if self.overrides:
            _, own_id = self.overrides.pop(self.random.randrange(len(self.overrides)))
            self.service.take_back(own_id)

    def _delete(self, key: str) -> None:
        if len(self.ids) > 2:
            self.service.call("DELETE", f"/companies/{self.ids.pop(key)}")
            self.overrides = [one for one in self.overrides if one[0] != key]

    def _create(self, key: str) -> None:
        gone = [one for one in self.known if one not in self.ids]
        if gone:
            new = gone[0]
        else:
            new = f"c{len(self.known)}"
            self.known.append(new)
        body = {"keys": {"id": new}, "base_plan_id": "plan_pro", "traits": {"seats": self.seats, "region": "eu"}}
        self.ids[new] = self.service.call("POST", "/companies", body)["id"]

    def disturb(self) -> None:
        """Make something go wrong with the stream."""
        dev, habits = self.service.dev, self.service.habits
        faults: list[Callable[[], object]] = [
            lambda: dev("drop"),
            lambda: dev("close", code=self.random.choice([1000, 1001, 1012])),
            lambda: dev("restart"),
            lambda: dev("garble", kind=self.random.choice(["text", "cut", "binary", "torn"])),
            lambda: dev("oversize", bytes=300_000),
            lambda: dev("stall", seconds=self.random.uniform(0.05, 0.6), pongs=self.random.random() < 0.5),
            self._go_away,
            lambda: habits(duplicate=True),
            lambda: habits(nulls=True, deletes=self.random.choice(["keys", "id", "null"])),
            lambda: habits(delay=self.random.choice([0.001, 0.01])),
            lambda: habits(page_size=3),
            habits,
        ]
        self.random.choice(faults)()

    def _go_away(self) -> None:
        self.service.fault(path="/datastream", count=self.random.randint(2, 40), status=503)
        self.service.dev("drop")

    def calm(self) -> None:
        """End all disturbances."""
        self.service.call("DELETE", "/_dev/faults")
        self.service.habits()
        self.service.dev("resume")


class Checking:
    """A client of one face, which checks all the time on a thread of its own."""

    def __init__(self, face: str, client: Any, world: World) -> None:
        self.face = face
        self.client = client
        self.seen: list[Seen] = []
        self.errors: list[BaseException] = []
        self._world = world
        self._random = random.Random(f"{SEED} {face}")
        self._is_over = False
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._is_over = True
        self._thread.join(30.0)

    def ask(self, *questions: tuple[str, str]) -> list[CheckResult]:
        """Check from the test's own thread."""
        about = [(flag, {"id": key}) for flag, key in questions]
        if isinstance(self.client, Schematic):
            return [self.client.check_flag_with_entitlement(*one) for one in about]

        async def check() -> list[CheckResult]:
            return [await self.client.check_flag_with_entitlement(*one) for one in about]

        return asyncio.run(check())

    def track(self, key: str) -> None:
        self.client.track("report_run", {"id": key})

    def flush(self) -> int:
        left = self.client.flush(10.0)
        return left if isinstance(left, int) else asyncio.run(left)

    def _run(self) -> None:
        try:
            if isinstance(self.client, Schematic):
                for flag, key in self._questions():
                    began = time.monotonic()
                    self._note(flag, key, began, self.client.check_flag_with_entitlement(flag, {"id": key}))
                    time.sleep(0.001)  # so that the server has its share of the processors
            else:
                asyncio.run(self._check_on_a_loop(self.client))
        except BaseException as error:
            self.errors.append(error)

    async def _check_on_a_loop(self, client: AsyncSchematic) -> None:
        for flag, key in self._questions():
            began = time.monotonic()
            self._note(flag, key, began, await client.check_flag_with_entitlement(flag, {"id": key}))
            await asyncio.sleep(0.001)

    def _questions(self) -> Iterator[tuple[str, str]]:
        while not self._is_over:
            yield self._random.choice(FLAGS), self._random.choice(self._world.known)

    def _note(self, flag: str, key: str, began: float, answer: CheckResult) -> None:
        is_stale, age = answer.is_stale, answer.age
        told = Verdict(answer.value, answer.reason, answer.feature_usage)
        self.seen.append(Seen(self.face, flag, key, began, time.monotonic(), told, answer.source, is_stale, age))


def _wrong(world: World, seen: Seen) -> str | None:
    """Say what is wrong with an answer."""
    if seen.source not in {"stream", "api"}:
        return f"it came from {seen.source}"
    if seen.is_stale and seen.age > STALE_AFTER + (seen.given_at - seen.asked_at) + 0.02:  # of two clocks
        return "it is too old, and says so"
    since = seen.asked_at - LAG - (STALE_AFTER if seen.is_stale else 0.0)
    possible = world.possible(seen.flag, seen.company, since, seen.given_at)
    if possible and seen.verdict not in possible:
        return f"the server said none of it: {sorted(set(possible), key=str)}"
    return None


def _backwards(answers: list[Seen]) -> list[str]:
    """List the answers about seats that are of a state before one that was answered already."""
    latest: dict[str, Seen] = {}
    found: list[str] = []
    for seen in answers:
        if seen.flag != "seats" or seen.source != "stream" or seen.is_stale or seen.verdict.usage is None:
            continue
        former = latest.get(seen.company)
        if former is not None and former.verdict.usage is not None and seen.verdict.usage < former.verdict.usage:
            found.append(f"{former} and then {seen}")
        latest[seen.company] = seen
    return found


def _settle(world: World, clients: list[Checking], number: int) -> None:
    """Wait until everything that was changed has reached both clients: the beacon is changed last."""
    world.calm()
    for one in clients:
        assert one.flush() == 0
    world.service.trait("beacon", seats=number)

    def is_lit(one: Checking) -> bool:
        if stream_of(one.client).status != "ready":
            return False
        (answer,) = one.ask(("seats", "beacon"))
        return answer.source == "stream" and answer.feature_usage == number

    for one in clients:
        assert until(partial(is_lit, one), 20.0), f"{one.face}: {stream_of(one.client).status}"
    time.sleep(0.25)  # for what is remembered of companies that were not there


def _compare(world: World, clients: list[Checking]) -> list[str]:
    """List the answers that differ from the server's, of all flags for all companies."""
    found: list[str] = []
    for key in world.known:
        theirs: list[Json] = world.service.call("POST", "/flags/check", {"company": {"id": key}})["flags"]
        for one in clients:
            answers = one.ask(*((flag["flag"], key) for flag in theirs))
            for flag, answer in zip(theirs, answers, strict=True):
                here = (answer.value, answer.reason, answer.feature_usage, answer.feature_allocation)
                there = (flag["value"], flag["reason"], flag.get("feature_usage"), flag.get("feature_allocation"))
                is_fresh = not answer.is_stale and answer.source == ("stream" if key in world.ids else "api")
                if here != there or not is_fresh:
                    found.append(f"{one.face} {key} {flag['flag']}: {here} from {answer.source}, not {there}")
    return found


def _round(world: World, clients: list[Checking]) -> None:
    """Change and disturb for a while."""
    for _ in range(world.random.randint(5, 12)):
        world.change()
        if world.random.random() < 0.4:
            world.disturb()
        if world.random.random() < 0.3:
            world.random.choice(clients).track(world.random.choice(list(world.ids)))
        time.sleep(world.random.uniform(0.0, 0.06))  # that is what the disturbances are about


def test_whatever_happens_answers_are_right_again_and_never_too_old() -> None:
    """For both clients at once, through all that a server and a network can do."""
    options: Any = {
        "use_datastream": True,
        "cache_providers": [],  # an answer of the service is not to outlive the moment
        "not_found_ttl": 0.2,
        "stale_after": STALE_AFTER,
        "event_buffer_period": 60.0,
    }
    rounds = 0
    mistakes: list[str] = []
    with serving(ENVIRONMENT) as service, ExitStack() as stack:
        world = World(service, SEED)
        plain = Schematic("dev", base_url=service.url, **options)
        awaited = AsyncSchematic("dev", base_url=service.url, **options)
        stack.callback(plain.close, 0.5)
        stack.callback(awaited.sync.close, 0.5)
        clients = [Checking("sync", plain, world), Checking("async", awaited, world)]
        for one in clients:
            hasten(one.client)
            stream_of(one.client).wait_ready(10.0)
            stack.callback(one.end)
            one.start()

        end = time.monotonic() + SECONDS
        while time.monotonic() < end and not mistakes:
            rounds += 1
            _round(world, clients)
            _settle(world, clients, rounds)
            mistakes += _compare(world, clients)
        for one in clients:
            one.end()

    assert [error for one in clients for error in one.errors] == []
    assert mistakes == [], f"seed {SEED}, round {rounds}"
    answers = [seen for one in clients for seen in one.seen]
    assert [f"{wrong}: {seen}" for seen in answers if (wrong := _wrong(world, seen))] == []
    assert [line for one in clients for line in _backwards(one.seen)] == []
    sources = {(seen.client, seen.source, seen.is_stale) for seen in answers}
    assert sources >= {(face, "stream", stale) for face in ("sync", "async") for stale in (True, False)}

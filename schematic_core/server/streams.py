"""The server's side of DataStream: who asked for what, what they are answered, what changes they are told.

A machine: frames are put into each subscriber's outbox, and whoever has the sockets sends them. After any change of the
state `push` must be called, and `wake` at the `deadline`. Everyone is told of a change with the very same frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone

from schematic_core.environment.compile import company_document, user_document
from schematic_core.environment.model import Company, EntityKind, User
from schematic_core.server import frames
from schematic_core.server.asked import Asked, read_asked
from schematic_core.server.faults import Refused
from schematic_core.server.replay import ReplayLog
from schematic_core.server.state import State
from schematic_core.server.subscriber import Close, Habits, Subscriber
from schematic_core.server.watch import EntityWatch, FlagWatch, Move, usage_lasts

__all__ = ["Close", "Habits", "Streams", "Subscriber"]

_FRAMES_KEPT = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Streams:
    """All connections of one server.

    Args:
        state: what they are told about.
        now: the present, aware.
    """

    def __init__(self, state: State, now: datetime) -> None:
        self.habits: Habits = Habits()
        environment = state.environment
        self._flags = FlagWatch(state)
        self._watches: dict[EntityKind, EntityWatch[Company] | EntityWatch[User]] = {
            "company": EntityWatch(
                state.companies, lambda company, at: company_document(environment, company, at), usage_lasts
            ),
            "user": EntityWatch(state.users, lambda user, _at: user_document(environment, user)),
        }
        self._log = ReplayLog(_millis(now), _FRAMES_KEPT)
        self._subscribers: dict[Subscriber, None] = {}
        self._held: deque[tuple[Subscriber, EntityKind, Mapping[str, str]]] = deque()
        self._answered = 0

    @property
    def held(self) -> int:
        """How many requests wait (`Habits`)."""
        return len(self._held)

    def open(self) -> Subscriber:
        """A connection was made: it is told nothing before it asks."""
        subscriber = Subscriber()
        self._subscribers[subscriber] = None
        return subscriber

    def close(self, subscriber: Subscriber) -> None:
        """A connection ended: everything about it is forgotten."""
        del self._subscribers[subscriber]
        self._held = deque(one for one in self._held if one[0] is not subscriber)
        for kind, own_id in subscriber.entities:
            self._leave(kind, own_id)

    def receive(self, subscriber: Subscriber, raw: str | bytes, now: datetime) -> None:
        """Do what a connection asks; what cannot be read is answered with an error."""
        self.push(now)
        try:
            asked = read_asked(raw)
        except Refused as refused:
            self._send(subscriber, frames.error(refused.error))
            return
        if asked.is_stop:
            self._stop(subscriber, asked)
        elif asked.kind is None:
            self._answer_flags(subscriber, asked)
        elif asked.keys is None:
            self._answer_bulk(subscriber, asked.kind, asked, now)
        else:
            self._held.append((subscriber, asked.kind, asked.keys))
            self._answer_held(now)

    def push(self, now: datetime) -> None:
        """Tell what has changed, to those who follow it."""
        before, after = self._flags.moves()
        self._tell_flags(before, now)
        for kind, watch in self._watches.items():
            for move in watch.moves(now):
                self._tell(kind, move, now)
        self._tell_flags(after, now)

    def wake(self, now: datetime) -> None:
        """Tell what the clock has changed."""
        self.push(now)

    def deadline(self) -> datetime | None:
        """Give when the clock next changes what someone follows."""
        deadlines = [watch.deadline() for watch in self._watches.values()]
        return min((one for one in deadlines if one is not None), default=None)

    def behave(self, habits: Habits, now: datetime) -> None:
        """Take on other habits; requests that waited are answered as far as these let them."""
        self.push(now)
        self.habits = habits
        self._flags.forget_texts()
        self._answered = 0
        self._answer_held(now)

    def forget(self, now: datetime) -> None:
        """Be a new process: no id that was given before is known."""
        self._log = ReplayLog(max(_millis(now), self._log.next_millis), _FRAMES_KEPT)
        for subscriber in self._subscribers:
            for kind in subscriber.bulk:
                self._log.begin(kind)
            if subscriber.has_flags:
                self._log.begin("flag")

    def send_all(self, texts: Sequence[str | bytes], to: Iterable[Subscriber] | None = None) -> None:
        """Send anything, to everyone or to some."""
        for subscriber in self._subscribers if to is None else to:
            for one in texts:
                subscriber.put(one)

    def close_all(self, close: Close, to: Iterable[Subscriber] | None = None) -> None:
        """End all connections or some, after what is queued for them."""
        for subscriber in self._subscribers if to is None else to:
            subscriber.put(close)

    def snapshot(self) -> str:
        """Give the frame with all flags."""
        return next(frames.pages(self._flags.texts(nulls=self.habits.nulls), None))

    def _answer_flags(self, subscriber: Subscriber, asked: Asked) -> None:
        subscriber.has_flags = True
        if asked.replay_from is not None:
            self._send(subscriber, *self._missed("flag", asked))
        else:
            texts = self._flags.texts(nulls=self.habits.nulls)
            self._send(subscriber, *frames.pages(texts, self.habits.page_size or asked.page_size))
        self._log.begin("flag")

    def _answer_bulk(self, subscriber: Subscriber, kind: EntityKind, asked: Asked, now: datetime) -> None:
        subscriber.bulk.add(kind)
        self._send(subscriber, frames.confirmation(kind))
        if asked.replay_from is not None:
            self._send(subscriber, *self._missed(kind, asked))
        self._log.begin(kind)
        self._watches[kind].follow_all(now)

    def _missed(self, topic: str, asked: Asked) -> Iterator[str]:
        missed = self._log.since(topic, asked.replay_from or "")
        if missed is None:
            yield frames.frame(asked.entity_type, "reload")
        else:
            yield from missed

    def _answer_held(self, now: datetime) -> None:
        limit = self.habits.hold_after
        while self._held and (limit is None or self._answered < limit):
            self._answered += 1
            self._answer_entity(*self._held.popleft(), now)

    def _answer_entity(self, subscriber: Subscriber, kind: EntityKind, keys: Mapping[str, str], now: datetime) -> None:
        watch = self._watches[kind]
        own_id = watch.find(keys)
        if own_id is None:
            self._send(subscriber, frames.error(f"{kind} not found", frames.ENTITY[kind], keys))
            return
        subscriber.entities.add((kind, own_id))
        watch.follow(own_id, now)
        data = self._text(watch.document(own_id, now))
        self._send(subscriber, frames.frame(frames.ENTITY[kind], "full", entity_id=own_id, data=data))

    def _stop(self, subscriber: Subscriber, asked: Asked) -> None:
        if asked.kind is None:
            subscriber.has_flags = False
        elif asked.keys is None:
            subscriber.bulk.discard(asked.kind)
        elif (own_id := self._watches[asked.kind].find(asked.keys)) is not None:
            subscriber.entities.discard((asked.kind, own_id))
            self._leave(asked.kind, own_id)

    def _leave(self, kind: EntityKind, own_id: str) -> None:
        if not any((kind, own_id) in subscriber.entities for subscriber in self._subscribers):
            self._watches[kind].leave(own_id)

    def _tell_flags(self, flags: Iterable[frames.Document], now: datetime) -> None:
        for flag in flags:
            stream_id = self._log.next_id(_millis(now))
            told = frames.frame(frames.FLAG, "full", entity_id=flag["id"], data=self._text(flag), stream_id=stream_id)
            self._log.add("flag", told)
            for subscriber in self._subscribers:
                if subscriber.has_flags:
                    self._send(subscriber, told)

    def _tell(self, kind: EntityKind, move: Move, now: datetime) -> None:
        message_type, data = self._message(move)
        told = frames.frame(
            frames.ENTITY[kind],
            message_type,
            entity_id=move.id,
            data=self._text(data),
            stream_id=self._log.next_id(_millis(now)),
        )
        self._log.add(kind, told)
        for subscriber in self._subscribers:
            if subscriber.follows(kind, move.id):
                self._send(subscriber, told)
            if move.after is None:
                subscriber.entities.discard((kind, move.id))

    def _message(self, move: Move) -> tuple[str, object]:
        if move.after is None:
            return "delete", frames.deletion(move.before or {}, self.habits.deletes)
        if move.before is None:
            return "full", move.after
        changed = frames.changed_members(move.before, move.after)
        return ("full", move.after) if changed is None else ("partial", changed)

    def _text(self, document: object) -> str:
        return frames.text(document, nulls=self.habits.nulls)

    def _send(self, subscriber: Subscriber, *texts: str) -> None:
        for one in texts:
            for _ in range(2 if self.habits.duplicate else 1):
                subscriber.put(one)


def _millis(now: datetime) -> int:
    return (now - _EPOCH) // timedelta(milliseconds=1)

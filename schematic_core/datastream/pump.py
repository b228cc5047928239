"""Shell: the thread that drives the machine and applies what arrives, with a reader for each connection.

The pump owns the machine and its sockets. A reader dials, reads, and posts what it hears into the pump's inbox. Callers only
put requests to the machine, under its lock, and wake the pump.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING

from schematic_core.datastream.connection import Connection
from schematic_core.datastream.dial import Lost
from schematic_core.datastream.listeners import News
from schematic_core.datastream.messages import Garbled, Message, decode
from schematic_core.datastream.options import StreamOptions
from schematic_core.datastream.reader import Call, read
from schematic_core.datastream.requests import Request
from schematic_core.datastream.signals import Action, Dial, HangUp, Loss, Received, Send
from schematic_core.datastream.values import StreamChange
from schematic_core.datastream.versions import Kind
from schematic_core.errors import ConfigurationError, EngineError
from schematic_core.keys import Pairs

if TYPE_CHECKING:
    from schematic_core.checks.local import Local
    from schematic_core.datastream.dial import Socket
    from schematic_core.datastream.replica import Applied, Change
    from schematic_core.rules.engine import Engine

__all__ = ["Pump"]

_CLOSE_NORMAL, _CLOSE_UNREADABLE = 1000, 1007
_MAX_TURNS = 3


class Pump:
    """One stream's thread and what it owns. Knows no client, so that it keeps none alive.

    Args:
        options: where the stream is.
        local: what messages are applied to.
        engine: loaded before the first message is applied.
        log: the client's log.
        clock: monotonic seconds.
        random: floats in [0, 1).
    """

    def __init__(
        self,
        options: StreamOptions,
        local: Local,
        engine: Engine,
        log: logging.Logger | logging.LoggerAdapter[logging.Logger],
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._options = options
        self._local = local
        self._engine = engine
        self._log = log
        self._clock = clock
        self._lock = threading.RLock()  # a signal handler may check while this thread holds it
        self._connection = Connection(options.limits, random)
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._call = Call()
        self._loss: Loss | None = None
        self._is_ending = False
        self.news: News = News(log)
        self.thread: threading.Thread = threading.Thread(target=self._run, name="schematic-stream", daemon=True)

    # -- callers' side

    def request(self, entities: Iterable[tuple[Kind, Pairs]]) -> list[Request]:
        """Ask for entities; empty when there is nobody to ask."""
        now = self._clock()
        with self._lock:
            asked = [self._connection.ask(kind, pairs, now) for kind, pairs in entities]
        requests = [request for request in asked if request is not None]
        if requests:
            self._inbox.put(_nothing)
        return requests

    def on_landing(self, request: Request, callback: Callable[[], None]) -> None:
        """Call back once a request has landed, perhaps at once."""
        with self._lock:
            waits = request.outcome == "waiting"
            if waits:
                request.callbacks.append(callback)
        if not waits:
            callback()

    def post(self, step: Callable[[], None]) -> None:
        """Let the pump's thread do something."""
        self._inbox.put(step)

    def end(self) -> None:
        """End soon; returns at once."""
        self._is_ending = True
        self._inbox.put(_nothing)

    def abandon(self) -> None:
        """Let go of what a forked child inherited, without a word to the server."""
        if self._call.socket is not None:
            self._call.socket.abandon()

    def counts(self) -> Counter[str]:
        """Tell what could not be used so far, by kind of trouble."""
        with self._lock:
            counts = Counter(self._connection.counts)
        with self._local.changing() as replica:
            counts.update(replica.counts)
        return counts

    # -- the pump's thread

    def _run(self) -> None:
        try:
            with self._lock:
                self._connection.start(self._clock())
            self.news.become("connecting")
            self._act()  # the handshake goes on while the engine is loaded
            if self._load_engine():
                self._turn()
        except Exception:  # noqa: BLE001 - the top of a background thread
            self._log.exception("the stream failed; flags are checked over HTTP")
            self.news.become("failed")
        finally:
            self._end()

    def _turn(self) -> None:
        while not self._is_ending:
            with self._lock:
                deadline = self._connection.deadline()
            wait = None if deadline is None else max(0.0, deadline - self._clock())
            try:
                step = self._inbox.get(timeout=wait)
            except queue.Empty:
                step = _nothing
            try:
                step()
                self._act()
            except Exception:  # noqa: BLE001 - the top of a background thread
                # Something of ours that nobody thought of: what this connection said is in doubt.
                self._log.exception("a message of the stream could not be applied; connecting again")
                self._begin_anew("a message could not be applied")

    def _load_engine(self) -> bool:
        try:
            self._engine.load()
        except (ConfigurationError, EngineError) as error:
            self._log.error("flags cannot be evaluated here and are checked over HTTP: %s", error)
            self.news.become("failed")
            return False
        return True

    def _act(self) -> None:
        """Let the machine look at the time, and do what it says."""
        now = self._clock()
        call = self._call
        if call.pong is not None and call.pong():
            call.pong = None
            with self._lock:
                self._connection.heard(now)
        with self._lock:
            failed = self._connection.wake(now)
            actions = self._connection.take()
            loss = self._connection.loss
        _call_back(failed)
        for action in actions:
            self._perform(action)
        if loss is not None and loss is not self._loss:
            self._note_loss(loss)

    def _perform(self, action: Action) -> None:
        call = self._call
        if isinstance(action, Dial):
            self._hang_up(_CLOSE_NORMAL, "")
            call = self._call = Call()
            reading = threading.Thread(
                target=read, args=(call, self._options, self), name="schematic-stream-reader", daemon=True
            )
            try:
                reading.start()
            except RuntimeError as error:  # too many threads, for the moment perhaps
                self.lost(call, Loss(None, None, f"no thread can be started: {error}"))
        elif isinstance(action, HangUp):
            self._hang_up(action.code, action.reason)
        elif call.socket is not None:
            try:
                if isinstance(action, Send):
                    call.socket.send(action.text)
                else:
                    call.pong = call.socket.ping()
            except Lost as error:
                self.lost(call, error.loss)

    def _hang_up(self, code: int, reason: str) -> None:
        call = self._call
        call.is_over = True
        if call.socket is not None:
            call.socket.close(code, reason)
        call.socket = call.pong = None
        call.let_go()

    def _begin_anew(self, reason: str) -> None:
        """Give this connection up."""
        with self._lock:
            failed = self._connection.lost(Loss(None, None, reason), self._clock())
        self._hang_up(_CLOSE_UNREADABLE, reason)
        _call_back(failed)

    def _note_loss(self, loss: Loss) -> None:
        """Local answers are not confirmed any more."""
        self._loss = loss
        self._local.down()
        was = self.news.status
        if loss.is_refusal:
            self.news.become("refused")
        elif was != "connecting":
            self.news.become("reconnecting")
        if loss.is_refusal:
            self.news.tell_once(
                "refused", logging.ERROR, "the stream refused the API key and is asked again slowly: %s", loss.text
            )
        else:
            self.news.tell_once(
                "lost", logging.WARNING, "there is no connection to the stream, which is tried again: %s", loss.text
            )

    # -- what readers post

    def opened(self, call: Call, socket: Socket) -> None:
        """Take over a socket whose handshake succeeded."""
        if call is not self._call or call.is_over:
            socket.close(_CLOSE_NORMAL, "")
            return
        call.socket = socket
        with self._local.changing() as replica:
            replica.begin()
        with self._lock:
            self._connection.opened(self._clock())

    def lost(self, call: Call, loss: Loss) -> None:
        """Note that a handshake failed or a connection ended."""
        if call is not self._call or call.is_over:
            return
        with self._lock:
            failed = self._connection.lost(loss, self._clock())
        self._hang_up(_CLOSE_NORMAL, "")
        _call_back(failed)

    def heard(self, call: Call, frame: str | bytes) -> None:
        """Apply a frame."""
        call.room.release()
        if call is not self._call or call.is_over:
            return
        now = self._clock()
        try:
            message = decode(frame)
        except Garbled as error:
            with self._lock:
                self._connection.heard(now)
                self._connection.counts["garbled"] += 1
            self.news.tell_once(
                "garbled", logging.WARNING, "a message of the stream cannot be read and is ignored: %s", error
            )
            return
        with self._lock:
            received = self._connection.receive(message, now)
        self._follow(message, received, now)

    def _follow(self, message: Message, received: Received, now: float) -> None:
        if received.is_reload:
            self._local.down()
            with self._local.changing() as replica:
                replica.begin()
            self.news.become("reconnecting")
        if received.update == "flags":
            try:
                self._apply(self._local.replica.prepare_flags(received.pages))
            except Garbled as error:
                self.news.tell_once("garbled", logging.WARNING, "the flags of the stream cannot be read: %s", error)
                self._begin_anew("the flags cannot be read")
                return
        for one in received.later if received.update == "flags" else (message,) if received.update else ():
            is_usable = self._apply_message(one, now)
        if received.requests:
            self._answer(message, received.requests, now, is_usable=is_usable)
        if received.missing or received.failed:
            self._disappoint(received, now)
        if received.is_live_now:
            self._go_live(now)

    def _apply_message(self, message: Message, now: float) -> bool:
        """Apply a message about one flag or entity; gives whether what it says is held now."""
        for turn in range(_MAX_TURNS):
            # A caller's usage may be counted in between; when that happens again and again, callers have to wait.
            with self._local.changing() if turn == _MAX_TURNS - 1 else nullcontext():
                change = self._local.replica.prepare(message, now)
                applied = None if change is None else self._apply(change)
            if applied is None or applied.is_applied:
                return applied is not None and applied.rejected is None
        return False

    def _apply(self, change: Change) -> Applied:
        applied = self._local.apply(change)
        if applied.rejected is not None:
            text = "the engine refuses what the stream says of a %s, which is checked over HTTP: %s"
            self.news.tell_once(f"rejected {applied.kind}", logging.WARNING, text, applied.kind, applied.rejected)
        if applied.ids and applied.is_applied:
            self.news.on_change.tell(StreamChange(applied.kind, applied.ids))
        return applied

    def _answer(self, message: Message, requests: tuple[Request, ...], now: float, *, is_usable: bool) -> None:
        own_id = _id_of(message)
        if is_usable and own_id is not None:
            with self._local.changing() as replica:
                for request in requests:
                    replica.bind(request.kind, request.pairs, own_id)
        with self._lock:
            callbacks = self._connection.land(requests, "answered" if is_usable else "failed", now)
        _call_back(callbacks)

    def _disappoint(self, received: Received, now: float) -> None:
        with self._local.changing() as replica:
            for request in received.missing:
                replica.note_missing(request.kind, request.pairs, now)
        with self._lock:
            callbacks = self._connection.land(received.missing, "missing", now)
            callbacks += self._connection.land(received.failed, "failed", now)
        _call_back(callbacks)

    def _go_live(self, now: float) -> None:
        self._local.up()
        with self._local.changing() as replica:
            recent = replica.recent()
        with self._lock:
            self._connection.refresh(recent, now)
        self.news.forget()
        self.news.become("ready")
        self._log.info("the stream is ready: flags are evaluated here")

    def _end(self) -> None:
        self._local.down()
        with self._lock:
            failed = self._connection.close(self._clock())
            self._connection.take()
        self._hang_up(_CLOSE_NORMAL, "")
        _call_back(failed)
        if self.news.status != "failed":
            self.news.become("closed")


def _call_back(callbacks: Iterable[Callable[[], None]]) -> None:
    for callback in callbacks:
        callback()


def _id_of(message: Message) -> str | None:
    if message.entity_id is not None:
        return message.entity_id
    value = message.data.value if message.data is not None else None
    own_id = value.get("id") if isinstance(value, dict) else None
    return own_id if isinstance(own_id, str) else None


def _nothing() -> None:
    """Wake the pump."""

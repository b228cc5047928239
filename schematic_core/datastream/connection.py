"""Machine: the stream's connection, from the first dial over losses and refusals to the end.

States::

    idle -> dialling -> loading -> live         `start`, `opened`, all flags have come; `reload` leads back to loading
            dialling, loading, live -> waiting  a loss; dials again by itself, for ever
            dialling, loading, live -> refused  a loss that says that the API key is not taken; dials again, but slowly
            any -> closed                       `close`; nothing leads out

After every call the shell does what `take` gives, and it calls `wake` no later than `deadline`. The machine knows one socket,
that of the latest `Dial`: the shell drops whatever an earlier one still brings. Entities are asked for only while live. Each
request lands exactly once: by `wake`, `lost` or `close`, or when the shell calls `land`; whichever it is gives its callbacks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from schematic_core.datastream.asking import Asking
from schematic_core.datastream.limits import ConnectionLimits
from schematic_core.datastream.liveness import Liveness
from schematic_core.datastream.loading import Loading
from schematic_core.datastream.messages import Message, flags_request
from schematic_core.datastream.requests import Callback, Request, callbacks_of
from schematic_core.datastream.signals import Action, Dial, HangUp, Loss, Ping, Received, Send
from schematic_core.datastream.versions import Kind
from schematic_core.keys import Pairs
from schematic_core.timing import Backoff

__all__ = [
    "Action",
    "Connection",
    "ConnectionLimits",
    "Dial",
    "HangUp",
    "Loss",
    "Ping",
    "Received",
    "Request",
    "Send",
    "State",
]

State = Literal["idle", "dialling", "loading", "live", "waiting", "refused", "closed"]

_NORMAL, _DEAD = 1000, 1011
_FLAGS, _FLAG = "rulesengine.Flags", "rulesengine.Flag"
_KINDS: dict[str, Kind] = {"rulesengine.Company": "company", "rulesengine.User": "user"}
_BULK = frozenset({"rulesengine.Companies", "rulesengine.Users"})
_CHANGES = frozenset({"full", "partial", "delete"})


class Connection:
    """The state of the stream's connection. Not thread-safe: the shell holds its lock around every call.

    Args:
        limits: timeouts, pauses and bounds.
        random: gives floats in [0, 1), for jitter.

    Attributes:
        state: see the module's text.
        attempt: of the latest `Dial`; 0 before the first.
        loss: why the last connection or dial failed; None before the first failure.
        counts: what was ignored or went wrong, by kind: ``bulk``, ``error``, ``late``, ``no_flags``, ``reload``,
            ``timed_out``, ``unknown_message``, ``unknown_type``; absent ones are 0.
    """

    __slots__ = (
        "_actions",
        "_asking",
        "_backoff",
        "_failures",
        "_limits",
        "_liveness",
        "_loading",
        "_opened_at",
        "_random",
        "_until",
        "attempt",
        "counts",
        "loss",
        "state",
    )

    def __init__(self, limits: ConnectionLimits, random: Callable[[], float]) -> None:
        self.state: State = "idle"
        self.attempt: int = 0
        self.loss: Loss | None = None
        self.counts: dict[str, int] = Counter()
        self._limits = limits
        self._random = random
        self._backoff = Backoff(limits.first_backoff, limits.max_backoff, random)
        self._failures = 0
        self._actions: list[Action] = []
        self._asking = Asking(limits, random, self._send)
        self._liveness = Liveness(limits, 0.0)
        self._loading = Loading(limits, 0.0)
        self._opened_at = 0.0
        self._until = 0.0  # of a dial or a pause: when it is over

    @property
    def is_open(self) -> bool:
        """Whether there is a socket."""
        return self.state in {"loading", "live"}

    def start(self, now: float) -> None:
        """Dial for the first time; later calls do nothing."""
        if self.state == "idle":
            self._dial(now)

    def opened(self, now: float) -> None:
        """Note that the handshake is done; all flags are asked for. A socket that nobody waits for is hung up."""
        if self.state == "dialling":
            self.state = "loading"
            self._opened_at = now
            self._liveness = Liveness(self._limits, now)
            self._loading = Loading(self._limits, now)
            self._load(now)
        elif not self.is_open:
            self._actions.append(HangUp(_NORMAL, ""))

    def lost(self, loss: Loss, now: float) -> list[Callback]:
        """Note that the dial failed or the socket is gone; when there is neither this does nothing.

        Returns:
            Callbacks of the requests that failed by it, to be called outside the shell's lock.
        """
        if self.state != "dialling" and not self.is_open:
            return []
        self.loss = loss
        if self.is_open and now >= self._opened_at + self._limits.healthy_after:
            self._failures = 0
        if loss.is_refusal:
            self.state = "refused"
            self._until = now + self._limits.refusal_pause * (0.75 + self._random() / 2.0)
        else:
            self.state = "waiting"
            self._until = now + self._backoff.delay(self._failures)
        self._failures += 1
        return self._let_go()

    def heard(self, now: float) -> None:
        """Note that anything arrived, pongs and unreadable frames included."""
        self._liveness.heard(now)

    def receive(self, message: Message, now: float) -> Received:
        """Take in a message of this connection, and say what it asks of the shell."""
        if not self.is_open:
            self.counts["late"] += 1
            return Received()
        self._liveness.heard(now)
        if self.state == "live":
            self._failures = 0
        if message.message_type == "reload":
            return self._reload(now)
        if message.message_type == "error":
            return self._error(message, now)
        if message.entity_type == _FLAGS:
            return self._flags(message, now)
        return self._change(message)

    def ask(self, kind: Kind, pairs: Pairs, now: float) -> Request | None:
        """Ask for an entity; who asks with the same keys while the answer is awaited gets the same request.

        Returns:
            The request, to which the caller may add a callback; None when there is nobody to ask, no keys,
            or when the same was asked in vain a moment ago.
        """
        if self.state != "live" or not pairs:
            return None
        return self._asking.ask(kind, pairs, now)

    def refresh(self, wanted: Sequence[tuple[Kind, Pairs]], now: float) -> None:
        """Ask for these entities in the background, in this order, paced, while the connection is live.

        They are forgotten at a loss and at a reload, so call it once all flags have come.
        """
        if self.is_open:
            self._asking.refresh(wanted, now)

    def land(
        self, requests: Iterable[Request], outcome: Literal["answered", "missing", "failed"], now: float
    ) -> list[Callback]:
        """Say what became of requests; those that have landed before stay as they are.

        Returns:
            Callbacks, to be called outside the shell's lock.
        """
        callbacks = self._asking.land(requests, outcome, now)
        self._go_on(now)
        return callbacks

    def wake(self, now: float) -> list[Callback]:
        """Do what the time asks for. Say `heard` first when the pong of the last `Ping` has come.

        Returns:
            Callbacks of the requests that failed by it, to be called outside the shell's lock.
        """
        if self.state in {"waiting", "refused"} and now >= self._until:
            self._dial(now)
        if self.state == "dialling" and now >= self._until:
            return self._give_up(_NORMAL, "the handshake took too long", now)
        if not self.is_open:
            return []
        sign = self._liveness.wake(now)
        if sign == "dead":
            return self._give_up(_DEAD, "nothing was heard for too long", now)
        if self.state == "loading" and now >= self._loading.fails_at:
            return self._give_up(_NORMAL, "the flags did not come", now)
        if sign == "ping":
            self._actions.append(Ping())
        self._load(now)
        overdue = self._asking.fail_overdue(now)
        if overdue:
            self.counts["timed_out"] += len(overdue)
        self._go_on(now)
        return callbacks_of(overdue)

    def take(self) -> list[Action]:
        """Give what to do, in order; each action is given once."""
        actions, self._actions = self._actions, []
        return actions

    def deadline(self) -> float | None:
        """Give when to `wake` at the latest, monotonic seconds; None: there is nothing to wait for."""
        if self.state in {"dialling", "waiting", "refused"}:
            return self._until
        if not self.is_open:
            return None
        times = [self._liveness.next_at, *self._asking.deadlines(is_live=self.state == "live")]
        if self._loading.due_at is not None:
            times.append(self._loading.due_at)
        if self.state == "loading":
            times.append(self._loading.fails_at)
        return min(times)

    def close(self, now: float) -> list[Callback]:  # noqa: ARG002 - every call of the machine is told the time
        """End for good.

        Returns:
            Callbacks of the requests that failed by it, to be called outside the shell's lock.
        """
        is_on = self.is_open or self.state == "dialling"
        self.state = "closed"
        callbacks = self._let_go()
        if is_on:
            self._actions.append(HangUp(_NORMAL, ""))
        return callbacks

    def _dial(self, now: float) -> None:
        self.state = "dialling"
        self.attempt += 1
        self._until = now + self._limits.dial_timeout
        self._actions.append(Dial(self.attempt))

    def _send(self, text: str) -> None:
        self._actions.append(Send(text))

    def _give_up(self, code: int, text: str, now: float) -> list[Callback]:
        callbacks = self.lost(Loss(None, None, text), now)
        self._actions.append(HangUp(code, text))
        return callbacks

    def _let_go(self) -> list[Callback]:
        """Forget what belonged to the socket, writes that are still to be done included."""
        self._actions = [action for action in self._actions if isinstance(action, HangUp)]
        return callbacks_of(self._asking.fail_all())

    def _load(self, now: float) -> None:
        if self._loading.is_due(now):
            self._send(flags_request(self._limits.page_size))

    def _go_on(self, now: float) -> None:
        if self.state == "live":
            self._asking.go_on(now)

    def _reload(self, now: float) -> Received:
        self.counts["reload"] += 1
        self.state = "loading"
        self._asking.forget_refreshes()
        self._loading.again(now)
        self._load(now)
        return Received(is_reload=True)

    def _flags(self, message: Message, now: float) -> Received:
        if message.message_type != "full":
            self.counts["unknown_message"] += 1
            return Received()
        if not message.is_array and message.has_more is None:
            self.counts["no_flags"] += 1  # null says neither that there are no flags nor that they have come
            return Received()
        gathered = self._loading.add(message, now)
        if gathered is None:
            return Received()
        pages, later = gathered
        is_live_now = self.state == "loading"
        self.state = "live"
        return Received("flags", pages=pages, later=later, is_live_now=is_live_now)

    def _change(self, message: Message) -> Received:
        kind = _KINDS.get(message.entity_type)
        if kind is None and message.entity_type != _FLAG:
            self.counts["bulk" if message.entity_type in _BULK else "unknown_type"] += 1
            return Received()
        if message.message_type not in _CHANGES:
            self.counts["unknown_message"] += 1
            return Received()
        if kind is None:
            self._loading.note(message)
            return Received("flag")
        if message.message_type != "full" or message.data is None:
            return Received("entity")
        return Received("entity", requests=self._asking.answered_by(kind, message.data.value))

    def _error(self, message: Message, now: float) -> Received:
        """Find whose request failed. An error that names no keys fails nobody: time will."""
        self.counts["error"] += 1
        data = message.data.value if message.data is not None else None
        error = data if isinstance(data, dict) else {}
        named = error.get("entity_type")
        about = named if isinstance(named, str) and named else message.entity_type
        if about == _FLAGS and (self.state == "loading" or self._loading.is_begun):
            self._loading.again(now)
            self._load(now)
        kind = _KINDS.get(about) or _KINDS.get(message.entity_type)
        if kind is None:
            return Received()
        requests = self._asking.named_by(kind, error)
        text = error.get("error")
        if isinstance(text, str) and "not found" in text.lower():
            return Received(missing=requests)
        return Received(failed=requests)

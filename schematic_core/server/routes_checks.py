"""Endpoints of flag checks."""

from __future__ import annotations

import asyncio

from schematic_core.server.checks import Context, answer, flag_texts, question, read_context, verdict_set
from schematic_core.server.faults import Refused
from schematic_core.server.hub import Hub
from schematic_core.server.requests import Answer, ApiRequest

__all__ = ["HANDLERS"]

_MAX_CONTEXTS = 1000


async def check_flag(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /flags/{key}/check``; a flag that does not exist is an answer too: false, "Flag not found"."""
    context = read_context(request.body())
    flags = flag_texts(hub.state, [request.path[0]], request.now)
    asked = question(hub.state, flags, context, request.now)
    return Answer((await asyncio.to_thread(answer, asked))[0])


async def check_flags(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /flags/check``: every flag for one context."""
    return Answer((await _checked(hub, request, [read_context(request.body())]))[0], status=201)


async def check_flags_bulk(hub: Hub, request: ApiRequest) -> Answer:
    """``POST /flags/check-bulk``: every flag for each context, in order."""
    bodies = request.body().objects("contexts", required=True)
    if len(bodies) > _MAX_CONTEXTS:
        raise Refused(400, f"contexts must be at most {_MAX_CONTEXTS}")
    return Answer({"data": await _checked(hub, request, [read_context(body) for body in bodies])}, status=201)


async def _checked(hub: Hub, request: ApiRequest, contexts: list[Context]) -> list[dict[str, object]]:
    state = hub.state
    flags = flag_texts(state, list(state.environment.flags), request.now)
    asked = [question(state, flags, context, request.now) for context in contexts]
    answers = await asyncio.to_thread(lambda: [answer(one) for one in asked])
    return [verdict_set(state, context, flags) for context, flags in zip(contexts, answers, strict=True)]


HANDLERS = {"check_flag": check_flag, "check_flags": check_flags, "check_flags_bulk": check_flags_bulk}

"""One socket of uvicorn's, which faults can cut, tear or silence below what an ASGI application reaches."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

__all__ = ["SocketLink"]

_TEXT_FRAME = b"\x81\x7f"  # final, text, not masked, length in the next 8 bytes


class SocketLink(WebSocketsSansIOProtocol):
    """The server's end of a WebSocket; it is found in the scope's state as ``link``."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "link": self}, _loop)
        self.is_mute = False

    def handle_ping(self) -> None:
        """Answer a ping, unless mute."""
        if self.is_mute:
            self.conn.data_to_send()  # the pong that is due
            return
        super().handle_ping()

    async def send(self, message: ASGISendEvent) -> None:
        """Send what the application gives; a refused handshake is complete, which uvicorn overlooks and complains of."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True

    def cut(self) -> None:
        """End the connection at once, without a close frame; what was not sent yet is lost."""
        self.transport.abort()

    def tear(self, text: str) -> None:
        """Send the first half of a frame, then end the connection."""
        payload = text.encode()
        self.transport.write(_TEXT_FRAME + len(payload).to_bytes(8, "big") + payload[: len(payload) // 2])
        self.transport.close()

"""The local Schematic server: REST endpoints, event ingestion, flag checks, signed webhooks; no account, no network.

``serve`` runs it in a thread, ``create_app`` gives the ASGI application; the command is ``schematic dev``.
"""

from __future__ import annotations

from schematic_core.server.app import create_app, implemented_operations
from schematic_core.server.run import Served, serve

__all__ = ["Served", "create_app", "implemented_operations", "serve"]

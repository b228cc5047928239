"""The API's resources as objects with methods; their typed view is the generated ``resources.pyi`` beside this file.

Each resource has a class for type checkers alone, e.g. ``CompaniesResource`` and ``AsyncCompaniesResource``: import them
under ``TYPE_CHECKING``. At run time all are `Resource` or `AsyncResource`.
"""

from schematic_core.api.endpoints import RESOURCES
from schematic_core.api.methods import AsyncResource, RawResponse, Resource
from schematic_core.api.prepare import RequestOptions

__all__ = ["RESOURCE_NAMES", "AsyncResource", "RawResponse", "RequestOptions", "Resource"]

RESOURCE_NAMES = tuple(RESOURCES)
"""Names of the client's attributes, e.g. ``"companies"``."""

"""Requests of Django, which is set up once for this process, with next to nothing."""

from __future__ import annotations

from typing import Any

__all__ = ["async_post", "post"]


def post(path: str, body: bytes, headers: dict[str, str]) -> Any:
    """Give a request as WSGI makes it."""
    _set_up()
    from django.test import RequestFactory  # type: ignore[import-untyped]  # Django has no types

    named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    return RequestFactory().post(path, body, content_type="application/json", **named)


def async_post(path: str, body: bytes, headers: dict[str, str]) -> Any:
    """Give a request as ASGI makes it."""
    _set_up()
    from django.test import AsyncRequestFactory

    return AsyncRequestFactory().post(path, body, content_type="application/json", headers=headers)


def _set_up() -> None:
    import django  # type: ignore[import-untyped]  # see above
    from django.conf import settings  # type: ignore[import-untyped]

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], INSTALLED_APPS=[], MIDDLEWARE=[], ROOT_URLCONF="")
        django.setup()

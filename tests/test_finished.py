"""The awaitable that is already done."""

from __future__ import annotations

import asyncio

import pytest

from schematic_core.finished import FINISHED


def test_it_may_be_awaited_any_number_of_times() -> None:
    """One object serves every call."""

    async def main() -> bool:
        await FINISHED
        await asyncio.gather(FINISHED, asyncio.create_task(FINISHED))
        return True

    assert asyncio.run(main())


def test_a_task_of_it_may_be_cancelled() -> None:
    """A cancelled task group leaves no complaint."""

    async def main() -> None:
        task = asyncio.create_task(FINISHED)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


def test_it_may_be_closed_like_any_coroutine_and_still_be_awaited() -> None:
    """Code that closes what it will not await does no harm to others."""

    async def main() -> bool:
        FINISHED.close()
        await FINISHED
        return True

    assert asyncio.run(main())

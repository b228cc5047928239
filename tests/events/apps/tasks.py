"""A Celery application whose client is made, and used, where it is imported: in the parent of the pool."""

from __future__ import annotations

import os
import sys

from celery import Celery  # type: ignore[import-untyped]  # it has none

from schematic_core import Schematic
from tests.events.apps.settings import COMPANY, IS_STREAMING, options, traits

app = Celery("tasks", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": os.environ["BROKER"],
        "data_folder_out": os.environ["BROKER"],
        "control_folder": os.environ["BROKER"],
        "polling_interval": 0.05,
    },
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=False,
)

client = Schematic("dev", **options())
client.initialize()
client.track("loaded", traits=traits())


@app.task(name="use")  # type: ignore[untyped-decorator]  # as above
def use(name: str) -> None:
    client.track(name, COMPANY, traits=traits())
    if IS_STREAMING:
        source = client.check_flag_with_entitlement("exports", COMPANY).source
        client.track(f"from {source}", traits=traits())


if __name__ == "__main__":  # asks for tasks of these names
    for name in sys.argv[1:]:
        app.send_task("use", [name])
    client.close()

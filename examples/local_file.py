"""Flags with no service at all: an environment file is where answers come from, and a change of it counts within a second.

Run it with ``python examples/local_file.py``; it needs neither an account nor a network, and ends by itself.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from schematic_core import CheckResult, Schematic

ENVIRONMENT = """
version: 1
features:
  exports: {type: event, event: export_created}
plans:
  free: {entitlements: {exports: {limit: 2, period: current_month}}}
  premium: {entitlements: {exports: unlimited}}
companies:
  acme: {keys: {id: acme}, plan: free}
"""
ACME = {"id": "acme"}


def main() -> None:
    """Reach a limit, then lift it by editing the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "schematic.yaml"
        path.write_text(ENVIRONMENT, encoding="utf-8")

        with Schematic(environment_file=path) as client:
            print("Acme may export twice a month, says the file; track counts here, and goes nowhere")
            for _ in range(3):
                answer = client.check_flag_with_entitlement("exports", company=ACME)
                show(answer)
                if answer.value:
                    client.track("export_created", company=ACME)

            print("The file is edited: Acme is on the premium plan now")
            path.write_text(ENVIRONMENT.replace("plan: free", "plan: premium"), encoding="utf-8")
            deadline = time.monotonic() + 10
            while not client.check_flag("exports", company=ACME):
                if time.monotonic() > deadline:
                    raise SystemExit("NOT AS EXPECTED: the change of the file did not count")
                time.sleep(0.05)
            show(client.check_flag_with_entitlement("exports", company=ACME))


def show(answer: CheckResult) -> None:
    """Print an answer, why it is so and where it came from."""
    print(f"   {'allowed' if answer.value else 'denied':8} {answer.reason}  [source={answer.source}]")


if __name__ == "__main__":
    main()

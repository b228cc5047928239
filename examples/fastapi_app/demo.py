"""Drive the example application as its customers would, against the local Schematic server, and print what happens.

``make demo`` runs this. It starts both on free ports, and exits non-zero if any step is not what it should be.
With ``--keep`` both stay up until Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from schematic_core import Schematic

HERE = Path(__file__).parent
WAIT = 20.0


class NotAsExpected(Exception):
    """A step went differently from what the demo promises."""


def main() -> int:
    """Run the story; give the exit status."""
    keep = "--keep" in sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a terminated demo stops what it started
    try:
        with running() as (server_url, app_url):
            story = Story(server_url, app_url)
            story.tell()
            print(f"\nEverything went as it should: {story.steps} steps.")
            if keep:
                stay(server_url, app_url)
    except NotAsExpected as fault:
        print(f"\nNOT AS EXPECTED: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.")
        return 130
    return 0


class Story:
    """The steps, in order; each says who asks, what answers, and why."""

    def __init__(self, server_url: str, app_url: str) -> None:
        self.app = httpx.Client(base_url=app_url, timeout=10)
        self.server = httpx.Client(base_url=server_url, timeout=10)
        self.service = Schematic("dev", base_url=server_url)
        self.steps = 0

    def tell(self) -> None:
        """Tell all of it."""
        with self.app, self.server, self.service:
            self.gates()
            self.limit()
            self.new_plan()
            self.outage()

    def gates(self) -> None:
        """Gate a route by identity and by plan."""
        self.say("Somebody without a session asks for an export")
        self.ask("POST", "/exports", None, 401, code="no_identity")
        self.say("Acme is on the free plan: projects are open to it, the premium report is not")
        self.ask("GET", "/projects", "acme", 200, can_see_report=False)
        self.ask("GET", "/reports/premium", "acme", 402, code="not_entitled")
        self.say("Globex pays for premium")
        self.ask("GET", "/reports/premium", "globex", 200)

    def limit(self) -> None:
        """Meter until the limit denies."""
        self.wait_for_report()
        self.say("Acme may export three times a month; each success counts at once, and the fourth is denied")
        for used in (1, 2, 3):
            self.ask("POST", "/exports", "acme", 201, export=used)
        self.ask("POST", "/exports", "acme", 402, code="limit_reached", usage=3, allocation=3)

    def new_plan(self) -> None:
        """Change the plan: the stream says so, and everything opens at once."""
        self.say("Acme upgrades: its plan is changed through the service's API, and the stream brings the news")
        company = self.service.companies.lookup_company(keys={"id": "acme"}).data
        self.service.plans.update_company_plans(company.id, base_plan_id="plan_premium", add_on_ids=[])
        self.line("PUT", f"/company-plans/{company.id}", "service", "plan: premium")
        began = time.monotonic()
        self.until("GET", "/reports/premium", 200)
        print(f"   (open {(time.monotonic() - began) * 1000:.0f} ms after the change)")
        self.ask("POST", "/exports", "acme", 201)
        self.until("GET", "/usage", 200, {"used": 4, "limit": 100})
        self.say("The service tells the application in a signed webhook too")
        self.until("GET", "/heard", 200, [f"company.plan_changed of {company.id}"])
        # A webhook lets the next check ask the stream again: until then nothing is held that could answer in an outage.
        self.until("GET", "/usage", 200, {"used": 4, "source": "stream", "is_stale": False})

    def outage(self) -> None:
        """Cut the stream: answers go on from what is held, and say how old they are."""
        self.say("The connection to the stream is cut, and new ones fail: answers go on here, marked stale")
        fault = {"path": "/datastream", "status": 503, "count": 1_000_000}
        self.server.post("/_dev/faults", json=fault).raise_for_status()
        self.server.post("/_dev/stream/drop").raise_for_status()
        self.line("POST", "/_dev/stream/drop", "demo", "the server hangs up")
        held = self.until("GET", "/usage", 200, {"source": "stream", "is_stale": True})
        self.ask("POST", "/exports", "acme", 201, source="stream", is_stale=True)
        self.ask("GET", "/usage", "acme", 200, used=held["used"] + 1, source="stream", is_stale=True)
        self.wait_for_report()
        time.sleep(1)
        self.ask("GET", "/usage", "acme", 200, used=held["used"] + 1, source="stream", is_stale=True)
        print("   (after 30 seconds of this, checks would ask the service over HTTP first)")
        self.say("The stream is back: the service confirms what is held, and the answers are fresh again")
        self.server.delete("/_dev/faults").raise_for_status()
        self.until("GET", "/usage", 200, {"used": 5, "is_stale": False})

    def say(self, sentence: str) -> None:
        """Start a step."""
        self.steps += 1
        print(f"\n{self.steps}. {sentence}")

    def line(self, method: str, path: str, who: str, outcome: str) -> None:
        """Print what was done, by whom, and what came of it."""
        print(f"   {method:4} {path:26} {who:8} -> {outcome}")

    def ask(self, method: str, path: str, company: str | None, status: int, **expected: object) -> None:
        """Ask the application as ``company``, print the answer, and insist on it."""
        answer = self.app.request(method, path, headers={"x-company": company} if company else {})
        body = answer.json()
        self.line(method, path, company or "nobody", f"{answer.status_code}  {in_words(body)}")
        got = {name: body.get(name) for name in expected}
        if answer.status_code != status or got != expected:
            raise NotAsExpected(f"{method} {path} should answer {status} {expected}, not {answer.status_code} {body}")

    def until(self, method: str, path: str, status: int, expected: object = None) -> Any:
        """Ask as Acme until the answer is right, print and give that one; of a mapping, only the members named matter."""
        deadline = time.monotonic() + WAIT
        while True:
            answer = self.app.request(method, path, headers={"x-company": "acme"})
            body = answer.json()
            got = {name: body.get(name) for name in expected} if isinstance(expected, dict) else body
            if answer.status_code == status and expected in (None, got):
                break
            if time.monotonic() > deadline:
                raise NotAsExpected(f"{method} {path} still answers {answer.status_code} {body}")
            time.sleep(0.01)
        self.line(method, path, "acme", f"{status}  {in_words(body)}")
        return body

    def wait_for_report(self) -> None:
        """Wait until the application, which does so once a second, has reported what it did; the next report is a second off."""
        before, deadline = self.reported(), time.monotonic() + WAIT
        self.app.get("/usage", headers={"x-company": "acme"})
        while self.reported() == before:
            if time.monotonic() > deadline:
                raise NotAsExpected("the application does not report what it does")
            time.sleep(0.01)

    def reported(self) -> int:
        """How many checks the server has been told of."""
        checks: dict[str, int] = self.server.get("/_dev/state").raise_for_status().json()["data"]["flag_checks"]
        return sum(checks.values())


def in_words(body: Any) -> str:
    """Give an answer's body on one line, its origin behind."""
    if isinstance(body, list):
        return ", ".join(map(str, body))
    hidden = {"type", "title", "status", "detail", "feature", "source", "age", "is_stale"}
    words = ", ".join(f"{name}: {value}" for name, value in body.items() if name not in hidden and value is not None)
    stale = " stale" if body["is_stale"] else ""
    return f"{words}  [source={body['source']} age={body['age']}s{stale}]"


@contextmanager
def running() -> Iterator[tuple[str, str]]:
    """Run the local server and the application, each in a process of its own, until the block ends."""
    port = free_port()
    app_url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment_file = folder / "schematic.yaml"
        text = (HERE / "schematic.yaml").read_text(encoding="utf-8")
        environment_file.write_text(text.replace("http://127.0.0.1:8000", app_url), encoding="utf-8")
        server = stack.enter_context(
            process("-m", "schematic_core", "dev", "--env-file", str(environment_file), "--port", "0", "--dev-api")
        )
        server_url = first_line(server).split()[-1]
        settings = {
            "SCHEMATIC_API_URL": server_url,
            "SCHEMATIC_API_KEY": "dev",
            "SCHEMATIC_WEBHOOK_SECRET": "whsec_dev",
        }
        serve = ("--app-dir", str(HERE), "--port", str(port), "--log-level", "warning", "app:app")
        app = stack.enter_context(process("-m", "uvicorn", *serve, **settings))
        wait_for(app, app_url)
        print(
            f"Schematic server  {server_url}  (schematic dev)\nApplication       {app_url}  (uvicorn), which follows the server's DataStream"
        )
        yield server_url, app_url


@contextmanager
def process(*command: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python with these arguments; stopped, if need be killed, when the block ends."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SCHEMATIC_")}
    child = subprocess.Popen(
        [sys.executable, *command], env={**environment, **settings}, stdout=subprocess.PIPE, text=True
    )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout:
            child.stdout.close()


def first_line(child: subprocess.Popen[str]) -> str:
    """Give the first line that a process prints."""
    line = child.stdout.readline() if child.stdout else ""
    if not line:
        raise NotAsExpected("the local server did not start")
    return line


def wait_for(child: subprocess.Popen[str], url: str) -> None:
    """Wait until the application answers."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline and child.poll() is None:
        try:
            httpx.get(url + "/heard", timeout=1)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise NotAsExpected("the application did not start")


def free_port() -> int:
    """Find a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stay(server_url: str, app_url: str) -> None:
    """Leave both up until Ctrl-C."""
    print(
        f"\nBoth stay up; Ctrl-C stops them.\n  {app_url}/docs\n  curl -i -X POST -H 'x-company: acme' {app_url}/exports"
    )
    print(f"  curl {server_url}/companies -H 'x-schematic-api-key: dev'\n  curl -X POST {server_url}/_dev/stream/drop")
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    sys.exit(main())

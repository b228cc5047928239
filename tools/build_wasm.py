"""Build the rules engine's WebAssembly module, or check that the committed one is what its source gives.

Usage::

    python tools/build_wasm.py              build the module in place
    python tools/build_wasm.py --check      build elsewhere and compare, exit 1 when they differ
    python tools/build_wasm.py --safe OUT   build with overflow and bounds checks, for corpus and fuzz runs

Needs ``ziglang`` (the ``wasm`` group) in the version below: another one gives other bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

ZIGLANG = "0.17.1"
SOURCE = Path(__file__).resolve().parent.parent / "schematic_core" / "rules"
MODULE = SOURCE / "engine.wasm"
# The features of plain WebAssembly 1.0 and what every wasmtime since 19 has on; a newer compiler must not widen them.
FLAGS = (
    *("-target", "wasm32-freestanding"),
    *("-fstrip", "-fno-entry", "-rdynamic"),
    "-mcpu=mvp+bulk_memory+sign_ext+nontrapping_fptoint",
)


class BuildError(Exception):
    """The module cannot be built, or is not what it should be."""


def build(out: Path, *, mode: str = "ReleaseSmall") -> bytes:
    """Build the module into ``out`` and give its bytes.

    Raises:
        BuildError: the compiler is missing, of another version, or refused the source.
    """
    try:
        version = metadata.version("ziglang")
    except metadata.PackageNotFoundError:
        raise BuildError(f"ziglang is not installed: pip install ziglang=={ZIGLANG}") from None
    if version != ZIGLANG:
        raise BuildError(f"ziglang {version} is installed, the module is built with {ZIGLANG}")
    command = [sys.executable, "-m", "ziglang", "build-exe", "engine.zig", *FLAGS, "-O", mode]
    with tempfile.TemporaryDirectory() as cache:
        caches = {"ZIG_LOCAL_CACHE_DIR": f"{cache}/local", "ZIG_GLOBAL_CACHE_DIR": f"{cache}/global"}
        built = Path(cache) / "engine.wasm"
        done = subprocess.run(
            [*command, f"-femit-bin={built}"],
            cwd=SOURCE,
            env={**os.environ, **caches},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BuildError(f"the compiler refused the source:\n{done.stderr}")
        module = built.read_bytes()
    out.write_bytes(module)
    return module


def check(committed: bytes, fresh: bytes) -> None:
    """Compare the committed module with a fresh one.

    Raises:
        BuildError: they differ, or the committed one holds paths of a source tree.
    """
    if b".zig" in committed:
        raise BuildError("the committed module holds paths of source files: was it built without -fstrip?")
    if committed != fresh:
        raise BuildError(
            f"the committed module ({_summary(committed)}) is not what its source gives ({_summary(fresh)}): "
            "run python tools/build_wasm.py and commit the result",
        )


def _summary(module: bytes) -> str:
    return f"{len(module)} bytes, sha256 {hashlib.sha256(module).hexdigest()[:16]}"


def main(arguments: list[str] | None = None) -> int:
    """Run the tool. Gives 0, or 1 after saying what is wrong."""
    parser = argparse.ArgumentParser(description="Build the rules engine's WebAssembly module.")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="compare a fresh build with the committed module")
    choice.add_argument("--safe", metavar="OUT", type=Path, help="build with overflow and bounds checks into OUT")
    options = parser.parse_args(arguments)
    try:
        if options.safe is not None:
            module = build(options.safe, mode="ReleaseSafe")
        elif options.check:
            with tempfile.TemporaryDirectory() as folder:
                module = build(Path(folder) / "engine.wasm")
            check(MODULE.read_bytes(), module)
        else:
            module = build(MODULE)
    except BuildError as error:
        print(f"build_wasm: {error}", file=sys.stderr)
        return 1
    print(f"build_wasm: {_summary(module)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

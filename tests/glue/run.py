#!/usr/bin/env python3
"""Boots each service manager for real and lets it run monopod by the files of boards/common/boot. Root.

Usage: run.py [NAME...]. With CI set a skip of what could be installed is a failure.
"""

from concurrent.futures import ThreadPoolExecutor
import os
import pathlib
import platform
import signal
import subprocess
import sys
import time
import traceback

from container import Container
from host import Host, wait_for
from managers import BOOT, MANAGERS, UNTRIED

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
CACHE = ROOT / ".cache/glue"


def attempt(name):
    """Boots a manager's machine, or one for each scenario. Gives how many of them failed."""
    kind = MANAGERS[name]
    groups = [[scenario] for scenario in kind.scenarios] if kind.boots_each else [kind.scenarios]
    return sum(boot(name, kind, scenarios) for scenarios in groups)


def boot(name, kind, scenarios):
    begin = time.monotonic()
    host = Host(name, CACHE / "tree", ROOT / f"out/{platform.machine()}-unknown-linux-musl/monopod")
    lines = []
    failed = 0
    try:
        container = Container(host)
        manager = kind(host)
        manager.install()
        getattr(scenarios[0], "before", lambda _: None)(container)
        host.boot(manager.init, manager.cgroups)
        wait_for(f"{name} to take orders", manager.ready)
        for scenario in scenarios:
            at = time.monotonic()
            scenario(manager, container)
            lines.append(f"  {scenario.__name__} ({time.monotonic() - at:.1f} s)")
    except Exception:
        failed = 1
        lines.append(traceback.format_exc())
        lines.append(subprocess.run(["tail", "-n", "40", host.dir / "console"], capture_output=True, text=True).stdout)
    finally:
        host.close()
    print("\n".join([f"glue {name}: {'FAILED' if failed else 'ok'} ({time.monotonic() - begin:.0f} s)", *lines]), flush=True)
    return failed


def scripts_that_do_not_parse():
    """What a board's shell says of the scripts that are shipped, those that nothing here can run among them."""
    wrong = []
    for file in sorted(BOOT.rglob("*")):
        # procd and OpenRC put an interpreter of their own in the first line; it is a shell all the same.
        if file.is_file() and file.read_text().startswith("#!/"):
            parsed = subprocess.run([CACHE / "tree/bin/busybox", "sh", "-n", file], capture_output=True, text=True)
            wrong += [parsed.stderr.strip() or f"{file}: exit code {parsed.returncode}"] if parsed.returncode else []
    return wrong


def main(names):
    if subprocess.run([HERE / "fetch.sh", CACHE]).returncode:
        print("skipped: glue: no service managers (said above)")
        return 1 if os.environ.get("CI") else 0
    # Every machine that is up is taken down all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for name, why in UNTRIED.items():
        if not names:
            print(f"skipped: glue {name}: {why}", flush=True)
    wrong = scripts_that_do_not_parse()
    if wrong:
        print("glue: " + "\n".join(wrong))
        return 1
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failed = sum(pool.map(attempt, names or MANAGERS))
    print(f"glue: {len(names or MANAGERS)} managers, {failed} machines failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

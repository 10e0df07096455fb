#!/usr/bin/env python3
"""Holds monopod to LXC 5.0.2 by LXC's own test scripts, from Debian's package, under the names of LXC's tools. Root.

Each script runs in a world of its own, once with our binary and once with LXC's own tools, which shows what this kernel
cannot do with anybody's. Usage: run.py [NAME...]. `run.py --self-test` shows that a failure is seen. With CI set a
skip fails.
"""

from concurrent.futures import ThreadPoolExecutor
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from scripts import SCRIPTS, install
from world import DEFAULT_CONFIG, World

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
BINARY = ROOT / f"out/{platform.machine()}-unknown-linux-musl/monopod"
TAIL_LINES = 25


def missing():
    """Why nothing can be tried; None if it can."""
    if platform.machine() != "x86_64":
        return "its packages are amd64's"
    for file in ("/usr/bin/lxc-start", "/usr/share/lxc/templates/lxc-busybox"):
        if not os.path.exists(file):
            return f"{file} is missing: LXC's own tools are the control"
    for tool in ("busybox", "unshare", "script", "ip"):
        if not shutil.which(tool):
            return f"{tool} is missing"
    fetched = subprocess.run([ROOT / "targets/debs.sh", HERE / "packages", "amd64", "lxc-tests"])
    return "no lxc-tests (said above)" if fetched.returncode else None


def attempt(script, tree, binary):
    """What is wrong with a script (None: nothing), and its output."""
    with World(binary, DEFAULT_CONFIG + script.config) as world:
        code, output, left = world.run(install(script, tree, world.dir), script.seconds)
    if code is None:
        return f"no end within {script.seconds} s", output
    if code:
        return f"exit code {code}", output
    return (f"it leaves {', '.join(left)}" if left else None), output


def judge(name, tree):
    """What is wrong with a script under our tools, once it is said with the control; None if nothing is."""
    begin = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        (wrong, output), (control, _) = pool.map(lambda binary: attempt(SCRIPTS[name], tree, binary), (BINARY, None))
    said = f"FAILED: {wrong}" if wrong else "ok, but it looks at nothing on this kernel" if SCRIPTS[name].blind else "ok"
    lines = [f"parity {name}: {said}; with LXC's own tools: {control or 'ok'} "
             f"({time.monotonic() - begin:.0f} s)"]
    lines += ["  | " + line for line in output.splitlines()[-TAIL_LINES:]] if wrong else []
    print("\n".join(lines), flush=True)
    return wrong


def self_test(tree):
    """With a program that does nothing behind LXC's names every script that looks at something fails."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = dict(zip(SCRIPTS, pool.map(lambda script: attempt(script, tree, "/bin/false")[0], SCRIPTS.values())))
    passed = [name for name, wrong in results.items() if not wrong and not SCRIPTS[name].blind]
    print(f"parity self-test: {'these pass with /bin/false: ' + ' '.join(passed) if passed else 'ok'}", flush=True)
    return len(passed)


def main(words):
    why = missing()
    if why:
        print(f"skipped: parity: {why}")
        return 1 if os.environ.get("CI") else 0
    # Every world that is up is taken down all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as directory:
        tree = pathlib.Path(directory)
        subprocess.run(["dpkg-deb", "-x", ROOT / ".cache/debs/amd64/lxc-tests.deb", tree], check=True)
        if words == ["--self-test"]:
            return 1 if self_test(tree) else 0
        # The slow ones first.
        names = words or sorted(SCRIPTS, key=lambda name: -SCRIPTS[name].seconds)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            failed = [wrong for wrong in pool.map(lambda name: judge(name, tree), names) if wrong]
    print(f"parity: {len(names)} scripts, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""Holds monopod to LXC 5.0.2 by LXC's own test scripts, from Debian's package, and by the same configs under both. Root.

Each script runs in a world of its own, once with our binary under the names of LXC's tools and once with LXC's own, which
shows what this kernel cannot do with anybody's. Then twins: each config of twins.py is started by both, and all that can be
seen is compared. Usage: run.py [NAME...]: these scripts and configs. `run.py --self-test` shows that a failure is seen. With
CI set a skip fails.
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

from configs import CONFIGS
from scripts import SCRIPTS, install
from twins import Expected, differences
from world import DEFAULT_CONFIG, World

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
TRIPLE = f"{platform.machine()}-unknown-linux-musl"
BINARY = pathlib.Path(os.environ.get("MONOPOD_BIN") or ROOT / f"out/{TRIPLE}/monopod")
# What runs in the twins: the init of the tests in tests/, an example of the package.
INIT = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / TRIPLE / "debug/examples/testinit"
TAIL_LINES = 25
LIMITS_NEED = "/sys/fs/cgroup/pids/cgroup.procs"


def missing():
    """Why nothing can be tried; None if it can."""
    if platform.machine() != "x86_64":
        return "its packages are amd64's"
    for file in ("/usr/bin/lxc-start", "/usr/share/lxc/templates/lxc-busybox"):
        if not os.path.exists(file):
            return f"{file} is missing: LXC's own tools are the control"
    if not INIT.exists():
        return f"{INIT} is missing: cargo build --example testinit --target {TRIPLE}"
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


def compare(names, binary):
    """The lines that say what is wrong with the twins."""
    expected, wrong = Expected(), []
    with ThreadPoolExecutor(2 * os.cpu_count()) as pool:
        for name, (found, tail) in zip(names, pool.map(lambda name: differences(name, binary, INIT), names)):
            new = expected.unexpected(found)
            wrong += new
            print(f"twins {name}: {len(found)} differences, {len(new)} unexpected", flush=True)
            if new and binary == BINARY:
                print("\n".join([*new, *(f"  | {line}" for line in tail)]), flush=True)
    # Only all of them need every row.
    if set(names) == set(CONFIGS):
        wrong += [f"no difference needs the row {pattern}" for pattern in expected.unneeded()]
    return wrong


def self_test(tree):
    """With a program that does nothing behind LXC's names every script that looks at something fails, and no twin is one."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = dict(zip(SCRIPTS, pool.map(lambda script: attempt(script, tree, "/bin/false")[0], SCRIPTS.values())))
    passed = [name for name, wrong in results.items() if not wrong and not SCRIPTS[name].blind]
    if not compare(["ttys"], "/bin/false"):
        passed.append("twins")
    print(f"parity self-test: {'these pass with /bin/false: ' + ' '.join(passed) if passed else 'ok'}", flush=True)
    return len(passed)


def main(words):
    why = missing()
    if why:
        print(f"skipped: parity: {why}")
        return 1 if os.environ.get("CI") else 0
    # Every world that is up is taken down all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # Under nohup LXC's guests would inherit what our caller ignores, and ours would not.
    for ignored in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(ignored, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as directory:
        tree = pathlib.Path(directory)
        subprocess.run(["dpkg-deb", "-x", ROOT / ".cache/debs/amd64/lxc-tests.deb", tree], check=True)
        if words == ["--self-test"]:
            return 1 if self_test(tree) else 0
        # The slow ones first.
        scripts = [name for name in sorted(SCRIPTS, key=lambda name: -SCRIPTS[name].seconds) if not words or name in words]
        for name in [name for name in scripts if not os.path.exists(SCRIPTS[name].needs)]:
            print(f"SKIPPED parity {name}: there is no {SCRIPTS[name].needs} here", flush=True)
            scripts.remove(name)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            failed = [wrong for wrong in pool.map(lambda name: judge(name, tree), scripts) if wrong]
    configs = [name for name in CONFIGS if not words or name in words]
    if "limits" in configs and not os.path.exists(LIMITS_NEED):
        print(f"SKIPPED twins limits: there is no {LIMITS_NEED} here; LXC forgets such limits, ours refuses them")
        configs.remove("limits")
    wrong = compare(configs, BINARY)
    if wrong:
        print("\n".join(["twins: unexpected:", *wrong]))
    print(f"parity: {len(scripts)} scripts, {len(failed)} failed; {len(configs)} twins, {len(wrong)} faults")
    return 1 if failed or wrong or not scripts + configs else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

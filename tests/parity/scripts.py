"""LXC's own test scripts, as Debian's package lxc-tests has them, and what each of them needs to say something here."""

from collections import namedtuple
import re

# `without`: what is taken out of the script, as an expression; `config`: more default config; `terminal`: on one of its
# own; `blind`: it looks at nothing here.
Script = namedtuple("Script", "name seconds without config terminal blind", defaults=(20, None, "", False, False))

# On a kernel with cgroup namespaces it looks at nothing and passes. Without that line, and in its starter's cgroup
# namespace, it sees what it was written for. Its phase cgroup:ro wants a directory to be made in a hierarchy that is
# read-only throughout: LXC 5.0.2's own tools fail there.
AUTOMOUNT = {
    "without": r"^\[ -f /proc/self/ns/cgroup \] && exit 0\n|^PHASE=cgroup:ro\n.*?^lxc-stop[^\n]*\n",
    "config": "lxc.namespace.keep = cgroup user\n",
}

SCRIPTS = {
    "exit-code": Script("exit-code"),
    "lxc-attach": Script("lxc-attach", 60),
    "lxc-attach-terminal": Script("lxc-attach", 60, terminal=True),
    "procsys": Script("procsys"),
    "rootfs": Script("rootfs"),
    "symlink": Script("symlink"),
    "automount": Script("automount", blind=True),
    "automount-throughout": Script("automount", 40, **AUTOMOUNT),
    "autostart": Script("autostart", 60),
    "no-new-privs": Script("no-new-privs"),
}


def install(script, tree, directory):
    """Puts a script where a world sees it, and gives the command that runs it there."""
    text = (tree / f"usr/bin/lxc-test-{script.name}").read_text()
    if script.without:
        text, taken = re.subn(script.without, "", text, flags=re.M | re.S)
        if taken != 2:
            raise AssertionError(f"lxc-test-{script.name} is not the one that is known here: {taken} places to take out")
    file = directory / f"lxc-test-{script.name}"
    file.write_text(text)
    file.chmod(0o755)
    inside = f"/run/parity/{file.name}"
    return ["script", "-qefc", inside, "/dev/null"] if script.terminal else [inside]

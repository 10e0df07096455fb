"""LXC's own test scripts, as Debian's package lxc-tests has them, and what each of them needs to say something here."""

from collections import namedtuple
import re

# `changes`: expressions that are each found once in the script, and what stands there instead; `config`: more default
# config; `terminal`: on one of its own; `blind`: it looks at nothing here; `needs`: without that it is skipped.
Script = namedtuple("Script", "name seconds changes config terminal blind needs", defaults=(20, (), "", False, False, "/"))

# On a kernel with cgroup namespaces it looks at nothing and passes. Without that line, and in its starter's cgroup
# namespace, it sees what it was written for. Its phase cgroup:ro wants the container's own group to be writable, though
# lxc.container.conf(5) has everything read-only there, and so have LXC 5.0.2's own tools: here it must be so. (Those fail
# in the phase cgroup-full:mixed, where they leave the whole hierarchy writable.)
AUTOMOUNT = {
    "changes": (
        (r"^\[ -f /proc/self/ns/cgroup \] && exit 0\n", ""),
        (r"^(PHASE=cgroup:ro\n(?:.*\n)*?mkdir .*/\$cg/xx \|\| ro=1\n\[ \$ro -ne )1", r"\g<1>0"),
    ),
    "config": "lxc.namespace.keep = cgroup user\n",
    "needs": "/sys/fs/cgroup/freezer/cgroup.procs",
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
    for expression, instead in script.changes:
        text, found = re.subn(expression, instead, text, flags=re.M)
        if found != 1:
            raise AssertionError(f"lxc-test-{script.name} is not the one that is known here: {expression} is not in it")
    file = directory / f"lxc-test-{script.name}"
    file.write_text(text)
    file.chmod(0o755)
    inside = f"/run/parity/{file.name}"
    return ["script", "-qefc", inside, "/dev/null"] if script.terminal else [inside]

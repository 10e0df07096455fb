"""The configs that LXC and ours start side by side, and what happens around them."""

from collections import namedtuple

# One config. Shell scripts of the world around it: `host` before the start, `outside` while it runs, `after` behind its
# end; `probe` is what its init does first, `caller` starts it in another way, in the foreground. `options` are words of
# lxc-start, `user` words before each tool. `short`: one life without all tools.
Twin = namedtuple("Twin", "config host outside after probe options caller user short base",
                  defaults=("",) * 7 + (True, True))

WHOLE = {
    "plain": "",
    "autodev-0": "lxc.autodev = 0",
    "autodev-1": "lxc.autodev = 1\nlxc.autodev.tmpfs.size = 100000",
    "ttys": "lxc.tty.max = 3\nlxc.pty.max = 10",
    "tty-dir": "lxc.tty.max = 2\nlxc.tty.dir = lxc",
    "console-none": "lxc.console.path = none\nlxc.tty.max = 1",
    "auto-mixed": "lxc.mount.auto = proc:mixed sys:mixed cgroup:mixed",
    "auto-ro": "lxc.mount.auto = proc:mixed sys:ro cgroup:ro",
    "auto-rw": "lxc.mount.auto = proc:rw sys:rw cgroup:rw",
    "auto-full": "lxc.mount.auto = proc sys cgroup-full:mixed",
    "auto-force": "lxc.mount.auto = proc sys cgroup:mixed:force",
    "entries": """
        lxc.mount.auto = proc
        lxc.mount.entry = tmpfs run tmpfs rw,nosuid,nodev,mode=755,size=1m,create=dir 0 0
        lxc.mount.entry = /usr/share/lxc mnt/share none bind,ro,create=dir 0 0
        lxc.mount.entry = /etc/hostname etc/name none bind,create=file 0 0
        lxc.mount.entry = /nowhere mnt/nowhere none bind,optional,create=dir 0 0
        lxc.mount.entry = /usr/share/lxc mnt/noexec none rbind,noexec,create=dir 0 0
        lxc.mount.entry = /usr/share/lxc mnt/slave none rbind,rslave,noexec,create=dir 0 0""",
    "rootfs-options": "lxc.rootfs.options = nodev,nosuid,noatime\nlxc.mount.auto = proc",
    "caps-drop": "lxc.cap.drop = sys_time sys_module mknod\nlxc.cap.drop = net_raw\nlxc.mount.auto = proc",
    "caps-keep": "lxc.cap.keep = chown kill setuid setgid\nlxc.mount.auto = proc sys",
    "prlimit": "lxc.prlimit.nofile = 512:1024\nlxc.prlimit.core = 0\nlxc.prlimit.nproc = 2000\nlxc.mount.auto = proc",
    "limits": """
        lxc.cgroup.pids.max = 60
        lxc.cgroup.cpu.shares = 512
        lxc.cgroup.memory.limit_in_bytes = 64M
        lxc.cgroup.devices.deny = a
        lxc.cgroup.devices.allow = c 1:3 rwm""",
    "signals": "lxc.signal.halt = SIGUSR1\nlxc.signal.reboot = 12",
    "environment": "lxc.environment = A=b c\nlxc.environment = EMPTY=\nlxc.environment = PATH=/bin:/sbin",
    "user": "lxc.init.uid = 1000\nlxc.init.gid = 1001\nlxc.init.cwd = /tmp\nlxc.mount.auto = proc",
    "groups": "lxc.init.groups = 7,8\nlxc.mount.auto = proc",
    "personality": "lxc.arch = i686",
    "no-new-privs": "lxc.no_new_privs = 1\nlxc.mount.auto = proc",
    "sysctl": "lxc.sysctl.net.ipv4.ip_forward = 1\nlxc.mount.auto = proc",
    "oom": "lxc.proc.oom_score_adj = 500\nlxc.mount.auto = proc",
    "loopback": "lxc.net.0.flags = up\nlxc.mount.auto = proc",
    "namespaces": "lxc.namespace.keep = user ipc net\nlxc.mount.auto = proc",
    "groups-of-start": "lxc.group = web\nlxc.group = db\nlxc.start.auto = 1",
}
HOOKS = "pre-start pre-mount mount autodev start-host start stop post-stop".split()
for name, version in (("hooks-v0", 0), ("hooks-v1", 1)):
    # LXC takes the whole of a start hook for the name of its file.
    lines = [f"lxc.hook.{kind} = {'/hook' if kind == 'start' else '/run/parity/twin/hook word'}" for kind in HOOKS]
    WHOLE[name] = "\n".join(["lxc.mount.auto = proc", f"lxc.hook.version = {version}", *lines])

CONFIGS = {name: Twin(config, short=False, base=bool(config)) for name, config in WHOLE.items()}

# ---- network ----

LINKS = "$twin/links.py"
BRIDGE = """
ip link add br0 address 02:00:00:00:00:01 type bridge
ip addr add 10.9.0.1/24 dev br0
ip -6 addr add fd09::1/64 dev br0 nodad
ip link set br0 up
"""
# An uplink, whose other end is up as well.
UPLINK = """
ip link add up0 address 02:00:00:00:00:02 type veth peer name far0 address 02:00:00:00:00:03
ip link set up0 up
ip link set far0 up
"""
INSIDE = f"""
echo inside
nsenter -t $pid -n {LINKS}
echo host
{LINKS}
"""
PING = """
nsenter -t $pid -n busybox ping -c 1 -W 2 $1 | grep -o "1 packets received"
"""
VETH = """
lxc.net.0.type = veth
lxc.net.0.link = br0
lxc.net.0.flags = up
lxc.net.0.name = eth7
lxc.net.0.veth.pair = twin0
lxc.net.0.hwaddr = 00:16:3e:aa:00:01
"""


def net(config, host=BRIDGE, outside="", after=""):
    """A config with links."""
    return Twin(config, host=host, outside=INSIDE + outside, after=LINKS + "\n" + after)


def ping(address):
    return f"set -- {address}" + PING


CONFIGS |= {
    "veth": net(
        VETH + """
        lxc.net.0.mtu = 1400
        lxc.net.0.ipv4.address = 10.9.0.5/24 10.9.0.255
        lxc.net.0.ipv4.gateway = 10.9.0.1
        lxc.net.0.ipv6.address = fd09::5/64
        lxc.net.0.ipv6.gateway = fd09::1""",
        outside=ping("10.9.0.1") + "lxc-info -n c -S | grep Link\nlxc-ls -f -F NAME,IPV4,IPV6\n"),
    "veth-auto": net(
        VETH + "lxc.net.0.ipv4.address = 10.9.0.5/24\nlxc.net.0.ipv4.gateway = auto\n"
        "lxc.net.0.ipv6.address = fd09::5/64\nlxc.net.0.ipv6.gateway = auto", outside=ping("10.9.0.1")),
    "veth-dev": net(VETH + "lxc.net.0.ipv4.address = 10.9.0.5/32\nlxc.net.0.ipv4.gateway = dev\n"
                    "lxc.net.0.ipv6.address = fd09::5/128\nlxc.net.0.ipv6.gateway = dev", outside=ping("10.9.0.1")),
    "veth-names": net("lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.flags = up\n"
                      "lxc.net.1.type = veth\nlxc.net.1.link = br0\nlxc.net.3.type = veth"),
    "veth-alone": net("lxc.net.0.type = veth\nlxc.net.0.veth.pair = twin0\nlxc.net.0.ipv4.address = 10.9.3.5\n"
                      "lxc.net.0.hwaddr = 00:16:3e:aa:00:01"),
    "veth-queues": net(VETH + "lxc.net.0.veth.n_rxqueues = 3\nlxc.net.0.veth.n_txqueues = 4"),
    "veth-router": net(
        VETH.replace("lxc.net.0.link = br0\n", "") + """
        lxc.net.0.veth.mode = router
        lxc.net.0.ipv4.address = 10.9.7.5/32
        lxc.net.0.ipv4.gateway = auto
        lxc.net.0.ipv6.address = fd07::5/128
        lxc.net.0.ipv6.gateway = auto
        lxc.net.0.veth.ipv4.route = 10.9.8.0/24
        lxc.net.0.veth.ipv6.route = fd08::/64"""),
    "veth-vlan": net(VETH + "lxc.net.0.veth.vlan.id = 7\nlxc.net.0.veth.vlan.tagged.id = 8"),
    "veth-no-bridge": net(VETH, host=""),
    "macvlan": net("lxc.net.0.type = macvlan\nlxc.net.0.link = up0\nlxc.net.0.macvlan.mode = bridge\n"
                   "lxc.net.0.flags = up\nlxc.net.0.name = mac0\nlxc.net.0.hwaddr = 00:16:3e:aa:00:01\n"
                   "lxc.net.0.ipv4.address = 10.9.0.5/24\nlxc.net.0.mtu = 1300", host=UPLINK),
    "macvlan-others": net("lxc.net.0.type = macvlan\nlxc.net.0.link = up0\nlxc.net.0.flags = up\n"
                          "lxc.net.1.type = macvlan\nlxc.net.1.link = up0\nlxc.net.1.macvlan.mode = vepa", host=UPLINK),
    "macvlan-passthru": net("lxc.net.0.type = macvlan\nlxc.net.0.link = up0\nlxc.net.0.macvlan.mode = passthru",
                            host=UPLINK),
    "ipvlan": net("lxc.net.0.type = ipvlan\nlxc.net.0.link = up0\nlxc.net.0.ipvlan.mode = l3s\n"
                  "lxc.net.0.ipvlan.isolation = bridge\nlxc.net.0.ipv4.address = 10.9.0.5/32", host=UPLINK),
    "ipvlan-l2proxy": net("lxc.net.0.type = ipvlan\nlxc.net.0.link = up0\nlxc.net.0.ipvlan.mode = l3s\n"
                          "lxc.net.0.l2proxy = 1\nlxc.net.0.ipv4.address = 10.9.0.5/32", host=UPLINK),
    "vlan": net("lxc.net.0.type = vlan\nlxc.net.0.link = up0\nlxc.net.0.vlan.id = 5\nlxc.net.0.flags = up", host=UPLINK),
    "phys": net("lxc.net.0.type = phys\nlxc.net.0.link = up0\nlxc.net.0.name = eth3\nlxc.net.0.flags = up\n"
                "lxc.net.0.ipv4.address = 10.9.0.5/24", host=UPLINK),
    "phys-kept-name": net("lxc.net.0.type = phys\nlxc.net.0.link = up0\nlxc.net.0.mtu = 1200", host=UPLINK),
    "links-several": net(VETH + "lxc.net.1.type = macvlan\nlxc.net.1.link = up0\nlxc.net.2.type = phys\n"
                         "lxc.net.2.link = far0\nlxc.net.2.name = in2\nlxc.net.4.type = empty", host=BRIDGE + UPLINK),
    "link-none": net("lxc.net.0.type = none", host=BRIDGE),
}
for name, version in (("net-scripts-v0", 0), ("net-scripts-v1", 1)):
    CONFIGS[name] = net(
        VETH + f"""
        lxc.hook.version = {version}
        lxc.net.0.script.up = /run/parity/twin/hook word
        lxc.net.0.script.down = /run/parity/twin/hook word
        lxc.net.1.type = macvlan
        lxc.net.1.link = up0
        lxc.net.1.name = mac1
        lxc.net.1.script.up = /run/parity/twin/hook word
        lxc.net.1.script.down = /run/parity/twin/hook word""", host=BRIDGE + UPLINK)

# ---- seccomp ----

CALLS = """
try() { "$@" 2>&1; echo "$* = $?"; }
sed -n '/^Seccomp:/p' /proc/self/status
try mknod /tmp/fifo p
try mknod /tmp/char c 1 3
try hostname other
try chroot / /bin/true
try umount -f /tmp
try umount -l /tmp
try unshare -u /bin/true
try swapoff /nowhere
try sync
"""


def policy(text, config=""):
    """A config with a seccomp policy."""
    return Twin(f"lxc.mount.auto = proc\nlxc.seccomp.profile = $twin/policy\n{config}",
                host=f"cat >$twin/policy <<'END'\n{text}\nEND\n", probe=CALLS)


EVERYTHING = "\n".join(str(number) for number in range(463) if number not in (133, 170, 161))
CONFIGS |= {
    "seccomp-v1": policy("1\nallowlist\n" + EVERYTHING),
    "seccomp-v2-deny": policy("2\ndenylist\nreject_force_umount\n[all]\nsethostname errno 5\nchroot kill\nmknod errno 38"),
    "seccomp-v2-default": policy("2\ndenylist\nsethostname\nswapoff\nchroot errno 11\n"),
    "seccomp-v2-trap": policy("2\nblacklist\nsethostname trap\nnosuchcall errno 1"),
    "seccomp-v2-arguments": policy(
        "2\ndenylist\nmknodat errno 13 [2,8192,SCMP_CMP_MASKED_EQ,61440]\nunshare errno 22 [0,67108864,SCMP_CMP_EQ]\n"
        "umount2 errno 11 [1,2,SCMP_CMP_GE]"),
    "seccomp-v2-allow": policy(
        "2\nallowlist errno 3\n" + "\n".join(
            name for name in """read write open openat close stat fstat lstat newfstatat poll lseek mmap mprotect munmap brk
            rt_sigaction rt_sigprocmask rt_sigreturn ioctl pread64 readv writev access pipe pipe2 dup dup2 dup3 getpid socket
            clone clone3 fork vfork execve exit exit_group wait4 kill uname fcntl getcwd chdir rename renameat unlink unlinkat
            mkdir mkdirat readlink readlinkat chmod umask gettimeofday getuid getgid geteuid getegid setpgid getppid getpgrp
            setsid getgroups prctl arch_prctl gettid futex getdents64 set_tid_address clock_gettime nanosleep
            clock_nanosleep set_robust_list getsid personality sigaltstack rt_sigtimedwait getrandom prlimit64 rseq
            statx faccessat faccessat2 fchdir mremap madvise capget setuid setgid setgroups restart_syscall statfs
            sched_getaffinity rt_sigsuspend tgkill getrlimit close_range sendmsg recvmsg sendto recvfrom socketpair connect
            epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd2 signalfd4 memfd_create pidfd_open pidfd_send_signal
            setresuid setresgid seccomp sysinfo times getrusage utimensat fstatfs ftruncate fsync mknodat fchmodat fchownat
            openat2 setsockopt getsockopt bind listen accept4 setpriority waitid tkill dup3 execveat mount umount2 sync
            lchown chown fchown""".split())),
    "seccomp-v2-archs": policy("2\ndenylist\n[x86]\nsethostname errno 2\n[x86_64]\nsethostname errno 3\n[arm64]\nchroot kill"),
    "seccomp-nesting": policy("2\ndenylist\nsethostname errno 5", "lxc.seccomp.allow_nesting = 1"),
    "seccomp-common": Twin("lxc.mount.auto = proc\nlxc.seccomp.profile = /usr/share/lxc/config/common.seccomp", probe=CALLS),
    "seccomp-missing": Twin("lxc.seccomp.profile = /nowhere"),
    "seccomp-broken": policy("3\ndenylist\nchroot"),
    "seccomp-user": policy("2\ndenylist\nsethostname errno 5", "lxc.no_new_privs = 1\nlxc.init.uid = 1000\nlxc.init.gid = 1000"),
}

# ---- ids ----

MAP = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n"
OWN = "chown -R 100000:100000 /var/lib/lxc/c/rootfs\nchmod 755 /var/lib/lxc /var/lib/lxc/c\n"
OWNERS = """
cat /proc/$pid/uid_map /proc/$pid/gid_map /proc/$pid/setgroups
find /proc/$pid/root/ -maxdepth 1 -printf 'root %f %U:%G\\n' | sort
find /proc/$pid/root/dev -printf 'dev %P %U:%G\\n' | sort
"""
CGROUPS = """
find $(sed -n 's,^[0-9]*:\\([^:]*\\):\\(.*\\),/sys/fs/cgroup/\\1\\2,p' /proc/$pid/cgroup | sed 's,cgroup//,cgroup/unified/,
s,name=,,') -maxdepth 1 ! -user 0 -o -maxdepth 1 ! -group 0 2>/dev/null | xargs ls -dn | sed "s,/lxc.payload.c,/NAME,;s,/lxc/c,/NAME," |
awk '{ print $1, $3, $4, $9 }' | sort
"""
CONFIGS |= {
    "idmap": Twin(MAP + "lxc.mount.auto = proc:mixed sys\nlxc.tty.max = 2", host=OWN, outside=OWNERS),
    "idmap-cgroup": Twin(MAP + "lxc.mount.auto = proc cgroup:mixed", host=OWN, outside=CGROUPS),
    "idmap-parts": Twin("lxc.idmap = u 0 100000 1000\nlxc.idmap = u 1000 1000 1\nlxc.idmap = u 1001 101001 500\n"
                        "lxc.idmap = g 0 100000 2000\nlxc.mount.auto = proc", host=OWN, outside=OWNERS),
    "idmap-options": Twin(MAP + "lxc.rootfs.options = idmap=container\nlxc.mount.auto = proc", outside=OWNERS),
    "idmap-entry": Twin(MAP + "lxc.mount.auto = proc\nlxc.mount.entry = /var/lib/lxc/shared mnt/in none "
                        "bind,create=dir,idmap=container", host=OWN + "mkdir /var/lib/lxc/shared; touch /var/lib/lxc/shared/a",
                        outside=OWNERS + "ls -ln /proc/$pid/root/mnt/in | tail -1 | cut -c1-24"),
    "idmap-veth": net(MAP + VETH + "lxc.net.0.ipv4.address = 10.9.0.5/24\nlxc.mount.auto = proc", host=BRIDGE + OWN,
                      outside=ping("10.9.0.1")),
    "idmap-user": Twin(MAP + "lxc.init.uid = 1000\nlxc.init.gid = 1000\nlxc.mount.auto = proc", host=OWN, outside=OWNERS),
    "idmap-not-owned": Twin(MAP + "lxc.mount.auto = proc", host="chmod 700 /var/lib/lxc/c/rootfs"),
    "idmap-seccomp": Twin(MAP + "lxc.mount.auto = proc\nlxc.seccomp.profile = /usr/share/lxc/config/common.seccomp",
                          host=OWN, probe=CALLS),
}

# Somebody without rights whom the cgroups of this world were given to.
USER = "setpriv --reuid 1000 --regid 1000 --clear-groups env HOME=/var/home XDG_RUNTIME_DIR=/var/home/run"
DELEGATED = """
chmod 755 /run/parity $twin
touch /run/parity/log
chmod 666 /run/parity/log
mkdir -p /var/home/.local/share /var/home/run
ln -s /var/lib/lxc /var/home/.local/share/lxc
chown -R 1000:1000 /var/home /var/lib/lxc
chown -R 100000:100000 /var/lib/lxc/c/rootfs
for group in $(sed -n 's/^[0-9]* [0-9]* [0-9:]* [^ ]* \\([^ ]*\\) .* - cgroup.*/\\1/p' /proc/self/mountinfo); do
    for file in . cgroup.procs tasks cgroup.threads cgroup.subtree_control; do
        [ ! -e $group/$file ] || chown 1000:1000 $group/$file
    done
done
"""
CONFIGS |= {
    "unprivileged": Twin(MAP + "lxc.mount.auto = proc:mixed sys", host=DELEGATED, outside=OWNERS, user=USER),
}

# ---- namespaces ----

# Another container, whose namespaces are to be had.
OTHER = """
mkdir -p /var/lib/lxc/other/rootfs/dev /var/lib/lxc/other/rootfs/proc /var/lib/lxc/other/rootfs/sys
cp $twin/init /var/lib/lxc/other/rootfs
echo "lxc.rootfs.path = dir:/var/lib/lxc/other/rootfs
lxc.init.cmd = /init signals 99
lxc.net.0.type = empty
lxc.uts.name = other" >/var/lib/lxc/other/config
lxc-start -n other
other=$(lxc-info -n other -p -H)
"""
WHOSE = """
other=$(lxc-info -n other -p -H)
for kind in user mnt pid uts ipc net cgroup time; do
    mine=$(readlink /proc/$pid/ns/$kind) whose=own
    [ "$mine" != "$(readlink /proc/self/ns/$kind)" ] || whose=world
    [ -z "$other" ] || [ "$mine" != "$(readlink /proc/$other/ns/$kind)" ] || whose="$whose other"
    echo "$kind: $whose"
done
"""
END_OTHER = "lxc-stop -n other -k\n"


def share(config, options="", host=OTHER):
    return Twin("lxc.mount.auto = proc\n" + config, host=host, outside=WHOSE, after=END_OTHER, options=options)


CONFIGS |= {
    "share-name": share("lxc.namespace.share.net = other\nlxc.namespace.share.uts = other"),
    "share-ipc": share("lxc.namespace.share.ipc = other"),
    "share-pid-namespace": share("lxc.namespace.share.pid = other"),
    "share-pid": share("", host=OTHER + "echo lxc.namespace.share.net = $other >>/var/lib/lxc/c/config\n"),
    "share-path": share("", host=OTHER + "echo lxc.namespace.share.net = /proc/$other/ns/net >>/var/lib/lxc/c/config\n"),
    "share-options": share("", options="--share-net other --share-ipc other --share-uts other"),
    "share-unknown": Twin("lxc.namespace.share.net = nobody", outside=WHOSE),
    "ns-clone": Twin("lxc.namespace.clone = mnt pid uts\nlxc.mount.auto = proc", outside=WHOSE),
    "ns-keep": Twin("lxc.namespace.keep = user net ipc cgroup\nlxc.mount.auto = proc", outside=WHOSE),
    "time-offset": Twin("lxc.time.offset.boot = 1000s\nlxc.time.offset.monotonic = 2m\nlxc.mount.auto = proc",
                        outside="cat /proc/$pid/timens_offsets\n" + WHOSE),
    "time-offset-small": Twin("lxc.time.offset.boot = 500ms\nlxc.mount.auto = proc", outside="cat /proc/$pid/timens_offsets"),
}

# ---- the rest ----

WHERE = """
sed 's/^[0-9]*:/init /' /proc/$pid/cgroup | sort
sed 's/^[0-9]*:/monitor /' /proc/$(sed -n 's/^PPid:\\t//p' /proc/$pid/status)/cgroup | sort
"""
# A mount that the host makes later.
SHARED = """
mkdir -p /run/parity/sh/x
mount -t tmpfs new /run/parity/sh/x
sed -n '/sh\\(.x\\)* rw/{s/^[0-9]* [0-9]* [0-9:]* //;s/:[0-9]*//;p}' /proc/$pid/mountinfo /proc/self/mountinfo
umount /run/parity/sh/x
"""
LEFT = "find /sys/fs/cgroup -mindepth 2 -name 'my*' -o -name 'pay*' -o -name 'mon*' -o -name 'inner*' | sort\n"
CONFIGS |= {
    "apparmor-unconfined": Twin("lxc.apparmor.profile = unconfined\nlxc.mount.auto = proc"),
    "apparmor-unchanged": Twin("lxc.apparmor.profile = unchanged\nlxc.mount.auto = proc"),
    "keyring": Twin("lxc.mount.auto = proc"),
    "keyring-off": Twin("lxc.keyring.session = 0\nlxc.mount.auto = proc"),
    "cgroup-dir": Twin("lxc.cgroup.dir = my/place\nlxc.mount.auto = proc", outside=WHERE, after=LEFT),
    "cgroup-dir-split": Twin("lxc.cgroup.dir.monitor = mon/a\nlxc.cgroup.dir.container = pay/a\n"
                             "lxc.cgroup.dir.container.inner = inner\nlxc.mount.auto = proc", outside=WHERE, after=LEFT),
    "cgroup-dir-pivot": Twin("lxc.cgroup.dir.monitor = mon/a\nlxc.cgroup.dir.monitor.pivot = mon/p\n"
                             "lxc.cgroup.dir.container = pay/a\nlxc.mount.auto = proc", outside=WHERE, after=LEFT),
    "cgroup-relative": Twin("lxc.cgroup.relative = 1\nlxc.cgroup.dir = my\nlxc.mount.auto = proc", outside=WHERE, after=LEFT),
    "cgroup-pattern": Twin("lxc.mount.auto = proc", host="echo lxc.cgroup.pattern = my/%n >/etc/lxc/lxc.conf",
                           outside=WHERE, after=LEFT),
    "cgroup-use": Twin("lxc.mount.auto = proc", host="echo lxc.cgroup.use = cpu,pids >/etc/lxc/lxc.conf", outside=WHERE),
    "shmounts": Twin("lxc.mount.auto = proc shmounts:/run/parity/sh:/mnt/sh", outside=SHARED,
                     host="mkdir -p /run/parity/sh /var/lib/lxc/c/rootfs/mnt/sh\nmount -t tmpfs sh /run/parity/sh\n"
                     "mount --make-shared /run/parity/sh", after="umount /run/parity/sh"),
    "ephemeral": Twin("lxc.ephemeral = 1\nlxc.mount.auto = proc\nlxc.hook.destroy = /run/parity/twin/hook word",
                      after="ls -A /var/lib/lxc"),
    "monitor-unshare": Twin("lxc.monitor.unshare = 1\nlxc.mount.auto = proc",
                            outside="monitor=$(sed -n 's/^PPid:\\t//p' /proc/$pid/status)\n"
                            "[ $(readlink /proc/$monitor/ns/mnt) = $(readlink /proc/self/ns/mnt) ] && echo same || echo own"),
    "listen-fds": Twin("lxc.mount.auto = proc", caller="exec 3</dev/null 4</dev/zero 5</dev/full\n"
                       "export LISTEN_FDS=2 LISTEN_PID=$$\nexec lxc-start -n c -F -l DEBUG -o /run/parity/log"),
    "prlimit-more": Twin("lxc.prlimit.memlock = 65536\nlxc.prlimit.stack = 1048576:2097152\n"
                         "lxc.prlimit.sigpending = 100:200\nlxc.prlimit.fsize = unlimited\nlxc.mount.auto = proc"),
    "sysctl-more": Twin("lxc.sysctl.kernel.domainname = box.test\nlxc.sysctl.net.ipv4.ip_forward = 1\nlxc.mount.auto = proc:rw"),
    "proc-more": Twin("lxc.proc.oom_score_adj = 300\nlxc.proc.setgroups = allow\nlxc.mount.auto = proc"),
    "common-conf": Twin("lxc.include = /usr/share/lxc/config/common.conf\n", probe=CALLS),
    "userns-conf": Twin("lxc.include = /usr/share/lxc/config/common.conf\nlxc.include = /usr/share/lxc/config/userns.conf\n"
                        + MAP, host=OWN, probe=CALLS),
    "include-missing": Twin("lxc.include = /nowhere/\nlxc.mount.auto = proc"),
    "nesting-conf": Twin("lxc.include = /usr/share/lxc/config/common.conf\nlxc.include = /usr/share/lxc/config/nesting.conf\n"
                         "lxc.apparmor.profile = unconfined"),
}

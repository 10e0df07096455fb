/*
 * floor NAME ROOTFS INIT [ARGUMENT...]
 * floor - INIT [ARGUMENT...]   as process 1: runs one program and reaps whatever else ends, nothing more
 *
 * The least that has to be done for one container, by bare system calls: what every figure of the bench is divided by.
 * It makes the cgroup lxc/NAME in the cpu hierarchy, five ptys, and a child in its own mount, pid, uts and ipc
 * namespaces with tmpfs /dev, proc, sysfs, devpts and the ptys bound; relays the console to stdout; starts again when
 * init asked for a reboot; and removes the cgroup. It checks that the calls worked and does nothing more: no config,
 * no log, no client, no security.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define CGROUP "/sys/fs/cgroup/cpu/lxc"
#define PTYS 5         /* the console and four ttys, as Android's config asks for */
#define RELAY_BYTES 1024 /* what the console goals were set against; a supervisor may well find a better size */
#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif
#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

struct pty {
	int master;
	int number;
};

static void need(long result, const char *step)
{
	if (result < 0) {
		dprintf(2, "floor: %s: %s\n", step, strerror(errno));
		_exit(127);
	}
}

static struct pty pty_open(void)
{
	struct pty pty;
	int unlock = 0;

	need(pty.master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), "open /dev/ptmx");
	need(ioctl(pty.master, TIOCSPTLCK, &unlock), "unlock pty");
	need(ioctl(pty.master, TIOCGPTN, &pty.number), "pty number");
	return pty;
}

static void node(const char *path, int minor)
{
	need(mknod(path, S_IFCHR | 0666, makedev(strcmp(path, "dev/tty") ? 1 : 5, minor)), path);
}

static void bind_pty(const struct pty *pty, const char *path)
{
	char from[32];

	snprintf(from, sizeof from, "/dev/pts/%d", pty->number);
	need(mknod(path, S_IFREG | 0600, 0), path);
	need(mount(from, path, 0, MS_BIND, 0), path);
}

static void child(const char *name, const char *rootfs, char **init, int tasks, const struct pty *ptys)
{
	static const char *const places[PTYS] = { "dev/console", "dev/tty1", "dev/tty2", "dev/tty3", "dev/tty4" };
	static char *const environment[] = { "container=lxc", "PATH=/", 0 };
	int console, i;

	need(prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
	/* "0" into `tasks` is the one way into a v1 cgroup that does not wait for a grace period of the kernel. */
	need(write(tasks, "0", 1), "join cgroup");
	need(mount(0, "/", 0, MS_REC | MS_SLAVE, 0), "make / slave");
	need(mount(rootfs, rootfs, 0, MS_BIND | MS_REC, 0), "bind rootfs");
	need(chdir(rootfs), "chdir rootfs");

	umask(0);
	need(mount("none", "dev", "tmpfs", MS_NOSUID, "mode=755,size=500k"), "mount /dev");
	need(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0), "mount /proc");
	need(mount("sysfs", "sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, 0), "mount /sys");
	node("dev/null", 3);
	node("dev/zero", 5);
	node("dev/full", 7);
	node("dev/random", 8);
	node("dev/urandom", 9);
	node("dev/tty", 0);
	need(mkdir("dev/pts", 0755), "mkdir /dev/pts");
	need(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"), "mount /dev/pts");
	need(symlink("pts/ptmx", "dev/ptmx"), "link /dev/ptmx");
	need(console = ioctl(ptys[0].master, TIOCGPTPEER, O_RDWR | O_NOCTTY), "open console");
	for (i = 0; i < PTYS; i++)
		bind_pty(&ptys[i], places[i]);

	need(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	need(umount2(".", MNT_DETACH), "leave the host's root");
	need(sethostname(name, strlen(name)), "sethostname");
	need(setsid(), "setsid");
	need(ioctl(console, TIOCSCTTY, 0), "take the console");
	for (i = 0; i < 3; i++)
		need(dup2(console, i), "dup2");
	close(console);
	execve(init[0], init, environment);
	need(-1, init[0]);
}

/* Copies what is there; false when nobody can write any more. */
static int relay(int console)
{
	char bytes[RELAY_BYTES];
	ssize_t got = read(console, bytes, sizeof bytes), at = 0, put;

	for (; at < got; at += put)
		need(put = write(1, bytes + at, got - at), "write console");
	return got > 0;
}

/* Waits for init's end, then for the rest of its words. */
static void watch(int pidfd, int console)
{
	struct pollfd fds[2] = { { pidfd, POLLIN, 0 }, { console, POLLIN, 0 } };

	do {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents && !relay(console))
			fds[1].fd = -1;
	} while (!fds[0].revents);
	while (fds[1].fd >= 0 && poll(&fds[1], 1, 0) == 1 && relay(console))
		;
}

static siginfo_t one_life(const char *name, const char *rootfs, char **init)
{
	char group[256], tasks_path[272];
	struct pty ptys[PTYS];
	siginfo_t end = { 0 };
	int tasks, pidfd = -1, i;
	long pid;

	snprintf(group, sizeof group, CGROUP "/%s", name);
	snprintf(tasks_path, sizeof tasks_path, "%s/tasks", group);
	if (mkdir(group, 0755) < 0) {
		if (errno == ENOENT)
			mkdir(CGROUP, 0755);
		need(mkdir(group, 0755), group);
	}
	need(tasks = open(tasks_path, O_WRONLY | O_CLOEXEC), tasks_path);
	for (i = 0; i < PTYS; i++)
		ptys[i] = pty_open();

	need(pid = syscall(SYS_clone, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_PIDFD | SIGCHLD, 0, &pidfd, 0, 0), "clone");
	if (pid == 0)
		child(name, rootfs, init, tasks, ptys);
	close(tasks);
	watch(pidfd, ptys[0].master);
	need(waitid(P_PID, pid, &end, WEXITED), "waitid");

	close(pidfd);
	for (i = 0; i < PTYS; i++)
		close(ptys[i].master);
	need(rmdir(group), group);
	return end;
}

static int reaper(char **program)
{
	pid_t child = fork(), ended;
	int status = 0;

	need(child, "fork");
	if (child == 0) {
		execve(program[0], program, environ);
		need(-1, program[0]);
	}
	do
		need(ended = wait(&status), "wait");
	while (ended != child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	siginfo_t end;

	if (argc > 2 && !strcmp(argv[1], "-"))
		return reaper(argv + 2);
	if (argc < 4) {
		dprintf(2, "usage: floor NAME ROOTFS INIT [ARGUMENT...]\n");
		return 2;
	}
	/* The kernel's word for reboot(2) in a pid namespace is that init was killed by SIGHUP. */
	do
		end = one_life(argv[1], argv[2], argv + 3);
	while (end.si_code == CLD_KILLED && end.si_status == SIGHUP);
	return end.si_code == CLD_EXITED ? end.si_status : 128 + end.si_status;
}

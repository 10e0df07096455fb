/*
 * The container's init of the bench. It appends records of two 64-bit words (what, nanoseconds) to /stamps:
 *   1  its first instruction (CLOCK_MONOTONIC, as all the clocks here are of the host: no time namespace is made)
 *   2  just before its end
 *   3  its own CPU time, before its end
 *
 * init exit            ends at once
 * init hold            waits for SIGKILL
 * init restart         first life: a pause that lets the kernel cool down, then reboot(2); second life: as hold
 * init spew BYTES      writes BYTES to /dev/console in lines of 80, as a log is, then ends
 * init orphans COUNT   leaves COUNT processes to process 1, one after the other, then waits for SIGKILL; for this mode, which
 *                      runs in no container, STAMPS names the file
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FIRST = 1, LAST = 2, CPU = 3 };
enum { LINE = 80 };

static uint64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static void stamp(int file, uint64_t what, uint64_t value)
{
	uint64_t record[2] = { what, value };

	if (write(file, record, sizeof record) != sizeof record)
		_exit(100);
}

static void hold(void)
{
	for (;;)
		pause();
}

static void spew(long long bytes)
{
	static char text[LINE * 200];
	int console = open("/dev/console", O_WRONLY | O_NOCTTY);
	ssize_t put;
	size_t at;

	memset(text, 'x', sizeof text);
	for (at = LINE - 1; at < sizeof text; at += LINE)
		text[at] = '\n';
	for (; bytes > 0; bytes -= put) {
		put = write(console, text, bytes < (long long)sizeof text ? (size_t)bytes : sizeof text);
		if (put < 0)
			_exit(101);
	}
}

/* Each has a parent that ends at once. */
static void orphans(long long count)
{
	pid_t parent;

	for (; count > 0; count--) {
		parent = fork();
		if (parent == 0) {
			fork();
			_exit(0);
		}
		if (parent < 0 || waitpid(parent, 0, 0) != parent)
			_exit(102);
	}
}

int main(int argc, char **argv)
{
	uint64_t first = now(CLOCK_MONOTONIC);
	const char *mode = argc > 1 ? argv[1] : "exit";
	struct timespec cool = { 0, 120000000 };
	struct stat before = { 0 };
	const char *path = getenv("STAMPS");
	int file = open(path ? path : "/stamps", O_WRONLY | O_APPEND);

	fstat(file, &before);
	stamp(file, FIRST, first);
	if (!strcmp(mode, "hold") || (!strcmp(mode, "restart") && before.st_size > 0))
		hold();
	if (!strcmp(mode, "restart"))
		nanosleep(&cool, 0);
	if (!strcmp(mode, "spew") && argc > 2)
		spew(atoll(argv[2]));
	if (!strcmp(mode, "orphans") && argc > 2)
		orphans(atoll(argv[2]));
	stamp(file, CPU, now(CLOCK_PROCESS_CPUTIME_ID));
	stamp(file, LAST, now(CLOCK_MONOTONIC));
	if (!strcmp(mode, "restart"))
		reboot(RB_AUTOBOOT);
	if (!strcmp(mode, "orphans"))
		hold();
	return 0;
}

/* What libseccomp makes of a policy: reads it from standard input as oracle.rs writes it, writes the
 * program to standard output. With an argument: resolves the names on standard input for five machines. */
#include <seccomp.h>
#include <stdio.h>
#include <string.h>

static const unsigned ARCHES[] = {SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_X32, SCMP_ARCH_AARCH64, SCMP_ARCH_ARM};

static int resolve(void)
{
	char name[128];

	while (scanf("%127s", name) == 1) {
		printf("%s", name);
		for (int i = 0; i < 5; i++)
			printf(" %d", seccomp_syscall_resolve_name_arch(ARCHES[i], name));
		printf("\n");
	}
	return 0;
}

int main(int argc, char **argv)
{
	scmp_filter_ctx all[5] = {0};
	unsigned fallback, machine, action, count;
	char name[128], mode;

	(void)argv;
	if (argc > 1)
		return resolve();
	if (scanf("%x", &fallback) != 1)
		return 10;
	while (scanf(" %c", &mode) == 1) {
		if (mode == 'm') {
			if (scanf("%u", &machine) != 1 || !(all[machine] = seccomp_init(fallback)))
				return 11;
			seccomp_attr_set(all[machine], SCMP_FLTATR_CTL_NNP, 0);
			if (ARCHES[machine] != seccomp_arch_native()
			    && (seccomp_arch_add(all[machine], ARCHES[machine])
				|| seccomp_arch_remove(all[machine], SCMP_ARCH_NATIVE)))
				return 12;
			continue;
		}
		struct scmp_arg_cmp tests[6];
		int number;

		if (scanf("%u %127s %x %u", &machine, name, &action, &count) != 4 || count > 6)
			return 13;
		for (unsigned i = 0; i < count; i++) {
			unsigned arg, op;
			unsigned long long a, b;

			if (scanf("%u %u %llu %llu", &arg, &op, &a, &b) != 4)
				return 14;
			tests[i] = (struct scmp_arg_cmp){arg, op, a, b};
		}
		if (sscanf(name, "%d", &number) != 1)
			number = seccomp_syscall_resolve_name(name);
		if (number == __NR_SCMP_ERROR)
			continue;
		/* A call that this machine does not have is none of its. */
		int done = seccomp_rule_add_exact_array(all[machine], action, number, count, tests);
		if (done && done != -33 /* EDOM */ && seccomp_syscall_resolve_name_arch(ARCHES[machine], name) >= 0) {
			fprintf(stderr, "%s on machine %u: %d\n", name, machine, done);
			return 15;
		}
	}
	scmp_filter_ctx first = NULL;
	for (int i = 0; i < 5; i++) {
		if (all[i] && !first)
			first = all[i];
		else if (all[i] && seccomp_merge(first, all[i]))
			return 16;
	}
	return seccomp_export_bpf(first, 1) ? 17 : 0;
}

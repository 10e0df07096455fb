//! Seccomp policies: what is compiled, and guests under them.

#[cfg(feature = "seccomp")]
#[path = "../../src/seccomp/interpreter.rs"]
mod interpreter;
mod notify;
#[cfg(feature = "seccomp")]
mod oracle;

use crate::support::kernel::{Is, Kernel};
use crate::support::{Guest, emulated, strace};
use std::fs;
use std::path::{Path, PathBuf};

const PROC: &str = "lxc.mount.entry = proc proc proc nodev,noexec,nosuid 0 0";

/// A guest under a policy.
fn under(label: &str, policy: &str) -> Guest {
    let guest = Guest::new(label);
    let file = guest.dir().join("policy");
    fs::write(&file, policy).unwrap();
    guest.config(&format!("lxc.seccomp.profile = {}", file.display()))
}

/// False, with the skip said, under qemu-user, which has no filters of its own.
fn available(test: &str) -> bool {
    !emulated(test, "its system calls are not the kernel's")
}

/// The step that makes a call.
fn call(number: i64, args: &[u64]) -> String {
    let args: String = args.iter().map(|arg| format!(" {arg}")).collect();
    format!("call {number}{args}")
}

#[test]
fn policy_denylist_answers_by_errno_and_argument() {
    if !available("policy_denylist_answers_by_errno_and_argument") {
        return;
    }
    let policy =
        "2\ndenylist\n[all]\ngetpriority errno 38\npersonality errno 5 [0,0xffffffff,SCMP_CMP_EQ]\nno_such_call\n";
    let guest = under("denylist", policy).config(PROC);
    let looks = call(libc::SYS_personality, &[0xffff_ffff]);
    let sets = call(libc::SYS_personality, &[0]);
    let ended = guest.run(&format!("{} , {looks} , {sets} , read /proc/self/status", call(libc::SYS_getpriority, &[])));
    assert_eq!(ended.code, Some(0), "{ended}");
    let said = guest.results();
    assert!(said.contains(&format!("call {}: Function not implemented\n", libc::SYS_getpriority)), "{said}");
    assert!(said.contains(&format!("{looks}: I/O error\n")), "{said}");
    assert!(said.contains(&format!("{sets}: ok\n")), "{said}");
    assert!(said.contains("Seccomp:\t2\nSeccomp_filters:\t1\n"), "{said}");
    assert!(ended.stderr.contains("policy:6: no_such_call"), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn policy_kill_ends_init_and_says_so() {
    if !available("policy_kill_ends_init_and_says_so") {
        return;
    }
    let guest = under("kill", "2\nblacklist\nadjtimex\n");
    let ended = guest.run(&format!("say before , {} , say after", call(libc::SYS_adjtimex, &[])));
    assert_eq!(guest.results(), "before\n", "{ended}");
    assert_eq!(ended.code, Some(128 + libc::SIGSYS), "{ended}");
    assert!(ended.stderr.contains("seccomp policy"), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn policy_allowlist_lets_through_what_it_names() {
    if !available("policy_allowlist_lets_through_what_it_names") {
        return;
    }
    // All that a static program and the way to it need.
    let calls = "execve execveat brk mmap munmap mprotect mremap madvise read write open openat close lseek fstat statx newfstatat \
        fcntl ioctl poll ppoll rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack set_tid_address arch_prctl prlimit64 exit \
        exit_group getpid gettid setsid setgroups setgid setuid prctl chdir getrandom futex sched_getaffinity sendmsg sendto \
        clone fork vfork wait4 rseq set_robust_list";
    let policy = format!("2\nallowlist errno 1\n{}\n", calls.split_whitespace().collect::<Vec<_>>().join("\n"));
    let guest = under("allowlist", &policy);
    let ended = guest.run(&format!("say here , {}", call(libc::SYS_getppid, &[])));
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(guest.results(), format!("here\ncall {}: Operation not permitted\n", libc::SYS_getppid));
    // The way to init is under it already.
    let guest = under("deadly", "2\nallowlist kill\nread\n");
    let ended = guest.run("say here");
    assert_eq!((ended.code, guest.results().as_str()), (Some(128 + libc::SIGSYS), ""), "{ended}");
    assert!(ended.stderr.contains("seccomp policy"), "{ended}");
    guest.assert_nothing_left();
}

#[cfg(target_arch = "x86_64")]
#[test]
fn policy_holds_for_calls_of_32_bits() {
    if !available("policy_holds_for_calls_of_32_bits") {
        return;
    }
    let policy = "2\ndenylist\n[x86]\ngetppid errno 77\nsocket errno 97\n[x86_64]\ngetuid errno 78\n";
    let guest = under("32_bits", policy);
    // getppid, getuid32, socketcall of socket and of bind, of i386.
    let ended = guest.run("call-32 64 , call-32 199 , call-32 102 1 0 , call-32 102 2 0 , call 110 , call 102");
    assert_eq!(
        guest.results(),
        "call-32 64: File descriptor in bad state\ncall-32 199: ok\n\
        call-32 102 1 0: Address family not supported by protocol\ncall-32 102 2 0: Bad address\n\
        call 110: ok\ncall 102: Remote address changed\n",
        "{ended}"
    );
    // Version 1 knows the native machine only.
    let list: String = (0..500).map(|number| format!("{number}\n")).collect();
    let guest = under("version_1", &format!("1\nallowlist\n{list}"));
    let ended = guest.run("call 110 , call-32 64");
    assert_eq!((guest.results().as_str(), ended.code), ("call 110: ok\n", Some(128 + libc::SIGSYS)), "{ended}");
}

#[test]
fn policy_reject_force_umount_refuses_force_only() {
    if !available("policy_reject_force_umount_refuses_force_only") {
        return;
    }
    let guest = under("force", "2\ndenylist\nreject_force_umount  # comment\n[all]\nkexec_load errno 1\n");
    let umount = |flags| call(libc::SYS_umount2, &[0, flags]);
    let ended = guest.run(&format!("{} , {} , {}", umount(1), umount(3), umount(2)));
    let said = guest.results();
    assert!(
        said.contains(&format!("{}: Permission denied\n{}: Permission denied\n", umount(1), umount(3))),
        "{said}{ended}"
    );
    assert!(said.contains(&format!("{}: Bad address\n", umount(2))), "{said}{ended}");
}

#[test]
fn policy_and_guard_hold_together() {
    if !crate::guard::available("policy_and_guard_hold_together") {
        return;
    }
    let guest = under("both", "2\ndenylist\ngetpriority errno 38\n").config(PROC).config("monopod.protect = 1");
    let ended = guest
        .run(&format!("read /proc/self/status , {} , mount proc /proc , try /proc", call(libc::SYS_getpriority, &[])));
    let said = guest.results();
    assert!(said.contains("Seccomp_filters:\t2\n"), "{said}{ended}");
    assert!(said.contains(": Function not implemented\n"), "{said}{ended}");
    assert!(said.ends_with("mount proc /proc: ok\ntry /proc: refused\n"), "{said}{ended}");
    guest.assert_nothing_left();
}

#[test]
fn policy_within_another_is_loaded_only_if_nesting_is_allowed() {
    if !available("policy_within_another_is_loaded_only_if_nesting_is_allowed") {
        return;
    }
    let step = call(libc::SYS_getpriority, &[]);
    for (nesting, answer) in [("", "ok"), ("lxc.seccomp.allow_nesting = 1", "Function not implemented")] {
        let mut guest = under("nesting", "2\ndenylist\ngetpriority errno 38\n").config(nesting);
        // Something harmless, so that there is a filter.
        guest.set_kernel(Kernel::new().answer(libc::SYS_acct, &[Is::Any(0, u32::MAX)], libc::EPERM));
        let ended = guest.run(&step);
        assert_eq!(guest.results(), format!("{step}: {answer}\n"), "{ended}");
        assert_eq!(ended.stderr.contains("is not loaded"), nesting.is_empty(), "{ended}");
    }
}

#[test]
fn policy_holds_for_what_is_attached() {
    if !available("policy_holds_for_what_is_attached") {
        return;
    }
    let guest = under("attached", "2\ndenylist\ngetpriority errno 38\nno_such_call\n").config("lxc.no_new_privs = 1");
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let step = call(libc::SYS_getpriority, &[]);
    let attach = |options: &[&str]| {
        let words: Vec<&str> = step.split(' ').collect();
        let ended = guest.client("attach", &[options, &["--", "/init"], &words].concat());
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended}");
        guest.results().lines().last().unwrap().to_owned()
    };
    assert_eq!(attach(&[]), format!("{step}: Function not implemented"));
    assert_eq!(attach(&["--elevated-privileges=CAP"]), format!("{step}: Function not implemented"));
    assert_eq!(attach(&["--elevated-privileges=LSM"]), format!("{step}: ok"));
    // It goes by what stands in the file now; without it nobody knows.
    fs::remove_file(guest.dir().join("policy")).unwrap();
    let ended = guest.client("attach", &["--", "/init", "say", "no"]);
    assert_eq!(ended.code, Some(1), "{ended}");
    assert!(ended.stderr.contains("policy: No such file or directory"), "{ended}");
    assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
    running.wait();
    guest.assert_nothing_left();
}

#[test]
fn policy_no_new_privs_comes_first() {
    if !available("policy_no_new_privs_comes_first") {
        return;
    }
    let guest =
        under("nnp", "2\ndenylist\nprctl errno 1\n").config(PROC).config("lxc.no_new_privs = 1\nlxc.cap.keep = none");
    let ended = guest.run("read /proc/self/status");
    let said = guest.results();
    assert!(said.contains("NoNewPrivs:\t1\nSeccomp:\t2\n"), "{said}{ended}");
}

#[test]
fn policy_that_cannot_be_loaded_refuses_the_start() {
    if !strace::available("policy_that_cannot_be_loaded_refuses_the_start") {
        return;
    }
    let guest = under("faults", "2\ndenylist\ngetpriority errno 38\n");
    let calls = strace::Trace::of(&guest, "exit 0").child;
    let place =
        calls.iter().filter(|call| strace::is(call, "prctl")).position(|call| call.contains("PR_SET_SECCOMP")).unwrap();
    guest.assert_nothing_left();
    for (error, says) in [("EACCES", "lxc.no_new_privs"), ("ENOMEM", "Out of memory"), ("EINVAL", "Invalid argument")] {
        let ended = strace::run(&guest, "say no", &[format!("prctl:error={error}:when={}", place + 1)]);
        assert_eq!(ended.code, Some(255), "{ended}");
        assert!(ended.stderr.contains("seccomp: ") && ended.stderr.contains("policy"), "{ended}");
        assert!(ended.stderr.contains(says), "{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn policy_that_an_old_kernel_has_no_answers_for_is_refused() {
    let test = "policy_that_an_old_kernel_has_no_answers_for_is_refused";
    if !available(test) || !crate::support::kernel::available(test) {
        return;
    }
    for (policy, says) in [
        ("2\ndenylist\ngetpriority log\n", "policy: log needs Linux 4.14"),
        ("2\ndenylist\ngetpriority notify\n", "the policy's notify needs Linux 5.7"),
    ] {
        let mut guest = under("old", policy).config("lxc.seccomp.allow_nesting = 1");
        guest.set_kernel(Kernel::new().answer(libc::SYS_seccomp, &[], libc::EINVAL));
        let ended = guest.run("say no");
        assert_eq!((ended.code, guest.results().as_str()), (Some(255), ""), "{ended}");
        assert!(ended.stderr.contains(says), "{ended}");
        guest.assert_nothing_left();
    }
    let guest = under("logged", "2\ndenylist\ngetpriority log\n");
    let step = call(libc::SYS_getpriority, &[0, 1]);
    let ended = guest.run(&step);
    assert_eq!(guest.results(), format!("{step}: ok\n"), "{ended}");
}

#[test]
fn policies_of_lxc_and_of_waydroid_load() {
    let test = "policies_of_lxc_and_of_waydroid_load";
    if !available(test) {
        return;
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = ["../shared/corpus", "../../shared/corpus"].map(|path| manifest.join(path));
    let beside = beside.into_iter().find(|path| path.exists()).unwrap_or_default();
    let corpus = std::env::var_os("MONOPOD_CORPUS").map_or(beside, PathBuf::from);
    let common = PathBuf::from("/usr/share/lxc/config/common.seccomp");
    for path in [common, corpus.join("lxc-common.seccomp"), corpus.join("waydroid.seccomp")] {
        let Ok(policy) = fs::read_to_string(&path) else {
            crate::support::skip(test, &format!("no {}", path.display()), false);
            continue;
        };
        let guest = under("real", &policy);
        let ended =
            guest.run(&format!("{} , {}", call(libc::SYS_open_by_handle_at, &[]), call(libc::SYS_adjtimex, &[])));
        assert_eq!(ended.code, Some(0), "{}: {ended}", path.display());
        let said = guest.results();
        let waydroid = path.ends_with("waydroid.seccomp");
        let expected =
            if waydroid { ["Function not implemented", "ok"] } else { ["Operation not permitted", "Bad address"] };
        for (line, expected) in said.lines().zip(expected) {
            assert!(line.ends_with(expected), "{}: {said}", path.display());
        }
    }
}

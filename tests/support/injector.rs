//! System calls that fail, fall short, dawdle or end their process, each told from all others: the nth of its name in the nth
//! process of a run. It is ptrace(2): strace(1) counts by process, so that it cannot reach a child's call whose number is also
//! one of its parent's. What any but the first process executes is let go: it is not ours.

mod registers;

use super::{Collected, Ended, Guest};
use monopod::seccomp::table;
use registers::Registers;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Whether calls can be told and changed here. The skip is said.
#[must_use]
pub fn available(test: &str) -> bool {
    if !cfg!(target_arch = "x86_64") {
        super::skip(test, "the injector knows the registers of x86_64", false);
        return false;
    }
    !super::emulated(test, "the injector would see the calls of the emulator")
        && !super::dynamic(test, "its loader, and the sanitizer that it may have, bear no fault")
}

/// One call of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which process, in the order of their births.
    pub process: usize,
    /// The call's name.
    pub name: &'static str,
    /// Which of this name in this process, from 1.
    pub nth: usize,
    /// The path that it names, or what its descriptor is.
    pub object: String,
}

/// What happens at a call.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It is not made and gives this errno. (`close` is made: the kernel always closes.)
    Errno(i32),
    /// It reads or writes one byte.
    Short,
    /// SIGKILL for its process, before it.
    Kill,
    /// Its process waits before it, and nobody else does.
    Delay(Duration),
}

/// A run under the injector.
pub struct Injected<'g> {
    guest: &'g Guest,
    shared: Arc<Mutex<Shared>>,
    status: Receiver<i32>,
    stdout: Collected,
    stderr: Collected,
}

#[derive(Default)]
struct Shared {
    calls: Vec<Call>,
    executed: Vec<(usize, String)>,
    cgroups: String,
    living: Vec<i32>,
    hit: usize,
}

impl<'g> Injected<'g> {
    /// Starts `command`, which is to enter the guest's sandbox already. With `records` calls are known to the end, else only
    /// up to the last of the faults, which is much faster.
    pub fn start(guest: &'g Guest, mut command: Command, faults: &[(Call, Fault)], records: bool) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: one system call between fork and exec.
        unsafe { command.pre_exec(|| checked(libc::ptrace(libc::PTRACE_TRACEME as _, 0, 0, 0))) };
        let shared = Arc::<Mutex<Shared>>::default();
        let ((started, start), (ended, status)) = (channel(), channel());
        let (ours, faults) = (shared.clone(), faults.to_vec());
        // Its tracer hears of its end before anybody could wait for it.
        #[allow(clippy::zombie_processes)]
        std::thread::spawn(move || {
            // Only the thread that it is a child of can trace it.
            let mut child = command.spawn().unwrap();
            let pid = child.id() as i32;
            let outputs = (Collected::from(child.stdout.take()), Collected::from(child.stderr.take()));
            drop(command);
            started.send(outputs).unwrap();
            let _ = ended.send(Tracer::new(ours, faults, records).run(pid));
        });
        let (stdout, stderr) = start.recv().unwrap();
        Injected { guest, shared, status, stdout, stderr }
    }

    /// How many calls were made so far.
    pub fn made(&self) -> usize {
        self.shared.lock().unwrap().calls.len()
    }

    /// Whether the first process has ended.
    pub fn has_ended(&self) -> bool {
        self.shared.lock().unwrap().living.is_empty() && self.made() > 0
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.lock().unwrap().calls.clone()
    }

    /// How many calls were made before `program` was executed for the nth time, from 0.
    pub fn before(&self, program: &str, nth: usize) -> Option<usize> {
        let shared = self.shared.lock().unwrap();
        shared.executed.iter().filter(|(_, name)| name == program).nth(nth).map(|(at, _)| *at)
    }

    /// The cgroups, as the host names them, of what was executed last.
    pub fn cgroups(&self) -> String {
        self.shared.lock().unwrap().cgroups.clone()
    }

    /// How many of the faults came about.
    pub fn hit(&self) -> usize {
        self.shared.lock().unwrap().hit
    }

    /// Waits for the end of all processes that are traced. None if it does not come; then they are killed.
    pub fn wait(&self, limit: Duration) -> Option<Ended> {
        let Ok(status) = self.status.recv_timeout(limit) else {
            let living = self.shared.lock().unwrap().living.clone();
            living.into_iter().for_each(|pid| super::kill(pid, libc::SIGKILL));
            self.guest.clean_up();
            let _ = self.status.recv_timeout(limit);
            return None;
        };
        super::wait_for(Duration::from_millis(500), || self.stdout.at_end() && self.stderr.at_end());
        let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
        let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
        let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
        Some(Ended { code, signal, stdout, stderr, logs: self.guest.logs() })
    }
}

/// A process that is traced.
struct Process {
    number: usize,
    counts: HashMap<i64, usize>,
    inside: bool,
    result: Option<i32>,
}

struct Tracer {
    shared: Arc<Mutex<Shared>>,
    faults: Vec<(Call, Fault)>,
    processes: HashMap<i32, Process>,
    held: Vec<(Instant, i32)>,
    born: usize,
    records: bool,
}

impl Tracer {
    fn new(shared: Arc<Mutex<Shared>>, faults: Vec<(Call, Fault)>, records: bool) -> Self {
        Tracer { shared, faults, processes: HashMap::new(), held: Vec::new(), born: 0, records }
    }

    /// Follows the process, which is about to execute, and all it forks. Its wait status.
    fn run(mut self, first: i32) -> i32 {
        let mut end = 0;
        loop {
            let now = Instant::now();
            let due: Vec<i32> = self.held.iter().filter(|(at, _)| *at <= now).map(|(_, pid)| *pid).collect();
            self.held.retain(|(at, _)| *at > now);
            due.into_iter().for_each(|pid| self.resume(pid, 0));
            let mut status = 0;
            let flags = libc::__WALL | libc::__WNOTHREAD | if self.held.is_empty() { 0 } else { libc::WNOHANG };
            // SAFETY: the kernel writes one int.
            match unsafe { libc::waitpid(-1, &mut status, flags) } {
                0 => std::thread::sleep(Duration::from_micros(300)),
                -1 => return end,
                pid if libc::WIFSTOPPED(status) => self.stopped(pid, status, first),
                pid => {
                    if pid == first {
                        end = status;
                    }
                    self.lose(pid);
                }
            }
        }
    }

    fn lose(&mut self, pid: i32) {
        self.processes.remove(&pid);
        self.held.retain(|(_, held)| *held != pid);
        self.shared.lock().unwrap().living.retain(|living| *living != pid);
    }

    fn resume(&self, pid: i32, signal: i32) {
        // Nothing more is to happen: calls need not stop it.
        let on = !self.records && self.faults.is_empty() && self.processes.values().all(|one| one.result.is_none());
        let request = if on { libc::PTRACE_CONT } else { libc::PTRACE_SYSCALL };
        ask(request, pid, i64::from(signal));
    }

    fn stopped(&mut self, pid: i32, status: i32, first: i32) {
        const CALL: i32 = libc::SIGTRAP | 0x80;
        if !self.processes.contains_key(&pid) {
            let process = Process { number: self.born, counts: HashMap::new(), inside: false, result: None };
            self.processes.insert(pid, process);
            self.born += 1;
            self.shared.lock().unwrap().living.push(pid);
            let options = libc::PTRACE_O_TRACESYSGOOD
                | libc::PTRACE_O_TRACEFORK
                | libc::PTRACE_O_TRACEVFORK
                | libc::PTRACE_O_TRACECLONE
                | libc::PTRACE_O_TRACEEXEC
                | libc::PTRACE_O_EXITKILL;
            if pid == first {
                ask(libc::PTRACE_SETOPTIONS, pid, i64::from(options));
            }
            // Its first stop is the tracing's own.
            return self.resume(pid, 0);
        }
        match (libc::WSTOPSIG(status), status >> 16) {
            (CALL, _) => self.call(pid),
            (libc::SIGTRAP, libc::PTRACE_EVENT_EXEC) if pid != first => {
                let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let program =
                    String::from_utf8_lossy(words.split(|byte| *byte == 0).next().unwrap_or(&[])).into_owned();
                let mut shared = self.shared.lock().unwrap();
                let at = shared.calls.len();
                shared.executed.push((at, program));
                shared.cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
                drop(shared);
                self.lose(pid);
                ask(libc::PTRACE_DETACH, pid, 0);
            }
            (libc::SIGTRAP, 1..) => self.resume(pid, 0),
            (signal, _) => self.resume(pid, signal),
        }
    }

    /// A call begins or ends.
    fn call(&mut self, pid: i32) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.inside = !process.inside;
        if !process.inside {
            if let Some(errno) = process.result.take() {
                Registers::of(pid).answer(-i64::from(errno));
            }
            return self.resume(pid, 0);
        }
        let registers = Registers::of(pid);
        let number = registers.number();
        let nth = process.counts.entry(number).and_modify(|count| *count += 1).or_insert(1);
        let (process, nth, name) = (process.number, *nth, name(number));
        let object = if self.records { registers.object(name) } else { String::new() };
        self.shared.lock().unwrap().calls.push(Call { process, name, nth, object });
        let same = |(call, _): &(Call, Fault)| (call.process, call.name, call.nth) == (process, name, nth);
        if let Some(at) = self.faults.iter().position(same) {
            let (_, fault) = self.faults.swap_remove(at);
            self.shared.lock().unwrap().hit += 1;
            match fault {
                Fault::Errno(errno) => {
                    if name != "close" {
                        registers.skip();
                    }
                    self.processes.get_mut(&pid).unwrap().result = Some(errno);
                }
                Fault::Short => registers.shorten(),
                Fault::Kill => super::kill(pid, libc::SIGKILL),
                Fault::Delay(time) => return self.held.push((Instant::now() + time, pid)),
            }
        }
        self.resume(pid, 0);
    }
}

fn checked(result: libc::c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(target_env = "gnu")]
type Request = libc::c_uint;
#[cfg(not(target_env = "gnu"))]
type Request = libc::c_int;

/// One that is gone by now cannot be asked for anything: its end comes by itself.
fn ask(request: Request, pid: i32, data: i64) {
    // SAFETY: these requests take numbers only.
    unsafe { libc::ptrace(request, pid, 0, data) };
}

/// The name of a system call.
fn name(number: i64) -> &'static str {
    let row = table::X86_64.iter().position(|known| *known != table::NO && i64::from(*known) == number);
    row.map_or("?", |row| std::str::from_utf8(table::name(row as u16)).unwrap())
}

//! Where a cycle's time goes: each part of it by the kernel's own tracer, which notes every system call and page fault of the
//! supervisor and of the child that becomes init.
//!
//! The tracer costs half a microsecond a call. So its figures are for the comparison of two programs part by part, not for the
//! time of the whole.

use crate::life::{self, Mode};
use crate::place::Place;
use crate::report::{Row, median};
use crate::subject::{Build, Kind};
use monopod::seccomp::table;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Traced cycles of each subject.
const CYCLES: usize = 20;
/// Calls that are named: those on which more is spent than by the floor, the dearest first.
const NAMED: usize = 16;

/// The parts of a cycle, in their order.
const PARTS: [&str; 5] = [
    "the supervisor, from its exec to clone",
    "clone",
    "the child, to the exec of init, that included",
    "init, to its first call",
    "the supervisor, from init's exit to its own",
];

/// One part: system calls, µs in them, µs between them, page faults.
type Part = [f64; 4];

/// One cycle.
#[derive(Default)]
struct Cycle {
    parts: [Part; PARTS.len()],
    /// By the call's name: how many, and the µs in all of them.
    calls: BTreeMap<&'static str, (f64, f64)>,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Enter(i64),
    Exit,
    Fault,
}

#[derive(Clone, Copy)]
struct Event {
    us: f64,
    what: What,
}

/// The tracer's own directory for us, gone with this.
struct Tracer {
    root: PathBuf,
    instance: PathBuf,
}

impl Tracer {
    fn open(place: &Place) -> Result<Self, String> {
        let root = place.file("tracing");
        fs::create_dir_all(&root).map_err(|e| format!("{}: {e}", root.display()))?;
        mount(Some("bench"), &root, Some("tracefs"), MsFlags::empty(), None::<&str>)
            .map_err(|e| format!("mount tracefs: {}", e.desc()))?;
        let instance = root.join(format!("instances/monopod-bench-{}", std::process::id()));
        let tracer = Tracer { root, instance };
        fs::create_dir(&tracer.instance).map_err(|e| format!("{}: {e}", tracer.instance.display()))?;
        for (file, text) in [
            ("tracing_on", "0"),
            ("trace_clock", "mono"),
            ("buffer_size_kb", "2048"),
            // Ourselves, and whom we start.
            ("set_event_pid", &std::process::id().to_string()),
            ("options/event-fork", "1"),
            ("events/raw_syscalls/enable", "1"),
        ] {
            tracer.write(file, text)?;
        }
        // Only x86 has it by this name.
        let _ = tracer.write("events/exceptions/page_fault_user/enable", "1");
        Ok(tracer)
    }

    fn write(&self, file: &str, text: &str) -> Result<(), String> {
        let path = self.instance.join(file);
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// One cycle of a subject: what the tracer wrote.
    fn cycle(&self, place: &Place, row: &Row) -> Result<String, String> {
        self.write("trace", "")?;
        let mut command = row.subject.start(place, row.subject.name(), Mode::Exit);
        place.show(row.subject.view)?;
        fs::write(place.rootfs().join("stamps"), b"").map_err(|e| format!("stamps: {e}"))?;
        std::thread::sleep(life::COOL);
        self.write("tracing_on", "1")?;
        let done = life::run(place, &row.subject, &mut command);
        self.write("tracing_on", "0")?;
        done?;
        fs::read_to_string(self.instance.join("trace")).map_err(|e| format!("trace: {e}"))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.instance);
        let _ = umount2(&self.root, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(Path::new(&self.root));
    }
}

/// The pid, the time and the kind of one line of the trace: `comm-PID [CPU] flags seconds: event: ...`.
fn parsed(line: &str) -> Option<(i32, Event)> {
    let (head, rest) = line.split_once(" [")?;
    let pid = head.rsplit_once('-')?.1.trim().parse().ok()?;
    let (stamp, rest) = rest.split_once(": ")?;
    let seconds: f64 = stamp.split_whitespace().last()?.parse().ok()?;
    let (event, rest) = rest.split_once(": ").unwrap_or((rest, ""));
    let what = match event {
        "sys_enter" => What::Enter(rest.strip_prefix("NR ")?.split_whitespace().next()?.parse().ok()?),
        "sys_exit" => What::Exit,
        "page_fault_user" => What::Fault,
        _ => return None,
    };
    Some((pid, Event { us: seconds * 1e6, what }))
}

/// What two programs call differently, by the name of the one that can do both.
const SAME: [(&str, &str); 6] = [
    ("open", "openat"),
    ("mknod", "mknodat"),
    ("symlink", "symlinkat"),
    ("rmdir", "unlinkat"),
    ("unlink", "unlinkat"),
    ("clone3", "clone"),
];

/// The name of a call of this machine.
fn name(number: i64) -> &'static str {
    let column = if cfg!(target_arch = "aarch64") { &table::AARCH64 } else { &table::X86_64 };
    let row = column.iter().position(|known| *known != table::NO && i64::from(*known) == number);
    let name = row.and_then(|row| str::from_utf8(table::name(u16::try_from(row).ok()?)).ok()).unwrap_or("another");
    SAME.iter().find(|(one, _)| *one == name).map_or(name, |(_, other)| other)
}

/// Sums up a stretch of one process: from a time to another.
fn part(events: &[Event], from: f64, to: f64, cycle: &mut Cycle) -> Part {
    let (mut entered, mut sum) = (None, [0.0; 4]);
    for event in events.iter().filter(|event| (from..=to).contains(&event.us)) {
        match event.what {
            What::Enter(number) => {
                sum[0] += 1.0;
                entered = Some((number, event.us));
            }
            What::Exit => {
                if let Some((number, since)) = entered.take() {
                    sum[1] += event.us - since;
                    let call = cycle.calls.entry(name(number)).or_default();
                    *call = (call.0 + 1.0, call.1 + event.us - since);
                }
            }
            What::Fault => sum[3] += 1.0,
        }
    }
    sum[2] = to - from - sum[1];
    sum
}

/// The parts of a traced cycle; None if it was another one than is looked for.
fn cycle(text: &str) -> Option<Cycle> {
    let driver = i32::try_from(std::process::id()).ok()?;
    let events: Vec<(i32, Event)> = text.lines().filter_map(parsed).filter(|(pid, _)| *pid != driver).collect();
    let (supervisor, _) = *events.first()?;
    let mut by_pid: BTreeMap<i32, Vec<Event>> = BTreeMap::new();
    for (pid, event) in events {
        by_pid.entry(pid).or_default().push(event);
    }
    let is = |event: &Event, call: &str| matches!(event.what, What::Enter(number) if name(number) == call);
    let end_of = |events: &[Event], at: usize| {
        events.get(at..)?.iter().find(|event| event.what == What::Exit).map(|event| event.us)
    };
    let parent = by_pid.remove(&supervisor)?;
    let (_, child) = by_pid.into_iter().next()?;
    let executed = parent.iter().rposition(|event| is(event, "execve"))?;
    let begin = end_of(&parent, executed)?;
    let cloned = parent.iter().position(|event| event.us > begin && is(event, "clone"))?;
    let cloned_at = parent.get(cloned)?.us;
    let back = end_of(&parent, cloned)?;
    let became_init = child.iter().rposition(|event| is(event, "execve"))?;
    let init = end_of(&child, became_init)?;
    let first_call = child.iter().find(|event| event.us > init && matches!(event.what, What::Enter(_)))?.us;
    let exits = |events: &[Event]| events.iter().rev().find(|event| is(event, "exit_group")).map(|event| event.us);
    let (init_ended, ended) = (exits(&child)?, exits(&parent)?);
    let mut cycle = Cycle::default();
    cycle.parts = [
        part(&parent, begin, cloned_at - 0.01, &mut cycle),
        part(&parent, cloned_at, back, &mut cycle),
        part(&child, child.first()?.us, init, &mut cycle),
        part(&child, init + 0.01, first_call - 0.01, &mut cycle),
        part(&parent, init_ended, ended - 0.01, &mut cycle),
    ];
    Some(cycle)
}

/// The medians of some cycles.
fn whole(all: &[Cycle]) -> Result<Cycle, String> {
    if all.len() < CYCLES / 2 {
        return Err("the traces are not those of a cycle".to_owned());
    }
    let mut whole = Cycle::default();
    for (at, part) in whole.parts.iter_mut().enumerate() {
        let of = |figure: fn(&Part) -> f64| {
            median(&all.iter().filter_map(|one| one.parts.get(at)).map(figure).collect::<Vec<_>>())
        };
        *part = [of(|part| part[0]), of(|part| part[1]), of(|part| part[2]), of(|part| part[3])];
    }
    for called in all.iter().flat_map(|one| one.calls.keys()).collect::<std::collections::BTreeSet<_>>() {
        let of = |field: fn(&(f64, f64)) -> f64| {
            median(&all.iter().map(|one| one.calls.get(called).map_or(0.0, field)).collect::<Vec<_>>())
        };
        whole.calls.insert(called, (of(|call| call.0), of(|call| call.1)));
    }
    Ok(whole)
}

/// Traces the floor and monopod's builds, and prints their parts beside each other.
pub fn print(place: &Place, rows: &[Row]) {
    let subjects: Vec<&Row> = rows
        .iter()
        .filter(|row| row.subject.is_floor() || (row.subject.kind == Kind::Monopod && row.subject.build.is_some()))
        .collect();
    let traced = subjects.first().ok_or("no subjects".to_owned()).and_then(|first| {
        place.show(first.subject.view)?;
        let tracer = Tracer::open(place)?;
        let mut cycles: Vec<Vec<Cycle>> = subjects.iter().map(|_| Vec::new()).collect();
        for _ in 0..CYCLES {
            for (row, cycles) in subjects.iter().zip(&mut cycles) {
                cycles.extend(cycle(&tracer.cycle(place, row)?));
            }
        }
        subjects.iter().zip(&cycles).map(|(row, all)| Ok((*row, whole(all)?))).collect::<Result<Vec<_>, String>>()
    });
    match traced {
        Ok(traced) => tables(&traced),
        Err(reason) => eprintln!("bench: the parts of a cycle are left out: {reason}"),
    }
}

fn tables(traced: &[(&Row, Cycle)]) {
    println!("## Where the time goes\n");
    println!(
        "Medians of {CYCLES} traced cycles: system calls, µs in them + µs between them, page faults. The tracer adds half a µs to each call.\n"
    );
    let heads: Vec<&str> = traced.iter().map(|(row, _)| row.subject.label).collect();
    println!("| part | {} |\n|---|{}", heads.join(" | "), "---|".repeat(heads.len()));
    for (at, what) in PARTS.iter().enumerate() {
        let parts = traced.iter().filter_map(|(_, cycle)| cycle.parts.get(at));
        let cells: Vec<String> = parts
            .map(|[calls, inside, between, faults]| {
                format!("{calls:.0} calls, {inside:.0} + {between:.0} µs, {faults:.0} faults")
            })
            .collect();
        println!("| {what} | {} |", cells.join(" | "));
    }
    let own = traced.iter().find(|(row, _)| row.subject.build == Some(Build::Default));
    let (Some((_, floor)), Some((_, own))) = (traced.first(), own) else { return println!() };
    println!("\nThe calls on which monopod spends more: how many, and µs in all of them.\n");
    println!("| call | floor | monopod | more |\n|---|---|---|---|");
    let mut more: Vec<_> = own
        .calls
        .iter()
        .filter(|(call, _)| !matches!(**call, "epoll_wait" | "epoll_pwait" | "poll" | "waitid"))
        .map(|(call, spent)| (*call, floor.calls.get(call).copied().unwrap_or_default(), *spent))
        .collect();
    more.sort_by(|(_, a, b), (_, c, d)| (d.1 - c.1).total_cmp(&(b.1 - a.1)));
    for (call, floor, own) in more.into_iter().take(NAMED) {
        println!("| {call} | {:.0}, {:.0} | {:.0}, {:.0} | {:.0} |", floor.0, floor.1, own.0, own.1, own.1 - floor.1);
    }
    println!();
}

//! The command line: which verb was called, by which name, and its options. The only place that knows argh.
//!
//! The verbs here are in every build; those of `tools` are left out of the small one.
//!
//! A verb is called as `monopod VERB` or by the name of LXC's tool (`lxc-start`, a symlink). `prepass` brings getopt's
//! forms into argh's, each verb has a file of its own, `help` prints what there is.

mod addresses;
mod config;
#[cfg_attr(not(feature = "tools"), allow(dead_code))]
mod figures;
mod help;
mod info;
pub mod prepass;
mod start;
mod stop;
#[cfg(feature = "tools")]
mod tools;
mod version;
mod wait;

use crate::config::{LogLevel, Sources, default_lxcpath};
use crate::control::client::Container;
use crate::error::Error;
use crate::pid1;
use crate::sys::crash;
use crate::sys::fds::standard;
use crate::text::{Arena, number, shown};
use argh::{ArgsInfo, CommandInfoWithArgs, FromArgs};
use core::ffi::CStr;
use core::fmt;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use prepass::{Ask, Common, Operands, Split, Stop};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

/// The exit code of wrong arguments and of every failure that has no code of its own. LXC's.
const FAILED: i32 = 1;

/// How a verb was called.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The program's name without its directory, for messages.
    program: &'a CStr,
    /// The verb's name.
    verb: &'static str,
    /// Called by the name of LXC's tool.
    stock: bool,
    /// The arguments behind the verb.
    args: &'a [&'a CStr],
}

/// What a verb ends with: its exit code. The two sides mean the same, so that `?` leaves with the code of what failed.
type Outcome = Result<i32, i32>;

/// A row of the table of verbs.
struct Verb {
    name: &'static str,
    /// LXC's name of it without `lxc-`; empty: LXC has none.
    lxc: &'static str,
    summary: &'static str,
    run: fn(&Call<'_>) -> Outcome,
}

/// The name of LXC's tool for the system's config, which is not what our verb prints.
const CONFIG: &str = if cfg!(feature = "tools") { "config" } else { "" };

/// Whether `init` is more than a name.
const PID1: bool = cfg!(feature = "pid1");

const CORE: &[Verb] = &[
    Verb { name: "start", lxc: "start", summary: "start a container", run: start::run },
    Verb { name: "stop", lxc: "stop", summary: "stop, restart or kill it", run: stop::run },
    Verb { name: "restart", lxc: "", summary: "let it end and start again", run: stop::restart },
    Verb { name: "info", lxc: "info", summary: "show its state, pid and use of resources", run: info::run },
    Verb { name: "wait", lxc: "wait", summary: "wait for a state", run: wait::run },
    Verb { name: "config", lxc: CONFIG, summary: "print its effective config", run: config::run },
    Verb { name: "init", lxc: "", summary: "be the machine's init, as process 1", run: init },
    Verb { name: "version", lxc: "", summary: "print the version", run: version::run },
    Verb { name: "help", lxc: "", summary: "print this overview, or the help of a verb", run: help_of },
];

#[cfg(feature = "tools")]
const TOOLS: &[Verb] = tools::VERBS;
#[cfg(not(feature = "tools"))]
const TOOLS: &[Verb] = &[];

/// Every verb of this build.
fn verbs() -> impl Iterator<Item = &'static Verb> {
    CORE.iter().chain(TOOLS)
}

/// Runs the command of `args`, the program's own name first. Returns the exit code.
pub fn run(args: &[&CStr]) -> i32 {
    called(args).unwrap_or_else(|code| code)
}

fn called(args: &[&CStr]) -> Outcome {
    let (program, args) = match args.split_first() {
        Some((first, rest)) => (prepass::basename(first), rest),
        None => (c"monopod", args),
    };
    let name = program.to_bytes();
    if let Some(tool) = name.strip_prefix(b"lxc-") {
        return match verbs().find(|verb| !verb.lxc.is_empty() && verb.lxc.as_bytes() == tool) {
            Some(verb) => (verb.run)(&Call { program, verb: verb.name, stock: true, args }),
            None => Err(fail(program, format_args!("monopod has no such tool"))),
        };
    }
    #[cfg(feature = "tools")]
    if program == crate::execute::NAME {
        return Ok(crate::execute::init(&[&[program], args].concat(), &environment()));
    }
    let first_is_verb = args.first().is_some_and(|word| verb(word.to_bytes()).is_some());
    if PID1 && pid1::is_wanted(name, first_is_verb) {
        pid1::run(times_crashed(args));
    }
    if name == b"init" && !first_is_verb {
        return Err(not_first(program));
    }
    let Some((first, rest)) = args.split_first() else { return Ok(print(&help::overview())) };
    match first.to_bytes() {
        b"-h" | b"-?" | b"--help" | b"--usage" => Ok(print(&help::overview())),
        b"--version" => Ok(version::own()),
        word => match verb(word) {
            Some(verb) => (verb.run)(&Call { program, verb: verb.name, stock: false, args: rest }),
            None => {
                let nearest = verbs().min_by_key(|verb| prepass::distance(verb.name.as_bytes(), word));
                let nearest = nearest.map_or("help", |verb| verb.name);
                Err(fail(program, format_args!("there is no verb '{}'; the nearest is '{nearest}'", shown(first))))
            }
        },
    }
}

/// `monopod init`
fn init(call: &Call<'_>) -> Outcome {
    if !PID1 {
        return Err(fail(
            call.program,
            format_args!("the machine's init needs the cargo feature pid1, which this build does not have"),
        ));
    }
    if nix::unistd::getpid().as_raw() == 1 {
        pid1::run(times_crashed(call.args));
    }
    Err(not_first(call.program))
}

/// What process 1 tells itself when it is executed anew.
fn times_crashed(args: &[&CStr]) -> u8 {
    match args {
        [again, count, ..] if *again == crash::AGAIN => crash::times(count.to_bytes().first()),
        _ => 0,
    }
}

fn not_first(program: &CStr) -> i32 {
    let pid = nix::unistd::getpid();
    fail(program, format_args!("only process 1 can be the machine's init, and this is process {pid}"))
}

fn verb(name: &[u8]) -> Option<&'static Verb> {
    verbs().find(|verb| verb.name.as_bytes() == name)
}

/// `monopod help [VERB]`
fn help_of(call: &Call<'_>) -> Outcome {
    match call.args.first().map(|word| (word, verb(word.to_bytes()))) {
        None => Ok(print(&help::overview())),
        Some((_, Some(verb))) if verb.name == call.verb => Ok(print(&help::overview())),
        Some((_, Some(verb))) => (verb.run)(&Call { verb: verb.name, args: &[c"--help"], ..*call }),
        Some((word, None)) => Err(fail(call.program, format_args!("there is no verb '{}'", shown(word)))),
    }
}

/// A command line, read.
struct Line<'a, T> {
    /// The verb's own options.
    args: T,
    /// The options that every verb has.
    common: Common<'a>,
    /// What is no option.
    operands: Vec<&'a CStr>,
    call: Call<'a>,
}

/// Reads a command line: a verb's options by argh, the others here. Err: all is said, the exit code.
fn parse<'a, T: FromArgs + ArgsInfo>(call: &Call<'a>, operands: Operands, usage: &str) -> Result<Line<'a, T>, i32> {
    let Split { options, operands, common } = split(call, T::get_args_info, operands, usage)?;
    let args = T::from_args(&[call.verb], &options).map_err(|exit| refused(call, &exit))?;
    Ok(Line { args, common, operands, call: *call })
}

/// argh does not take it.
fn refused(call: &Call<'_>, exit: &argh::EarlyExit) -> i32 {
    fail(call.program, format_args!("{}", exit.output.lines().next().unwrap_or("")))
}

/// The part of `parse` that is the same code for every verb.
fn split<'a>(
    call: &Call<'a>,
    info: fn() -> CommandInfoWithArgs,
    operands: Operands,
    usage: &str,
) -> Result<Split<'a>, i32> {
    let info = &info();
    let split = prepass::split(info, operands, call.args).map_err(|stop| match stop {
        Stop::Wrong(reason) => fail(call.program, format_args!("{reason}")),
        Stop::Ask(Ask::Help) => print(&help::of(call, info, usage)),
        Stop::Ask(Ask::Usage) => print(&help::usage(call, usage)),
        Stop::Ask(Ask::Version) => version::answer(call),
    })?;
    split.common.level().map_err(|reason| fail(call.program, format_args!("{reason}")))?;
    Ok(split)
}

impl<'a, T> Line<'a, T> {
    /// Which container it is about: `-n`, or the first operand, which is then taken out of them.
    fn target(&mut self) -> Result<Target<'a>, i32> {
        Target::new(&self.call, &self.common, &mut self.operands)
    }

    /// The same, for a verb that takes nothing else.
    fn only_target(&mut self) -> Result<Target<'a>, i32> {
        let target = self.target()?;
        match self.operands.first() {
            None => Ok(target),
            Some(more) => Err(self.fail(format_args!("'{}' is one argument too many", shown(more)))),
        }
    }

    /// For a verb that is about all containers: LXC's tools take no notice of words without an option.
    #[cfg(feature = "tools")]
    fn no_operands(&self) -> Result<(), i32> {
        match self.operands.first().filter(|_| !self.call.stock) {
            None => Ok(()),
            Some(more) => Err(self.fail(format_args!("'{}' is one argument too many", shown(more)))),
        }
    }

    /// Says what failed, to where the options want it, and gives the exit code for it.
    fn fail(&self, what: fmt::Arguments<'_>) -> i32 {
        complain(self.call.program, &self.common, what)
    }
}

fn complain(program: &CStr, common: &Common<'_>, what: fmt::Arguments<'_>) -> i32 {
    if let Some(file) = common.logfile.filter(|file| *file != c"none") {
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_CLOEXEC;
        if let Ok(log) = nix::fcntl::open(file, flags, Mode::from_bits_truncate(0o666)) {
            let _ = nix::unistd::write(log, format!("{}: {what}\n", shown(program)).as_bytes());
        }
    } else if !common.quiet {
        fail(program, what);
    }
    FAILED
}

impl Common<'_> {
    /// `-l`, if it was given.
    fn level(&self) -> Result<Option<LogLevel>, String> {
        let level = |name: &CStr| {
            crate::config::values::log_level(name.to_bytes()).map_err(|_| {
                format!("'{}' is no log level (TRACE DEBUG INFO NOTICE WARN ERROR CRIT ALERT FATAL)", shown(name))
            })
        };
        self.logpriority.map(level).transpose()
    }
}

/// The value of an option. It lives as long as the process: nothing is gained by freeing it, and much code saved.
type Word = &'static CStr;

/// argh: any text. Arguments have no NUL inside.
fn word(text: &str) -> Result<Word, String> {
    Ok(kept(text.into()))
}

/// Our own environment, for who executes something.
#[cfg(feature = "tools")]
fn environment() -> Vec<Word> {
    std::env::vars_os().map(|(name, value)| kept([name.as_bytes(), b"=", value.as_bytes()].concat())).collect()
}

fn kept(text: Vec<u8>) -> Word {
    Box::leak(CString::new(text).unwrap_or_default().into_boxed_c_str())
}

/// Which container a verb is about.
struct Target<'a> {
    lxcpath: &'a CStr,
    name: &'a CStr,
    /// `-f`
    rcfile: Option<&'a CStr>,
}

/// `-P`, or the default, absolute: the command socket is named after it, so it must be the same from whatever directory.
fn lxcpath(common: &Common<'_>) -> Word {
    let mut lxcpath = common.lxcpath.map_or_else(default_lxcpath, |lxcpath| lxcpath.to_bytes().to_vec());
    if !lxcpath.starts_with(b"/")
        && let Ok(here) = std::env::current_dir()
    {
        let rest = lxcpath.strip_prefix(b"./").unwrap_or(if lxcpath == b"." { b"" } else { &lxcpath });
        lxcpath = [here.as_os_str().as_bytes(), b"/", rest].concat();
    }
    while lxcpath.len() > 1 && lxcpath.ends_with(b"/") {
        lxcpath.pop();
    }
    kept(lxcpath)
}

impl<'a> Target<'a> {
    fn new(call: &Call<'_>, common: &Common<'a>, operands: &mut Vec<&'a CStr>) -> Result<Target<'a>, i32> {
        let name = match common.name {
            Some(name) => name,
            None if operands.is_empty() => {
                return Err(fail(call.program, format_args!("no container named: -n NAME")));
            }
            None => operands.remove(0),
        };
        if let Err(Stop::Wrong(reason)) = prepass::check_name(name) {
            return Err(fail(call.program, format_args!("{reason}")));
        }
        Ok(Target { lxcpath: lxcpath(common), name, rcfile: common.rcfile })
    }

    fn container(&self) -> Container<'_> {
        Container { lxcpath: self.lxcpath, name: self.name }
    }

    /// `LXCPATH/NAME/config`
    fn config_file(&self) -> Word {
        kept([self.lxcpath.to_bytes(), b"/", self.name.to_bytes(), b"/config"].concat())
    }
}

/// Prints an error line and gives the exit code for it.
fn fail(program: &CStr, what: fmt::Arguments<'_>) -> i32 {
    put(2, &format!("{}: {what}\n", shown(program)));
    FAILED
}

/// Prints to stdout. A reader that has gone away is no failure of the command.
fn print(text: &str) -> i32 {
    put(1, text);
    0
}

/// Writes to stdout or stderr, as far as it takes it.
fn put(stream: i32, text: &str) {
    takes(stream, text);
}

/// The same. False: it does not take all.
fn takes(stream: i32, text: &str) -> bool {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match nix::unistd::write(standard(stream), rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// argh: whole seconds; -1 = no limit (None).
fn seconds(text: &str) -> Result<Option<u32>, String> {
    if text == "-1" {
        return Ok(None);
    }
    let seconds = number(text.as_bytes()).and_then(|seconds| u32::try_from(seconds).ok());
    seconds.map(Some).ok_or_else(|| format!("'{text}' is no number of seconds"))
}

/// Loads a container's config for a verb that only looks at it, and hands it to `then`.
fn with_config(
    target: &Target<'_>,
    defines: &[&[u8]],
    then: &mut dyn for<'t> FnMut(&mut crate::config::Config<'t>, &Arena<'t>),
) -> Result<(), Error> {
    let mut storage = vec![0; crate::limits::TEXT_BYTES];
    let arena = Arena::new(&mut storage);
    let sources = Sources { name: target.name, lxcpath: target.lxcpath, rcfile: target.rcfile, defines };
    then(&mut *crate::config::load(&arena, &sources)?, &arena);
    Ok(())
}

#[cfg(test)]
mod tests;

//! `check`, `lxc-checkconfig`: whether this machine will run a container, before it is started.

use super::json::Json;
use super::prepass::Operands;
use super::{Call, FAILED, Line, Outcome, Target, Word, parse, print, put, word};
use crate::cgroup::host;
use crate::check::{Finding, Findings, Verdict, layout, lint, listing, machine, places, rootfs};
use crate::config::{Config, Sources, load};
use crate::rootfs::label;
use crate::start;
use crate::state::State;
use crate::sys::fds::standard;
use crate::sys::pty::is_terminal;
use crate::text::{Arena, Shown, shown};
use argh::{ArgsInfo, FromArgs};
use nix::sys::utsname::uname;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Says whether this kernel, its cgroups and, if one is named, a container's config, rootfs and hooks will work. Changes
/// nothing. The exit code is 0 unless a line says FAIL.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// one array of objects instead of lines
    #[argh(switch)]
    json: bool,
    /// judge the kernel with this config instead of the one that runs
    #[argh(option, arg_name = "FILE", from_str_fn(word))]
    kernel_config: Option<Word>,
    /// set a config key after the file; may be repeated
    #[argh(option, short = 's', arg_name = "KEY=VALUE", from_str_fn(word))]
    define: Vec<Word>,
}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> Outcome {
    if call.stock {
        return list(call);
    }
    let mut line = parse::<Args>(call, Operands::Anywhere, "")?;
    let named = line.common.name.is_some() || !line.operands.is_empty();
    let target = match line.common.rcfile {
        // A config alone can be checked as well.
        Some(_) if !named => {
            Some(Target { lxcpath: super::lxcpath(&line.common), name: c"check", ..line_target(&line) })
        }
        None if !named => None,
        _ => Some(line.only_target()?),
    };
    let mut findings = Findings::default();
    let mut storage = vec![0; crate::limits::TEXT_BYTES];
    let arena = Arena::new(&mut storage);
    let config = match &target {
        None => Ok(Box::new(Config::new(c"", c""))),
        Some(target) => {
            let defines: Vec<&[u8]> = line.args.define.iter().map(|define| define.to_bytes()).collect();
            let sources =
                Sources { name: target.name, lxcpath: target.lxcpath, rcfile: target.rcfile, defines: &defines };
            load(&arena, &sources).and_then(|mut config| label::resolve(&mut config, &arena).map(|()| config))
        }
    };
    let plain = Config::new(c"", c"");
    let known = config.as_deref().unwrap_or(&plain);
    let file = line.args.kernel_config.map(|file| Path::new(OsStr::from_bytes(file.to_bytes())));
    if let Err(why) = machine::judge(known, file, &mut findings) {
        let file = line.args.kernel_config.unwrap_or_default();
        return Err(line.fail(format_args!("check: read {}: {why}", shown(file))));
    }
    match host::hierarchies_for(known, &arena) {
        Ok(hierarchies) => layout::judge(known, &hierarchies, &mut findings),
        Err(error) => findings.add(Verdict::Fail, "cgroups", format_args!("{error}")),
    }
    match (&target, &config) {
        (Some(target), Ok(config)) => container(target, config, &arena, named, &mut findings),
        (Some(target), Err(error)) => {
            findings.add(Verdict::Fail, "config", format_args!("{error}"));
            lint::file(target.rcfile.unwrap_or_else(|| target.config_file()).to_bytes(), &mut findings);
        }
        (None, _) => {}
    }
    print(&if line.args.json { json(&findings.0) } else { lines(&findings.0) });
    Ok(if findings.worst() == Verdict::Fail { FAILED } else { 0 })
}

/// The target of a config without a name.
fn line_target<'a>(line: &Line<'a, Args>) -> Target<'a> {
    Target { lxcpath: c"", name: c"", rcfile: line.common.rcfile }
}

fn container<'t>(target: &Target<'_>, config: &Config<'t>, arena: &Arena<'t>, named: bool, findings: &mut Findings) {
    lint::judge(config, findings);
    places::files(config, findings);
    let argv = start::init_command(config, &[], arena);
    let source = crate::rootfs::source(config, c"/");
    match (&argv, &source) {
        // Said already.
        (Ok(_), Err(_)) if config.not_built.iter().any(|key| key.key == c"lxc.rootfs.path") => {}
        (Err(error), _) | (_, Err(error)) => findings.add(Verdict::Fail, "rootfs", format_args!("{error}")),
        (Ok(argv), Ok(source)) => {
            rootfs::judge(config, source, argv, findings);
            if let Err(error) = crate::ephemeral::check(config, source) {
                findings.add(Verdict::Fail, "config", format_args!("{error}"));
            }
        }
    }
    match target.container().state() {
        _ if !named => {}
        Ok(State::Stopped) => findings.add(Verdict::Ok, "running", format_args!("nothing has this name yet")),
        Ok(state) => findings.add(
            Verdict::Warn,
            "running",
            format_args!("{} is {} already: a start would leave it alone", shown(target.name), state.name()),
        ),
        Err(error) => findings.add(Verdict::Warn, "running", format_args!("{}: {error}", shown(target.name))),
    }
}

fn lines(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { verdict, what, detail } in findings {
        text.push_str(&format!("{:<4}  {what}: {detail}\n", verdict.name()));
    }
    text
}

fn json(findings: &[Finding]) -> String {
    let mut json = Json::default();
    json.open('[');
    for Finding { verdict, what, detail } in findings {
        json.open('{').key("verdict").string(verdict.name());
        json.key("what").string(what).key("detail").string(detail).close('}');
    }
    json.close(']');
    json.line()
}

/// LXC's script: no options, `CONFIG` in the environment.
fn list(call: &Call<'_>) -> Outcome {
    let program = shown(call.program).to_string();
    // As it was typed: `call` has only the last component.
    let line = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    let called = Shown(line.split(|byte| *byte == 0).next().unwrap_or_default()).to_string();
    let path = match called.contains('/') {
        true => called,
        false => listing::find_program(&called).map_or(called, |path| path.to_string_lossy().into_owned()),
    };
    let config = std::env::var_os("CONFIG").filter(|file| !file.is_empty()).unwrap_or("/proc/config.gz".into());
    let given =
        listing::Given { config: config.into(), program: &program, path: &path, colours: is_terminal(standard(1)) };
    let release = uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    let mut text = format!("LXC version {}", super::version::LXC);
    let listed = listing::list(&given, &release, &mut text);
    match listed {
        Ok(list) => Ok(print(&(text + &list))),
        Err(why) => {
            print(&text);
            put(2, &why);
            Err(FAILED)
        }
    }
}

//! The forms of the command line: getopt's, LXC's tools', ours.

use super::prepass::{Ask, Operands, Split, Stop, basename, check_name, distance, split};
use super::*;
use argh::{ArgsInfo, FromArgs};

/// options of many kinds
#[derive(FromArgs, ArgsInfo)]
#[allow(dead_code)]
struct Sample {
    /// daemon
    #[argh(switch, short = 'd')]
    daemon: bool,
    /// foreground
    #[argh(switch, short = 'F')]
    foreground: bool,
    /// define
    #[argh(option, short = 's')]
    define: Vec<String>,
    /// a letter that is common otherwise
    #[argh(switch, short = 'q')]
    quarter: bool,
}

fn c(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// Splits a line at blanks and passes it on; the name, options and operands joined again, or the fault.
fn forms(operands: Operands, line: &str) -> Result<(String, String, String), Stop> {
    let words: Vec<CString> = line.split_whitespace().map(c).collect();
    let words: Vec<&CStr> = words.iter().map(CString::as_c_str).collect();
    let Split { options, operands, common } = split(&Sample::get_args_info(), operands, &words)?;
    let operands: Vec<_> = operands.iter().map(|operand| operand.to_str().unwrap()).collect();
    let name = common.name.unwrap_or(c"(none)").to_str().unwrap();
    Ok((name.to_owned(), options.join(" "), operands.join(" ")))
}

#[test]
fn option_forms_of_getopt_become_arghs() {
    for (line, name, options, operands) in [
        ("-n a -F", "a", "--foreground", ""),
        ("--name=android --define=a=b", "android", "--define a=b", ""),
        ("--name= -d", "", "--daemon", ""),
        ("-nandroid -Fd", "android", "--foreground --daemon", ""),
        ("-Fnandroid", "android", "--foreground", ""),
        ("--def a=b --defi=c=d", "(none)", "--define a=b --define c=d", ""),
        ("--fore", "(none)", "--foreground", ""),
        ("-n a -n b", "b", "", ""),
        ("-F -F", "(none)", "--foreground", ""),
        ("-s a=b -sc=d", "(none)", "--define a=b --define c=d", ""),
        ("-n -F", "-F", "", ""),
        ("a -F", "(none)", "--foreground", "a"),
        ("-F a -d", "(none)", "--foreground --daemon", "a"),
        ("-n a -- -F --name", "a", "", "-F --name"),
        ("-n a -", "a", "", "-"),
        ("-q --quiet", "(none)", "--quarter", ""),
    ] {
        let found = forms(Operands::Anywhere, line);
        assert_eq!(found, Ok((name.to_owned(), options.to_owned(), operands.to_owned())), "{line}");
    }
}

#[test]
fn common_options_are_taken_out_as_bytes() {
    let words: [&CStr; 10] =
        [c"-P\xff", c"-o", c"log", c"--logpriority=INFO", c"-f", c"one", c"--rcfile", c"two", c"--quiet", c"-n\xfe"];
    let Split { options, operands, common } = split(&Sample::get_args_info(), Operands::Anywhere, &words).unwrap();
    assert!(options.is_empty() && operands.is_empty());
    let expected = Common {
        name: Some(c"\xfe"),
        lxcpath: Some(c"\xff"),
        rcfile: Some(c"two"),
        logfile: Some(c"log"),
        logpriority: Some(c"INFO"),
        quiet: true,
    };
    assert_eq!(common, expected);
}

#[test]
fn command_words_are_left_alone() {
    for (line, name, options, operands) in [
        ("-n a /init -x --help", "a", "", "/init -x --help"),
        ("-n a -F -- /init -F", "a", "--foreground", "/init -F"),
        ("-n a help", "a", "", "help"),
        ("a -F /init -F", "(none)", "--foreground", "a /init -F"),
        ("-F a -- /init", "(none)", "--foreground", "a /init"),
        ("--name=a /init -- -x", "a", "", "/init -- -x"),
    ] {
        let found = forms(Operands::NameThenCommand, line);
        assert_eq!(found, Ok((name.to_owned(), options.to_owned(), operands.to_owned())), "{line}");
    }
}

#[test]
fn wrong_options_are_named_with_what_was_meant() {
    for (line, reason) in [
        ("--foregruond", "there is no option --foregruond; the nearest is --foreground"),
        ("--nmae=x", "there is no option --nmae; the nearest is --name"),
        ("--log x", "--log may be --logfile or --logpriority"),
        ("-N x", "there is no option -N; the nearest is -n (--name)"),
        ("-Z", "there is no option -Z; --help lists them"),
        ("-n", "--name needs a value"),
        ("--define", "--define needs a value"),
        ("--daemon=yes", "--daemon takes no value"),
    ] {
        assert_eq!(forms(Operands::Anywhere, line), Err(Stop::Wrong(reason.to_owned())), "{line}");
    }
}

#[test]
fn help_usage_and_version_are_heard_in_every_form() {
    for (line, ask) in [
        ("-?", Ask::Help),
        ("-h", Ask::Help),
        ("--help", Ask::Help),
        ("-n a --hel", Ask::Help),
        ("-F?", Ask::Help),
        ("--usage", Ask::Usage),
        ("--version", Ask::Version),
    ] {
        assert_eq!(forms(Operands::NameThenCommand, line), Err(Stop::Ask(ask)), "{line}");
    }
}

#[test]
fn bytes_that_are_not_utf8_pass_in_the_command_only() {
    let info = Sample::get_args_info();
    let command: [&CStr; 4] = [c"-n", c"a", c"--", c"\xff\xfe"];
    assert_eq!(split(&info, Operands::NameThenCommand, &command).unwrap().operands, [c"\xff\xfe"]);
    let value: [&CStr; 2] = [c"-s", c"\xff"];
    let reason = String::from("the value of --define is not UTF-8");
    assert_eq!(split(&info, Operands::NameThenCommand, &value), Err(Stop::Wrong(reason)));
    assert!(matches!(split(&info, Operands::Anywhere, &[c"-\xff"]), Err(Stop::Wrong(_))));
    assert!(matches!(split(&info, Operands::Anywhere, &[c"--\xff"]), Err(Stop::Wrong(_))));
}

/// What `start` makes of a line.
fn start_line(program: &'static CStr, line: &str) -> Result<start::Parsed<'static>, i32> {
    let words: Vec<&'static CStr> = line.split_whitespace().map(|text| word(text).unwrap()).collect();
    start::parsed(&Call { program, verb: "start", stock: program != c"monopod", args: words.leak() })
}

#[test]
fn start_lines_of_the_field_are_understood() {
    let (stock, own) = (c"lxc-start", c"monopod");
    for (program, line, name, command, daemon) in [
        (stock, "-n android -F -- /init", "android", "/init", false),
        (stock, "-n android -d -- /init", "android", "/init", true),
        (stock, "-n android", "android", "", true),
        (stock, "-P /var/lib/waydroid/lxc -F -n waydroid -- /init", "waydroid", "/init", false),
        (stock, "android -F", "android", "", false),
        (stock, "-F --name=android -l DEBUG -o /tmp/log -C -p /run/pid", "android", "", false),
        (own, "android", "android", "", false),
        (own, "-d android /init single", "android", "/init single", true),
    ] {
        let command = command.split_whitespace().map(|text| word(text).unwrap()).collect();
        let expected = start::Parsed { name: word(name).unwrap(), command, daemon: Some(daemon), defines: vec![] };
        assert_eq!(start_line(program, line), Ok(expected), "{line}");
    }
    assert_eq!(start_line(stock, "-n a -d -F").unwrap().daemon, None);
    let defines = start_line(stock, "-n a -s lxc.tty.max=4 -s lxc.autodev=0").unwrap().defines;
    assert_eq!(defines, [c"lxc.tty.max=4", c"lxc.autodev=0"]);
    for wrong in ["", "-n a/b", "-n ..", "-n a -l LOUD", "--bogus -n a"] {
        assert_eq!(start_line(stock, wrong), Err(FAILED), "{wrong}");
    }
}

#[test]
fn verbs_and_tools_give_their_exit_codes() {
    let code = |words: &[&CStr]| run(words);
    // No such container anywhere: a name that nothing else uses.
    let dir = c"-P/nonexistent/monopod";
    assert_eq!(code(&[c"/usr/bin/lxc-stop", dir, c"-n", c"none"]), 2);
    assert_eq!(code(&[c"lxc-info", dir, c"-n", c"none", c"-sH"]), 1);
    assert_eq!(code(&[c"lxc-wait", dir, c"-n", c"none", c"-s", c"STOPPED"]), 0);
    assert_eq!(code(&[c"lxc-wait", dir, c"-n", c"none", c"-s", c"RUNNING|FROZEN", c"-t", c"0"]), 1);
    assert_eq!(code(&[c"lxc-wait", dir, c"-n", c"none", c"-s", c"RUNING"]), 1);
    assert_eq!(code(&[c"lxc-wait", dir, c"-n", c"none"]), 1);
    assert_eq!(code(&[c"monopod", c"stop", dir, c"none", c"-k", c"-r"]), 1);
    assert_eq!(code(&[c"monopod", c"stop", dir, c"none", c"other"]), 1);
    assert_eq!(code(&[c"monopod", c"stpo", c"none"]), 1);
    assert_eq!(code(&[c"lxc-snapshot", c"-n", c"none"]), 1);
    assert_eq!(code(&[c"lxc-info", c"--version"]), 0);
    assert_eq!(code(&[c"monopod", c"help", c"start"]), 0);
    assert_eq!(code(&[c"monopod"]), 0);
    assert_eq!(code(&[]), 0);
}

#[test]
fn name_with_a_path_in_it_is_refused() {
    for good in [c"android", c"a b", c"...", c"-x"] {
        assert_eq!(check_name(good), Ok(()));
    }
    for bad in [c"", c".", c"..", c"a/b", c"/"] {
        assert!(check_name(bad).is_err());
    }
    assert!(check_name(&c(&"n".repeat(256))).is_err());
}

#[test]
fn distance_counts_single_letters() {
    assert_eq!(distance(b"name", b"nmae"), 2);
    assert_eq!(distance(b"", b"abc"), 3);
    assert_eq!(distance(b"kitten", b"sitting"), 3);
    assert_eq!(distance(b"same", b"same"), 0);
}

#[test]
fn basename_is_what_follows_the_last_slash() {
    assert_eq!(basename(c"/usr/bin/lxc-start"), c"lxc-start");
    assert_eq!(basename(c"monopod"), c"monopod");
    assert_eq!(basename(c"dir/"), c"");
}

#[test]
fn log_levels_and_seconds_are_read_strictly() {
    let level = |name| Common { logpriority: Some(name), ..Common::default() }.level();
    assert_eq!(level(c"debug"), Ok(Some(LogLevel::Debug)));
    assert!(level(c"verbose").is_err());
    assert_eq!(seconds("-1"), Ok(None));
    assert_eq!(seconds("30"), Ok(Some(30)));
    assert!(seconds("-2").is_err() && seconds("1x").is_err() && seconds("99999999999").is_err());
}

#[cfg(feature = "tools")]
#[test]
fn names_that_make_install_links_are_those_of_the_table() {
    let makefile = include_str!("../../Makefile").replace("\\\n", " ");
    let list = makefile.lines().find_map(|line| line.strip_prefix("LXC_TOOLS :=")).unwrap();
    let mut linked: Vec<&str> = list.split_whitespace().collect();
    let mut known: Vec<&str> = verbs().map(|verb| verb.lxc).filter(|name| !name.is_empty()).collect();
    linked.sort_unstable();
    known.sort_unstable();
    assert_eq!(linked, known);
}

//! A fake init of Android: what its real ones do to a kernel and to a supervisor, and nothing of Android itself.
//!
//! `/init` becomes it where the root directory has an `/android.conf`. It writes one line to `/results` for each thing that it
//! does, with its outcome, and never does to the machine what only a machine of its own can bear: those need an option.

mod boot;
mod cgroups;
mod first_stage;
mod options;
mod power;
mod properties;
mod property_service;
mod services;

pub use options::Options;

use crate::{crash, say};
use std::fs;
use std::io::Write;
use std::path::Path;

/// One of Android's inits at one of its stages; does not come back.
pub fn run(options: Options, words: &[String]) -> ! {
    let init = Init { options, words: words.to_vec() };
    match init.stage() {
        "first" if init.options.sdk <= 22 => {
            init.first_stage();
            init.second_stage()
        }
        "first" => {
            init.first_stage();
            init.next_stage()
        }
        "selinux" => {
            say("stage selinux_setup");
            init.execute("second_stage")
        }
        _ => init.second_stage(),
    }
}

/// The init.
pub struct Init {
    options: Options,
    /// Its command line without its own name.
    words: Vec<String>,
}

impl Init {
    /// By its command line or its environment, as each version does.
    fn stage(&self) -> &'static str {
        let first_word = self.words.first().map_or("", String::as_str);
        match self.options.sdk {
            ..=22 => "first",
            23..=25 if first_word == "--second-stage" => "second",
            26..=28 if std::env::var_os("INIT_SECOND_STAGE").is_some() => "second",
            29.. if first_word == "selinux_setup" => "selinux",
            29.. if first_word == "second_stage" => "second",
            _ => "first",
        }
    }

    /// Executes itself for what follows the first stage.
    fn next_stage(&self) -> ! {
        match self.options.sdk {
            ..=25 => self.execute("--second-stage"),
            26..=28 => {
                // SAFETY: this program has one thread.
                unsafe {
                    std::env::set_var("INIT_SECOND_STAGE", "true");
                    std::env::set_var("INIT_STARTED_AT", "1");
                }
                self.execute("")
            }
            _ => {
                let started = if self.options.sdk == 29 { "INIT_STARTED_AT" } else { "FIRST_STAGE_STARTED_AT" };
                // SAFETY: this program has one thread.
                unsafe { std::env::set_var(started, "1") };
                self.execute(if self.options.halium() { "second_stage" } else { "selinux_setup" })
            }
        }
    }

    fn execute(&self, word: &str) -> ! {
        use std::os::unix::process::CommandExt;
        let program = if Path::new("/system/bin/init").exists() { "/system/bin/init" } else { "/init" };
        let mut command = std::process::Command::new(program);
        command.args((!word.is_empty()).then_some(word)).args(self.words.iter().filter(|word| word.contains('=')));
        let error = command.exec();
        self.fatal(&format!("execv(\"{program}\") failed: {error}"))
    }

    /// A line of the kernel's log, by a descriptor of its own: the kernel lets through ten lines for each.
    fn log(&self, line: &str) {
        if !self.options.kmsg {
            return;
        }
        let node = if self.options.sdk <= 22 { "/dev/__kmsg__" } else { "/dev/kmsg" };
        let made = !Path::new(node).exists() && crate::mknod(node, 1, 11).is_ok();
        if let Ok(mut kmsg) = fs::OpenOptions::new().write(true).open(node) {
            let _ = kmsg.write_all(format!("<3>init: {line}\n").as_bytes());
        }
        if made && self.options.sdk <= 22 {
            let _ = fs::remove_file(node);
        }
    }

    /// The end of an init that cannot go on.
    fn fatal(&self, line: &str) -> ! {
        self.log(line);
        say(&format!("fatal: {line}"));
        if self.options.sdk >= 29 {
            self.log("InitFatalReboot: signal 6");
        }
        self.reboot(Some("bootloader"))
    }

    /// The end of one that reads where nothing is.
    fn segfault(&self, why: &str) -> ! {
        say(&format!("segfault: {why}"));
        crash();
        std::process::abort()
    }
}

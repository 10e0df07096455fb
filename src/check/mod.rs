//! `check`: whether this host will run a container, said before it is started. Nothing on the host is changed.
//!
//! * `options` is the table of kernel options, `machine` asks the kernel itself, `layout` looks at the cgroups,
//! * `lint` reads a config once more for what loading it passes over, `rootfs` looks for what a start would execute and
//!   mount, `path` follows links inside of the rootfs, `program` reads the head of a program,
//! * `listing` is the list of options as `lxc-checkconfig` prints it.
//!
//! A finding is FAIL where a start would fail or the guest could not run, warn where something is missing that this config
//! does without.

use core::fmt;

pub mod layout;
pub mod lint;
pub mod listing;
pub mod machine;
pub mod options;
pub mod path;
pub mod program;
pub mod rootfs;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Missing, and done without.
    Warn,
    /// A start would fail, or the guest could not run.
    Fail,
}

impl Verdict {
    /// As it is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        }
    }

    /// `Ok` if something is there, else this.
    pub const fn unless(self, there: bool) -> Verdict {
        if there { Verdict::Ok } else { self }
    }
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub verdict: Verdict,
    /// What was looked at.
    pub what: &'static str,
    /// What was found, and what to do about it.
    pub detail: String,
}

/// All findings, in order.
#[derive(Debug, Default)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Adds a line.
    #[inline(never)]
    pub fn add(&mut self, verdict: Verdict, what: &'static str, detail: fmt::Arguments<'_>) {
        self.0.push(Finding { verdict, what, detail: detail.to_string() });
    }

    /// The worst of all.
    pub fn worst(&self) -> Verdict {
        self.0.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok)
    }
}

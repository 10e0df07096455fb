//! Seccomp policies: what is compiled, and guests under them.

#[path = "../../src/seccomp/interpreter.rs"]
mod interpreter;
mod oracle;

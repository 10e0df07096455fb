//! LXC's command socket: the tools of either project can ask either supervisor.
//!
//! * `proto` are the bytes, pure,
//! * `server` is the supervisor's end,
//! * `client` is the commands' end.

pub mod client;
pub mod proto;
pub mod server;

//! LXC's command socket: the tools of either project can ask either supervisor.
//!
//! * `proto` are the bytes, pure,
//! * `server` is the supervisor's end, `answer` what it says, `lend` what it lends, `ring` the last bytes of the console,
//! * `client` is the commands' end.

pub mod answer;
pub mod client;
pub mod lend;
pub mod proto;
pub mod ring;
pub mod server;

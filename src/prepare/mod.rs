//! What the host side needs before a container can be cloned.
//!
//! * `inherited` puts the descriptors in order that our caller left open,
//! * `daemon` goes to the background and hands the true result of the start back,
//! * `lock` makes sure that one name has one supervisor, and finds what a dead one left,
//! * `host` is everything that outlives a restart: lock, command socket, signals, epoll,
//! * `console` is the container's console as seen from here, `recent` what it said last,
//! * `notify` speaks with a service manager, `monitord` with LXC's monitor,
//! * `oom` is the supervisor's own score when memory is short,
//! * `reboot_probe` asks whether the kernel can tell a container's reboot from the host's.

pub mod console;
pub mod daemon;
pub mod host;
pub mod inherited;
pub mod lock;
pub mod monitord;
pub mod notify;
pub mod oom;
pub mod reboot_probe;
pub mod recent;

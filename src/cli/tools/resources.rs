//! The use of resources in `info`: CPU, block devices, memory, links; as lines and as JSON.

use super::addresses;
use super::cgroup_files::{CgroupFiles, hierarchies};
use super::figures::seconds;
use super::info::Lines;
use super::json::Json;
use super::usage;
use crate::control::client::Container;
use crate::state::State;
use crate::text::{Shown, number};
use core::ffi::CStr;
use std::ffi::CString;

/// The lines of a running container.
pub fn lines(lines: &mut Lines, container: Container<'_>) {
    stats(lines, &Used::of(&CgroupFiles::new(container, hierarchies())));
    for link in links(&container) {
        link_lines(lines, &link);
    }
}

/// One line of JSON: LXC's facts, then all that our supervisor tells. `running`: the container, if it runs.
pub fn json(name: &CStr, state: State, pid: Option<i32>, status: &str, running: Option<Container<'_>>) -> String {
    let used = running.map(|container| Used::of(&CgroupFiles::new(container, hierarchies()))).unwrap_or_default();
    let links = running.map(|container| links(&container)).unwrap_or_default();
    let ips = pid.map(addresses::of).unwrap_or_default();
    as_json(name, state, pid, status, &ips, &used, &links)
}

/// The use of resources; None for what this host does not keep.
#[derive(Default)]
struct Used {
    cpu: Option<u64>,
    blocks: Option<u64>,
    memory: Option<u64>,
    kernel: Option<u64>,
}

impl Used {
    fn of(files: &CgroupFiles<'_>) -> Used {
        Used {
            cpu: usage::cpu(files),
            blocks: usage::blocks(files),
            memory: usage::memory(files),
            kernel: usage::kernel(files),
        }
    }
}

/// A figure that is not there is a line that is not there.
fn stats(lines: &mut Lines, used: &Used) {
    match used.cpu {
        Some(nanoseconds) if lines.human => lines.add("CPU use:", format_args!("{} seconds", seconds(nanoseconds))),
        Some(nanoseconds) => lines.add("CPU use:", format_args!("{nanoseconds}")),
        None => {}
    }
    let sizes = [("BlkIO use:", used.blocks), ("Memory use:", used.memory), ("KMem use:", used.kernel)];
    for (label, bytes) in sizes {
        if let Some(bytes) = bytes {
            lines.bytes(label, bytes);
        }
    }
}

/// The host's end of a network link of the container.
struct Link {
    name: String,
    /// Bytes that the container sent, and received; None where the host has no such interface.
    sent: Option<u64>,
    received: Option<u64>,
}

/// The links by number, up to the first that has no name on the host, as LXC does.
fn links(container: &Container<'_>) -> Vec<Link> {
    let item = |number: usize, field: &str| {
        let key = CString::new(format!("lxc.net.{number}.{field}")).ok()?;
        let value = String::from_utf8(container.config_item(&key).ok()??).ok()?;
        Some(value).filter(|value| !value.is_empty() && !value.contains('/'))
    };
    let mut found = Vec::new();
    while let Some(kind) = item(found.len(), "type") {
        let field = if kind == "veth" { "veth.pair" } else { "link" };
        let Some(name) = item(found.len(), field) else { break };
        let bytes = |way: &str| {
            let text = std::fs::read_to_string(format!("/sys/class/net/{name}/statistics/{way}_bytes")).ok()?;
            number(text.as_bytes().trim_ascii())
        };
        // What the host's end received the container has sent.
        let (sent, received) = (bytes("rx"), bytes("tx"));
        found.push(Link { name, sent, received });
    }
    found
}

fn link_lines(lines: &mut Lines, link: &Link) {
    lines.add("Link:", format_args!("{}", Shown(link.name.as_bytes())));
    let (sent, received) = (link.sent, link.received);
    let total = sent.unwrap_or(0).saturating_add(received.unwrap_or(0));
    for (label, bytes) in [(" TX bytes:", sent), (" RX bytes:", received), (" Total bytes:", Some(total))] {
        if let Some(bytes) = bytes {
            lines.bytes(label, bytes);
        }
    }
}

/// The same, of what was read.
fn as_json(
    name: &CStr,
    state: State,
    pid: Option<i32>,
    status: &str,
    ips: &[String],
    used: &Used,
    links: &[Link],
) -> String {
    let mut json = Json::default();
    json.open('{').key("name").string(&name.to_string_lossy()).key("state").string(state.name());
    json.key("pid").number(pid.map(|pid| pid as u64));
    json.key("ips").strings(ips.iter().map(String::as_str));
    let figures = [
        ("cpu_ns", used.cpu),
        ("blkio_bytes", used.blocks),
        ("memory_bytes", used.memory),
        ("kmem_bytes", used.kernel),
    ];
    for (key, figure) in figures {
        json.key(key).number(figure);
    }
    json.key("links").open('[');
    for link in links {
        json.open('{').key("name").string(&link.name);
        json.key("tx_bytes").number(link.sent).key("rx_bytes").number(link.received).close('}');
    }
    json.close(']');
    let lines = status.lines().filter_map(|line| line.split_once('='));
    for (key, value) in lines.filter(|(key, _)| *key != "state" && *key != "pid") {
        json.key(key);
        match number(value.as_bytes()) {
            Some(number) => json.number(Some(number)),
            None => json.string(value),
        };
    }
    json.close('}');
    json.line()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_lxcs_facts_and_what_our_supervisor_tells() {
        let status = "state=RUNNING\npid=4\nrestarts=2\nlast_exit=exit \"7\"\n";
        let used = Used { cpu: Some(7), memory: Some(1 << 40), ..Used::default() };
        let links = [Link { name: "veth1".into(), sent: Some(3), received: None }];
        let text = as_json(c"a\\b", State::Running, Some(4), status, &["fd00::7".into()], &used, &links);
        let expected = concat!(
            r#"{"name":"a\\b","state":"RUNNING","pid":4,"ips":["fd00::7"],"cpu_ns":7,"blkio_bytes":null,"#,
            r#""memory_bytes":1099511627776,"kmem_bytes":null,"links":[{"name":"veth1","tx_bytes":3,"rx_bytes":null}],"#,
            r#""restarts":2,"last_exit":"exit \"7\""}"#
        );
        assert_eq!(text.trim_end(), expected);
    }
}

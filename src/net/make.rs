//! Makes the links, in the config's order.

use super::ask::{self, Link, Which, name, order, text};
use super::{Before, Links, Made, fault, from_child, inside, kinds, outside, run_script};
use crate::config::{Config, Nic, NicType};
use crate::error::{Error, Result};
use crate::logging::trace;
use crate::prepare::host::Host;
use crate::sys::netlink::{self, Netlink};
use crate::text::Line;
use core::ffi::CStr;
use core::fmt::Write;
use nix::errno::Errno;
use std::os::fd::OwnedFd;

/// How often a veth's name is tried, every 10 ms, that is taken on the host: the pair of a supervisor that was killed ends with
/// its container's network namespace, which the kernel takes down when it has time.
const PATIENCE: u32 = 100;

/// Both ends of the work on one link.
pub(super) struct Work<'a, 't> {
    pub config: &'t Config<'t>,
    pub nic: &'a Nic<'t>,
    /// The socket on the host.
    pub outer: &'a mut Netlink,
    /// The socket in the container.
    pub inner: &'a mut Netlink,
}

impl Work<'_, '_> {
    /// See `super::fault`.
    pub fn fault(&self, name: &CStr, hint: &str, errno: Errno) -> Error {
        fault(self.config, self.nic, name, hint, errno)
    }
}

/// Makes all links of the container whose process is `pid`. What is made is noted in `links` before anything else can fail.
#[inline(never)] // its frame would live as long as the container
pub fn make(links: &mut Links, socket: Option<OwnedFd>, pid: i32, host: &mut Host<'_>) -> Result<()> {
    let config = host.config;
    let mut outer = netlink::open()
        .map(Netlink::from)
        .map_err(|errno| Error::os("network", errno, format_args!("open a netlink socket")))?;
    links.inner = Some(from_child(socket)?);
    links.pid = pid;
    for (at, nic) in config.nics.iter().enumerate().filter(|(_, nic)| nic.needs_the_host()) {
        trace::step_with("make a network link", nic.kind_name);
        let Links { inner: Some(inner), made, .. } = links else { return Ok(()) };
        let mut entry = Made { nic: at, host: 0, inside: 0, before: None };
        let mut work = Work { config, nic, outer: &mut outer, inner };
        // A script for a link of the host's sees it where it was.
        if nic.kind == NicType::Phys {
            entry.before = Some(work.look_at_the_hosts()?);
            run_script(host, at, true, pid)?;
        }
        let result = work.make(&mut entry, pid);
        let result = result.and_then(|()| work.configure(&entry));
        let _ = made.push(entry);
        result?;
        if nic.kind != NicType::Phys {
            run_script(host, at, true, pid)?;
        }
    }
    Ok(())
}

impl Work<'_, '_> {
    /// The link of the host's that `link` names.
    pub fn parent(&mut self) -> Result<Link> {
        match kinds::value(self.nic, c"link") {
            Some(name) => ask::link(self.outer, Which::Name(name)).map_err(|errno| self.fault(c"link", "", errno)),
            None => Err(self.fault(c"type", ": it needs a link of the host's (link)", Errno::EINVAL)),
        }
    }

    fn look_at_the_hosts(&mut self) -> Result<Before> {
        let link = self.parent()?;
        Ok(Before { name: name(kinds::value(self.nic, c"link").unwrap_or(c"")), link })
    }

    /// What it is called inside: as the config says, a link of the host's as on the host, else the first ethN that is free.
    fn name_inside(&mut self) -> Result<ask::Name> {
        let nic = self.nic;
        let given = match nic.kind {
            NicType::Phys => kinds::value(nic, c"name").or(kinds::value(nic, c"link")),
            _ => kinds::value(nic, c"name"),
        };
        let mut taken = |name: &CStr| match ask::link(self.inner, Which::Name(name)) {
            Err(Errno::ENODEV) => Ok(false),
            other => other.map(|_| true),
        };
        let mut candidate = name(given.unwrap_or(c""));
        for number in 0..u8::MAX {
            if given.is_none() {
                let mut line = Line::<8>::new();
                let _ = write!(line, "eth{number}");
                candidate = [0; libc::IFNAMSIZ];
                candidate.iter_mut().zip(line.bytes()).for_each(|(to, from)| *to = *from);
            }
            match taken(text(&candidate)) {
                Ok(false) => return Ok(candidate),
                Ok(true) if given.is_none() => {}
                Ok(true) => break,
                Err(errno) => return Err(self.fault(c"name", "", errno)),
            }
        }
        let field = if kinds::field(nic, c"name").is_some() { c"name" } else { c"link" };
        Err(self.fault(field, ": the container has a link of that name already", Errno::EEXIST))
    }

    fn make(&mut self, made: &mut Made, pid: i32) -> Result<()> {
        let nic = self.nic;
        if nic.kind == NicType::Empty {
            return Ok(());
        }
        let inside = self.name_inside()?;
        let mut wanted =
            kinds::Wanted { name: text(&inside), address: kinds::address(nic), mtu: kinds::whole(nic, c"mtu"), pid };
        match nic.kind {
            NicType::Veth => {
                let host = kinds::value(nic, c"veth.pair").unwrap_or(c"");
                if wanted.mtu.is_none() && kinds::field(nic, c"link").is_some() {
                    wanted.mtu = Some(self.parent()?.mtu);
                }
                let mut message = kinds::veth(nic, host, &wanted);
                let mut result = order(self.outer, &mut message);
                for _ in 0..PATIENCE {
                    if result != Err(Errno::EEXIST) {
                        break;
                    }
                    std::thread::sleep(core::time::Duration::from_millis(10));
                    result = order(self.outer, &mut message);
                }
                let field = if result == Err(Errno::EEXIST) { c"veth.pair" } else { c"type" };
                result.map_err(|errno| self.fault(field, lack(nic, errno), errno))?;
                made.host =
                    ask::link(self.outer, Which::Name(host)).map_err(|e| self.fault(c"veth.pair", "", e))?.index;
            }
            NicType::Phys => {
                let index = made.before.map_or(0, |before| before.link.index);
                order(self.outer, &mut kinds::move_in(index, &wanted)).map_err(|errno| {
                    let hint = match errno {
                        Errno::EPERM => RIGHTS,
                        Errno::EINVAL => ": it cannot change its namespace (is it wireless, or a bridge?)",
                        _ => "",
                    };
                    self.fault(c"link", hint, errno)
                })?;
            }
            _ => {
                let parent = self.parent()?.index;
                order(self.outer, &mut kinds::on_a_link(nic, parent, &wanted))
                    .map_err(|errno| self.fault(c"type", lack(nic, errno), errno))?;
            }
        }
        let link = ask::link(self.inner, Which::Name(wanted.name)).map_err(|e| self.fault(c"name", "", e))?;
        made.inside = link.index;
        Ok(())
    }

    fn configure(&mut self, made: &Made) -> Result<()> {
        if self.nic.kind == NicType::Veth {
            outside::connect(self, made.host)?;
        }
        if made.inside != 0 {
            inside::configure(self, made.inside)?;
        }
        outside::answer_for(self, made.host)
    }
}

/// LXC has a setuid program (lxc-user-nic) for those who are not root.
const RIGHTS: &str = ": it takes root on the host; there is no lxc-user-nic here";

/// What a kernel lacks that knows no such type of link, or who asks for it.
fn lack(nic: &Nic<'_>, errno: Errno) -> &'static str {
    if errno == Errno::EPERM {
        return RIGHTS;
    }
    if !matches!(errno, Errno::EOPNOTSUPP | Errno::ENODEV) {
        return "";
    }
    match nic.kind {
        NicType::Veth => ": this kernel has no veth (CONFIG_VETH)",
        NicType::Macvlan => ": this kernel has no macvlan (CONFIG_MACVLAN)",
        NicType::Ipvlan => ": this kernel has no ipvlan (CONFIG_IPVLAN, Linux 3.19)",
        _ => ": this kernel has no VLANs (CONFIG_VLAN_8021Q)",
    }
}

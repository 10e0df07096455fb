//! The property service: /dev/socket/property_service, and the messages that libcutils and bionic send there.

use super::Init;
use super::properties::Properties;
use super::services::Services;
use crate::say;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

const SOCKET: &str = "/dev/socket/property_service";
const SET: u32 = 1;
/// Halium's own: one property, all of them.
const GET: u32 = 2;
const LIST: u32 = 3;
const SET_2: u32 = 0x0002_0001;
/// The old message: command, name, value.
const NAME: usize = 32;
const VALUE: usize = 92;

impl Init {
    /// Listens. As in the real ones a socket that an earlier life left gives way.
    pub fn open_property_service(&self) -> UnixListener {
        let _ = fs::create_dir_all("/dev/socket");
        let _ = fs::remove_file(SOCKET);
        let listener = UnixListener::bind(SOCKET).unwrap();
        fs::set_permissions(SOCKET, PermissionsExt::from_mode(0o666)).unwrap();
        listener
    }

    /// Answers one client.
    pub fn serve(&self, mut client: UnixStream, properties: &mut Properties, services: &mut Services) {
        let _ = client.set_read_timeout(Some(std::time::Duration::from_secs(2)));
        match self.message(&mut client, properties) {
            Some((name, value)) => self.property_set(&name, &value, Some(client), properties, services),
            None => say("property message: refused"),
        }
    }

    /// Reads a message; Some: a property that is to be set.
    fn message(&self, client: &mut UnixStream, properties: &Properties) -> Option<(String, String)> {
        let command = number(client)?;
        match command {
            SET | GET | LIST => {
                let mut rest = [0; NAME + VALUE];
                client.read_exact(&mut rest).ok()?;
                let (name, value) = (until_nul(&rest[..NAME]), until_nul(&rest[NAME..]));
                let asked: Vec<_> = match command {
                    SET => return Some((name, value)),
                    _ if !self.options.halium() => return None,
                    GET => vec![(name.as_str(), properties.get(&name))],
                    _ => properties.all().collect(),
                };
                for (name, value) in asked {
                    let mut answer = command.to_ne_bytes().to_vec();
                    answer.extend(padded(name, NAME));
                    answer.extend(padded(value, VALUE));
                    client.write_all(&answer).ok()?;
                }
                Some((String::new(), String::new()))
            }
            SET_2 if self.options.sdk >= 26 => {
                let name = text(client)?;
                let value = text(client)?;
                Some((name, value))
            }
            _ => None,
        }
    }

    /// What follows a property that was set, from outside or by init itself.
    pub fn property_set(
        &self,
        name: &str,
        value: &str,
        client: Option<UnixStream>,
        properties: &mut Properties,
        services: &mut Services,
    ) {
        if name.is_empty() {
            return;
        }
        properties.set(name, value);
        if let (Some(mut client), 26..) = (client, self.options.sdk) {
            // The old message has no answer; who sent it waits for the end of the connection, or not at all.
            let _ = client.write_all(&0u32.to_ne_bytes());
        }
        match name {
            "sys.powerctl" => self.powerctl(value, properties, services),
            // What a test wants to happen now.
            "test.sysrq" => self.press_sysrq(value),
            "test.reboot" => self.reboot(Some(value)),
            "test.segfault" => self.segfault("as asked"),
            "test.fatal" => self.fatal(value),
            "test.critical" => self.critical(value),
            "test.say" => say(value),
            _ => {}
        }
    }
}

fn number(client: &mut UnixStream) -> Option<u32> {
    let mut bytes = [0; 4];
    client.read_exact(&mut bytes).ok()?;
    Some(u32::from_ne_bytes(bytes))
}

/// A text behind its length.
fn text(client: &mut UnixStream) -> Option<String> {
    let length = number(client).filter(|length| *length < 0xffff)?;
    let mut bytes = vec![0; length as usize];
    client.read_exact(&mut bytes).ok()?;
    String::from_utf8(bytes).ok()
}

fn until_nul(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

fn padded(text: &str, size: usize) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(size, 0);
    bytes
}

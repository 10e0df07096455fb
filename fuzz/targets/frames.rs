//! Any bytes as what comes through the command socket.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monopod::control::proto::{self, ConsoleLog, Frame, Header, StopOrder, Wanted};

fuzz_target!(|bytes: &[u8]| {
    let mut frame = Frame::new();
    let mut rest = bytes;
    while let Ok(missing) = frame.missing() {
        if missing == 0 {
            let _ = frame.header().map(|header| proto::Command::from_wire(header.number));
            if let Some(body) = frame.body() {
                let _ = Wanted::from_bytes(body);
                let _ = StopOrder::from_bytes(body);
                let _ = ConsoleLog::from_bytes(body);
                let _ = proto::cgroup_fd_controller(body);
                let _ = monopod::cgroup::devices::from_wire(body);
            }
            frame.clear();
            continue;
        }
        let take = missing.min(rest.len());
        if take == 0 {
            break;
        }
        frame.push(&rest[..take]);
        rest = &rest[take..];
    }
    if let Some(header) = Header::from_bytes(bytes) {
        assert_eq!(Header::from_bytes(&header.to_bytes()), Some(header));
    }
    if let Some(message) = bytes.first_chunk() {
        let _ = (proto::parse_message(message), proto::message_name(message));
    }
});

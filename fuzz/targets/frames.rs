//! Any bytes as what comes through the command socket, on either side, and as what the kernel answers of links.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monopod::control::client::Container;
use monopod::control::proto::{self, Command, ConsoleLog, Frame, Header, News, StopOrder, Wanted};
use monopod::net::message::{Attributes, number_at};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// The supervisor's side: requests one after the other, cut anywhere.
fn serve(bytes: &[u8]) {
    let mut frame = Frame::new();
    let mut rest = bytes;
    while let Ok(missing) = frame.missing() {
        if missing == 0 {
            let header = frame.header().unwrap();
            let _ = Command::from_wire(header.number).inspect(|known| assert_eq!(*known as i32, header.number));
            if let Some(body) = frame.body() {
                assert_eq!(body.len(), header.length as usize);
                look(body);
            }
            frame.clear();
            continue;
        }
        let take = missing.min(rest.len()).min(1 + usize::from(rest.first().copied().unwrap_or(0)));
        if take == 0 {
            break;
        }
        frame.push(&rest[..take]);
        assert!(frame.header().is_none() || frame.missing().is_err() || frame.missing().unwrap() <= proto::BODY_MAX);
        rest = &rest[take..];
    }
}

fn look(body: &[u8]) {
    let _ = Wanted::from_bytes(body).inspect(|wanted| assert_eq!(wanted.to_bytes(), body));
    let _ = StopOrder::from_bytes(body).inspect(|order| {
        assert_eq!(order.to_bytes(), body);
        assert!(order.timeout_ms >= -1);
    });
    let _ = ConsoleLog::from_bytes(body);
    let _ = proto::cgroup_fd_controller(body).inspect(|name| assert!(name.len() <= 64));
    let _ = monopod::cgroup::devices::from_wire(body);
    let half = body.len() / 2;
    assert!(proto::address(&body[..half], &body[half..]).len() <= 107);
}

/// The client's side: `bytes` are all that the other end says.
fn ask(bytes: &[u8]) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(bytes).unwrap();
    theirs.shutdown(Shutdown::Write).unwrap();
    let container = Container { lxcpath: c"/nonexistent", name: c"fuzz" };
    if let Ok(answer) = container.ask_on(ours.as_fd(), Command::GetState, 7, b"body") {
        let header = Header::from_bytes(bytes).unwrap();
        assert_eq!((answer.result, answer.data), (header.number, header.data));
        assert_eq!(answer.body, bytes[proto::HEADER_BYTES..][..header.length as usize]);
        assert!(answer.fd.is_none());
    }
    drop(ours);
    let mut said = Vec::new();
    // Who leaves bytes unread resets the connection.
    let _ = theirs.read_to_end(&mut said);
    assert_eq!(said.len(), proto::HEADER_BYTES + 4);
}

/// What a waiter is told.
fn hear(bytes: &[u8]) {
    let Some(message) = bytes.first_chunk() else { return };
    let name = proto::message_name(message);
    let Some(news) = proto::parse_message(message) else { return };
    assert!(name.len() <= 256);
    let again = proto::message(news, name);
    assert_eq!(proto::parse_message(&again), Some(news));
    assert_eq!(proto::message_name(&again), &name[..name.len().min(255)]);
    if let News::State(state) = news {
        assert!(monopod::state::State::ALL.contains(&state));
    }
}

/// An answer of rtnetlink to request 1.
fn links(bytes: &[u8]) {
    let _ = monopod::sys::netlink::take(bytes, 1, &mut |_, body| {
        assert!(body.len() + 16 <= bytes.len());
        for (_, payload) in Attributes(body.get(16..).unwrap_or(&[])) {
            assert!(payload.len() + 4 <= body.len());
            let _ = (number_at(payload, 0), monopod::net::address::Ip::from_octets(payload));
        }
    });
}

fuzz_target!(|bytes: &[u8]| {
    serve(bytes);
    hear(bytes);
    links(bytes);
    ask(bytes);
    if let Some(header) = Header::from_bytes(bytes) {
        assert_eq!(header.to_bytes(), bytes[..proto::HEADER_BYTES]);
    }
});

//! The server over a real socket and epoll, in process.

use super::*;
use crate::cgroup::find::Hierarchies;
use crate::config::Config;
use crate::control::client::{Container, Failure, Watched};
use crate::control::proto::{Command, StopMode, StopOrder};
use nix::sys::epoll::{EpollCreateFlags, EpollTimeout};
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What the thread that plays the supervisor may be told, and tells.
struct Play {
    state: AtomicI32,
    over: AtomicBool,
    orders: mpsc::Sender<Order>,
}

/// Runs a server of its own name in a thread, `scenario` against it, then shuts it.
fn with_server(name: &CStr, scenario: impl FnOnce(&Container<'_>, &Play, &mpsc::Receiver<Order>)) {
    let (orders, received) = mpsc::channel();
    let play = Play { state: AtomicI32::new(1), over: AtomicBool::new(false), orders };
    let server = Server::bind(c"/tmp/monopod-test", name).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| supervise(server, name, &play));
        // Also when the scenario fails: the scope waits for the thread.
        let _over = Over(&play);
        scenario(&Container { lxcpath: c"/tmp/monopod-test", name }, &play, &received);
    });
}

struct Over<'a>(&'a Play);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

fn supervise(mut server: Server, name: &CStr, play: &Play) {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    server.register(&epoll).unwrap();
    let mut config = Config::new(name, c"/tmp/monopod-test");
    (config.groups.limit, config.groups.container) = (c"some", c"some/inner");
    let hierarchies = Hierarchies::new();
    let (mut lent, mut devices) = (Lent::new(&config), InForce::default());
    let (begin, mut told) = (Instant::now(), State::Starting);
    while !play.over.load(Ordering::SeqCst) {
        let state = State::from_wire(play.state.load(Ordering::SeqCst)).unwrap();
        if state != told {
            server.tell(News::State(state), name, &epoll);
            told = state;
        }
        let facts = Facts {
            state,
            init_pid: nix::unistd::getpid().as_raw(),
            clone_flags: 0x2e02_0000,
            config: &config,
            hierarchies: &hierarchies,
            status: b"state=RUNNING\n",
        };
        let mut events = [EpollEvent::empty(); 4];
        let count = epoll.wait(&mut events, EpollTimeout::from(5_u8)).unwrap_or(0);
        let now_ms = begin.elapsed().as_millis() as u64;
        for event in &events[..count] {
            let mut round = Round { epoll: &epoll, now_ms, facts: &facts, lent: &mut lent, devices: &mut devices };
            if let Some(order) = server.handle(event.data(), &mut round) {
                play.orders.send(order).unwrap();
            }
        }
        server.expire(now_ms, &epoll);
    }
    drop(server);
}

fn raw(container: &Container<'_>) -> UnixStream {
    let address = proto::address(container.lxcpath.to_bytes(), container.name.to_bytes());
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(&address).unwrap()).unwrap()
}

fn ended(mut stream: UnixStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    match stream.read(&mut [0; 64]) {
        Ok(n) => n == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn questions_each_get_their_answer() {
    with_server(c"questions", |container, _, _| {
        assert_eq!(container.state(), Ok(State::Starting));
        assert_eq!(container.init_pid(), Ok(Some(nix::unistd::getpid().as_raw())));
        assert_eq!(container.cgroup(c"cpu"), Ok(b"/some/inner".to_vec()));
        assert_eq!(container.status(), Ok(b"state=RUNNING\n".to_vec()));
        assert_eq!(container.config_item(c"lxc.no.such.key"), Ok(None));
        assert_eq!(container.ask(Command::GetName, &[]).unwrap().body, b"questions\0");
        assert_eq!(container.ask(Command::GetLxcpath, &[]).unwrap().body, b"/tmp/monopod-test\0");
        assert_eq!(container.ask(Command::GetCloneFlags, &[]).unwrap().data, 0x2e02_0000);
        assert_eq!(container.signal_init(0), Ok(()));
        let refused = |command, body: &[u8]| container.ask(command, body).err();
        for number in [-1, 1, i32::MAX, i32::MIN] {
            assert_eq!(container.tty(number).err(), Some(Failure::Refused(Errno::EBADF)));
        }
        assert_eq!(refused(Command::GetCgroup2Fd, &[]), Some(Failure::Refused(Errno::ENOENT)));
        assert_eq!(refused(Command::GetCgroupFd, &[0; 79]), Some(Failure::Refused(Errno::EINVAL)));
        assert_eq!(refused(Command::AddBpfDeviceCgroup, &[0; 24]), Some(Failure::Refused(Errno::EINVAL)));
        assert_eq!(refused(Command::ConsoleLog, &[0; 16]), Some(Failure::Refused(Errno::EFAULT)));
        // Not while it starts.
        assert_eq!(refused(Command::Freeze, &[]), Some(Failure::Refused(Errno::ESRCH)));
        assert_eq!(refused(Command::AddStateClient, b"abc"), Some(Failure::Refused(Errno::EINVAL)));
        assert_eq!(refused(Command::StopOrder, &[7; 16]), Some(Failure::Refused(Errno::EINVAL)));
        assert_eq!(refused(Command::GetCgroup, b"cpu"), Some(Failure::Refused(Errno::EINVAL)));
        assert_eq!(refused(Command::GetConfigItem, &[b'k'; 4000]), Some(Failure::Refused(Errno::E2BIG)));
    });
}

/// As LXC before 4.0 and kernels before 5.3 have it. A systemd is halted by a realtime signal.
#[test]
fn supervisor_without_pidfds_has_init_signalled_by_pid() {
    use std::os::unix::process::ExitStatusExt;
    let container = Container { lxcpath: c"/tmp/monopod-test", name: c"no-pidfds" };
    let address = proto::address(container.lxcpath.to_bytes(), container.name.to_bytes());
    let address = SocketAddr::from_abstract_name(&address).unwrap();
    let listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let mut init = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let answers = [
        Header { number: -(Errno::ENOSYS as i32), length: 0, data: 0 },
        Header { number: 0, length: 0, data: init.id() as usize },
    ];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for answer in answers {
                let (mut client, _) = listener.accept().unwrap();
                client.read_exact(&mut [0; proto::HEADER_BYTES]).unwrap();
                client.write_all(&answer.to_bytes()).unwrap();
            }
        });
        assert_eq!(container.signal_init(37), Ok(()));
    });
    assert_eq!(init.wait().unwrap().signal(), Some(37));
}

#[test]
fn unknown_command_gets_enosys_and_may_ask_again() {
    with_server(c"unknown", |container, _, _| {
        let mut stream = raw(container);
        for number in [13, 22, 26, 999, -1, i32::MAX] {
            stream.write_all(&Header { number, length: 0, data: 0 }.to_bytes()).unwrap();
            let mut answer = [0; proto::HEADER_BYTES];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(Header::from_bytes(&answer).unwrap().number, -(Errno::ENOSYS as i32));
        }
    });
}

#[test]
fn bind_twice_says_already_running() {
    with_server(c"twice", |container, _, _| {
        let second = Server::bind(container.lxcpath, container.name);
        assert_eq!(second.err(), Some(BindError::AlreadyRunning));
    });
    assert!(Server::bind(c"/tmp/monopod-test", c"twice").is_ok());
}

#[test]
fn waiter_is_told_its_state_and_the_end() {
    with_server(c"waiter", |container, play, _| {
        let running = Wanted::default().with(State::Running);
        let Ok(Watched::Waiting(watch)) = container.watch(running) else { panic!("not waiting") };
        play.state.store(State::Running as i32, Ordering::SeqCst);
        assert_eq!(watch.next(None), Ok(Some(State::Running)));
        assert!(matches!(container.watch(running), Ok(Watched::Already(State::Running))));
        assert_eq!(container.wait(running, None), Ok(true));
        let next = Wanted::default().with_next(State::Running);
        let Ok(Watched::Waiting(watch)) = container.watch(next) else { panic!("the present state was taken") };
        play.over.store(true, Ordering::SeqCst);
        assert_eq!(watch.next(None), Ok(None));
    });
}

#[test]
fn waiters_beyond_the_limit_are_refused_but_a_kill_is_not() {
    with_server(c"waiters", |container, _, orders| {
        let wish = Wanted::default().with(State::Frozen);
        let held: Vec<_> = (0..limits::STATE_WAITERS).map(|_| container.watch(wish).unwrap()).collect();
        assert_eq!(container.watch(wish).err(), Some(Failure::Refused(Errno::EBUSY)));
        let kill = container.kill().unwrap();
        assert_eq!(orders.recv(), Ok(Order::Kill));
        drop(held);
        // The slots are free again once the server has seen the ends.
        while container.watch(wish).is_err() {}
        assert_eq!(kill.next(Some(Instant::now())), Err(Failure::TimedOut));
    });
}

#[test]
fn stop_order_is_answered_and_handed_over() {
    with_server(c"order", |container, _, orders| {
        let order = StopOrder { mode: StopMode::Reboot, never_kill: true, timeout_ms: 7 };
        assert_eq!(container.order(order), Ok(()));
        let expected = Order::Stop { mode: StopMode::Reboot, never_kill: true, timeout_ms: 7 };
        assert_eq!(orders.recv(), Ok(expected));
    });
}

#[test]
fn silent_and_half_and_wrong_clients_keep_nobody_from_an_answer() {
    with_server(c"hostile", |container, _, _| {
        let mut held = Vec::new();
        for at in 0..1_000_u32 {
            let mut stream = raw(container);
            let bytes: &[u8] = match at % 4 {
                0 => b"",
                1 => b"\x03",
                2 => &Header { number: 7, length: 100, data: 0 }.to_bytes(),
                _ => &[0xff; 64],
            };
            // The server may have closed a wrong one already.
            let _ = stream.write_all(bytes);
            held.push(stream);
            if at % 100 == 0 {
                assert_eq!(container.state(), Ok(State::Starting));
            }
        }
        assert_eq!(container.state(), Ok(State::Starting));
        // Only the youngest few are left; the others were closed.
        let oldest = held.into_iter().take(900);
        assert!(oldest.into_iter().all(ended));
    });
}

/// Calls `handle` for a container of which nothing but its config is known.
fn handler<'a>(config: &'a Config<'a>, epoll: &'a Epoll) -> impl FnMut(&mut Server, u64, u64) -> Option<Order> + 'a {
    let hierarchies = Hierarchies::new();
    let (mut lent, mut devices) = (Lent::new(config), InForce::default());
    move |server, token, now_ms| {
        let facts = Facts {
            state: State::Running,
            init_pid: 0,
            clone_flags: 0,
            config,
            hierarchies: &hierarchies,
            status: b"",
        };
        let mut round = Round { epoll, now_ms, facts: &facts, lent: &mut lent, devices: &mut devices };
        server.handle(token, &mut round)
    }
}

#[test]
fn ten_thousand_connections_never_hold_more_than_the_slots() {
    let name = c"flood";
    let mut server = Server::bind(c"/tmp/monopod-test", name).unwrap();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let container = Container { lxcpath: c"/tmp/monopod-test", name };
    let config = Config::new(name, c"/tmp/monopod-test");
    let mut handle = handler(&config, &epoll);
    let mut held = std::collections::VecDeque::new();
    for _ in 0..10_000 {
        held.push_back(raw(&container));
        if held.len() > 2 * limits::CLIENTS {
            held.pop_front();
        }
        assert_eq!(handle(&mut server, TOKEN, 0), None);
        assert!(server.clients.iter().flatten().count() <= limits::CLIENTS);
    }
    // All but those in the slots were closed.
    assert!(held.into_iter().take(limits::CLIENTS).all(ended));
}

#[test]
fn client_that_never_finishes_is_expired() {
    let name = c"expire";
    let mut server = Server::bind(c"/tmp/monopod-test", name).unwrap();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    server.register(&epoll).unwrap();
    assert_eq!(server.next_deadline(), None);
    let container = Container { lxcpath: c"/tmp/monopod-test", name };
    let stream = raw(&container);
    let config = Config::new(name, c"/tmp/monopod-test");
    let mut handle = handler(&config, &epoll);
    assert_eq!(handle(&mut server, TOKEN, 100), None);
    assert_eq!(server.next_deadline(), Some(100 + limits::REQUEST_MS));
    server.expire(99 + limits::REQUEST_MS, &epoll);
    assert!(server.clients.iter().any(Option::is_some));
    server.expire(100 + limits::REQUEST_MS, &epoll);
    assert_eq!(server.next_deadline(), None);
    assert!(ended(stream));
}

#[test]
fn stale_event_reaches_no_later_client() {
    let name = c"stale";
    let mut server = Server::bind(c"/tmp/monopod-test", name).unwrap();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let container = Container { lxcpath: c"/tmp/monopod-test", name };
    let config = Config::new(name, c"/tmp/monopod-test");
    let mut handle = handler(&config, &epoll);
    let mut stream = raw(&container);
    handle(&mut server, TOKEN, 0);
    stream.write_all(&Header { number: 2, length: 0, data: 0 }.to_bytes()).unwrap();
    let generation = server.clients[0].as_ref().unwrap().generation;
    let stale = token(CLIENT, 0, generation.wrapping_sub(1));
    assert_eq!(handle(&mut server, stale, 0), None);
    let wild = [token(CLIENT, 9_999, 0), token(WAITER, 9_999, 0), TOKEN | (9 << 48)];
    assert!(wild.into_iter().all(|token| handle(&mut server, token, 0).is_none()));
    let fresh = token(CLIENT, 0, generation);
    assert_eq!(handle(&mut server, fresh, 0), Some(Order::Kill));
}

#[test]
fn state_of_a_supervisor_that_turns_us_away_is_asked_again() {
    let address = proto::address(b"/tmp/monopod-test", b"turns_away");
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&address).unwrap()).unwrap();
    let container = Container { lxcpath: c"/tmp/monopod-test", name: c"turns_away" };
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| container.state());
        for _ in 0..3 {
            drop(listener.accept().unwrap());
        }
        let mut stream = listener.accept().unwrap().0;
        let answer = Header { number: 0, length: 0, data: State::Frozen as usize };
        stream.write_all(&answer.to_bytes()).unwrap();
        assert_eq!(asked.join().unwrap(), Ok(State::Frozen));
        // One that never answers us is none to us.
        let asked = scope.spawn(|| container.state());
        while !asked.is_finished() {
            drop(UnixStream::connect_addr(&SocketAddr::from_abstract_name(&address).unwrap()));
            drop(listener.accept().unwrap());
        }
        assert_eq!(asked.join().unwrap(), Ok(State::Stopped));
    });
    drop(listener);
    assert_eq!(container.state(), Ok(State::Stopped));
}

//! The bytes on the command socket. Pure.
//!
//! A request is a header `{int command; int length; pointer data}` and `length` bytes; a reply is the same header with
//! the result in place of the command. The pointer is a word of the sender: small answers (a state, a pid) travel in it.
//! All of it is in the machine's own byte order and word size, so tools and supervisor must be built for the same ABI.

use crate::limits;
use crate::state::State;
use heapless::Vec;

/// Bytes of a header: two ints and a pointer.
pub const HEADER_BYTES: usize = 8 + size_of::<usize>();
/// Longest body that is taken off a socket: LXC's 2 * PATH_MAX. A longer one ends the connection.
pub const BODY_MAX: usize = 2 * limits::PATH_BYTES;
/// Bytes of a state message: `{int type; char name[256]; int value}`.
pub const STATE_MESSAGE_BYTES: usize = 264;

/// The commands of LXC that have an answer here, and ours from 1000. The numbers are the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Command {
    /// Lends a tty.
    GetTtyFd = 0,
    /// A client's terminal changed its size.
    TerminalWinch = 1,
    /// `lxc.signal.stop` to init; the answer is the end of the connection when the container is gone.
    Stop = 2,
    /// The state, in the pointer.
    GetState = 3,
    /// init's pid, in the pointer.
    GetInitPid = 4,
    /// The clone flags, in the pointer.
    GetCloneFlags = 5,
    /// The cgroup path in the hierarchy of the controller named in the body.
    GetCgroup = 6,
    /// The value of the key named in the body.
    GetConfigItem = 7,
    /// The container's name.
    GetName = 8,
    /// The lxcpath.
    GetLxcpath = 9,
    /// Waits for the states of the body (eight ints).
    AddStateClient = 10,
    /// What the console printed (the body is a `ConsoleLog`).
    ConsoleLog = 11,
    /// Tells the waiters of a state that the client brought about: a freeze by the v1 freezer.
    ServeStateClients = 12,
    /// Adds a rule to the devices program of v2.
    AddBpfDeviceCgroup = 14,
    /// Freezes the container; the number in the pointer is a timeout in seconds (0 = none to wait, -1 = for ever).
    Freeze = 15,
    /// Thaws it.
    Unfreeze = 16,
    /// The v2 cgroup, beside the answer.
    GetCgroup2Fd = 17,
    /// A pidfd of init, beside the answer.
    GetInitPidfd = 18,
    /// As `GetCgroup`, of the cgroup that has the limits. It is the same one here.
    GetLimitCgroup = 19,
    /// As `GetCgroup2Fd`, of the cgroup that has the limits.
    GetLimitCgroup2Fd = 20,
    /// The container's devpts, beside the answer.
    GetDevptsFd = 21,
    /// All cgroups, beside the answer (the body is a `cgroup_ctx`).
    GetCgroupCtx = 23,
    /// The cgroup in the hierarchy of the controller named in the body, beside the answer.
    GetCgroupFd = 24,
    /// The same for the cgroup that has the limits.
    GetLimitCgroupFd = 25,
    /// Ours: stops or restarts by the config's rules; the body is a `StopOrder`.
    StopOrder = 1000,
    /// Ours: `key=value` lines.
    Status = 1001,
    /// Ours: every state and every exit code from now on, as state messages, until one side closes.
    Subscribe = 1002,
    /// Ours: the console's last bytes from the offset in the body (u64) on; reading takes nothing away.
    ConsoleTail = 1003,
}

impl Command {
    const ALL: [Command; 28] = [
        Command::GetTtyFd,
        Command::TerminalWinch,
        Command::Stop,
        Command::GetState,
        Command::GetInitPid,
        Command::GetCloneFlags,
        Command::GetCgroup,
        Command::GetConfigItem,
        Command::GetName,
        Command::GetLxcpath,
        Command::AddStateClient,
        Command::ConsoleLog,
        Command::ServeStateClients,
        Command::AddBpfDeviceCgroup,
        Command::Freeze,
        Command::Unfreeze,
        Command::GetCgroup2Fd,
        Command::GetInitPidfd,
        Command::GetLimitCgroup,
        Command::GetLimitCgroup2Fd,
        Command::GetDevptsFd,
        Command::GetCgroupCtx,
        Command::GetCgroupFd,
        Command::GetLimitCgroupFd,
        Command::StopOrder,
        Command::Status,
        Command::Subscribe,
        Command::ConsoleTail,
    ];

    /// The command of a wire number; None for one that is not served.
    pub fn from_wire(number: i32) -> Option<Command> {
        Command::ALL.into_iter().find(|command| *command as i32 == number)
    }
}

/// A header, of a request or a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The command of a request; the result of a reply (0, or a negative errno).
    pub number: i32,
    /// Bytes that follow.
    pub length: i32,
    /// The word in place of a pointer.
    pub data: usize,
}

impl Header {
    /// The header's bytes.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let fields =
            self.number.to_ne_bytes().into_iter().chain(self.length.to_ne_bytes()).chain(self.data.to_ne_bytes());
        bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
        bytes
    }

    /// The header at the start of `bytes`; None while it is not whole.
    pub fn from_bytes(bytes: &[u8]) -> Option<Header> {
        let (number, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (data, _) = rest.split_first_chunk()?;
        Some(Header {
            number: i32::from_ne_bytes(*number),
            length: i32::from_ne_bytes(*length),
            data: usize::from_ne_bytes(*data),
        })
    }
}

/// A length that no request can have; the sender speaks something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad;

/// A request while it arrives. A body longer than `limits::REQUEST_BYTES` is counted but not kept.
#[derive(Default)]
pub struct Frame {
    bytes: Vec<u8, { HEADER_BYTES + limits::REQUEST_BYTES }>,
    dropped: usize,
}

impl Frame {
    /// An empty frame.
    pub const fn new() -> Self {
        Frame { bytes: Vec::new(), dropped: 0 }
    }

    /// How many bytes are missing of the part (header, then body) that is arriving; 0 = the request is whole.
    pub fn missing(&self) -> Result<usize, Bad> {
        let Some(header) = self.header() else { return Ok(HEADER_BYTES - self.bytes.len()) };
        let length = usize::try_from(header.length).ok().filter(|n| *n <= BODY_MAX).ok_or(Bad)?;
        Ok((HEADER_BYTES + length).saturating_sub(self.bytes.len() + self.dropped))
    }

    /// Adds what arrived: not more than `missing` said.
    pub fn push(&mut self, more: &[u8]) {
        for byte in more {
            if self.bytes.push(*byte).is_err() {
                self.dropped += 1;
            }
        }
    }

    /// The header, once it is there.
    pub fn header(&self) -> Option<Header> {
        Header::from_bytes(&self.bytes)
    }

    /// The body of a whole request; None if it was too long to be kept.
    pub fn body(&self) -> Option<&[u8]> {
        self.bytes.get(HEADER_BYTES..).filter(|_| self.dropped == 0)
    }

    /// Makes room for the next request.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.dropped = 0;
    }
}

/// The states a client waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted([i32; State::ALL.len()]);

impl Wanted {
    /// Bytes of the body of ADD_STATE_CLIENT.
    pub const BYTES: usize = State::ALL.len() * 4;

    /// Adds `state`, met at once if the container has it already.
    pub fn with(mut self, state: State) -> Self {
        self.set(state, 1);
        self
    }

    /// Adds `state`, met only when the container enters it from now on (`stop -r` waits for the next RUNNING).
    pub fn with_next(mut self, state: State) -> Self {
        self.set(state, 2);
        self
    }

    /// Whether entering `state` meets the wish.
    pub fn wants(&self, state: State) -> bool {
        self.get(state) != 0
    }

    /// Whether being in `state` meets the wish.
    pub fn met_by(&self, state: State) -> bool {
        self.get(state) == 1
    }

    /// Whether nothing is waited for.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|wish| *wish == 0)
    }

    /// The wish as a body.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes.chunks_exact_mut(4).zip(self.0).for_each(|(four, wish)| four.copy_from_slice(&wish.to_ne_bytes()));
        bytes
    }

    /// The wish of a body; None unless it has the right length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Wanted> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let mut wanted = Wanted::default();
        let (fours, _) = bytes.as_chunks();
        wanted.0.iter_mut().zip(fours).for_each(|(wish, four)| *wish = i32::from_ne_bytes(*four));
        Some(wanted)
    }

    fn get(&self, state: State) -> i32 {
        self.0.get(state as usize).copied().unwrap_or(0)
    }

    fn set(&mut self, state: State, value: i32) {
        if let Some(wish) = self.0.get_mut(state as usize) {
            *wish = value;
        }
    }
}

/// The ways of a `StopOrder`, by wire value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum StopMode {
    /// `lxc.signal.halt`, and no restart.
    Halt = 0,
    /// `lxc.signal.reboot`, and start again.
    Reboot = 1,
    /// `lxc.signal.stop`, and no restart.
    Kill = 2,
    /// `lxc.signal.reboot`, a kill when the time is over, and start again whatever the config says of restarts.
    Restart = 3,
}

/// The body of STOP_ORDER: `{u32 mode; u32 flags; i64 timeout_ms}`, flag 1 = never kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopOrder {
    /// What to do to the container.
    pub mode: StopMode,
    /// Never follow up with a kill.
    pub never_kill: bool,
    /// Milliseconds until the kill; -1 = the config's `monopod.timeout.stop`.
    pub timeout_ms: i64,
}

impl StopOrder {
    /// Bytes of the body.
    pub const BYTES: usize = 16;

    /// The order as a body.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let fields = (self.mode as u32).to_ne_bytes().into_iter();
        let fields = fields.chain(u32::from(self.never_kill).to_ne_bytes()).chain(self.timeout_ms.to_ne_bytes());
        bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
        bytes
    }

    /// The order of a body; None if its length, mode, flags or time is none of ours.
    pub fn from_bytes(bytes: &[u8]) -> Option<StopOrder> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let (mode, rest) = bytes.split_first_chunk()?;
        let (flags, rest) = rest.split_first_chunk()?;
        let mode = [StopMode::Halt, StopMode::Reboot, StopMode::Kill, StopMode::Restart]
            .into_iter()
            .find(|known| *known as u32 == u32::from_ne_bytes(*mode))?;
        let never_kill = match u32::from_ne_bytes(*flags) {
            0 => false,
            1 => true,
            _ => return None,
        };
        let timeout_ms = i64::from_ne_bytes(*rest.first_chunk()?);
        (timeout_ms >= -1).then_some(StopOrder { mode, never_kill, timeout_ms })
    }
}

/// Our own type of message.
const READY: i32 = 1000;

/// What a message to a waiter tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The container entered a state.
    State(State),
    /// init ended; a wait status, as waitpid(2) has it.
    Exit(i32),
    /// Ours: the guest is ready. Only who follows all news is told.
    Ready,
}

/// The message to a waiter of container `name`: `{int type; char name[256]; int value}`, type 0 for a state, 2 for an exit
/// code, 1000 for ready. A longer name than 255 bytes is cut.
pub fn message(news: News, name: &[u8]) -> [u8; STATE_MESSAGE_BYTES] {
    let (kind, value) = match news {
        News::State(state) => (0_i32, state as i32),
        News::Exit(status) => (2, status),
        News::Ready => (READY, 1),
    };
    let mut bytes = [0; STATE_MESSAGE_BYTES];
    let fields = kind.to_ne_bytes().into_iter().chain(name.iter().copied().take(255));
    bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
    if let Some(end) = bytes.last_chunk_mut() {
        *end = value.to_ne_bytes();
    }
    bytes
}

/// The news of a message; None if it is none of ours.
pub fn parse_message(bytes: &[u8; STATE_MESSAGE_BYTES]) -> Option<News> {
    let value = i32::from_ne_bytes(*bytes.last_chunk()?);
    match i32::from_ne_bytes(*bytes.first_chunk()?) {
        0 => State::from_wire(value).map(News::State),
        2 => Some(News::Exit(value)),
        READY => Some(News::Ready),
        _ => None,
    }
}

/// The name in a message.
pub fn message_name(bytes: &[u8; STATE_MESSAGE_BYTES]) -> &[u8] {
    let name = bytes.get(4..STATE_MESSAGE_BYTES - 4).unwrap_or_default();
    name.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The body of CONSOLE_LOG: `{bool clear; bool read; u64 read_max}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsoleLog {
    /// Forget all of it.
    pub clear: bool,
    /// Send it.
    pub read: bool,
    /// At most so many bytes, 0 = all; so many are forgotten, too.
    pub most: u64,
}

impl ConsoleLog {
    /// The request of a body. Some LXCs send more behind it.
    pub fn from_bytes(bytes: &[u8]) -> Option<ConsoleLog> {
        let most = u64::from_ne_bytes(*bytes.get(8..)?.first_chunk()?);
        Some(ConsoleLog { clear: *bytes.first()? != 0, read: *bytes.get(1)? != 0, most })
    }
}

/// Bytes of a `cgroup_fd`: `{int layout; int features; u32 filesystem; int fd; char controller[64]}`, measured on LXC 5.0.2.
pub const CGROUP_FD_BYTES: usize = 80;
/// Bytes of a `cgroup_ctx`: `{int layout; int features; int count; int fds[21]}`, measured on LXC 5.0.2.
pub const CGROUP_CTX_BYTES: usize = 96;

/// The controller that a `cgroup_fd` asks for; empty for v2.
pub fn cgroup_fd_controller(body: &[u8]) -> Option<&[u8]> {
    let body: &[u8; CGROUP_FD_BYTES] = body.try_into().ok()?;
    body.get(16..)?.split(|byte| *byte == 0).next()
}

/// `ints` at the start of a copy of `body`, and zeroes where that is shorter.
pub fn with_ints<const N: usize>(ints: &[i32], body: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.iter_mut().zip(body).for_each(|(byte, old)| *byte = *old);
    let fields = ints.iter().flat_map(|int| int.to_ne_bytes());
    bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
    bytes
}

/// The abstract address of a container's command socket, without the leading NUL: `LXCPATH/NAME/command`, or with a
/// hash (FNV-1a of `LXCPATH/NAME`) where that is longer than a socket address.
pub fn address(lxcpath: &[u8], name: &[u8]) -> Vec<u8, 107> {
    let mut plain = Vec::new();
    let parts: [&[u8]; 4] = [lxcpath, b"/", name, b"/command"];
    // Measured on LXC 5.0.2: 105 bytes go as they are, 106 are hashed.
    if parts.iter().map(|part| part.len()).sum::<usize>() <= 105 {
        for part in parts {
            let _ = plain.extend_from_slice(part);
        }
        return plain;
    }
    let hashed = lxcpath.iter().chain(b"/").chain(name);
    let hash =
        hashed.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    // At most 29 bytes: always fits.
    let _ = core::fmt::Write::write_fmt(&mut Letters(&mut plain), format_args!("lxc/{hash:016x}/command"));
    plain
}

struct Letters<'a>(&'a mut Vec<u8, 107>);

impl core::fmt::Write for Letters<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0.extend_from_slice(text.as_bytes()).map_err(|_| core::fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: &[u8]) -> Frame {
        let mut frame = Frame::new();
        frame.push(bytes);
        frame
    }

    #[test]
    fn header_round_trip_keeps_every_field() {
        let header = Header { number: -38, length: 80, data: usize::MAX - 5 };
        assert_eq!(Header::from_bytes(&header.to_bytes()), Some(header));
        assert_eq!(Header::from_bytes(&header.to_bytes()[1..]), None);
    }

    #[test]
    fn frame_byte_by_byte_says_what_is_missing() {
        let mut request = Header { number: 7, length: 4, data: 0 }.to_bytes().to_vec();
        request.extend_from_slice(b"abc\0");
        let mut frame = Frame::new();
        for (at, byte) in request.iter().enumerate() {
            let end = if at < HEADER_BYTES { HEADER_BYTES } else { request.len() };
            assert_eq!(frame.missing(), Ok(end - at));
            assert_eq!(frame.header().is_some(), at >= HEADER_BYTES);
            frame.push(&[*byte]);
        }
        assert_eq!(frame.missing(), Ok(0));
        assert_eq!(frame.body(), Some(&b"abc\0"[..]));
    }

    #[test]
    fn frame_impossible_length_is_bad() {
        for length in [-1, i32::MIN, BODY_MAX as i32 + 1, i32::MAX] {
            assert_eq!(frame(&Header { number: 3, length, data: 0 }.to_bytes()).missing(), Err(Bad));
        }
        assert_eq!(frame(&[0xff; HEADER_BYTES]).missing(), Err(Bad));
    }

    #[test]
    fn frame_long_body_is_counted_but_not_kept() {
        let mut long = frame(&Header { number: 7, length: BODY_MAX as i32, data: 0 }.to_bytes());
        assert_eq!(long.missing(), Ok(BODY_MAX));
        long.push(&[b'x'; BODY_MAX]);
        assert_eq!(long.missing(), Ok(0));
        assert_eq!(long.body(), None);
        long.clear();
        assert_eq!(long.missing(), Ok(HEADER_BYTES));
    }

    #[test]
    fn wanted_round_trip_tells_present_from_future() {
        let wanted = Wanted::default().with(State::Stopped).with_next(State::Running);
        let read = Wanted::from_bytes(&wanted.to_bytes()).unwrap();
        assert_eq!(read, wanted);
        assert!(read.wants(State::Running) && !read.met_by(State::Running));
        assert!(read.met_by(State::Stopped) && !read.wants(State::Frozen));
        assert_eq!(Wanted::from_bytes(&wanted.to_bytes()[1..]), None);
        assert!(Wanted::default().is_empty());
    }

    #[test]
    fn stop_order_round_trip_and_garbage_is_refused() {
        for mode in [StopMode::Halt, StopMode::Reboot, StopMode::Kill] {
            let order = StopOrder { mode, never_kill: true, timeout_ms: 5_000 };
            assert_eq!(StopOrder::from_bytes(&order.to_bytes()), Some(order));
        }
        let good = StopOrder { mode: StopMode::Halt, never_kill: false, timeout_ms: -1 }.to_bytes();
        for at in [0, 4] {
            let mut bad = good;
            bad[at] = 9;
            assert_eq!(StopOrder::from_bytes(&bad), None);
        }
        assert_eq!(
            StopOrder::from_bytes(&StopOrder { mode: StopMode::Halt, never_kill: false, timeout_ms: -2 }.to_bytes()),
            None
        );
        assert_eq!(StopOrder::from_bytes(b""), None);
    }

    #[test]
    fn message_round_trip_and_long_name_is_cut() {
        for news in [News::State(State::Running), News::Exit(0x0700), News::Exit(9), News::Ready] {
            let bytes = message(news, &[b'n'; 300]);
            assert_eq!(parse_message(&bytes), Some(news));
            assert_eq!(message_name(&bytes), [b'n'; 255]);
        }
        assert_eq!(message_name(&message(News::Exit(1), b"android")), b"android");
        assert_eq!(parse_message(&[0xff; STATE_MESSAGE_BYTES]), None);
    }

    #[test]
    fn console_log_body_of_any_lxc_is_read() {
        let mut body = [0, 1, 7, 7, 7, 7, 7, 7, 5, 0, 0, 0, 0, 0, 0, 0].to_vec();
        if cfg!(target_endian = "big") {
            body[8..].reverse();
        }
        let expected = Some(ConsoleLog { clear: false, read: true, most: 5 });
        assert_eq!(ConsoleLog::from_bytes(&body), expected);
        body.extend([0; 8]);
        assert_eq!(ConsoleLog::from_bytes(&body), expected);
        assert_eq!(ConsoleLog::from_bytes(&body[..15]), None);
    }

    #[test]
    fn cgroup_fd_asks_for_a_controller_and_gets_its_numbers() {
        let mut body = [0; CGROUP_FD_BYTES];
        body[16..22].copy_from_slice(b"memory");
        assert_eq!(cgroup_fd_controller(&body), Some(&b"memory"[..]));
        assert_eq!(cgroup_fd_controller(&body[1..]), None);
        let answer: [u8; CGROUP_FD_BYTES] = with_ints(&[1, 0, -1, 30], &body);
        assert_eq!(answer[8..16], [[0xff; 4], 30_i32.to_ne_bytes()].concat());
        assert_eq!(answer[16..], body[16..]);
    }

    #[test]
    fn command_numbers_round_trip() {
        for command in Command::ALL {
            assert_eq!(Command::from_wire(command as i32), Some(command));
        }
        assert_eq!(Command::from_wire(13), None);
        assert_eq!(Command::from_wire(-1), None);
    }

    #[test]
    fn address_too_long_is_hashed_as_lxc_does() {
        assert_eq!(&address(b"/var/lib/lxc", b"android")[..], b"/var/lib/lxc/android/command");
        // Both observed on LXC 5.0.2.
        let longest = [&b"/tmp/ctl-lxc/"[..], &[b'c'; 82]].concat();
        assert_eq!(address(&longest, b"x").len(), 105);
        let longer = [&b"/tmp/ctl-lxc/"[..], &[b'c'; 83]].concat();
        assert_eq!(&address(&longer, b"x")[..], b"lxc/8b0c390114a99892/command");
    }
}

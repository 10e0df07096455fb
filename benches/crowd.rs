//! A crowd at the command socket: how fast those who ask properly are answered meanwhile, and what the supervisor keeps of it.

use crate::footprint;
use crate::life::{self, Life, Mode};
use crate::place::{Place, View};
use crate::report::Row;
use crate::stamps::{ms, now};
use crate::subject::{Kind, Subject};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Clients that connect and say nothing.
const SILENT: usize = 1_000;
/// Connections that are made and dropped while questions are asked, at least.
const CONNECTS: usize = 10_000;
/// Threads that send garbage.
const THREADS: usize = 3;
/// How long a question may wait for its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// No phase takes longer.
const PHASE: Duration = Duration::from_secs(20);
/// Until the supervisor has seen that the clients are gone.
const SETTLE: Duration = Duration::from_secs(6);

/// What the clients do meanwhile, in the order of a run.
pub const PHASES: [&str; 4] = ["idle", "1,000 silent clients", "10,000 connects", "half frames and garbage"];

/// Times of one kind of question in one phase.
#[derive(Default)]
pub struct Asked {
    /// Of those that were answered, in ms.
    pub times: Vec<f64>,
    /// How many were not.
    pub failed: usize,
}

impl Asked {
    fn add(&mut self, time: Option<f64>) {
        match time {
            Some(time) => self.times.push(time),
            None => self.failed += 1,
        }
    }
}

/// The figures of one subject.
pub struct Crowd {
    /// For each phase: GET_STATE over the socket, and the whole info command.
    pub phases: Vec<[Asked; 2]>,
    /// RSS in kB, private dirty kB, descriptors: before, after one crowd, after the second.
    pub kept: [[u64; 3]; 3],
}

/// Puts a crowd to a container of every supervisor that has the socket.
pub fn measure(place: &Place, rows: &mut [Row], questions: usize) {
    for row in rows.iter_mut().filter(|row| row.subject.view == View::CpuOnly) {
        if !matches!(row.subject.kind, Kind::Monopod | Kind::Lxc) {
            continue;
        }
        eprint!("\rbench: a crowd at {:<30}", row.subject.label);
        let begun = life::begin_cold(place, &row.subject, Mode::Hold).and_then(|mut life| {
            let lives = life.lives(place, 1);
            lives.map(|()| life)
        });
        match begun {
            Ok(mut life) => {
                match crowd(place, &row.subject, &life, questions) {
                    Ok(crowd) => row.crowd = Some(crowd),
                    Err(reason) => row.failed(place, "crowd", &reason),
                }
                if life.kill_init().and_then(|()| life.gone()).is_err() {
                    life.give_up();
                    row.failed(place, "crowd", "did not end");
                }
            }
            Err(reason) => row.failed(place, "crowd", &reason),
        }
    }
    eprintln!();
}

fn crowd(place: &Place, subject: &Subject, life: &Life, questions: usize) -> Result<Crowd, String> {
    let address = format!("{}/{}/command", place.folder().display(), subject.name());
    let address = SocketAddr::from_abstract_name(address).map_err(|e| format!("address: {e}"))?;
    // For our ends of the silent ones; after the start, so that the supervisor has what it would have.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|e| e.desc())?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).map_err(|e| format!("descriptors: {}", e.desc()))?;

    let asker = Asker { place, subject, address: &address, questions };
    std::thread::sleep(Duration::from_millis(300));
    asker.phase(&|| false); // whoever is first reads pages from files
    let before = kept(life);
    let phases = vec![asker.phase(&|| false), asker.silent(), asker.connects(), asker.garbage()];
    std::thread::sleep(SETTLE);
    let once = kept(life);
    let _ = (asker.silent(), asker.connects(), asker.garbage());
    std::thread::sleep(SETTLE);
    Ok(Crowd { phases, kept: [before, once, kept(life)] })
}

fn kept(life: &Life) -> [u64; 3] {
    let now = footprint::memory(life);
    [now.rss, now.dirty, now.fds as u64]
}

struct Asker<'a> {
    place: &'a Place,
    subject: &'a Subject,
    address: &'a SocketAddr,
    questions: usize,
}

impl Asker<'_> {
    /// Asks until it was often enough and `more` says no.
    fn phase(&self, more: &dyn Fn() -> bool) -> [Asked; 2] {
        let begun = Instant::now();
        let mut asked = [Asked::default(), Asked::default()];
        let mut count = 0;
        while (count < self.questions || more()) && begun.elapsed() < PHASE {
            asked[0].add(state(self.address));
            // The command costs a fork and an exec of ours: one for every four.
            if count % 4 == 0 {
                asked[1].add(self.info());
            }
            count += 1;
        }
        asked
    }

    fn info(&self) -> Option<f64> {
        let mut command = self.subject.info(self.place);
        let (status, begun, gone) = life::run(self.place, self.subject, &mut command).ok()?;
        status.success().then(|| ms(begun, gone))
    }

    fn silent(&self) -> [Asked; 2] {
        let held: Vec<_> = (0..SILENT).filter_map(|_| UnixStream::connect_addr(self.address).ok()).collect();
        let asked = self.phase(&|| false);
        drop(held);
        asked
    }

    fn connects(&self) -> [Asked; 2] {
        let made = AtomicUsize::new(0);
        self.beside(1, &|| made.load(Relaxed) < CONNECTS, &|_, held| {
            held.clear();
            if let Ok(stream) = UnixStream::connect_addr(self.address) {
                made.fetch_add(1, Relaxed);
                held.push(stream);
            }
        })
    }

    fn garbage(&self) -> [Asked; 2] {
        let frames = frames();
        self.beside(THREADS, &|| false, &|turn, held| {
            if held.len() > 40 {
                held.clear();
            }
            let Some(frame) = frames.get(turn % frames.len()) else { return };
            if let Ok(mut stream) = UnixStream::connect_addr(self.address) {
                let _ = stream.set_write_timeout(Some(PATIENCE)).and_then(|()| stream.write_all(frame));
                held.push(stream);
            }
        })
    }

    /// Asks while `threads` do `act` again and again.
    fn beside(
        &self,
        threads: usize,
        more: &dyn Fn() -> bool,
        act: &(dyn Fn(usize, &mut Vec<UnixStream>) + Sync),
    ) -> [Asked; 2] {
        let over = &AtomicBool::new(false);
        std::thread::scope(|scope| {
            for first in 0..threads {
                scope.spawn(move || {
                    let (mut turn, mut held) = (first, Vec::new());
                    while !over.load(Relaxed) {
                        act(turn, &mut held);
                        turn += 1;
                    }
                });
            }
            let asked = self.phase(more);
            over.store(true, Relaxed);
            asked
        })
    }
}

fn request(command: i32, length: i32) -> Vec<u8> {
    [&command.to_ne_bytes()[..], &length.to_ne_bytes(), &0_usize.to_ne_bytes()].concat()
}

/// What no honest client sends.
fn frames() -> Vec<Vec<u8>> {
    let noise = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let half = request(3, 0).into_iter().take(7).collect();
    let body = [request(7, 200), vec![b'x'; 100]].concat();
    vec![half, body, request(3, -1), request(3, i32::MAX), request(999, 0), vec![0xff; 64], noise]
}

/// GET_STATE from connect to answer, in ms; None unless the answer is RUNNING.
fn state(address: &SocketAddr) -> Option<f64> {
    let begun = now();
    let mut stream = UnixStream::connect_addr(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(&request(3, 0)).ok()?;
    let mut reply = [0; 8 + size_of::<usize>()];
    stream.read_exact(&mut reply).ok()?;
    let gone = now();
    let (result, data) = (reply.first_chunk()?, reply.last_chunk()?);
    (i32::from_ne_bytes(*result) == 0 && usize::from_ne_bytes(*data) == 2).then(|| ms(begun, gone))
}

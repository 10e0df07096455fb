//! The command line: how long the run may take.

/// What to measure, and how often.
pub struct Options {
    /// Rounds of the latency part; each runs every subject once.
    pub rounds: usize,
    /// Bytes that init writes to its console.
    pub console_bytes: u64,
    /// Containers held at once; 0 leaves the part out.
    pub held: usize,
    /// Inits that exit at once, one after another; 0 leaves the part out.
    pub exits: usize,
    /// Orphans left to process 1; 0 leaves the part out.
    pub orphans: usize,
    /// Questions asked in each phase of the crowd; 0 leaves the part out.
    pub questions: usize,
}

const USAGE: &str = "usage: bench [--quick] [--rounds N] [--held N] [--exits N] [--crowd N]
  --quick     10 rounds, 20 MB of console, 1000 orphans instead of 25 rounds, 100 MB, 10000 orphans and 200 containers held
  --rounds N  rounds of the latency part
  --held N    containers held at once, 0 for none
  --exits N   inits that exit at once, to look for hangs (off unless asked for)
  --orphans N processes left to process 1, 0 for none
  --crowd N   questions while a crowd of clients is at the socket, in each phase, 0 for none";

impl Options {
    /// Reads the arguments; `--bench` is what cargo itself adds.
    pub fn from_args() -> Result<Self, String> {
        let mut options =
            Options { rounds: 25, console_bytes: 100_000_000, held: 200, exits: 0, orphans: 10_000, questions: 1000 };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut number =
                || args.next().and_then(|n| n.parse().ok()).ok_or(format!("{arg} wants a number\n{USAGE}"));
            match arg.as_str() {
                "--bench" => {}
                "--quick" => {
                    options = Options {
                        rounds: 10,
                        console_bytes: 20_000_000,
                        held: 0,
                        exits: 0,
                        orphans: 1000,
                        questions: 200,
                    }
                }
                "--rounds" => options.rounds = number()?,
                "--held" => options.held = number()?,
                "--crowd" => options.questions = number()?,
                "--exits" => options.exits = number()?,
                "--orphans" => options.orphans = number()?,
                _ => return Err(format!("unknown argument {arg}\n{USAGE}")),
            }
        }
        Ok(options)
    }
}

//! Whether and when an ended life is followed by another. Pure: time is passed in, nothing is waited for.
//!
//! LXC restarts for ever and at once. So do we, as long as lives are long enough; lives that end within
//! `monopod.restart.uptime` are a crash loop: the first is followed by an immediate restart, then each waits longer, up to a
//! cap, and an optional budget ends it. What a `monopod.reboot.*` rule says of a reboot comes before all of it.

use super::outcome::Outcome;
use crate::config::own::RebootAction;
use crate::config::{Restart, RestartWhen};

/// What somebody asked for while the container ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: whatever happens is the guest's doing.
    Nothing,
    /// To stop: however it ends now, it ends well and for good.
    Stop,
    /// To start again: however it ends now, another life follows.
    Restart,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Start again after so many milliseconds.
    Restart {
        /// 0 = at once.
        after_ms: u64,
    },
    /// End with this exit code.
    Leave {
        /// Our exit code.
        code: i32,
    },
    /// The restart budget is spent.
    GiveUp,
    /// End, and the machine reboots.
    HostReboot {
        /// With the guest's argument.
        with_argument: bool,
    },
}

/// The last word to a service manager: what the end means for the machine. `code` is our exit code.
pub fn last_word(asked: Asked, outcome: Option<Outcome>, code: i32) -> &'static str {
    match (asked, outcome) {
        (Asked::Stop, _) => "stopped",
        (_, Some(Outcome::Halt | Outcome::Exit(0))) => "halted",
        // A post-stop hook broke a reboot loop: that must not begin again one level higher.
        (_, Some(Outcome::Reboot)) if code == 0 => "stopped",
        (_, Some(Outcome::Reboot)) if code != crate::start::GAVE_UP => "reboot",
        _ => "failed",
    }
}

/// The memory of past lives.
#[derive(Clone, Copy, Debug)]
pub struct Lifecycle {
    policy: Restart,
    restarts: u32,
    short_lives: u32,
    window_began_ms: u64,
    in_window: u32,
}

impl Lifecycle {
    /// No life yet.
    pub fn new(policy: Restart) -> Self {
        Lifecycle { policy, restarts: 0, short_lives: 0, window_began_ms: 0, in_window: 0 }
    }

    /// Restarts so far.
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Whether a life of `uptime_ms` is one of a crash loop: short, like the one before it.
    pub fn is_loop(&self, uptime_ms: u64) -> bool {
        self.short_lives > 0 && uptime_ms < self.policy.uptime_ms()
    }

    /// Whether `outcome` calls for a restart at all; hooks are told so (LXC_TARGET) before `ended` decides when. `rule` is
    /// the reboot's own, if it has one; it wins over the policy.
    pub fn wants_restart(&self, outcome: Outcome, asked: Asked, rule: Option<RebootAction>) -> bool {
        // There is no room for another life while this one is not over.
        if outcome == Outcome::Stuck {
            return false;
        }
        let by_policy = match (outcome, rule) {
            (Outcome::Reboot, Some(rule)) => rule == RebootAction::Restart,
            (Outcome::NotReady { again: false }, _) => false,
            _ => match self.policy.when {
                RestartWhen::Never => false,
                RestartWhen::Reboot => outcome == Outcome::Reboot,
                RestartWhen::Failure => outcome == Outcome::Reboot || outcome.is_failure(),
                RestartWhen::Always => true,
            },
        };
        match asked {
            Asked::Nothing => by_policy,
            Asked::Stop => false,
            Asked::Restart => true,
        }
    }

    /// A life of `uptime_ms` has ended at `now_ms`; None: it counts as a short one, however long it was. `rule`: see `wants_restart`; what a hook says has become Restart or Stop.
    pub fn ended(
        &mut self,
        outcome: Outcome,
        asked: Asked,
        rule: Option<RebootAction>,
        uptime_ms: Option<u64>,
        now_ms: u64,
    ) -> Next {
        match asked {
            _ if outcome == Outcome::Stuck => return Next::Leave { code: outcome.code() },
            Asked::Nothing => {}
            Asked::Stop => return Next::Leave { code: 0 },
            // Nobody's crash: it costs nothing of the budget.
            Asked::Restart => {
                self.restarts = self.restarts.saturating_add(1);
                return Next::Restart { after_ms: 0 };
            }
        }
        if outcome == Outcome::Reboot {
            match rule {
                Some(RebootAction::Stop | RebootAction::Hook) => return Next::Leave { code: 0 },
                Some(RebootAction::HostReboot) => return Next::HostReboot { with_argument: false },
                Some(RebootAction::HostRebootArg) => return Next::HostReboot { with_argument: true },
                Some(RebootAction::Restart) | None => {}
            }
        }
        if !self.wants_restart(outcome, asked, rule) {
            return Next::Leave { code: outcome.code() };
        }
        if uptime_ms.is_some_and(|uptime| uptime >= self.policy.uptime_ms()) {
            self.short_lives = 0;
            self.in_window = 0;
        } else {
            self.short_lives = self.short_lives.saturating_add(1);
        }
        if self.in_window == 0 || now_ms.saturating_sub(self.window_began_ms) > self.policy.window_ms {
            self.window_began_ms = now_ms;
            self.in_window = 0;
        }
        self.in_window = self.in_window.saturating_add(1);
        if self.policy.budget() > 0 && self.in_window > self.policy.budget() {
            return Next::GiveUp;
        }
        self.restarts = self.restarts.saturating_add(1);
        Next::Restart { after_ms: self.delay() }
    }

    /// 0 for the first short life, then delay, delay * factor, ... up to the cap.
    fn delay(&self) -> u64 {
        let Some(steps) = self.short_lives.checked_sub(2) else { return 0 };
        let factor = u64::from(self.policy.factor.max(1)).saturating_pow(steps.min(64));
        self.policy.delay_ms.saturating_mul(factor).min(self.policy.cap_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Restart = Restart {
        when: RestartWhen::Reboot,
        delay_ms: 1_000,
        factor: 2,
        cap_ms: 60_000,
        budget: None,
        window_ms: 600_000,
        uptime_ms: None,
    };

    fn delays(policy: Restart, uptimes: &[u64]) -> Vec<Next> {
        let mut life = Lifecycle::new(policy);
        let mut now = 0;
        let mut next = |up: &u64| {
            now += up;
            life.ended(Outcome::Reboot, Asked::Nothing, None, Some(*up), now)
        };
        uptimes.iter().map(&mut next).collect()
    }

    fn restart(after_ms: u64) -> Next {
        Next::Restart { after_ms }
    }

    #[test]
    fn ended_long_lives_restart_at_once_for_ever() {
        assert_eq!(delays(POLICY, &[10_000; 50]), vec![restart(0); 50]);
    }

    #[test]
    fn ended_short_lives_back_off_up_to_the_cap() {
        let seen = delays(POLICY, &[5; 10]);
        let expected = [0, 1, 2, 4, 8, 16, 32, 60, 60, 60].map(|s| restart(s * 1000));
        assert_eq!(seen, expected);
    }

    #[test]
    fn ended_one_long_life_resets_the_back_off() {
        assert_eq!(delays(POLICY, &[5, 5, 5, 20_000, 5]), [0, 1000, 2000, 0, 0].map(restart));
    }

    #[test]
    fn ended_budget_spent_gives_up() {
        let policy = Restart { budget: Some(3), delay_ms: 0, ..POLICY };
        let seen = delays(policy, &[5; 4]);
        assert_eq!(seen, [restart(0), restart(0), restart(0), Next::GiveUp]);
    }

    #[test]
    fn ended_budget_is_counted_inside_its_window() {
        let policy = Restart { budget: Some(2), window_ms: 10, delay_ms: 0, ..POLICY };
        assert_eq!(delays(policy, &[8; 6]), vec![restart(0); 6]);
    }

    #[test]
    fn ended_delays_never_overflow() {
        let policy = Restart { delay_ms: u64::MAX, factor: u32::MAX, cap_ms: u64::MAX, ..POLICY };
        assert_eq!(delays(policy, &[1; 100]).last(), Some(&restart(u64::MAX)));
    }

    #[test]
    fn ended_each_policy_restarts_what_it_says() {
        use Outcome::{Exit, Halt, NotReady, Reboot, Signal};
        let late = |again| NotReady { again };
        let outcomes = [Reboot, Halt, Exit(0), Exit(7), Signal(9), late(true), late(false)];
        let table = [
            (RestartWhen::Reboot, [true, false, false, false, false, false, false]),
            (RestartWhen::Failure, [true, false, false, true, true, true, false]),
            (RestartWhen::Always, [true, true, true, true, true, true, false]),
            (RestartWhen::Never, [false; 7]),
        ];
        for (when, expected) in table {
            let life = Lifecycle::new(Restart { when, ..POLICY });
            assert_eq!(outcomes.map(|outcome| life.wants_restart(outcome, Asked::Nothing, None)), expected);
            assert_eq!(outcomes.map(|outcome| life.wants_restart(outcome, Asked::Stop, None)), [false; 7]);
        }
    }

    #[test]
    fn last_word_says_what_the_end_means() {
        use Outcome::{Exit, Halt, Reboot, Signal};
        assert_eq!(last_word(Asked::Stop, Some(Signal(9)), 0), "stopped");
        assert_eq!(last_word(Asked::Nothing, Some(Halt), 0), "halted");
        assert_eq!(last_word(Asked::Nothing, Some(Exit(0)), 0), "halted");
        assert_eq!(last_word(Asked::Nothing, Some(Reboot), 129), "reboot");
        assert_eq!(last_word(Asked::Nothing, Some(Reboot), 0), "stopped");
        assert_eq!(last_word(Asked::Nothing, Some(Reboot), crate::start::GAVE_UP), "failed");
        assert_eq!(last_word(Asked::Nothing, Some(Exit(7)), 7), "failed");
        assert_eq!(last_word(Asked::Nothing, None, 255), "failed");
    }

    #[test]
    fn ended_asked_to_stop_leaves_with_zero_whatever_killed_it() {
        let mut life = Lifecycle::new(POLICY);
        assert_eq!(life.ended(Outcome::Signal(9), Asked::Stop, None, Some(5), 5), Next::Leave { code: 0 });
        assert_eq!(life.ended(Outcome::Signal(9), Asked::Nothing, None, Some(5), 5), Next::Leave { code: 137 });
        for asked in [Asked::Nothing, Asked::Stop, Asked::Restart] {
            assert!(!life.wants_restart(Outcome::Stuck, asked, None));
            assert_eq!(life.ended(Outcome::Stuck, asked, None, Some(5), 5), Next::Leave { code: 255 });
        }
    }

    #[test]
    fn ended_the_rule_of_a_reboot_wins_over_the_policy_but_not_over_people() {
        use RebootAction::{Hook, HostReboot, HostRebootArg, Restart, Stop};
        let mut life = Lifecycle::new(super::Restart { when: RestartWhen::Never, ..POLICY });
        let mut ended = |outcome, asked, rule| {
            let wants = life.wants_restart(outcome, asked, Some(rule));
            let next = life.ended(outcome, asked, Some(rule), Some(20_000), 0);
            assert_eq!(wants, matches!(next, Next::Restart { .. }), "{rule:?}");
            next
        };
        let leave = Next::Leave { code: 0 };
        let table = [
            (Restart, restart(0)),
            (Stop, leave),
            (Hook, leave),
            (HostReboot, Next::HostReboot { with_argument: false }),
            (HostRebootArg, Next::HostReboot { with_argument: true }),
        ];
        for (rule, next) in table {
            assert_eq!(ended(Outcome::Reboot, Asked::Nothing, rule), next);
            assert_eq!(ended(Outcome::Reboot, Asked::Stop, rule), leave);
            assert_eq!(ended(Outcome::Reboot, Asked::Restart, rule), restart(0));
            assert_eq!(ended(Outcome::Exit(7), Asked::Nothing, rule), Next::Leave { code: 7 });
        }
    }

    #[test]
    fn is_loop_begins_with_the_second_short_life() {
        let mut life = Lifecycle::new(POLICY.for_android());
        assert!(!life.is_loop(5));
        life.ended(Outcome::Reboot, Asked::Nothing, None, None, 59_000);
        assert!(life.is_loop(5) && !life.is_loop(60_000));
    }
}

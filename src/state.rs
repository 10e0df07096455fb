//! The container's state as LXC names and numbers it. The numbers travel on the command socket.

/// A state. The discriminants are LXC's wire values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Nothing runs.
    Stopped = 0,
    /// Hooks, cgroups, clone, mounts, until exec.
    Starting = 1,
    /// init runs.
    Running = 2,
    /// init has ended, cleaning up.
    Stopping = 3,
    /// A start failed, cleaning up.
    Aborting = 4,
    /// Being frozen.
    Freezing = 5,
    /// Frozen.
    Frozen = 6,
    /// Thawed. LXC uses it only on the way back to RUNNING.
    Thawed = 7,
}

impl State {
    /// All states, by wire value.
    pub const ALL: [State; 8] = [
        State::Stopped,
        State::Starting,
        State::Running,
        State::Stopping,
        State::Aborting,
        State::Freezing,
        State::Frozen,
        State::Thawed,
    ];

    /// LXC's name of the state.
    pub const fn name(self) -> &'static str {
        match self {
            State::Stopped => "STOPPED",
            State::Starting => "STARTING",
            State::Running => "RUNNING",
            State::Stopping => "STOPPING",
            State::Aborting => "ABORTING",
            State::Freezing => "FREEZING",
            State::Frozen => "FROZEN",
            State::Thawed => "THAWED",
        }
    }

    /// Whether init runs in it, frozen or not.
    pub const fn is_alive(self) -> bool {
        matches!(self, State::Running | State::Freezing | State::Frozen | State::Thawed)
    }

    /// The state of a wire value; None for a number that is no state.
    pub fn from_wire(value: i32) -> Option<State> {
        usize::try_from(value).ok().and_then(|index| State::ALL.get(index)).copied()
    }

    /// The state of a name (`RUNNING`); None for any other text.
    pub fn from_name(name: &[u8]) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name().as_bytes() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_wire_value_and_name_round_trip() {
        for (wire, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(State::from_wire(wire as i32), Some(state));
            assert_eq!(State::from_name(state.name().as_bytes()), Some(state));
        }
        assert_eq!(State::from_wire(8), None);
        assert_eq!(State::from_wire(-1), None);
        assert_eq!(State::from_name(b"running"), None);
    }
}

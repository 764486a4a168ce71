//! From the clock of the kernel's events to that of people.

use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};

use super::ProbeError;
use crate::error::Errno;

/// Where the boot clock (`bpf_ktime_get_boot_ns`, which goes on in suspend)
/// stands against the wall clock. Taken anew for each reading, since the wall
/// clock can be set.
#[derive(Clone, Copy, Debug)]
pub(super) struct BootClock {
    zero: SystemTime,
}

impl BootClock {
    pub(super) fn now() -> Result<Self, ProbeError> {
        let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map_err(|errno| {
            ProbeError::Sys { what: "reading the boot clock".into(), errno: Errno::from(errno) }
        })?;
        let now = SystemTime::now();
        Ok(Self { zero: now.checked_sub(Duration::from(since_boot)).unwrap_or(now) })
    }

    /// The time at `ns` of the boot clock.
    pub(super) fn at(self, ns: u64) -> SystemTime {
        self.zero.checked_add(Duration::from_nanos(ns)).unwrap_or(self.zero)
    }
}

//! Capabilities: what the process may do, and what to say when it may not.

use std::fmt;

/// A Linux capability that BPF work can need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// `CAP_BPF` (Linux 5.8; before, `CAP_SYS_ADMIN`): create and use maps, load programs.
    Bpf,
    /// `CAP_PERFMON` (Linux 5.8; before, `CAP_SYS_ADMIN`): tracing programs.
    Perfmon,
    /// `CAP_NET_ADMIN`: XDP and other network programs.
    NetAdmin,
    /// `CAP_SYS_ADMIN`: look maps up by id, and much else.
    SysAdmin,
    /// The capabilities are all there: a security module, kernel lockdown or
    /// the permissions of a pin refuse it.
    Policy,
}

impl Capability {
    fn bit(self) -> Option<u32> {
        match self {
            Self::NetAdmin => Some(12),
            Self::SysAdmin => Some(21),
            Self::Perfmon => Some(38),
            Self::Bpf => Some(39),
            Self::Policy => None,
        }
    }

    /// Whether the calling thread has it in effect. `CAP_SYS_ADMIN` stands in for
    /// `CAP_BPF`, `CAP_PERFMON` and is reported as them.
    ///
    /// One `capget`.
    ///
    /// ```
    /// use bpf_atlas::Capability;
    /// if !Capability::Bpf.is_effective() {
    ///     eprintln!("needs {}; {}", Capability::Bpf, Capability::Bpf.advice());
    /// }
    /// ```
    pub fn is_effective(self) -> bool {
        let Some(bit) = self.bit() else { return true };
        let effective = crate::sys::caps::effective();
        let has = |bit: u32| effective & (1 << bit) != 0;
        has(bit) || (matches!(self, Self::Bpf | Self::Perfmon) && has(21))
    }

    /// The first of `wanted` that the process lacks.
    pub(crate) fn first_missing(wanted: &[Self]) -> Self {
        wanted.iter().copied().find(|cap| !cap.is_effective()).unwrap_or(Self::Policy)
    }

    /// What to do about it, in one line.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Bpf => {
                "run it with sudo, give it `setcap cap_bpf,cap_perfmon+ep FILE`, or in a systemd \
                 unit AmbientCapabilities=CAP_BPF CAP_PERFMON"
            }
            Self::Perfmon => {
                "run it with sudo, give it `setcap cap_bpf,cap_perfmon+ep FILE`, or in a systemd \
                 unit AmbientCapabilities=CAP_BPF CAP_PERFMON"
            }
            Self::NetAdmin => {
                "run it with sudo, give it `setcap cap_bpf,cap_net_admin,cap_perfmon+ep FILE`, or in \
                 a systemd unit AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_PERFMON"
            }
            Self::SysAdmin => {
                "run it with sudo, or in a systemd unit AmbientCapabilities=CAP_SYS_ADMIN"
            }
            Self::Policy => {
                "it is not for want of a capability: look at the pin's permissions, at a security \
                 module (audit log) and at kernel lockdown (/sys/kernel/security/lockdown)"
            }
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bpf => "CAP_BPF",
            Self::Perfmon => "CAP_PERFMON",
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::Policy => "what the system's policy refuses",
        })
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_effective_set_is_what_status_tells() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
        let told = u64::from_str_radix(line.trim(), 16).unwrap();
        assert_eq!(crate::sys::caps::effective(), told);
    }
}

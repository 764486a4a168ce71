//! [`ExecEvents`]: every exec, who and with which arguments, and every exit.

use super::attach::{Programs, check_ring_size, first_that_works, require};
use super::clock::BootClock;
use super::ring::ring_probe;
use super::{AttachKind, Exec, Exit, ProbeError, ProcessEvent};
use crate::RingBuf;
use crate::caps::Capability;
use crate::object::LoadedObject;

mod bpf {
    include!(concat!(env!("OUT_DIR"), "/exec_events.rs"));
}

pub use bpf::{ExecEvent, ExecFlag, ExitEvent, ProcessRecord, ProcessRecordRef};

const NAME: &str = "exec_events";
/// The program's own bound, `ARGS_MAX`.
const ARGS_MAX: u32 = 16 * 1024;

/// Every exec on the machine, or those of one user; also those that fail, and the
/// ends of processes, if asked for. In the order in which they happened on each
/// CPU, and of one process in any case.
///
/// Records are as long as their strings: a file name of up to 4,095 bytes and
/// as many bytes of arguments as [`args_limit`](ExecEventsBuilder::args_limit)
/// says. What was cut off is marked, and what found no room in the ring is
/// counted: delivered + lost is all that happened.
///
/// Needs `CAP_BPF` and `CAP_PERFMON`; Linux 5.8, for failures 5.15. The failed
/// exec of a 32-bit program is not seen on x86 and arm64. Costs some 15 µs an
/// exec, and 0.4 µs an exit, 1.1 µs before Linux 6.16 (measured; a program that does
/// nothing there costs 0.06 µs).
///
/// ```no_run
/// use bpf_atlas::probes::ExecEvents;
///
/// # fn main() -> Result<(), bpf_atlas::probes::ProbeError> {
/// let mut execs = ExecEvents::builder().failed(true).attach()?;
/// while execs.wait(None)? {
///     execs.drain(|exec| println!("{} {:?} {:?}", exec.pid, exec.filename(), exec.args()))?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ExecEvents {
    ring: RingBuf<ProcessRecord>,
    programs: Programs,
    kind: AttachKind,
    failed_kind: Option<AttachKind>,
    _attached: LoadedObject,
}

/// Options of [`ExecEvents`].
#[derive(Clone, Debug)]
#[must_use = "nothing is attached before `attach`"]
pub struct ExecEventsBuilder {
    uid: Option<u32>,
    failed: bool,
    exits: bool,
    by_live_threads: bool,
    args_limit: u32,
    ring_size: u32,
    kind: Option<AttachKind>,
    failed_kind: Option<AttachKind>,
}

impl Default for ExecEventsBuilder {
    fn default() -> Self {
        Self {
            uid: None,
            failed: false,
            exits: false,
            by_live_threads: false,
            args_limit: 4096,
            ring_size: 1 << 20,
            kind: None,
            failed_kind: None,
        }
    }
}

impl ExecEventsBuilder {
    /// Only what this user executes, and processes that end as this user.
    pub fn uid(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self
    }

    /// Calls that fail as well.
    pub fn failed(mut self, yes: bool) -> Self {
        self.failed = yes;
        self
    }

    /// The ends of processes as well: how, and after how long. A process ends when
    /// its last thread does; threads of the kernel are none. Processes that never
    /// execute anything have an end too.
    ///
    /// Read them with [`drain_events`](ExecEvents::drain_events);
    /// [`drain`](ExecEvents::drain) passes over them.
    ///
    /// Before Linux 5.17 the code of a process whose threads all end by themselves
    /// and at the same moment may be told as 0.
    pub fn exits(mut self, yes: bool) -> Self {
        self.exits = yes;
        self
    }

    /// Finds the last thread as on kernels before 6.16: for tests.
    #[doc(hidden)]
    pub fn exits_by_live_threads(mut self, yes: bool) -> Self {
        self.by_live_threads = yes;
        self
    }

    /// How many bytes of arguments to keep, the NUL of each included: 4,096
    /// unless said otherwise, at most 16,384. Of a failed exec no argument is
    /// kept past 4,095 bytes, and no more than 128 arguments.
    pub fn args_limit(mut self, bytes: u32) -> Self {
        self.args_limit = bytes;
        self
    }

    /// The size of the ring in bytes, a power of two and a multiple of the
    /// page; 1 MiB unless said otherwise. An exec takes 80 bytes and its strings,
    /// an exit 64 bytes.
    pub fn ring_size(mut self, bytes: u32) -> Self {
        self.ring_size = bytes;
        self
    }

    /// Attaches this way or not at all. Otherwise the first of tp_btf, raw_tp
    /// and tracepoint that this kernel has.
    pub fn attach_kind(mut self, kind: AttachKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// How to see calls that fail: `Tracepoint` at the end of execve and
    /// execveat, which is the default and needs tracefs, or `RawTracepoint` at
    /// the end of all system calls, which is taken where that fails and costs
    /// every one of them.
    pub fn failed_attach_kind(mut self, kind: AttachKind) -> Self {
        self.failed_kind = Some(kind);
        self
    }

    /// Loads the programs and attaches them.
    ///
    /// # Errors
    /// [`PermissionDenied`](ProbeError::PermissionDenied),
    /// [`InvalidOption`](ProbeError::InvalidOption),
    /// [`NotAttached`](ProbeError::NotAttached), and of a kind that was chosen
    /// [`Load`](ProbeError::Load).
    pub fn attach(self) -> Result<ExecEvents, ProbeError> {
        use AttachKind::{RawTracepoint, TpBtf, Tracepoint};
        self.check()?;
        require(NAME, &[Capability::Bpf, Capability::Perfmon])?;
        let kinds = [TpBtf, RawTracepoint, Tracepoint];
        let kinds = self.kind.as_ref().map_or(&kinds[..], std::slice::from_ref);
        let failed_kinds = [Tracepoint, RawTracepoint];
        let failed_kinds =
            self.failed_kind.as_ref().map_or(&failed_kinds[..], std::slice::from_ref);

        let (probe, _) = first_that_works(NAME, kinds, |kind| {
            if !self.failed {
                return self.attach_as(kind, None);
            }
            let (probe, _) =
                first_that_works("exec_events of calls that fail", failed_kinds, |failed| {
                    self.attach_as(kind, Some(failed))
                })?;
            Ok(probe)
        })?;
        Ok(probe)
    }

    fn check(&self) -> Result<(), ProbeError> {
        let refuse = |what: String| Err(ProbeError::InvalidOption { probe: NAME, what });
        if self.args_limit > ARGS_MAX {
            return refuse(format!(
                "args_limit is {}; records keep at most {ARGS_MAX} bytes of arguments",
                self.args_limit
            ));
        }
        check_ring_size(NAME, self.ring_size)?;
        if matches!(self.kind, Some(AttachKind::XdpNative | AttachKind::XdpGeneric)) {
            return refuse("it attaches as tp_btf, raw_tp or tracepoint".into());
        }
        let failed = [None, Some(AttachKind::Tracepoint), Some(AttachKind::RawTracepoint)];
        if !failed.contains(&self.failed_kind) {
            return refuse("calls that fail are seen by tracepoint or raw_tp".into());
        }
        Ok(())
    }

    fn attach_as(
        &self,
        kind: AttachKind,
        failed_kind: Option<AttachKind>,
    ) -> Result<ExecEvents, ProbeError> {
        let mut open = bpf::open()?;
        open.rodata.args_limit = self.args_limit;
        open.rodata.filter_uid = self.uid.is_some().into();
        open.rodata.uid = self.uid.unwrap_or(0);
        open.rodata.by_live_threads = self.by_live_threads.into();
        open.maps.events.set_max_entries(self.ring_size);
        let progs = &mut open.progs;
        progs.exec_btf.set_autoload(kind == AttachKind::TpBtf);
        progs.exec_raw.set_autoload(kind == AttachKind::RawTracepoint);
        progs.exec_tp.set_autoload(kind == AttachKind::Tracepoint);
        progs.exit_btf.set_autoload(self.exits && kind == AttachKind::TpBtf);
        progs.exit_raw.set_autoload(self.exits && kind == AttachKind::RawTracepoint);
        progs.exit_tp.set_autoload(self.exits && kind == AttachKind::Tracepoint);
        let tracepoints = failed_kind == Some(AttachKind::Tracepoint);
        progs.failed_execve_tp.set_autoload(tracepoints);
        progs.failed_execveat_tp.set_autoload(tracepoints);
        progs.failed_raw.set_autoload(failed_kind == Some(AttachKind::RawTracepoint));

        // The ring is open before anything is attached: nothing happens before
        // someone can read it.
        let (maps, object) = open.load()?.attach()?.into_parts();
        let programs = Programs::of(&object)?;
        let ring = maps.events.with_tail();
        Ok(ExecEvents { ring, programs, kind, failed_kind, _attached: object })
    }
}

impl ExecEvents {
    /// Options, then [`attach`](ExecEventsBuilder::attach).
    pub fn builder() -> ExecEventsBuilder {
        ExecEventsBuilder::default()
    }

    /// Calls `f` for every exec that was there at the call; how many there
    /// were. Two clock readings, no other system call. Exits are passed over.
    ///
    /// # Errors
    /// [`Map`](ProbeError::Map) as [`RingBuf::drain`], [`Sys`](ProbeError::Sys).
    pub fn drain(&mut self, mut f: impl FnMut(Exec<'_>)) -> Result<usize, ProbeError> {
        let mut execs = 0;
        self.drain_events(|event| {
            if let ProcessEvent::Exec(exec) = event {
                execs += 1;
                f(exec);
            }
        })?;
        Ok(execs)
    }

    /// As [`drain`](Self::drain), for execs and exits.
    ///
    /// ```no_run
    /// use bpf_atlas::probes::{ExecEvents, ProcessEvent};
    ///
    /// # fn main() -> Result<(), bpf_atlas::probes::ProbeError> {
    /// let mut processes = ExecEvents::builder().exits(true).attach()?;
    /// while processes.wait(None)? {
    ///     processes.drain_events(|event| match event {
    ///         ProcessEvent::Exec(exec) => println!("{} {:?}", exec.pid, exec.filename()),
    ///         ProcessEvent::Exit(exit) => {
    ///             println!("{} {} after {:?}", exit.pid, exit.exit_status(), exit.duration());
    ///         }
    ///         _ => {}
    ///     })?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`drain`](Self::drain).
    pub fn drain_events(
        &mut self,
        mut f: impl FnMut(ProcessEvent<'_>),
    ) -> Result<usize, ProbeError> {
        let clock = BootClock::now()?;
        Ok(self.ring.drain_records(|event, strings| {
            f(match event {
                ProcessRecordRef::Exec(event) => ProcessEvent::Exec(Exec { event, strings, clock }),
                ProcessRecordRef::Exit(event) => ProcessEvent::Exit(Exit { event, clock }),
            })
        })?)
    }

    /// How calls that fail are seen; `None` where they were not asked for.
    pub fn failed_attach_kind(&self) -> Option<AttachKind> {
        self.failed_kind
    }
}

ring_probe!(ExecEvents, ProcessRecord, "Execs and exits");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_cannot_be_are_refused() {
        let refused = |builder: ExecEventsBuilder| match builder.attach() {
            Err(ProbeError::InvalidOption { what, .. }) => what,
            other => panic!("{other:?}"),
        };
        let builder = ExecEvents::builder;
        assert!(refused(builder().args_limit(ARGS_MAX + 1)).contains("at most 16384"));
        assert!(refused(builder().ring_size(6000)).contains("power of two"));
        assert!(refused(builder().ring_size(0)).contains("power of two"));
        assert!(refused(builder().attach_kind(AttachKind::XdpNative)).contains("tp_btf"));
        assert!(refused(builder().failed_attach_kind(AttachKind::TpBtf)).contains("raw_tp"));
    }
}

//! What probes do alike on their way into the kernel.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};

use super::{AttachKind, ProbeError};
use crate::agent;
use crate::caps::Capability;
use crate::error::Errno;
use crate::object::LoadedObject;

/// Refuses at once, naming the first capability of `needs` that is missing.
pub(super) fn require(probe: &'static str, needs: &[Capability]) -> Result<(), ProbeError> {
    match needs.iter().copied().find(|capability| !capability.is_effective()) {
        Some(missing) => Err(ProbeError::PermissionDenied { probe, missing }),
        None => Ok(()),
    }
}

/// The first of `kinds` that this kernel can do. Missing privilege is an error
/// at once: another kind would need it as well.
pub(super) fn first_that_works<T>(
    probe: &'static str,
    kinds: &[AttachKind],
    mut attach: impl FnMut(AttachKind) -> Result<T, ProbeError>,
) -> Result<(T, AttachKind), ProbeError> {
    let mut tried = Vec::new();
    for &kind in kinds {
        let result = if kind == AttachKind::Tracepoint { tracefs() } else { Ok(()) };
        match result.and_then(|()| attach(kind)) {
            Ok(attached) => return Ok((attached, kind)),
            Err(error) if kinds.len() == 1 || error.missing().is_some() => return Err(error),
            Err(error) => {
                log::info!("{probe} cannot be attached as {kind}: {error}");
                tried.push((kind, Box::new(error)));
            }
        }
    }
    Err(ProbeError::NotAttached { probe, tried })
}

/// Whether classic tracepoints can be looked up: libbpf reads their numbers in
/// one of these places, and says little where it cannot.
fn tracefs() -> Result<(), ProbeError> {
    let mut needs = "tracefs: mount -t tracefs none /sys/kernel/tracing";
    for place in ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"] {
        match fs::read_dir(place) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                needs = "to read tracefs: be root, have CAP_DAC_READ_SEARCH, or mount it with gid=";
            }
            Err(_) => {}
        }
    }
    Err(ProbeError::Unsupported { what: "a classic tracepoint".into(), needs })
}

/// Refuses a size that no ring can have.
pub(super) fn check_ring_size(probe: &'static str, bytes: u32) -> Result<(), ProbeError> {
    let page = page_size();
    if bytes.is_power_of_two() && bytes >= page {
        return Ok(());
    }
    let what = format!(
        "ring_size is {bytes}; a ring's size is a power of two and a multiple of the page of {page} \
         bytes"
    );
    Err(ProbeError::InvalidOption { probe, what })
}

/// The least size of a ring.
pub(super) fn page_size() -> u32 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    size.ok().flatten().and_then(|size| u32::try_from(size).ok()).unwrap_or(4096)
}

/// Descriptors of programs, to ask what the kernel skipped.
#[derive(Debug, Default)]
pub(super) struct Programs(Vec<OwnedFd>);

impl Programs {
    /// Those of an object that are loaded.
    pub(super) fn of(object: &LoadedObject) -> Result<Self, ProbeError> {
        let mut programs = Self::default();
        for program in object.libbpf().progs().filter(|program| program.autoload()) {
            programs.keep(&program)?;
        }
        Ok(programs)
    }

    /// Keeps a descriptor of a loaded program. It does not keep it attached.
    pub(super) fn keep(&mut self, program: impl AsFd) -> Result<(), ProbeError> {
        let fd = program.as_fd().try_clone_to_owned().map_err(|error| ProbeError::Sys {
            what: "duplicating a program's descriptor".into(),
            errno: Errno(error.raw_os_error().unwrap_or(0)),
        })?;
        self.0.push(fd);
        Ok(())
    }

    /// `recursion_misses` of all of them.
    pub(super) fn missed(&self) -> Result<u64, ProbeError> {
        self.0.iter().try_fold(0, |sum, program| match agent::recursion_misses(program) {
            Ok(missed) => Ok(sum + missed),
            Err(errno) => {
                Err(ProbeError::Sys { what: "asking what a program missed".into(), errno })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AttachKind::{RawTracepoint, TpBtf, Tracepoint};

    fn lacking() -> ProbeError {
        ProbeError::Unsupported { what: "this".into(), needs: "that" }
    }

    #[test]
    fn the_first_kind_that_the_kernel_has_is_taken() {
        let mut asked = Vec::new();
        let result = first_that_works("probe", &[TpBtf, RawTracepoint, Tracepoint], |kind| {
            asked.push(kind);
            if kind == TpBtf { Err(lacking()) } else { Ok(7) }
        });
        assert_eq!(result.unwrap(), (7, RawTracepoint));
        assert_eq!(asked, [TpBtf, RawTracepoint]);
    }

    #[test]
    fn where_none_works_each_reason_is_told_once() {
        let result = first_that_works::<()>("probe", &[TpBtf, RawTracepoint], |_| Err(lacking()));
        let text = result.unwrap_err().to_string();
        assert_eq!(text, "probe cannot be attached here\n  as tp_btf, raw_tp: this needs that");
    }

    #[test]
    fn g9_a_missing_capability_is_told_at_once_and_not_tried_around() {
        let missing = Capability::Perfmon;
        let mut asked = 0;
        let result = first_that_works::<()>("probe", &[TpBtf, RawTracepoint], |_| {
            asked += 1;
            Err(ProbeError::PermissionDenied { probe: "probe", missing })
        });
        assert_eq!((asked, result.unwrap_err().missing()), (1, Some(missing)));
    }

    #[test]
    fn a_kind_that_was_chosen_fails_with_its_own_reason() {
        let result = first_that_works::<()>("probe", &[TpBtf], |_| Err(lacking()));
        assert!(matches!(result, Err(ProbeError::Unsupported { .. })));
    }
}

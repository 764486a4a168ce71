//! [`Exec`]: a record of [`ExecEvents`](super::ExecEvents), decoded.

use std::ffi::OsStr;
use std::fmt;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use super::clock::BootClock;
use super::exec_events::{ExecEvent, ExecFlag};
use crate::error::Errno;

/// A record, decoded in the ring's own memory. Dereferences to [`ExecEvent`].
///
/// File name and arguments are bytes that another process chose: not always
/// UTF-8, and not to be printed on a terminal as they are.
#[derive(Clone, Copy, Debug)]
pub struct Exec<'a> {
    pub(super) event: &'a ExecEvent,
    pub(super) strings: &'a [u8],
    pub(super) clock: BootClock,
}

impl Deref for Exec<'_> {
    type Target = ExecEvent;

    fn deref(&self) -> &ExecEvent {
        self.event
    }
}

impl<'a> Exec<'a> {
    /// When it happened.
    pub fn time(&self) -> SystemTime {
        self.clock.at(self.time_ns)
    }

    /// Why it failed; `None` for a success.
    pub fn error(&self) -> Option<Errno> {
        (self.ret != 0).then(|| Errno(self.ret.wrapping_neg()))
    }

    /// The file, as it was named in the call; `None` where that was not in
    /// memory, which happens only to calls that fail.
    pub fn filename(&self) -> Option<&'a Path> {
        if self.has(ExecFlag::EXEC_FILENAME_UNREADABLE) {
            return None;
        }
        let (filename, _) = self.split();
        Some(Path::new(OsStr::from_bytes(filename.strip_suffix(&[0]).unwrap_or(filename))))
    }

    /// The arguments, the program's own name (`argv[0]`) first.
    ///
    /// If [`truncated`](Self::truncated), the last may be a part of one.
    pub fn args(&self) -> Args<'a> {
        let (_, args) = self.split();
        Args { rest: args }
    }

    /// Whether there were more arguments than are here, or a longer last one.
    pub fn truncated(&self) -> bool {
        self.has(ExecFlag::EXEC_ARGS_CUT) || self.unreadable()
    }

    /// Whether arguments are missing because they were not in memory.
    pub fn unreadable(&self) -> bool {
        self.has(ExecFlag::EXEC_ARGS_UNREADABLE)
    }

    fn has(&self, flag: ExecFlag) -> bool {
        self.flags.0 & flag.0 != 0
    }

    fn split(&self) -> (&'a [u8], &'a [u8]) {
        let all = self.strings;
        let (filename, args) = all.split_at(all.len().min(self.filename_len as usize));
        (filename, &args[..args.len().min(self.args_len as usize)])
    }
}

/// The arguments of an [`Exec`].
#[derive(Clone)]
pub struct Args<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Args<'a> {
    type Item = &'a OsStr;

    fn next(&mut self) -> Option<&'a OsStr> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.iter().position(|&byte| byte == 0);
        let (arg, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        Some(OsStr::from_bytes(arg))
    }
}

impl fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(filename_len: u32, args_len: u32, flags: ExecFlag) -> ExecEvent {
        ExecEvent { flags, filename_len, args_len, args_total: args_len, ..Default::default() }
    }

    fn args(bytes: &[u8]) -> Vec<&[u8]> {
        Args { rest: bytes }.map(OsStr::as_bytes).collect()
    }

    #[test]
    fn arguments_are_split_without_loss() {
        assert_eq!(args(b""), [b""; 0]);
        assert_eq!(args(b"\0"), [b""]);
        assert_eq!(args(b"a\0\0\xff b\0"), [&b"a"[..], b"", b"\xff b"]);
        assert_eq!(args(b"a\0cut"), [&b"a"[..], b"cut"]);
    }

    #[test]
    fn a_record_that_lies_about_its_lengths_is_read_within_its_bounds() {
        let clock = BootClock::now().unwrap();
        for (filename_len, args_len) in [(6, 4), (60, 4), (6, 400), (u32::MAX, u32::MAX), (0, 0)] {
            let event = event(filename_len, args_len, ExecFlag(0));
            let exec = Exec { event: &event, strings: b"/bin/a\0b\0", clock };
            let read = exec.filename().unwrap().as_os_str().len();
            assert!(read + exec.args().map(OsStr::len).sum::<usize>() <= 9);
        }
        let event = event(7, 2, ExecFlag::EXEC_ARGS_CUT);
        let exec = Exec { event: &event, strings: b"/bin/a\0b\0", clock };
        assert_eq!(exec.filename(), Some(Path::new("/bin/a")));
        assert_eq!(format!("{:?}", exec.args()), r#"["b"]"#);
        assert!(exec.truncated() && !exec.unreadable() && exec.error().is_none());
    }
}

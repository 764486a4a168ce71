//! What probes with a ring have alike, written once: a macro and not a trait, so that the
//! methods need no import and each probe documents its own.

/// Methods of a probe with the fields `ring`, `programs` and `kind`; `$what` are its events.
macro_rules! ring_probe {
    ($name:ident, $event:ty, $what:literal) => {
        impl $name {
            /// Waits until there is something to drain, at most for `timeout`; whether
            /// there is. `None` waits without end.
            ///
            /// # Errors
            /// As [`RingBuf::wait`](crate::RingBuf::wait).
            pub fn wait(
                &mut self,
                timeout: impl Into<Option<std::time::Duration>>,
            ) -> $crate::Result<bool> {
                self.ring.wait(timeout)
            }

            #[doc = concat!($what, " that found no room in the ring. One `BPF_MAP_LOOKUP_ELEM`.")]
            ///
            /// # Errors
            /// As [`RingBuf::lost`](crate::RingBuf::lost).
            pub fn lost(&self) -> $crate::Result<u64> {
                self.ring.lost()
            }

            /// The ring, for its totals and its descriptor.
            pub fn ring(&self) -> &$crate::RingBuf<$event> {
                &self.ring
            }

            /// How full the ring is, in bytes, and what was lost or skipped.
            ///
            /// # Errors
            /// [`Map`](crate::probes::ProbeError::Map),
            /// [`Sys`](crate::probes::ProbeError::Sys).
            pub fn health(&self) -> Result<$crate::probes::Health, $crate::probes::ProbeError> {
                Ok($crate::probes::Health {
                    entries: self.ring.waiting() as u64,
                    capacity: self.ring.capacity() as u64,
                    lost: self.ring.lost()?,
                    missed: self.programs.missed()?,
                    ..Default::default()
                })
            }

            /// How it is attached.
            pub fn attach_kind(&self) -> $crate::probes::AttachKind {
                self.kind
            }
        }

        impl std::os::fd::AsFd for $name {
            /// For `epoll` or `poll`: readable while there is something to drain.
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                std::os::fd::AsFd::as_fd(&self.ring)
            }
        }
    };
}

pub(super) use ring_probe;

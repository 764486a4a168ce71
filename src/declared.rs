//! [`Declared`]: the BTF of an object, read once for all maps that came from it.

use std::sync::{Arc, OnceLock};

use bpf_atlas_btf::Btf;

/// The BTF of the object that a map came from, and its id in the kernel. Clones
/// share what was read.
#[derive(Clone)]
pub struct Declared(Arc<Inner>);

struct Inner {
    id: u32,
    bytes: Vec<u8>,
    /// Of `bytes`; `None` where they are malformed.
    own: OnceLock<Option<Btf>>,
    /// Of the kernel.
    kernels: OnceLock<Btf>,
}

impl Declared {
    /// The BTF that the object brought along, and the kernel's id of what it made of it.
    pub(crate) fn new(id: u32, bytes: Vec<u8>) -> Self {
        Self(Arc::new(Inner { id, bytes, own: OnceLock::new(), kernels: OnceLock::new() }))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id
    }

    /// As the object brought it along; parsed when it is first asked for.
    pub(crate) fn own(&self) -> Option<&Btf> {
        self.0.own.get_or_init(|| Btf::parse(&self.0.bytes).ok()).as_ref()
    }

    /// As the kernel has it under [`id`](Self::id): fetched once, since it never changes. A
    /// failure is not kept.
    pub(crate) fn kernels<E>(&self, fetch: impl FnOnce() -> Result<Btf, E>) -> Result<&Btf, E> {
        if let Some(btf) = self.0.kernels.get() {
            return Ok(btf);
        }
        let btf = fetch()?;
        Ok(self.0.kernels.get_or_init(|| btf))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_is_fetched_until_it_is_there_and_then_never_again() {
        let mut bytes = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
        bytes.extend([0_u32, 0, 0, 1].map(u32::to_ne_bytes).concat());
        bytes.push(0);
        if cfg!(target_endian = "big") {
            return println!("skipped: these bytes are for a little-endian machine");
        }
        let declared = Declared::new(7, bytes.clone());
        let other = declared.clone();
        assert_eq!(declared.kernels(|| Err("not now")).err(), Some("not now"));
        assert!(other.kernels(|| Btf::parse(&bytes)).is_ok());
        assert!(declared.kernels(|| Err("asked again")).is_ok());
        assert!(declared.own().is_some() && declared.id() == 7);
        assert!(Declared::new(7, vec![1, 2, 3]).own().is_none());
    }
}

//! [`Shape`]: what the kernel says of a map that cannot change while it lives.

use crate::kind::{MapKind, MapName};

/// What the kernel says of a map that cannot change while it lives.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub(crate) kind: MapKind,
    pub(crate) id: u32,
    pub(crate) name: MapName,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
    pub(crate) btf_id: u32,
    pub(crate) btf_key_type_id: u32,
    pub(crate) btf_value_type_id: u32,
    /// How many values a key has: the possible CPUs for a per-CPU kind, else 1.
    pub(crate) cpus: usize,
}

impl Shape {
    /// The bytes between the values of two CPUs: per-CPU values are rounded up
    /// to 8, others are not.
    pub(crate) fn value_stride(&self) -> usize {
        let size = self.value_size as usize;
        if self.kind.is_per_cpu() { size.next_multiple_of(8) } else { size }
    }

    /// The bytes of one key's value in a command's buffer, all CPUs included.
    pub(crate) fn value_span(&self) -> usize {
        self.value_stride() * self.cpus
    }

    /// The bytes of a batch cursor. The hash kinds write 4 whatever the size
    /// of the key; the others write a key.
    pub(crate) fn cursor_size(&self) -> usize {
        (self.key_size as usize).max(8)
    }
}

/// What a map is to be created as.
pub struct Spec<'a> {
    pub(crate) kind: MapKind,
    pub(crate) name: &'a str,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_cpu_values_are_rounded_up_to_eight() {
        let mut shape = Shape {
            kind: MapKind::PerCpuHash,
            id: 1,
            name: MapName::default(),
            key_size: 2,
            value_size: 5,
            max_entries: 1,
            flags: 0,
            btf_id: 0,
            btf_key_type_id: 0,
            btf_value_type_id: 0,
            cpus: 3,
        };
        assert_eq!((shape.value_span(), shape.cursor_size()), (24, 8));
        (shape.kind, shape.cpus, shape.key_size) = (MapKind::Hash, 1, 16);
        assert_eq!((shape.value_span(), shape.cursor_size()), (5, 16));
    }
}

//! Bitfields, for the code that bpf-atlas-build writes: in this machine's order.

use bpf_atlas_btf::ByteOrder;
use bpf_atlas_btf::bits::{read, read_signed, write};

/// The `width` bits that begin `start` bits behind the start of `bytes`, as
/// BTF counts them: from the low end on a little-endian machine, from the high
/// end on the other.
pub fn bits(bytes: &[u8], start: usize, width: u8) -> u128 {
    read(bytes, start, width, ByteOrder::NATIVE)
}

/// As [`bits`], with the sign of the highest of them.
pub fn signed_bits(bytes: &[u8], start: usize, width: u8) -> i128 {
    read_signed(bytes, start, width, ByteOrder::NATIVE)
}

/// Writes the low `width` bits of `value`.
pub fn set_bits(bytes: &mut [u8], start: usize, width: u8, value: u128) {
    write(bytes, start, width, value, ByteOrder::NATIVE);
}

//! Bitfields, where BTF says that they lie.
//!
//! BTF counts the bits of a struct from its first byte on, in a byte from the
//! low end on a little-endian machine and from the high end on a big-endian
//! one. So a bitfield is always the bits from `start` to `start + width`.

use crate::ByteOrder;

/// The `width` bits of `bytes` that begin at bit `start`. 128 at most.
///
/// # Panics
/// When they do not lie in `bytes`.
pub fn read(bytes: &[u8], start: usize, width: u8, order: ByteOrder) -> u128 {
    let mut value = 0;
    for n in 0..usize::from(width) {
        let (byte, bit) = place(start, width, n, order);
        value |= u128::from(bytes[byte] >> bit & 1) << n;
    }
    value
}

/// As [`read`], with the sign of the highest of them.
pub fn read_signed(bytes: &[u8], start: usize, width: u8, order: ByteOrder) -> i128 {
    let above = 128 - u32::from(width);
    (read(bytes, start, width, order) << above) as i128 >> above
}

/// Writes the low `width` bits of `value`, and leaves the bits around them.
///
/// # Panics
/// As [`read`].
pub fn write(bytes: &mut [u8], start: usize, width: u8, value: u128, order: ByteOrder) {
    for n in 0..usize::from(width) {
        let (byte, bit) = place(start, width, n, order);
        bytes[byte] = bytes[byte] & !(1 << bit) | ((value >> n & 1) as u8) << bit;
    }
}

/// Byte, and bit in it from the low end, of the `n`th bit of a bitfield.
fn place(start: usize, width: u8, n: usize, order: ByteOrder) -> (usize, usize) {
    match order {
        ByteOrder::Little => {
            let at = start + n;
            (at / 8, at % 8)
        }
        ByteOrder::Big => {
            let at = start + usize::from(width) - 1 - n;
            (at / 8, 7 - at % 8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ByteOrder::{Big, Little};

    #[test]
    fn bitfields_share_bytes() {
        for (order, filled) in [(Little, [0x55, 0xf5, 0xff, 0xff]), (Big, [0xb5, 0x57, 0xff, 0xff])]
        {
            let mut bytes = [0; 4];
            write(&mut bytes, 0, 3, 5, order);
            write(&mut bytes, 3, 10, 0x2aa, order);
            write(&mut bytes, 13, 19, u128::MAX, order);
            assert_eq!(bytes, filled, "{order:?}");
            assert_eq!((read(&bytes, 0, 3, order), read(&bytes, 3, 10, order)), (5, 0x2aa));
            assert_eq!(read(&bytes, 13, 19, order), 0x7ffff);
            assert_eq!(read_signed(&bytes, 13, 19, order), -1);
            write(&mut bytes, 3, 10, 0, order);
            let left = (read(&bytes, 0, 3, order), read(&bytes, 13, 19, order));
            assert_eq!((left, read(&bytes, 3, 10, order)), ((5, 0x7ffff), 0), "{order:?}");
        }
    }

    #[test]
    fn signs_are_extended() {
        for order in [Little, Big] {
            let mut bytes = [0; 16];
            write(&mut bytes, 7, 4, -3_i128 as u128, order);
            let both = (read_signed(&bytes, 7, 4, order), read(&bytes, 7, 4, order));
            assert_eq!(both, (-3, 13), "{order:?}");
            write(&mut bytes, 0, 128, -5_i128 as u128, order);
            assert_eq!(read_signed(&bytes, 0, 128, order), -5, "{order:?}");
        }
    }

    /// Whole bytes are an integer in that order.
    #[test]
    fn a_field_of_all_bits_is_the_integer() {
        let bytes = 0x0102_0304_u32.to_le_bytes();
        assert_eq!(read(&bytes, 0, 32, Little), 0x0102_0304);
        assert_eq!(read(&bytes, 0, 32, Big), 0x0403_0201);
    }
}

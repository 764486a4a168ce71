//! Bitfields, for the code that bpf-atlas-build writes.

/// The `width` bits that begin `start` bits behind the start of `bytes`, as
/// BTF counts them: from the low end on a little-endian machine, from the high
/// end on the other.
pub fn bits(bytes: &[u8], start: usize, width: u8) -> u128 {
    let mut value = 0;
    for n in 0..usize::from(width) {
        let (byte, bit) = place(start, width, n);
        value |= u128::from(bytes[byte] >> bit & 1) << n;
    }
    value
}

/// As [`bits`], with the sign of the highest of them.
pub fn signed_bits(bytes: &[u8], start: usize, width: u8) -> i128 {
    let above = 128 - u32::from(width);
    (bits(bytes, start, width) << above) as i128 >> above
}

/// Writes the low `width` bits of `value`.
pub fn set_bits(bytes: &mut [u8], start: usize, width: u8, value: u128) {
    for n in 0..usize::from(width) {
        let (byte, bit) = place(start, width, n);
        bytes[byte] = bytes[byte] & !(1 << bit) | ((value >> n & 1) as u8) << bit;
    }
}

/// Byte, and bit in it from the low end, of the `n`th bit of a bitfield.
fn place(start: usize, width: u8, n: usize) -> (usize, usize) {
    if cfg!(target_endian = "little") {
        let at = start + n;
        (at / 8, at % 8)
    } else {
        let at = start + usize::from(width) - 1 - n;
        (at / 8, 7 - at % 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitfields_share_bytes() {
        let mut bytes = [0; 4];
        set_bits(&mut bytes, 0, 3, 5);
        set_bits(&mut bytes, 3, 10, 0x2aa);
        set_bits(&mut bytes, 13, 19, u128::MAX);
        assert_eq!((bits(&bytes, 0, 3), bits(&bytes, 3, 10)), (5, 0x2aa));
        assert_eq!((bits(&bytes, 13, 19), signed_bits(&bytes, 13, 19)), (0x7ffff, -1));
        set_bits(&mut bytes, 3, 10, 0);
        assert_eq!(
            (bits(&bytes, 0, 3), bits(&bytes, 3, 10), bits(&bytes, 13, 19)),
            (5, 0, 0x7ffff)
        );
        if cfg!(target_endian = "little") {
            assert_eq!(bytes, [0x05, 0xe0, 0xff, 0xff]);
        }
    }

    #[test]
    fn signs_are_extended() {
        let mut bytes = [0; 16];
        set_bits(&mut bytes, 7, 4, -3_i128 as u128);
        assert_eq!((signed_bits(&bytes, 7, 4), bits(&bytes, 7, 4)), (-3, 13));
        set_bits(&mut bytes, 0, 128, -5_i128 as u128);
        assert_eq!(signed_bits(&bytes, 0, 128), -5);
    }
}

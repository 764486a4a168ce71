//! Memory that programs write meanwhile, read and written through atomics.

use std::mem::{MaybeUninit, size_of};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::mmap::Mapping;
use super::pod::Pod;
use super::words::initialised;

/// The value `at` bytes into the mapping: aligned words of up to 8 bytes are
/// each read whole.
pub(crate) fn load<T: Pod>(map: &Mapping, at: usize) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    load_into(map, at, &mut value);
    // SAFETY: `load_into` sets all bytes, and any are a valid `T`.
    unsafe { value.assume_init() }
}

/// As [`load`], on the heap.
pub(crate) fn load_boxed<T: Pod>(map: &Mapping, at: usize) -> Box<T> {
    let mut value = Box::new_uninit();
    load_into(map, at, &mut value);
    // SAFETY: as in `load`.
    unsafe { value.assume_init() }
}

fn load_into<T: Pod>(map: &Mapping, at: usize, value: &mut MaybeUninit<T>) {
    let to = value.as_mut_ptr().cast::<u8>();
    pieces(at, size_of::<T>(), |offset, len| {
        let from = map.at(at + offset, len);
        // SAFETY: `from` is inside the mapping with `len` bytes behind it, and
        // aligned to `len`, since the mapping begins at a page. It is only ever
        // accessed through atomics here. `to` has room for `T`, in which
        // `pieces` keeps, and unaligned writes ask for nothing else.
        unsafe {
            let to = to.add(offset);
            match len {
                8 => {
                    to.cast::<u64>().write_unaligned(AtomicU64::from_ptr(from.cast()).load(Relaxed))
                }
                4 => {
                    to.cast::<u32>().write_unaligned(AtomicU32::from_ptr(from.cast()).load(Relaxed))
                }
                2 => {
                    to.cast::<u16>().write_unaligned(AtomicU16::from_ptr(from.cast()).load(Relaxed))
                }
                _ => to.write(AtomicU8::from_ptr(from).load(Relaxed)),
            }
        }
    });
}

/// Writes a value `at` bytes into the mapping, each aligned word at once.
pub(crate) fn store<T: Pod>(map: &Mapping, at: usize, value: T) {
    assert!(map.is_writable());
    let bytes = initialised(&value);
    pieces(at, bytes.len(), |offset, len| {
        let to = map.at(at + offset, len);
        let from = bytes[offset..offset + len].as_ptr();
        // SAFETY: as in `load_into`, and the mapping is writable; `from` points
        // to `len` initialised bytes.
        unsafe {
            match len {
                8 => AtomicU64::from_ptr(to.cast())
                    .store(from.cast::<u64>().read_unaligned(), Relaxed),
                4 => AtomicU32::from_ptr(to.cast())
                    .store(from.cast::<u32>().read_unaligned(), Relaxed),
                2 => AtomicU16::from_ptr(to.cast())
                    .store(from.cast::<u16>().read_unaligned(), Relaxed),
                _ => AtomicU8::from_ptr(to).store(from.read(), Relaxed),
            }
        }
    });
}

/// Cuts `len` bytes that begin at `at` into aligned pieces of 8, 4, 2 or 1.
fn pieces(at: usize, len: usize, mut f: impl FnMut(usize, usize)) {
    let mut offset = 0;
    while offset < len {
        let fits = |piece: &usize| (at + offset) % piece == 0 && *piece <= len - offset;
        let piece = [8, 4, 2].into_iter().find(fits).unwrap_or(1);
        f(offset, piece);
        offset += piece;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_aligned_and_cover_all() {
        for at in 0..16 {
            for len in 0..32 {
                let mut next = 0;
                pieces(at, len, |offset, piece| {
                    assert!(offset == next && (at + offset) % piece == 0);
                    next += piece;
                });
                assert_eq!(next, len, "from {at}");
            }
        }
        let mut all = Vec::new();
        pieces(4, 16, |offset, piece| all.push((offset, piece)));
        assert_eq!(all, [(0, 4), (4, 8), (12, 4)]);
    }
}

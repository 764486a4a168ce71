use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use super::{Block, Piece};
use crate::sys::inline::{Inline, WINDOW, WORDS};
use crate::sys::pod::{self, Pod, stride};

/// A block as the kernel fills it: byte `at` is `at`, roughly.
fn filled(len: usize) -> Block {
    let mut block = Block::zeroed(len).unwrap();
    for (at, byte) in block.bytes_mut().iter_mut().enumerate() {
        *byte = byte_at(at);
    }
    block
}

fn byte_at(at: usize) -> u8 {
    (at ^ at >> 8) as u8
}

/// The values of `cpus` CPUs that such a block has at `at`.
fn expected<V: Pod>(at: usize, cpus: usize) -> Vec<V> {
    let slot = |cpu: usize| {
        let start = at + cpu * stride::<V>();
        let bytes: Vec<u8> = (start..start + size_of::<V>()).map(byte_at).collect();
        pod::read(&bytes)
    };
    (0..cpus).map(slot).collect()
}

fn panics<T>(f: impl FnOnce() -> T) {
    assert!(catch_unwind(AssertUnwindSafe(f)).is_err());
}

fn pieces_of<V: Pod + PartialEq + std::fmt::Debug>() {
    for cpus in [1, 2, 3, 16, 65] {
        let span = stride::<V>() * cpus;
        let mut block = filled(5 * span);
        let mut pieces: Vec<Piece<V>> = (0..4).map(|n| block.split(n * span, cpus)).collect();
        for (n, piece) in pieces.iter().enumerate() {
            assert_eq!(piece.as_slice(), expected::<V>(n * span, cpus));
        }
        // What one does to its own is not seen by the others.
        pieces[1].as_mut_slice().fill(pod::zeroed());
        assert_eq!(pieces[0].as_slice(), expected::<V>(0, cpus));
        assert_eq!(pieces[2].as_slice(), expected::<V>(2 * span, cpus));
        // The rest is the block's.
        assert_eq!(block.bytes(4 * span, 1)[0], byte_at(4 * span));
        assert!(!block.reclaim());
        drop(pieces.remove(0));
        assert!(!block.reclaim());
        // The pieces outlive the block, and one another in any order.
        drop(block);
        drop(pieces.remove(1));
        assert_eq!(pieces.pop().unwrap().as_slice(), expected::<V>(3 * span, cpus));
        assert_eq!(pieces.pop().unwrap().as_slice(), vec![pod::zeroed::<V>(); cpus]);
    }
}

#[test]
fn pieces_are_the_values_without_the_gaps_between_them() {
    pieces_of::<u8>();
    pieces_of::<u16>();
    pieces_of::<[u8; 3]>();
    pieces_of::<u32>();
    pieces_of::<[u8; 7]>();
    pieces_of::<u64>();
    pieces_of::<[u32; 3]>();
    pieces_of::<u128>();
    pieces_of::<[u16; 11]>();
    pieces_of::<[u64; 9]>();
}

#[test]
fn a_block_is_whole_again_once_its_pieces_have_ended() {
    let mut block = filled(64);
    for _ in 0..3 {
        let pieces: [Piece<u64>; 2] = [block.split(0, 2), block.split(24, 5)];
        assert_eq!(pieces[1].as_slice().len(), 5);
        drop(pieces);
        assert!(block.reclaim());
        assert_eq!(block.bytes_mut().len(), 64);
    }
    assert!(Block::default().reclaim());
    assert!(Block::zeroed(0).unwrap().reclaim());
}

/// Whoever is last frees the memory, and the block sees all that pieces did before they ended.
#[test]
fn pieces_end_on_other_threads() {
    for round in 0..200 {
        let mut block = filled(8 * 64);
        let pieces: Vec<Piece<u64>> = (0..8).map(|n| block.split(n * 64, 8)).collect();
        thread::scope(|scope| {
            for mut piece in pieces {
                scope.spawn(move || {
                    piece.as_mut_slice().fill(round);
                    assert!(piece.as_slice().iter().all(|word| *word == round));
                });
            }
            if round % 2 == 0 {
                while !block.reclaim() {
                    thread::yield_now();
                }
                let words = block.bytes_mut().chunks_exact(8);
                assert!(words.map(pod::read::<u64>).all(|word| word == round));
            }
            drop(block);
        });
    }
}

#[test]
fn what_was_given_away_is_out_of_reach() {
    let mut block = filled(64);
    let piece: Piece<u64> = block.split(16, 2);
    // Also what lies before it.
    panics(|| block.bytes(0, 8).len());
    panics(|| block.bytes(24, 8).len());
    panics(|| block.window(31).len());
    panics(|| block.split::<u64>(0, 1));
    panics(|| block.bytes_mut().len());
    assert_eq!(block.bytes(32, 32)[0], byte_at(32));
    drop(piece);
    // Until it is taken back.
    panics(|| block.bytes(16, 8).len());
    assert!(block.reclaim());
    assert_eq!(block.bytes(16, 1)[0], byte_at(16));
}

#[test]
fn nothing_outside_is_given_away() {
    let mut block = filled(64);
    panics(|| block.bytes(0, 65).len());
    panics(|| block.bytes(65, 0).len());
    panics(|| block.bytes(usize::MAX, 2).len());
    panics(|| block.bytes(8, usize::MAX).len());
    panics(|| block.window(64).len());
    panics(|| block.split::<u64>(0, 9));
    panics(|| block.split::<u64>(72, 1));
    panics(|| block.split::<u64>(4, 1));
    panics(|| block.split::<u64>(0, 0));
    panics(|| Block::default().split::<u64>(0, 0));
    // Nor was anything by the attempts.
    assert_eq!(block.bytes_mut().len(), 64);
    assert!(Block::zeroed(usize::MAX).is_none() && Block::zeroed(isize::MAX as usize).is_none());
}

#[test]
fn a_window_at_the_end_shows_zeroes() {
    let block = filled(64);
    assert_eq!(block.window(0)[1], 1);
    let last = block.window(63);
    assert_eq!((last[0], &last[1..]), (63, &[0; WINDOW - 1][..]));
}

fn inline_of<V: Pod + PartialEq + std::fmt::Debug>() {
    let block = filled(512);
    for cpus in 1..=8 {
        let fits = stride::<V>() * cpus <= WINDOW && align_of::<V>() <= 8;
        assert_eq!(cpus <= Inline::<V>::ROOM, fits);
        for at in [0, 8, 64] {
            let of_slots = Inline::<V>::from_slots(block.bytes(at, stride::<V>() * cpus));
            assert_eq!(of_slots.is_some(), fits);
            let Some(mut inline) = of_slots else { continue };
            let expected = expected::<V>(at, cpus);
            assert_eq!(inline.as_slice(), expected);
            assert_eq!(Inline::<V>::from_window(block.window(at), cpus).as_slice(), expected);
            let words = pod::read::<[u64; WORDS]>(block.window(at));
            assert_eq!(Inline::<V>::from_words(words, cpus).as_slice(), expected);
            let mut each = Vec::new();
            inline.each(|value| each.push(value));
            assert_eq!(each, expected);
            inline.as_mut_slice().reverse();
            assert!(inline.clone().as_slice().iter().eq(expected.iter().rev()));
        }
        let splat = Inline::splat(expected::<V>(8, 1)[0], cpus);
        assert_eq!(splat.is_some(), fits);
        assert!(splat.is_none_or(|all| all.as_slice() == vec![expected::<V>(8, 1)[0]; cpus]));
    }
}

#[test]
fn few_values_need_no_memory() {
    inline_of::<u8>();
    inline_of::<[u8; 3]>();
    inline_of::<u32>();
    inline_of::<u64>();
    inline_of::<i64>();
    inline_of::<[u8; 9]>();
    inline_of::<[u32; 3]>();
    inline_of::<[u64; 3]>();
    inline_of::<[u64; 4]>();
    inline_of::<[u64; 5]>();
    inline_of::<u128>();
}

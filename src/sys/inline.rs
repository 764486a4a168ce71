//! [`Inline`]: a few values without memory of their own.

use std::marker::PhantomData;
use std::mem::{MaybeUninit, align_of, size_of};

use super::pod::{self, Pod, stride};

/// Words that there is room for: four counters.
pub(crate) const WORDS: usize = 4;

/// The bytes of all of them.
pub(crate) const WINDOW: usize = WORDS * size_of::<u64>();

/// Values of a [`Pod`] type, up to 32 bytes in all.
pub(crate) struct Inline<V> {
    words: [MaybeUninit<u64>; WORDS],
    len: usize,
    values: PhantomData<V>,
}

/// Of any `V`, since there is none whose values are not [`Pod`], which is `Copy`.
impl<V> Copy for Inline<V> {}

impl<V> Clone for Inline<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Inline<V> {
    /// How many values there is room for.
    pub(crate) const ROOM: usize = if align_of::<V>() > align_of::<u64>() || size_of::<V>() == 0 {
        0
    } else {
        WINDOW / stride::<V>()
    };

    pub(crate) fn as_slice(&self) -> &[V] {
        // SAFETY: the first `len` values, of a `Pod` type that is aligned no more than a
        // word, were written when this was made, and there was room for them.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [V] {
        // SAFETY: as above; `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), self.len) }
    }
}

impl<V: Pod> Inline<V> {
    /// Up to [`ROOM`](Self::ROOM) values.
    #[inline]
    fn new(values: impl ExactSizeIterator<Item = V>) -> Self {
        let mut words = [MaybeUninit::uninit(); WORDS];
        let start = words.as_mut_ptr().cast::<V>();
        let mut len = 0;
        for value in values.take(Self::ROOM) {
            // SAFETY: inside of `words`, since `len` is less than `ROOM`; aligned, or `ROOM`
            // were 0.
            unsafe { start.add(len).write(value) };
            len += 1;
        }
        Self { words, len, values: PhantomData }
    }

    /// Calls `f` for each value. Written for the compiler, which keeps what is in fixed places
    /// in registers.
    #[inline]
    pub(crate) fn each(&self, mut f: impl FnMut(V)) {
        if size_of::<V>() != size_of::<u64>() {
            return self.as_slice().iter().for_each(|value| f(*value));
        }
        for (at, word) in self.words.iter().enumerate() {
            if at >= self.len {
                break;
            }
            // SAFETY: this is the value number `at`, which is initialised as in `as_slice`,
            // of the size of a word.
            f(unsafe { word.as_ptr().cast::<V>().read() });
        }
    }

    /// So many times the same value, where there is room.
    pub(crate) fn splat(value: V, len: usize) -> Option<Self> {
        (len <= Self::ROOM).then(|| Self::new(std::iter::repeat_n(value, len)))
    }

    /// The values of `cpus` CPUs, up to [`ROOM`](Self::ROOM), at the start of the kernel's bytes.
    /// All bytes are copied, which is faster than to look at how many there are.
    #[inline]
    pub(crate) fn from_window(window: &[u8; WINDOW], cpus: usize) -> Self {
        if size_of::<V>() == stride::<V>() {
            return Self::from_words(pod::read(window), cpus);
        }
        let slots = window.chunks_exact(stride::<V>()).take(cpus);
        Self::new(slots.map(|slot| pod::read(&slot[..size_of::<V>()])))
    }

    /// The same from whole words.
    #[inline]
    pub(crate) fn from_words(words: [u64; WORDS], cpus: usize) -> Self {
        if size_of::<V>() == stride::<V>() {
            let len = cpus.min(Self::ROOM);
            return Self { words: words.map(MaybeUninit::new), len, values: PhantomData };
        }
        let mut window = [0; WINDOW];
        for (bytes, word) in window.chunks_exact_mut(size_of::<u64>()).zip(words) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        Self::from_window(&window, cpus)
    }

    /// The values of the CPUs in the kernel's bytes of one key, where there is room.
    #[inline]
    pub(crate) fn from_slots(bytes: &[u8]) -> Option<Self> {
        let slots = bytes.chunks_exact(stride::<V>());
        let values = slots.map(|slot| pod::read(&slot[..size_of::<V>()]));
        (values.len() <= Self::ROOM).then(|| Self::new(values))
    }
}

//! What C has and Rust has not: `char[N]` and a `bool` that may be any byte.

use std::borrow::Cow;
use std::ffi::CStr;
use std::fmt;

use crate::layout::Layout;
use crate::sys::pod::Pod;

/// C's `char[N]`: text that ends with a NUL, or fills its bytes.
///
/// Nothing is lost or checked: the bytes may be any, as the kernel or a
/// program wrote them. `Debug` shows all of them but the NULs at the end, so
/// that it can be read back; `Display` shows the text.
///
/// ```
/// use bpf_atlas::CharArray;
///
/// let comm = CharArray::<16>::new("bash");
/// assert_eq!(comm, "bash");
/// assert_eq!(comm.to_string_lossy(), "bash");
/// assert_eq!(format!("{comm} {comm:?}"), "bash b\"bash\"");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct CharArray<const N: usize>(
    /// All bytes, those behind the NUL among them.
    pub [u8; N],
);

impl<const N: usize> CharArray<N> {
    /// With the text at its start and NULs behind it. What is longer than `N`
    /// bytes is cut; then there is no NUL at the end.
    pub const fn new(text: &str) -> Self {
        Self::from_text_bytes(text.as_bytes())
    }

    /// As [`new`](Self::new), for text that need not be UTF-8.
    pub const fn from_text_bytes(text: &[u8]) -> Self {
        let mut bytes = [0; N];
        let mut at = 0;
        while at < N && at < text.len() {
            bytes[at] = text[at];
            at += 1;
        }
        Self(bytes)
    }

    /// The text: the bytes up to the first NUL, or all.
    pub fn as_bytes(&self) -> &[u8] {
        let len = self.0.iter().position(|&byte| byte == 0).unwrap_or(N);
        &self.0[..len]
    }

    /// The text with its NUL; `None` where it fills all bytes.
    pub fn to_c_str(&self) -> Option<&CStr> {
        CStr::from_bytes_until_nul(&self.0).ok()
    }

    /// The text, `�` for what is not UTF-8.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }

    /// Whether the text has no bytes.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

impl<const N: usize> Default for CharArray<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> From<[u8; N]> for CharArray<N> {
    fn from(bytes: [u8; N]) -> Self {
        Self(bytes)
    }
}

impl<const N: usize> From<CharArray<N>> for [u8; N] {
    fn from(text: CharArray<N>) -> Self {
        text.0
    }
}

impl<const N: usize> PartialEq<str> for CharArray<N> {
    /// Compares the text; what is behind its NUL does not count.
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const N: usize> PartialEq<&str> for CharArray<N> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl<const N: usize> fmt::Display for CharArray<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_string_lossy())
    }
}

impl<const N: usize> fmt::Debug for CharArray<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.0.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        write!(f, "b\"{}\"", self.0[..len].escape_ascii())
    }
}

/// C's `bool`: a byte, in which the kernel may hold any number.
///
/// What is not 0 is true, as in C. In Rust a `bool` of another byte than 0 or
/// 1 would be undefined behaviour, so this is not one.
///
/// ```
/// use bpf_atlas::Bool;
///
/// assert!(Bool::TRUE.get() && Bool(7).get());
/// assert_eq!(Bool::from(false), false);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Bool(
    /// The byte.
    pub u8,
);

impl Bool {
    /// The byte 0.
    pub const FALSE: Self = Self(0);
    /// The byte 1.
    pub const TRUE: Self = Self(1);

    /// Whether it is not 0.
    pub const fn get(self) -> bool {
        self.0 != 0
    }
}

impl From<bool> for Bool {
    fn from(value: bool) -> Self {
        Self(u8::from(value))
    }
}

impl From<Bool> for bool {
    fn from(value: Bool) -> Self {
        value.get()
    }
}

impl PartialEq<bool> for Bool {
    /// Compares the meaning: 7 is `true`.
    fn eq(&self, other: &bool) -> bool {
        self.get() == *other
    }
}

impl fmt::Display for Bool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.get(), f)
    }
}

impl fmt::Debug for Bool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("false"),
            1 => f.write_str("true"),
            other => write!(f, "Bool({other})"),
        }
    }
}

crate::sys::pod::pod_newtype!(Bool, Layout::int("bool", 1, 1, false));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_at_the_nul_or_with_the_bytes() {
        let cut = CharArray(*b"eth0\0old");
        assert_eq!((cut.as_bytes(), cut.to_c_str()), (&b"eth0"[..], Some(c"eth0")));
        assert_eq!(cut, "eth0");
        let full = CharArray(*b"abcd");
        assert_eq!((full.to_string_lossy().as_ref(), full.to_c_str()), ("abcd", None));
        assert_eq!(CharArray::<3>::new("abcd").0, *b"abc");
        assert!(CharArray::<0>::default().is_empty());
        assert_eq!(format!("[{:>6}]", CharArray::<4>::new("ab")), "[    ab]");
    }

    #[test]
    fn debug_loses_nothing() {
        for (bytes, shown) in [
            (*b"ab\0\0", r#"b"ab""#),
            (*b"a\0b\0", r#"b"a\x00b""#),
            (*b"\xff\"\n\0", r#"b"\xff\"\n""#),
            ([0; 4], r#"b"""#),
        ] {
            assert_eq!(format!("{:?}", CharArray(bytes)), shown);
        }
        assert_eq!(format!("{:?} {:?}", Bool(1), Bool(9)), "true Bool(9)");
    }
}

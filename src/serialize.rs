//! serde for the types that C has and Rust has not: feature `serde`.
//!
//! | type | in a text format (JSON) | in a binary format |
//! |---|---|---|
//! | `CharArray<N>` | the text as a string where it is UTF-8, else all bytes as numbers | all bytes |
//! | `Bool` | `true`, `false` | the same |
//! | `Be16`, `Be32`, `Be64` | the number | the same |
//! | `PerCpu<V>` | a list, by CPU | the same |

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeTuple, Serializer};

use crate::chars::{Bool, CharArray};
use crate::per_cpu::PerCpu;
use crate::pod::{Be16, Be32, Be64};

/// In a text format a string, of which what is behind the NUL is no part; where
/// the text is not UTF-8, a list of all bytes. In a binary format all bytes.
impl<const N: usize> Serialize for CharArray<N> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if !to.is_human_readable() {
            return to.serialize_bytes(&self.0);
        }
        match std::str::from_utf8(self.as_bytes()) {
            Ok(text) => to.serialize_str(text),
            Err(_) => to.collect_seq(self.0),
        }
    }
}

/// From a string or a list of bytes, of `N` bytes at most. NULs follow.
impl<'de, const N: usize> Deserialize<'de> for CharArray<N> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match from.is_human_readable() {
            true => from.deserialize_any(Text),
            false => from.deserialize_bytes(Text),
        }
    }
}

struct Text<const N: usize>;

impl<'de, const N: usize> Visitor<'de> for Text<N> {
    type Value = CharArray<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "text or a list of {N} bytes at most")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        self.visit_bytes(text.as_bytes())
    }

    fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<Self::Value, E> {
        match text.len() {
            len if len > N => Err(E::invalid_length(len, &self)),
            _ => Ok(CharArray::from_text_bytes(text)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut bytes, mut len) = ([0; N], 0);
        while let Some(byte) = list.next_element()? {
            *bytes.get_mut(len).ok_or_else(|| A::Error::invalid_length(len + 1, &self))? = byte;
            len += 1;
        }
        Ok(CharArray(bytes))
    }
}

/// As `bool`: every byte but 0 is `true`, as in C.
impl Serialize for Bool {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bool(self.get())
    }
}

impl<'de> Deserialize<'de> for Bool {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        bool::deserialize(from).map(Self::from)
    }
}

macro_rules! numbers {
    ($($name:ident),*) => {$(
        /// As the number, in no byte order.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                self.get().serialize(to)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Deserialize::deserialize(from).map(Self::new)
            }
        }
    )*};
}

numbers!(Be16, Be32, Be64);

/// As a list, by CPU.
impl<V: Serialize> Serialize for PerCpu<V> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for PerCpu<V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::deserialize(from).map(Self::from)
    }
}

/// Arrays of any length, of which serde takes 32 elements at most. For the
/// code that bpf-atlas-build writes: `#[serde(with = "…::Each::<Leaf>")]`.
#[derive(Debug)]
pub struct Each<U>(PhantomData<U>);

/// What is inside the arrays.
#[derive(Debug)]
pub struct Leaf;

/// A way to serialise `T`.
pub trait SerializeAs<T> {
    /// As [`Serialize::serialize`].
    fn serialize_as<S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error>;
}

/// A way to deserialise `T`.
pub trait DeserializeAs<'de, T> {
    /// As [`Deserialize::deserialize`].
    fn deserialize_as<D: Deserializer<'de>>(from: D) -> Result<T, D::Error>;
}

impl<U> Each<U> {
    /// For `serde(with)`.
    pub fn serialize<T, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error>
    where
        Self: SerializeAs<T>,
    {
        Self::serialize_as(value, to)
    }

    /// For `serde(with)`.
    pub fn deserialize<'de, T, D: Deserializer<'de>>(from: D) -> Result<T, D::Error>
    where
        Self: DeserializeAs<'de, T>,
    {
        Self::deserialize_as(from)
    }
}

impl<T: Serialize> SerializeAs<T> for Leaf {
    fn serialize_as<S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        value.serialize(to)
    }
}

impl<'de, T: Deserialize<'de>> DeserializeAs<'de, T> for Leaf {
    fn deserialize_as<D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        T::deserialize(from)
    }
}

impl<T, U: SerializeAs<T>, const N: usize> SerializeAs<[T; N]> for Each<U> {
    fn serialize_as<S: Serializer>(value: &[T; N], to: S) -> Result<S::Ok, S::Error> {
        struct One<'a, T, U>(&'a T, PhantomData<U>);

        impl<T, U: SerializeAs<T>> Serialize for One<'_, T, U> {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                U::serialize_as(self.0, to)
            }
        }

        let mut list = to.serialize_tuple(N)?;
        for element in value {
            list.serialize_element(&One(element, PhantomData::<U>))?;
        }
        list.end()
    }
}

impl<'de, T, U: DeserializeAs<'de, T>, const N: usize> DeserializeAs<'de, [T; N]> for Each<U> {
    fn deserialize_as<D: Deserializer<'de>>(from: D) -> Result<[T; N], D::Error> {
        from.deserialize_tuple(N, List(PhantomData::<(T, U)>))
    }
}

struct List<T, U, const N: usize>(PhantomData<(T, U)>);

/// An element by the way `U`.
struct One<T, U>(T, PhantomData<U>);

impl<'de, T, U: DeserializeAs<'de, T>> Deserialize<'de> for One<T, U> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        U::deserialize_as(from).map(|value| Self(value, PhantomData))
    }
}

impl<'de, T, U: DeserializeAs<'de, T>, const N: usize> Visitor<'de> for List<T, U, N> {
    type Value = [T; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of {N}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        // On the heap until it is whole: an array of them cannot be filled one by one.
        let mut all = Vec::with_capacity(N.min(4096));
        while let Some(One(element, _)) = list.next_element::<One<T, U>>()? {
            if all.len() == N {
                return Err(A::Error::invalid_length(N + 1, &self));
            }
            all.push(element);
        }
        let len = all.len();
        all.try_into().map_err(|_| A::Error::invalid_length(len, &self))
    }
}

#[cfg(test)]
mod tests {
    use serde_test::{Configure, Token, assert_de_tokens_error, assert_tokens};

    use super::*;

    #[test]
    fn text_is_a_string_and_what_is_none_is_all_its_bytes() {
        assert_tokens(&CharArray::<8>::new("eth0").readable(), &[Token::Str("eth0")]);
        assert_tokens(&CharArray::<4>::new("full").readable(), &[Token::Str("full")]);
        let bytes = [Token::U8(b'a'), Token::U8(0xff), Token::U8(0), Token::U8(b'b')];
        let list = [&[Token::Seq { len: Some(4) }], &bytes[..], &[Token::SeqEnd]].concat();
        assert_tokens(&CharArray(*b"a\xff\0b").readable(), &list);
        let all = [Token::Bytes(b"a\0\xff")];
        assert_tokens(&CharArray(*b"a\0\xff").compact(), &all);
        let long = "invalid length 5, expected text or a list of 4 bytes at most";
        assert_de_tokens_error::<serde_test::Readable<CharArray<4>>>(&[Token::Str("fives")], long);
    }

    #[test]
    fn truth_and_numbers_are_what_they_mean() {
        assert_tokens(&Bool::TRUE, &[Token::Bool(true)]);
        serde_test::assert_ser_tokens(&Bool(7), &[Token::Bool(true)]);
        assert_tokens(&Be16::new(443), &[Token::U16(443)]);
        assert_tokens(&Be32::new(1), &[Token::U32(1)]);
        assert_tokens(&Be64::new(1 << 40), &[Token::U64(1 << 40)]);
        let list = [Token::Seq { len: Some(2) }, Token::U8(3), Token::U8(4), Token::SeqEnd];
        assert_tokens(&PerCpu::from(vec![3_u8, 4]), &list);
    }

    #[test]
    fn arrays_of_any_length_have_that_length() {
        type Long = Each<Each<Leaf>>;
        let value = [[7_u32; 2]; 40];
        let json = Long::serialize(&value, serde_json::value::Serializer).unwrap();
        assert_eq!(json.as_array().map(Vec::len), Some(40));
        assert_eq!(Long::deserialize::<[[u32; 2]; 40], _>(&json).unwrap(), value);
        for other in [serde_json::json!([[1, 2], [3, 4]]), serde_json::json!([[1], [2], [3]])] {
            let error = Long::deserialize::<[[u32; 2]; 3], _>(other).unwrap_err();
            assert!(error.to_string().contains("invalid length"), "{error}");
        }
    }
}

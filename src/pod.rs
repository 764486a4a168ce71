//! Ready plain-data types: integers in network byte order.

use std::fmt;

pub use crate::sys::pod::{AssumePlain, Pod};

use crate::layout::Layout;

macro_rules! big_endian {
    ($($(#[$doc:meta])* $name:ident($int:ty, $c:literal);)*) => {$(
        $(#[$doc])*
        ///
        /// The bytes are kept as the wire has them; `get` and `new` convert.
        /// Order and equality are those of the number.
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        #[repr(transparent)]
        pub struct $name($int);

        impl $name {
            /// From a number in the machine's own order.
            pub const fn new(host: $int) -> Self {
                Self(host.to_be())
            }

            /// The number in the machine's own order.
            pub const fn get(self) -> $int {
                <$int>::from_be(self.0)
            }
        }

        impl From<$int> for $name {
            fn from(host: $int) -> Self {
                Self::new(host)
            }
        }

        impl From<$name> for $int {
            fn from(network: $name) -> $int {
                network.get()
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.get().cmp(&other.get())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.get(), f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.get(), f)
            }
        }

        crate::sys::pod::pod_newtype!(
            $name,
            Layout::big_endian($c, size_of::<$int>(), align_of::<$int>())
        );
    )*};
}

big_endian! {
    /// A 16-bit integer in network byte order: C's `__be16`, as in a port.
    Be16(u16, "__be16");
    /// A 32-bit integer in network byte order: C's `__be32`, as in an IPv4 address.
    ///
    /// ```
    /// use bpf_atlas::Be32;
    /// let loopback = Be32::new(0x7f00_0001);
    /// assert_eq!(std::net::Ipv4Addr::from(loopback.get()).to_string(), "127.0.0.1");
    /// ```
    Be32(u32, "__be32");
    /// A 64-bit integer in network byte order: C's `__be64`.
    Be64(u64, "__be64");
}

use super::*;

/// BTF with the given types (name offset, info, size or type, and what
/// follows) and names.
pub(crate) fn btf(types: &[u32], names: &str) -> Vec<u8> {
    let strings = format!("\0{names}");
    let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
    bytes.extend([1, 0]);
    let words = [24, 0, types.len() as u32 * 4, types.len() as u32 * 4, strings.len() as u32];
    bytes.extend(words.iter().chain(types).flat_map(|word| word.to_ne_bytes()));
    bytes.extend(strings.bytes());
    bytes
}

pub(crate) fn info(kind: u32, count: u32) -> u32 {
    kind << 24 | count
}

#[test]
fn integers_typedefs_arrays_and_structs() {
    let bytes = btf(
        &[
            // 1: int "u"
            1,
            info(1, 0),
            4,
            32, //
            // 2: typedef "t" of 1
            3,
            info(8, 0),
            1, //
            // 3: array of 5 × 2
            0,
            info(3, 0),
            0,
            2,
            1,
            5, //
            // 4: struct "s" of 24 bytes: u at 0, t at 4 (an array)
            5,
            info(4, 2),
            24,
            1,
            1,
            0,
            3,
            3,
            32,
        ],
        "u\0t\0s\0",
    );
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.resolve(2).unwrap().0, 1);
    assert_eq!((btf.size_of(3).unwrap(), btf.size_of(4).unwrap()), (20, 24));
    assert_eq!((btf.c_name(3), btf.c_name(4)), ("t[5]".into(), "struct s".into()));
    let Kind::Composite { members, .. } = &btf.get(4).unwrap().kind else { panic!() };
    assert_eq!((members[1].name.as_str(), members[1].bit_offset), ("t", 32));
}

#[test]
fn bitfields_and_wide_enums() {
    let bytes = btf(
        &[
            1,
            info(1, 0),
            4,
            32, //
            3,
            info(4, 1) | 1 << 31,
            4,
            1,
            1,
            3 << 24 | 5, //
            5,
            info(19, 1),
            8,
            1,
            7,
            1,
        ],
        "u\0s\0e\0",
    );
    let btf = Btf::parse(&bytes).unwrap();
    let Kind::Composite { members, .. } = &btf.get(2).unwrap().kind else { panic!() };
    assert_eq!((members[0].bit_offset, members[0].bits), (5, Some(3)));
    let Kind::Enum { values, .. } = &btf.get(3).unwrap().kind else { panic!() };
    assert_eq!(values[0], ("u".into(), (1 << 32) + 7));
}

#[test]
fn an_array_of_more_than_any_memory_has_no_size() {
    #[rustfmt::skip]
    let types = [
        // 1: an array of 2, 2: of 3, 3: of 4
        0, info(3, 0), 0, 2, 1, u32::MAX,
        0, info(3, 0), 0, 3, 1, u32::MAX,
        0, info(3, 0), 0, 4, 1, u32::MAX,
        1, info(1, 0), 8, 64,
    ];
    let btf = Btf::parse(&btf(&types, "x\0")).unwrap();
    assert_eq!(btf.size_of(1), Err(Error::TooLarge(1)));
    assert_eq!(btf.size_of(2), Err(Error::TooLarge(2)));
    assert_eq!(btf.size_of(3), Ok(u32::MAX as usize * 8));
}

#[test]
fn what_is_cut_off_or_points_outside_is_refused() {
    let bytes = btf(&[1, info(1, 0), 4, 32, 3, info(8, 0), 1], "u\0t\0");
    assert!(Btf::parse(&bytes).is_ok());
    for len in 0..bytes.len() {
        assert!(Btf::parse(&bytes[..len]).is_err(), "{len} bytes are enough?");
    }
    assert_eq!(Btf::parse(&btf(&[1, info(8, 0), 9], "t\0")).unwrap_err(), Error::NoSuchType(9));
    assert!(Btf::parse(&btf(&[99, info(8, 0), 0], "t\0")).is_err());
    assert!(Btf::parse(&btf(&[1, info(31, 0), 0], "t\0")).is_err());
    assert_eq!(Btf::parse(&[0; 64]).unwrap_err(), Error::Magic);
}

/// clang writes `enum e;` so. Met in the kernel's own selftests.
#[test]
fn an_enum_that_is_declared_only_has_no_size() {
    let btf_of = |count, size| Btf::parse(&btf(&[1, info(6, count), size, 1, 0], "e\0"));
    let btf = Btf::parse(&btf(&[1, info(6, 0), 0], "e\0")).unwrap();
    assert_eq!(btf.size_of(1), Ok(0));
    assert!(btf_of(1, 4).is_ok());
    for size in [0, 3] {
        assert!(matches!(btf_of(1, size), Err(Error::Malformed { id: 1, .. })), "{size}");
    }
}

#[test]
fn btf_for_the_other_byte_order_is_refused_and_read_where_that_is_meant() {
    let names = "u\0t\0";
    let good = btf(&[1, info(1, 0), 4, 32, 3, info(8, 0), 1], names);
    let mut other = good.clone();
    let end = other.len() - names.len() - 1;
    other[..2].reverse();
    other[4..end].chunks_exact_mut(4).for_each(<[u8]>::reverse);
    let order = match ByteOrder::NATIVE {
        ByteOrder::Little => ByteOrder::Big,
        ByteOrder::Big => ByteOrder::Little,
    };
    assert_eq!(Btf::parse(&other).unwrap_err(), Error::ByteOrder);
    assert_eq!(Btf::parse_in(&good, order).unwrap_err(), Error::ByteOrder);
    let (read, wanted) = (Btf::parse_in(&other, order).unwrap(), Btf::parse(&good).unwrap());
    assert!(read.types().eq(wanted.types()));
}

/// Flips every byte of some good BTF to every value: an answer or an error.
#[test]
fn no_byte_makes_it_panic() {
    let bytes = btf(
        &[
            1,
            info(1, 0),
            4,
            32, //
            3,
            info(8, 0),
            1, //
            0,
            info(3, 0),
            0,
            2,
            1,
            5, //
            5,
            info(4, 2),
            24,
            1,
            1,
            0,
            3,
            3,
            32, //
            5,
            info(6, 1),
            4,
            1,
            7,
        ],
        "u\0t\0s\0",
    );
    for at in 0..bytes.len() {
        for value in 0..=u8::MAX {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            if let Ok(btf) = Btf::parse(&bytes) {
                for (id, _) in btf.types() {
                    let _ = (btf.size_of(id), btf.c_name(id), btf.resolve(id));
                }
            }
        }
    }
}

use super::*;
use crate::tests::{btf, info};

/// Kinds of types, as BTF numbers them.
const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const CONST: u32 = 10;
const VAR: u32 = 14;
const FLOAT: u32 = 16;

/// `struct node` or `union node`, type 1, of 8 bytes and with the one member `inner`.
fn node(kind: u32, inner: u32) -> Vec<u32> {
    vec![1, info(kind, 1), 8, 6, inner, 0]
}

/// What becomes of type 1 and those that follow it.
fn parsed(first: Vec<u32>, others: &[u32]) -> Result<Btf, Error> {
    Btf::parse(&btf(&[&first, others].concat(), "node\0inner\0"))
}

fn array(of: u32, len: u32) -> [u32; 6] {
    [0, info(ARRAY, 0), 0, of, 0, len]
}

#[test]
fn a_struct_that_contains_itself_is_refused() {
    for kind in [STRUCT, UNION] {
        assert_eq!(parsed(node(kind, 1), &[]).unwrap_err(), Error::Loop(1));
    }
}

/// The array has no size, so nobody who adds up sizes comes by.
#[test]
fn an_array_of_none_of_its_own_struct_is_refused() {
    for kind in [STRUCT, UNION] {
        assert_eq!(parsed(node(kind, 2), &array(1, 0)).unwrap_err(), Error::Loop(1));
    }
    assert_eq!(parsed(array(1, 0).into(), &[]).unwrap_err(), Error::Loop(1));
}

#[test]
fn nor_does_a_name_or_a_qualifier_hide_it() {
    for kind in [TYPEDEF, CONST] {
        // 2: an array of none of 3, 3: node by another name
        let others = [&array(3, 0)[..], &[1, info(kind, 0), 1]].concat();
        assert_eq!(parsed(node(STRUCT, 2), &others).unwrap_err(), Error::Loop(1), "{kind}");
    }
}

#[test]
fn nor_does_a_union_or_another_struct_within() {
    for kind in [STRUCT, UNION] {
        // 2: an array of none of 3, 3: struct or union of a node
        let others = [&array(3, 0)[..], &[1, info(kind, 1), 8, 6, 1, 0]].concat();
        assert_eq!(parsed(node(STRUCT, 2), &others).unwrap_err(), Error::Loop(1), "{kind}");
    }
}

/// `struct node { struct node *inner; }`, also `node_t *inner[0]`.
#[test]
fn a_pointer_to_its_own_struct_is_taken() {
    let btf = parsed(node(STRUCT, 2), &[0, info(PTR, 0), 1]).unwrap();
    assert_eq!((btf.size_of(1), btf.c_name(2)), (Ok(8), "struct node *".into()));
    let others = [&array(3, 0)[..], &[0, info(PTR, 0), 4, 1, info(TYPEDEF, 0), 1]].concat();
    let btf = parsed(node(STRUCT, 2), &others).unwrap();
    assert_eq!((btf.size_of(2), btf.c_name(2)), (Ok(0), "node *[0]".into()));
}

#[test]
fn typedefs_of_each_other_are_refused() {
    let typedef = |of| vec![1, info(TYPEDEF, 0), of];
    assert_eq!(parsed(typedef(1), &[]).unwrap_err(), Error::Loop(1));
    assert_eq!(parsed(typedef(2), &typedef(1)).unwrap_err(), Error::Loop(1));
    let qualified = [0, info(CONST, 0), 3, 1, info(TYPEDEF, 0), 2];
    assert_eq!(parsed(typedef(2), &qualified).unwrap_err(), Error::Loop(2));
}

/// Its size is 8; its name has no end.
#[test]
fn a_pointer_to_itself_is_refused() {
    let pointer = |to| vec![0, info(PTR, 0), to];
    assert_eq!(parsed(pointer(1), &[]).unwrap_err(), Error::Loop(1));
    assert_eq!(parsed(pointer(2), &[1, info(TYPEDEF, 0), 1]).unwrap_err(), Error::Loop(1));
    assert_eq!(parsed(pointer(2), &array(1, 4)).unwrap_err(), Error::Loop(1));
}

#[test]
fn what_holds_an_enum_that_is_declared_only_is_refused_by_name() {
    let declared = [1, info(ENUM, 0), 0];
    for kind in [STRUCT, UNION] {
        let error = parsed(node(kind, 2), &declared).unwrap_err();
        let Error::NoSize { id: 1, name, member } = &error else { panic!("{error}") };
        assert!(name.ends_with(" node") && member == "inner", "{error}");
    }
    let error = parsed(node(STRUCT, 2), &declared).unwrap_err();
    let said = "BTF type 1, `struct node`, holds something without a size: `inner`";
    assert_eq!(error.to_string(), said);
    for others in [[1, info(TYPEDEF, 0), 3], [0, info(CONST, 0), 3]] {
        let others = [&others[..], &declared].concat();
        let error = parsed(node(STRUCT, 2), &others).unwrap_err();
        assert!(matches!(error, Error::NoSize { id: 1, .. }), "{error}");
    }
    let error = parsed(array(2, 3).into(), &declared).unwrap_err();
    assert!(matches!(error, Error::NoSize { id: 1, .. }), "{error}");
    let error = parsed(vec![1, info(VAR, 0), 2, 1], &declared).unwrap_err();
    assert_eq!(error.to_string(), "BTF type 1, `node`, holds something without a size");
    // Behind a pointer it is what C writes.
    let pointer = [&[0, info(PTR, 0), 3][..], &declared].concat();
    assert_eq!(parsed(node(STRUCT, 2), &pointer).unwrap().size_of(1), Ok(8));
}

/// How compilers that know no `_Atomic` tell of one.
#[test]
fn a_member_without_a_type_is_taken() {
    assert_eq!(parsed(node(STRUCT, 0), &[]).unwrap().size_of(1), Ok(8));
}

#[test]
fn numbers_of_no_bits_are_refused() {
    for (first, what) in [
        (vec![1, info(INT, 0), 4, 0], "no integer has such a size"),
        (vec![1, info(FLOAT, 0), 0], "no floating point number has such a size"),
    ] {
        assert_eq!(parsed(first, &[]).unwrap_err(), Error::Malformed { id: 1, what });
    }
}

/// Each a struct of the next, the first ones first or last, and deeper than any stack.
#[test]
fn what_nests_without_end_is_refused_and_no_stack_overflows() {
    let nested = |levels: u32, backwards: bool| {
        let one = |id: u32| match (backwards, id) {
            (false, id) if id < levels => node(STRUCT, id + 1),
            (true, id) if id > 1 => node(STRUCT, id - 1),
            _ => vec![1, info(STRUCT, 0), 8],
        };
        Btf::parse(&btf(&(1..=levels).flat_map(one).collect::<Vec<_>>(), "node\0inner\0"))
    };
    for backwards in [false, true] {
        assert!(nested(MAX_DEPTH, backwards).is_ok());
        for levels in [MAX_DEPTH + 1, 200_000] {
            let error = nested(levels, backwards).unwrap_err();
            assert!(matches!(error, Error::TooDeep(_)), "{levels}: {error}");
        }
    }
}

/// As many, but a ring: it is told from what is merely deep.
#[test]
fn a_long_way_round_is_a_loop() {
    let levels = 200_000;
    let types = (1..=levels).flat_map(|id| node(STRUCT, id % levels + 1));
    let error = Btf::parse(&btf(&types.collect::<Vec<_>>(), "node\0inner\0")).unwrap_err();
    assert_eq!(error, Error::Loop(1));
}

/// Two of the next in each: every type is looked at once.
#[test]
fn what_doubles_at_each_level_is_no_endless_work() {
    let one = |id: u32| match id {
        MAX_DEPTH => vec![1, info(STRUCT, 0), 8],
        id => vec![1, info(STRUCT, 2), 8, 6, id + 1, 0, 6, id + 1, 0],
    };
    let types: Vec<_> = (1..=MAX_DEPTH).flat_map(one).collect();
    assert_eq!(Btf::parse(&btf(&types, "node\0inner\0")).unwrap().size_of(1), Ok(8));
}

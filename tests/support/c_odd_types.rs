//! C types that few programs have: names that Rust or the generated code uses,
//! members without bytes, types that are cut or aligned otherwise.

/// As `TYPES`: what the wild has, rarely.
pub const ODD_TYPES: &[(&str, &str, &str, &str)] = &[
    (
        "kwenum",
        "enum kw { fn, crate, c_name, loop, Self_ };\nstruct kwe { enum kw k; };",
        "struct kwe",
        "k:e32u32",
    ),
    (
        "words",
        "union wd { __u32 words; __u32 from_words; __u8 x; };",
        "union wd",
        "words=words_():u32",
    ),
    ("fromx", "union fx { __u32 x; __u8 set_x; __u16 from_x; };", "union fx", "x=x():u32"),
    ("utf", "struct gr\u{f6}\u{df}e { __u32 \u{e4}; };", "struct gr\u{f6}\u{df}e", ""),
    ("ch", "", "char", ".:i8"),
    (
        "bigarr",
        "struct bigarr { __u64 a[100]; char c[300]; __u8 m[40][40]; };",
        "struct bigarr",
        "a[99]:u64 m[39][39]:u8",
    ),
    ("atomic", "struct atomic_s { _Atomic int a; volatile const int b; };", "struct atomic_s", ""),
    (
        "lock",
        "struct bpf_spin_lock { __u32 val; };\nstruct locked { struct bpf_spin_lock lock; __u64 x; };",
        "struct locked",
        "x:u64",
    ),
    (
        "anonenum",
        "struct anonenum { union { enum { AE1 = 3, AE2 } e; __u64 x; }; enum { AE3 } f[2]; };",
        "struct anonenum",
        "e=e():e32u32 f[1]:e32u32",
    ),
    ("zerolen", "struct zl { __u32 a; struct { __u64 b; } none[0]; };", "struct zl", "a:u32"),
    ("onlybits", "struct ob { __u8 a:1; };", "struct ob", "a=a():u1"),
    ("i128bits", "struct ib { __int128 a:100; __u32 b; };", "struct ib", "b:u32"),
    ("unionempty", "struct ue { union { } u; __u32 a; };", "struct ue", "a:u32"),
    (
        "typedefarr",
        "typedef char name_t[16];\ntypedef name_t names_t[2];\nstruct ta { names_t n; };",
        "struct ta",
        "n[1][2]=n[1].0[2]:u7",
    ),
    (
        "packenum",
        "struct pe { __u8 x; enum kw k; __u64 y; } __attribute__((packed));",
        "struct pe",
        "x:u8 k:e32u32 y:u64",
    ),
    (
        "packunion",
        "struct pu { __u8 x; union { __u64 a; __u32 b; }; } __attribute__((packed));",
        "struct pu",
        "x:u8 a=a():u64",
    ),
    (
        "dupanon",
        "struct da { struct { __u8 a; } x; struct { __u8 a; } y; };\nstruct DaX { __u8 q; };\nstruct dax2 { struct da d; struct DaX e; };",
        "struct dax2",
        "d.x.a:u8 d.y.a:u8 e.q:u8",
    ),
    (
        "anonclash",
        "struct ac { union { __u8 a; __u16 b; }; union { __u32 c; __u8 d; }; __u8 anon1; };",
        "struct ac",
        "b=b():u16 c=c():u32 anon1:u8",
    ),
    (
        "bitname",
        "struct bn { __u8 bits:4; __u8 words:4; __u8 from:8; };",
        "struct bn",
        "bits=bits():u4 words=words():u4 from=from():u8",
    ),
    (
        "fieldmethod",
        "struct fm { __u32 a; __u8 set_b; __u8 b:3; };",
        "struct fm",
        "a:u32 set_b:u8 b=b():u3",
    ),
    (
        "eqhash",
        "struct eh { double d; __u8 x; };\nstruct eh2 { struct eh a[2]; };",
        "struct eh2",
        "a[1].d:f64 a[1].x:u8",
    ),
];

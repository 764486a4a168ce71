//! The table of C types: name, declaration, type of the map's values, and
//! every scalar in it (see `Leaf::parse`).

pub const TYPES: &[(&str, &str, &str, &str)] = &[
    // Scalars as values.
    ("u8_", "", "__u8", ".:u8"),
    ("u16_", "", "__u16", ".:u16"),
    ("u32_", "", "__u32", ".:u32"),
    ("u64_", "", "__u64", ".:u64"),
    ("s8_", "", "__s8", ".:i8"),
    ("s16_", "", "__s16", ".:i16"),
    ("s32_", "", "__s32", ".:i32"),
    ("s64_", "", "__s64", ".:i64"),
    ("u128_", "", "unsigned __int128", ".:u128"),
    ("s128_", "", "__int128", ".:i128"),
    (
        "words_of_c",
        "struct words { unsigned char a; short b; unsigned c; long d; unsigned long long e; \
      signed char f; long long g; };",
        "struct words",
        "a:u8 b:i16 c:u32 d:i64 e:u64 f:i8 g:i64",
    ),
    ("bool_", "", "bool", ".:bool"),
    ("enum_", "enum scalar { SCALAR_A, SCALAR_B = 70000 };", "enum scalar", ".:e32u32"),
    ("array_", "typedef __u16 four_t[4];", "four_t", "[0]:u16 [1]:u16 [3]:u16"),
    ("text_", "typedef char text_t[8];", "text_t", "[0]=0[0]:u7 [7]=0[7]:u7"),
    (
        "union_",
        "union scalar_u { __u32 a; __u8 b[8]; };",
        "union scalar_u",
        "b[0]=b()[0]:u8 b[7]=b()[7]:u8",
    ),
    // Integers in structs.
    (
        "wide",
        "struct wide { __u8 a; __int128 b; __u32 c; unsigned __int128 d; };",
        "struct wide",
        "a:u8 b:i128 c:u32 d:u128",
    ),
    (
        "gaps",
        "struct gaps { __u8 a; __u16 b; __u8 c; __u64 d; __u8 e; };",
        "struct gaps",
        "a:u8 b:u16 c:u8 d:u64 e:u8",
    ),
    ("tail", "struct tail { __u64 a; __u8 b; };", "struct tail", "a:u64 b:u8"),
    (
        "network",
        "struct network { __be16 port; __be32 addr; __be64 id; __le32 little; };",
        "struct network",
        "port:be16 addr:be32 id:be64 little:u32",
    ),
    (
        "bools",
        "struct bools { bool a; _Bool b[3]; __u32 c; };",
        "struct bools",
        "a:bool b[0]:bool b[2]:bool c:u32",
    ),
    ("floats", "struct floats { float a; double b; };", "struct floats", "a:f32 b:f64"),
    // Text.
    (
        "comm",
        "struct comm { char comm[16]; __u32 pid; };",
        "struct comm",
        "comm[0]=comm.0[0]:u7 comm[1]=comm.0[1]:u7 comm[15]=comm.0[15]:u7 pid:u32",
    ),
    (
        "argv",
        "struct argv { char args[3][8]; char one; };",
        "struct argv",
        "args[0][0]=args[0].0[0]:u7 args[2][7]=args[2].0[7]:u7 one:i8",
    ),
    (
        "octets",
        "struct octets { unsigned char mac[6]; signed char delta[2]; };",
        "struct octets",
        "mac[0]:u8 mac[5]:u8 delta[0]:i8 delta[1]:i8",
    ),
    // Enums.
    (
        "states",
        "enum state { STATE_NEW, STATE_OPEN = 5, STATE_SHUT, STATE_LAST = 5 };\n\
      struct states { enum state a; enum state b[2]; __u8 c; };",
        "struct states",
        "a:e32u32 b[0]:e32u32 b[1]:e32u32 c:u8",
    ),
    (
        "signed_enum",
        "enum verdict { VERDICT_DENY = -1, VERDICT_NONE, VERDICT_ALLOW };\n\
      struct judged { __u8 x; enum verdict verdict; };",
        "struct judged",
        "x:u8 verdict:e32i32",
    ),
    (
        "wide_enum",
        "enum wide_enum { WIDE_SMALL = 1, WIDE_LARGE = 0x100000000ULL, WIDE_MAX = ~0ULL };\n\
      struct widely { __u32 x; enum wide_enum e; };",
        "struct widely",
        "x:u32 e:e64u64",
    ),
    (
        "wide_signed_enum",
        "enum deep { DEEP_LOW = -0x100000000LL, DEEP_HIGH = 0x100000000LL };\n\
      struct deeply { enum deep e; };",
        "struct deeply",
        "e:e64i64",
    ),
    (
        "small_enum",
        "enum __attribute__((packed)) small { SMALL_A, SMALL_B = 200 };\n\
      struct smalls { enum small e; __u16 x; };",
        "struct smalls",
        "e:e8u8 x:u16",
    ),
    (
        "unnamed_enum",
        "struct unnamed_enum { enum { UNNAMED_A, UNNAMED_B } kind; __u16 x; };",
        "struct unnamed_enum",
        "kind:e32u32 x:u16",
    ),
    (
        "enum_typedef",
        "typedef enum { PHASE_ONE = 1, PHASE_TWO } phase_t;\nstruct phased { phase_t a, b; };",
        "struct phased",
        "a:e32u32 b:e32u32",
    ),
    // Structs in structs.
    (
        "nested",
        "struct inner_1 { __u8 a; __u32 b; };\nstruct nested { __u16 x; struct inner_1 in; __u8 y; };",
        "struct nested",
        "x:u16 in.a=r#in.a:u8 in.b=r#in.b:u32 y:u8",
    ),
    (
        "deep_nest",
        "struct d1 { __u8 a; };\nstruct d2 { struct d1 d; __u16 b; };\n\
      struct d3 { struct d2 d; __u32 c; };\nstruct d4 { struct d3 d[2]; __u64 e; };",
        "struct d4",
        "d[0].d.d.a:u8 d[0].d.b:u16 d[1].d.d.a:u8 d[1].c:u32 e:u64",
    ),
    (
        "local",
        "struct local { struct { __u8 a; __u64 b; } in_place; __u32 z; };",
        "struct local",
        "in_place.a:u8 in_place.b:u64 z:u32",
    ),
    (
        "anonymous",
        "struct anonymous { __u32 a; struct { __u8 b; __u64 c; }; struct { __u16 d; }; };",
        "struct anonymous",
        "a:u32 b:u8 c:u64 d:u16",
    ),
    (
        "structs",
        "struct pair { __u8 a; __u16 b; };\nstruct structs { struct pair all[3]; __u64 n; };",
        "struct structs",
        "all[0].a:u8 all[1].b:u16 all[2].a:u8 all[2].b:u16 n:u64",
    ),
    (
        "matrix",
        "struct matrix { __u32 at[2][3]; __s8 deep[2][2][2]; };",
        "struct matrix",
        "at[0][0]:u32 at[1][2]:u32 at[0][2]:u32 deep[0][1][0]:i8 deep[1][1][1]:i8",
    ),
    (
        "typedefs",
        "typedef __u32 one_t;\ntypedef one_t two_t;\ntypedef const two_t three_t;\n\
      typedef struct { two_t a; } made_t;\nstruct chained { two_t a; made_t b; pid_t c; };",
        "struct chained",
        "a:u32 b.a:u32 c:i32",
    ),
    (
        "same_typedef",
        "typedef struct conn { __u16 port; __u64 id; } conn;\nstruct conns { conn a; struct conn b; };",
        "struct conns",
        "a.port:u16 a.id:u64 b.port:u16 b.id:u64",
    ),
    (
        "volatiles",
        "struct volatiles { volatile __u32 a; volatile __u64 b[2]; };",
        "struct volatiles",
        "a:u32 b[0]:u64 b[1]:u64",
    ),
    // Alignment.
    (
        "packed",
        "struct packed_1 { __u8 a; __u32 b; __u64 c; __u16 d; } __attribute__((packed));",
        "struct packed_1",
        "a:u8 b:u32 c:u64 d:u16",
    ),
    (
        "packed_in",
        "struct tight { __u8 a; __u64 b; } __attribute__((packed));\n\
      struct packed_in { __u32 x; struct tight t[2]; __u64 y; };",
        "struct packed_in",
        "x:u32 t[0].a:u8 t[0].b:u64 t[1].b:u64 y:u64",
    ),
    (
        "packed_over",
        "struct loose { __u8 a; __u64 b; };\n\
      struct packed_over { __u8 x; struct loose l; __u16 y; } __attribute__((packed));",
        "struct packed_over",
        "x:u8 l.a:u8 l.b:u64 y:u16",
    ),
    (
        "packed_field",
        "struct packed_field { __u8 a; __u32 b __attribute__((packed)); __u16 c; };",
        "struct packed_field",
        "a:u8 b:u32 c:u16",
    ),
    (
        "pack_2",
        "#pragma pack(push, 2)\nstruct pack_2 { __u8 a; __u64 b; __u8 c; };\n#pragma pack(pop)",
        "struct pack_2",
        "a:u8 b:u64 c:u8",
    ),
    (
        "aligned",
        "struct aligned_64 { __u64 a; __u8 b; } __attribute__((aligned(64)));",
        "struct aligned_64",
        "a:u64 b:u8",
    ),
    (
        "aligned_in",
        "struct aligned_in { __u8 a; struct { __u32 b; } __attribute__((aligned(32))) line; __u8 c; };",
        "struct aligned_in",
        "a:u8 line.b:u32 c:u8",
    ),
    (
        "aligned_field",
        "struct aligned_field { __u8 a; __u8 b __attribute__((aligned(16))); __u32 c; };",
        "struct aligned_field",
        "a:u8 b:u8 c:u32",
    ),
    (
        "aligned_less",
        "typedef __u64 u64_at_4 __attribute__((aligned(4)));\n\
      struct aligned_less { __u32 a; u64_at_4 b; __u32 c; };",
        "struct aligned_less",
        "a:u32 b:u64 c:u32",
    ),
    // Bitfields.
    (
        "bits",
        "struct bits { __u32 a:3, b:13, c:16; __u64 d; };",
        "struct bits",
        "a=a():u3 b=b():u13 c=c():u16 d:u64",
    ),
    (
        "signed_bits",
        "struct signed_bits { int a:4; unsigned b:5; long long c:40; signed char d:3; };",
        "struct signed_bits",
        "a=a():i4 b=b():u5 c=c():i40 d=d():i3",
    ),
    (
        "across",
        "struct across { __u8 x; __u32 a:7; __u32 b:11; __u32 c:9; __u8 y; };",
        "struct across",
        "x:u8 a=a():u7 b=b():u11 c=c():u9 y:u8",
    ),
    (
        "packed_bits",
        "struct packed_bits { __u8 x; __u32 a:9; __u64 b:50; __u16 c:5; __u32 d; } __attribute__((packed));",
        "struct packed_bits",
        "x:u8 a=a():u9 b=b():u50 c=c():u5 d:u32",
    ),
    (
        "holes",
        "struct holes { __u32 a:3; __u32 :7; __u32 b:4; __u32 :0; __u32 c:1; };",
        "struct holes",
        "a=a():u3 b=b():u4 c=c():u1",
    ),
    (
        "whole_bits",
        "struct whole_bits { __u32 a:32; __u64 b:64; __u8 c:8; };",
        "struct whole_bits",
        "a=a():u32 b=b():u64 c=c():u8",
    ),
    (
        "bool_bits",
        "struct bool_bits { bool a:1; bool b:1; __u8 c:6; };",
        "struct bool_bits",
        "a=a():bool b=b():bool c=c():u6",
    ),
    (
        "enum_bits",
        "enum way { WAY_IN, WAY_OUT, WAY_THROUGH };\nstruct enum_bits { enum way a:2; __u32 b:30; };",
        "struct enum_bits",
        "a=a():e2u32 b=b():u30",
    ),
    (
        "nested_bits",
        "struct flags { __u8 syn:1, ack:1, rest:6; };\n\
      struct nested_bits { struct flags f[2]; __u16 x; };",
        "struct nested_bits",
        "f[0].syn=f[0].syn():u1 f[0].rest=f[0].rest():u6 f[1].ack=f[1].ack():u1 x:u16",
    ),
    (
        "anonymous_bits",
        "struct anonymous_bits { __u8 x; struct { __u16 a:5, b:11; }; __u8 y; };",
        "struct anonymous_bits",
        "x:u8 a=a():u5 b=b():u11 y:u8",
    ),
    // Unions.
    (
        "ip_v4",
        "struct ip_4 { __u16 family; union { __be32 v4; __u8 v6[16]; } addr; };",
        "struct ip_4",
        "family:u16 addr.v4=addr.v4():be32",
    ),
    (
        "ip_v6",
        "struct ip_6 { __u16 family; union { __be32 v4; unsigned __int128 v6; }; __be16 port; };",
        "struct ip_6",
        "family:u16 v6=v6():u128 port:be16",
    ),
    (
        "union_array",
        "union one_of { __u8 a; __u16 b; struct { __u16 lo; __u32 hi; } c; };\n\
      struct union_array { union one_of u[2]; };",
        "struct union_array",
        "u[0].b=u[0].b():u16 u[1].c.lo=u[1].c().lo:u16 u[1].c.hi=u[1].c().hi:u32",
    ),
    (
        "union_bits",
        "struct union_bits { union { struct { __u32 a:4, b:28; }; __u32 all; }; __u8 x; };",
        "struct union_bits",
        "a=a():u4 b=b():u28 x:u8",
    ),
    (
        "union_nested",
        "struct union_nested { union { union { __u32 a; __u64 b; }; struct { __u8 c; __u64 d; }; }; };",
        "struct union_nested",
        "c=c():u8 d=d():u64",
    ),
    (
        "union_odd",
        "struct union_odd { __u8 x; union { __u8 a[7]; __u16 b; } __attribute__((packed)) u; };",
        "struct union_odd",
        "x:u8 u.a[0]=u.a()[0]:u8 u.a[6]=u.a()[6]:u8",
    ),
    (
        "union_first",
        "struct union_first { union { __u8 tag; __u64 word; } a, b; };",
        "struct union_first",
        "a.word=a.word():u64 b.tag=b.tag():u8",
    ),
    // Nothing inside.
    (
        "empty_in",
        "struct empty {};\nstruct empty_in { __u32 a; struct empty e; __u32 b; };",
        "struct empty_in",
        "a:u32 b:u32",
    ),
    ("zero_array", "struct zero_array { __u32 a; __u64 none[0]; };", "struct zero_array", "a:u32"),
    ("flexible", "struct flexible { __u32 n; __u8 data[]; };", "struct flexible", "n:u32"),
    // Names.
    (
        "keywords",
        "struct keywords { __u8 type; __u16 fn; __u32 self; __u64 gen; __u8 crate; __u8 Self; __u8 _; };",
        "struct keywords",
        "type=r#type:u8 fn=r#fn:u16 self=self_:u32 gen=r#gen:u64 crate=crate_:u8 Self=Self_:u8 _=__:u8",
    ),
    (
        "keyword_bits",
        "struct keyword_bits { __u8 type:3, match:5; union { __u8 loop; __u16 impl; }; };",
        "struct keyword_bits",
        "type=r#type():u3 match=r#match():u5 impl=r#impl():u16",
    ),
    (
        "keyword_types",
        "struct fn { __u8 a; };\nstruct type { struct fn fn; };\nstruct Self { struct type type; };",
        "struct Self",
        "type.fn.a=r#type.r#fn.a:u8",
    ),
    ("data_", "struct data { __u64 a; };", "struct data", "a:u64"),
    ("maps_", "struct maps { __u64 a; };", "struct maps", "a:u64"),
    (
        "std_names",
        "struct Option { __u8 a; };\nstruct result { __u8 a; };\nstruct u32 { __u8 a; };\n\
      struct std_names { struct Option some; struct result string; struct u32 u; };",
        "struct std_names",
        "some.a:u8 string.a:u8 u.a:u8",
    ),
    (
        "our_names",
        "struct open { __u8 a; };\nstruct loaded { struct open o; };\nstruct handle { struct loaded l; };\n\
      struct progs { struct handle h; };",
        "struct progs",
        "h.l.o.a:u8",
    ),
    (
        "pads",
        "struct pads { __u8 _pad0; __u32 _bits0; __u32 pad; __u8 anon0; union { __u8 u; }; };",
        "struct pads",
        "_pad0:u8 _bits0:u32 pad:u32 anon0:u8 u=u():u8",
    ),
    (
        "methods",
        "struct methods { __u8 clone:4, set_clone:4; __u8 hash:1, fmt:7; };",
        "struct methods",
        "clone=clone():u4 set_clone=set_clone_():u4 hash=hash():u1 fmt=fmt():u7",
    ),
];

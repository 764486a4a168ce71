//! Reads, through generated types, what programs wrote, and writes what they
//! compare. The tests put generated modules and what reads them behind this.
#![forbid(unsafe_code)]
#![deny(warnings)]
// For the code that the tests write.
#![allow(dead_code, unused_assignments, unused_braces, unused_mut, unused_parens)]

use std::fmt::Debug;

use bpf_atlas::{Be16, Be32, Be64, Bool, Pod};
use libbpf_rs::{ProgramInput, ProgramMut};

/// Runs a program once; what it returned.
fn run(program: &mut ProgramMut<'_>) -> u32 {
    program.test_run(ProgramInput::default()).expect("run the program").return_value
}

/// All bytes zero.
fn zero_like<T: Pod>(_: &T) -> T {
    bpf_atlas::__private::zeroed()
}

/// A scalar as a number that the test knows.
trait Known {
    fn known(self) -> i128;
}

macro_rules! known {
    ($($ty:ty: $from:expr;)*) => {$(
        impl Known for $ty {
            fn known(self) -> i128 {
                $from(self) as i128
            }
        }
    )*};
}

known! {
    u8: u8::from;
    u16: u16::from;
    u32: u32::from;
    u64: u64::from;
    u128: u128::from;
    i8: i8::from;
    i16: i16::from;
    i32: i32::from;
    i64: i64::from;
    i128: i128::from;
    f32: f32::to_bits;
    f64: f64::to_bits;
    bool: bool::from;
    Bool: Bool::get;
    Be16: Be16::get;
    Be32: Be32::get;
    Be64: Be64::get;
}

/// What was compared, and what was not as it should be.
#[derive(Default)]
pub struct Bad {
    module: &'static str,
    case: &'static str,
    cases: usize,
    fields: usize,
    differences: Vec<String>,
}

impl Bad {
    fn case(&mut self, case: &'static str) {
        self.case = case;
        self.cases += 1;
    }

    fn say(&mut self, what: String) {
        self.differences.push(format!("{}, {}: {what}", self.module, self.case));
    }

    fn field(&mut self, path: &str, is: impl Known, expected: i128) {
        self.fields += 1;
        let is = is.known();
        if is != expected {
            self.say(format!("`{path}` is {is:#x}, not {expected:#x}"));
        }
    }

    fn same<T: Debug + PartialEq>(&mut self, kernel: &T, rust: &T) {
        if kernel != rust {
            self.say(format!("the kernel's\n{kernel:#?}\nRust's\n{rust:#?}"));
        }
    }

    fn is(&mut self, what: &str, holds: bool) {
        self.fields += 1;
        if !holds {
            self.say(format!("not so: {what}"));
        }
    }

    /// A program tells the number of the field that differs.
    fn ran(&mut self, returned: u32, fields: &[&str]) {
        match returned {
            0 => {}
            n => match fields.get(n as usize - 1) {
                Some(path) => self.say(format!("the kernel finds another `{path}`")),
                None => self.say(format!("the program returned {n}")),
            },
        }
    }
}

fn main() {
    let bad = all();
    assert!(bad.differences.is_empty(), "{}", bad.differences.join("\n"));
    println!("{} types, {} fields", bad.cases, bad.fields);
}

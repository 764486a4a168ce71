//! [`Error`]: what went wrong, in which file, map or field.

use std::path::PathBuf;

/// A BPF program could not be compiled, or no Rust written for it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// clang refused the source. `message` is what it said, with file and line.
    #[error("{} does not compile:\n{message}", file.display())]
    Compile {
        /// The source.
        file: PathBuf,
        /// clang's errors.
        message: String,
    },

    /// clang could not be run.
    #[error(
        "clang is needed to compile {}, and `{}` does not run ({why}): install clang, \
         or name it in the variable CLANG",
        file.display(),
        clang.display()
    )]
    NoClang {
        /// The source.
        file: PathBuf,
        /// What was run.
        clang: PathBuf,
        /// What the system said.
        why: String,
    },

    /// The object is no BPF object, is damaged or has no type information.
    #[error("{}: {what}", file.display())]
    Object {
        /// The source or object.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },

    /// A key, value or event holds a pointer, which means nothing outside the
    /// kernel.
    #[error(
        "{}: map `{map}`: {place} is a pointer (`{c_type}`), and a kernel address means nothing \
         in user space; store what it points to, or an id, or accept the address as a `u64` with \
         `allow_pointers(\"{map}\")`",
        file.display()
    )]
    Pointer {
        /// The source or object.
        file: PathBuf,
        /// The map.
        map: String,
        /// Which part of it: `the key`, `field sk of the value`.
        place: String,
        /// The type in C.
        c_type: String,
    },

    /// A type has no counterpart in Rust.
    #[error("{}: {place}: {what}", file.display())]
    Type {
        /// The source or object.
        file: PathBuf,
        /// Which type of which map, or which field.
        place: String,
        /// What is wrong with it.
        what: String,
    },

    /// Two C names become the same name in Rust.
    #[error("{}: {first} and {second} would both be `{rust}` in Rust; {remedy}", file.display())]
    Collision {
        /// The source or object.
        file: PathBuf,
        /// One C name, with what it names.
        first: String,
        /// The other.
        second: String,
        /// Their name in Rust.
        rust: String,
        /// What can be done.
        remedy: &'static str,
    },

    /// An option of the builder names something that the object does not have.
    #[error("{}: {option} names `{name}`, which {why}", file.display())]
    Option {
        /// The source or object.
        file: PathBuf,
        /// The method of the builder.
        option: &'static str,
        /// What it was given.
        name: String,
        /// Why that will not do.
        why: String,
    },

    /// libbpf-cargo could not write its skeleton.
    #[error(
        "{}: libbpf-cargo wrote no skeleton ({why}); leave it out with `skeleton(false)`",
        file.display()
    )]
    Skeleton {
        /// The source or object.
        file: PathBuf,
        /// What it said.
        why: String,
    },

    /// A file could not be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// `OUT_DIR` is not set, and no other directory was named.
    #[error("{variable} is not set: call this from a build script, or set `out_dir`")]
    NoOutDir {
        /// The variable.
        variable: &'static str,
    },
}

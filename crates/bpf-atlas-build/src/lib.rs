//! For build scripts: eBPF C in, Rust types and typed maps out.
//!
//! ```no_run
//! // `main` of build.rs
//! bpf_atlas_build::Builder::new("src/bpf/flows.bpf.c").build_or_exit();
//! ```
//!
//! ```ignore
//! // src/main.rs
//! bpf_atlas::include_bpf!(flows);
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut open = flows::open()?;
//!     open.rodata.min_bytes = 64; // `const volatile __u32 min_bytes` in C
//!     open.maps.flows.set_max_entries(65536);
//!     let handle = open.load()?.attach()?; // 'static + Send
//!     for entry in &handle.maps.flows {
//!         let (key, flow) = entry?; // flows::FlowKey, flows::Flow
//!         println!("{key:?} {flow:?}");
//!     }
//!     Ok(())
//! }
//! ```
//!
//! What the C source declares is all that is declared. Every key, value and
//! event, and every global variable, has a Rust type with the same fields at
//! the same offsets, proved while compiling; a change in C is a compile error
//! in Rust where it matters.
//!
//! On the include path, with nothing to install: `bpf_atlas.h`, libbpf's
//! headers (`<bpf/bpf_helpers.h>`, …) and a small `vmlinux.h`. Headers of your
//! own, [`include`](Builder::include)d or beside the source, come first.

#[cfg(test)]
mod bits_tests;
mod collect;
mod compile;
mod decl;
mod emit;
mod enums;
mod error;
mod events;
mod kconfig;
mod kinds;
mod map_def;
mod names;
mod object;
mod options;
mod place;
mod plan;
mod pointers;
mod said;
mod skeleton;
mod statics;
mod types;
mod untaken;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::compile::{Compiler, io_error, write};
use crate::emit::{Emit, Module};
pub use crate::error::Error;
use crate::object::Object;
use crate::options::Options;

/// Compiles one BPF source, or takes one object, and writes the Rust module
/// for it.
///
/// The module goes to `$OUT_DIR/<name>.rs`, where `<name>` is the file's name up
/// to the first dot, for `bpf_atlas::include_bpf!(<name>)`.
///
/// Options that name a type take its name in C: `flow`, or `struct flow`,
/// `typedef flow` where that is not clear enough. One that names nothing in the
/// object is an error.
#[derive(Clone, Debug)]
pub struct Builder {
    input: PathBuf,
    compiled: bool,
    linked: Vec<PathBuf>,
    includes: Vec<PathBuf>,
    clang: Option<PathBuf>,
    args: Vec<OsString>,
    out: Option<PathBuf>,
    skeleton: Option<bool>,
    options: Options,
}

impl Builder {
    /// For a source in C.
    pub fn new(source: impl Into<PathBuf>) -> Self {
        Self::of(source.into(), false)
    }

    /// For an object that is compiled already, with BTF (`clang -g`).
    pub fn object(object: impl Into<PathBuf>) -> Self {
        Self::of(object.into(), true)
    }

    fn of(input: PathBuf, compiled: bool) -> Self {
        Self {
            options: Options::new(input.clone()),
            input,
            compiled,
            linked: Vec::new(),
            includes: Vec::new(),
            clang: None,
            args: Vec::new(),
            out: None,
            skeleton: None,
        }
    }

    /// Links another source, or an object (`.o`), into this one: for a program
    /// of several files.
    pub fn link(&mut self, file: impl Into<PathBuf>) -> &mut Self {
        self.linked.push(file.into());
        self
    }

    /// Looks for headers in `dir` too, before those that come with this crate.
    pub fn include(&mut self, dir: impl Into<PathBuf>) -> &mut Self {
        self.includes.push(dir.into());
        self
    }

    /// Passes an argument to clang, behind `-Wall -g -O2`.
    pub fn clang_arg(&mut self, arg: impl Into<OsString>) -> &mut Self {
        self.args.push(arg.into());
        self
    }

    /// Runs this clang instead of `$CLANG`, or of `clang` on the `PATH`.
    pub fn clang(&mut self, clang: impl Into<PathBuf>) -> &mut Self {
        self.clang = Some(clang.into());
        self
    }

    /// Derives one more trait for the type that C calls `c_type`, or for all
    /// with `*`: `derive("flow", "serde::Serialize")`.
    pub fn derive(&mut self, c_type: impl Into<String>, path: impl Into<String>) -> &mut Self {
        self.options.derives.push((c_type.into(), path.into()));
        self
    }

    /// Puts an attribute before a type, `flow`, or one of its fields,
    /// `flow.last_ns`: `attribute("flow.last_ns", "accumulate(max)")`.
    pub fn attribute(
        &mut self,
        c_name: impl Into<String>,
        attribute: impl Into<String>,
    ) -> &mut Self {
        self.options.attributes.push((c_name.into(), attribute.into()));
        self
    }

    /// Says what a type, `flow`, or one of its fields, `flow.last_ns`, is for. It
    /// stands before what C declares.
    pub fn doc(&mut self, c_name: impl Into<String>, text: impl Into<String>) -> &mut Self {
        self.options.docs.push((c_name.into(), text.into()));
        self
    }

    /// Gives a type another name in Rust than its own in camel case. `ring events`
    /// names the enum of the events of a ring that `ATLAS_RING_OF` declares.
    pub fn rename(&mut self, c_type: impl Into<String>, rust: impl Into<String>) -> &mut Self {
        self.options.renames.insert(c_type.into(), rust.into());
        self
    }

    /// Takes a type of your own where C says `c_type`. It must be `Pod`; that
    /// size, fields, offsets and types are those of C is proved while compiling,
    /// with the names of both in the message. Inside another type it must be
    /// `Debug`, `PartialEq`, `Eq` and `Hash`.
    pub fn own_type(&mut self, c_type: impl Into<String>, path: impl Into<String>) -> &mut Self {
        self.options.own.insert(c_type.into(), path.into());
        self
    }

    /// Writes a type that no map holds too, say one that follows an event as
    /// its tail.
    pub fn export(&mut self, c_type: impl Into<String>) -> &mut Self {
        self.options.exports.push(c_type.into());
        self
    }

    /// The type of the events of a ring that was declared neither by `ATLAS_RING` nor
    /// by `ATLAS_RING_OF`.
    pub fn ring_event(&mut self, map: impl Into<String>, c_type: impl Into<String>) -> &mut Self {
        self.options.events.insert(map.into(), c_type.into());
        self
    }

    /// Takes pointers in the keys, values or events of a map as numbers, `u64`.
    /// They are addresses in the kernel, good for telling one from another.
    /// `*` stands for all maps.
    pub fn allow_pointers(&mut self, map: impl Into<String>) -> &mut Self {
        self.options.pointers.push(map.into());
        self
    }

    /// The path of bpf-atlas for the module, if it is not `::bpf_atlas`.
    pub fn crate_path(&mut self, path: impl Into<String>) -> &mut Self {
        self.options.krate = path.into();
        self
    }

    /// Whether the module has libbpf-cargo's skeleton as `skel`. It has, unless
    /// a name in the object is known to keep that from compiling.
    ///
    /// The skeleton has `unsafe` code, so `skeleton(false)` is for crates that
    /// forbid it. Nothing else in the module needs it.
    pub fn skeleton(&mut self, skeleton: bool) -> &mut Self {
        self.skeleton = Some(skeleton);
        self
    }

    /// Writes to `dir` instead of `$OUT_DIR`.
    pub fn out_dir(&mut self, dir: impl Into<PathBuf>) -> &mut Self {
        self.out = Some(dir.into());
        self
    }

    /// As [`build`](Self::build); an error ends the build script, and cargo
    /// shows it as its own.
    pub fn build_or_exit(&self) {
        if let Err(error) = self.build() {
            for line in error.to_string().lines().filter(|line| !line.is_empty()) {
                println!("cargo::error={line}");
            }
            std::process::exit(1);
        }
    }

    /// Compiles and writes the module, and tells cargo when to do so again.
    ///
    /// # Errors
    /// [`Error`], which names the file, map or field.
    pub fn build(&self) -> Result<(), Error> {
        let out = match &self.out {
            Some(out) => out.clone(),
            None => env::var_os("OUT_DIR").ok_or(Error::NoOutDir { variable: "OUT_DIR" })?.into(),
        };
        fs::create_dir_all(&out).map_err(|error| io_error("create", &out, error))?;
        let name = self.name();
        let object = out.join(format!("{name}.bpf.o"));
        let compiler = Compiler {
            clang: self.clang.as_deref(),
            includes: &self.includes,
            args: &self.args,
            out: &out,
        };
        println!("cargo::rerun-if-env-changed=CLANG");
        let mut parts = Vec::new();
        for file in std::iter::once(&self.input).chain(&self.linked) {
            let is_object = file.extension().is_some_and(|extension| extension == "o");
            if is_object || (self.compiled && parts.is_empty()) {
                println!("cargo::rerun-if-changed={}", file.display());
                let bytes = fs::read(file).map_err(|error| io_error("read", file, error))?;
                Object::read(&bytes, file)?;
                parts.push(file.clone());
                continue;
            }
            let part = match self.linked.as_slice() {
                [] => object.clone(),
                _ => out.join(format!("{name}.part{}.bpf.o", parts.len())),
            };
            let compiled = compiler.compile(file, &part)?;
            for file in compiled.dependencies {
                println!("cargo::rerun-if-changed={}", file.display());
            }
            for warning in compiled.warnings {
                println!("cargo::warning={warning}");
            }
            parts.push(part);
        }
        if parts != [object.as_path()] {
            self.link_parts(&parts, &object)?;
        }
        self.generate(&out, &object, &name, (!self.compiled).then_some(&compiler))
    }

    /// The file's name up to the first dot, as an identifier.
    fn name(&self) -> String {
        let name = self.input.file_name().unwrap_or_default().to_string_lossy();
        names::clean(name.split('.').next().unwrap_or_default())
    }

    /// Passes objects through libbpf's linker, as libbpf-cargo does: it puts the
    /// offsets of variables into BTF and leaves debug information out.
    fn link_parts(&self, parts: &[PathBuf], to: &Path) -> Result<(), Error> {
        let linked = said::by_libbpf(|| {
            let mut linker = libbpf_rs::Linker::new(to)?;
            parts.iter().try_for_each(|part| linker.add_file(part))?;
            linker.link()
        });
        linked.map_err(|said| Error::Object {
            file: self.input.clone(),
            what: format!("libbpf cannot link the object: {said}"),
        })
    }

    /// Enum values that the object does not hold, from the compiler.
    fn enum_values(&self, compiler: &Compiler<'_>, read: &Object, name: &str) -> enums::Values {
        let mut values = enums::Values::default();
        let doubtful = enums::doubtful(&read.btf);
        let Ok(path) = compile::quoted(&self.input) else { return values };
        let mut ask = |enums: &[_]| {
            let question = enums::question(&path, enums);
            let answer = compiler.ask(&format!("{name}_enums"), &question, enums::SECTION);
            answer.inspect(|bytes| values.answer(enums, bytes)).is_some()
        };
        if !doubtful.is_empty() && !ask(&doubtful) {
            // One of them is declared inside a function.
            for one in doubtful.chunks(1) {
                ask(one);
            }
        }
        values
    }

    fn generate(
        &self,
        out: &Path,
        object: &Path,
        name: &str,
        compiler: Option<&Compiler<'_>>,
    ) -> Result<(), Error> {
        let mut bytes = fs::read(object).map_err(|error| io_error("read", object, error))?;
        let damaged = |what| Error::Object { file: self.input.clone(), what };
        if statics::globalise(&mut bytes).map_err(damaged)? {
            write(object, &bytes)?;
        }
        let read = Object::read(&bytes, &self.input)?;
        if let Some(what) = untaken::find(&read.btf) {
            println!("cargo::warning={}: {what}", self.input.display());
        }
        let values = compiler.map(|compiler| self.enum_values(compiler, &read, name));
        let values = values.unwrap_or_default();
        self.options.used.borrow_mut().clear();
        let plan = plan::plan(&read, &self.options, &values)?;
        let programs = object::programs(&bytes, &self.input)?;
        plan::unique_programs(&programs, &self.input)?;
        let file = format!("{name}.skel.rs");
        let obstacle = skeleton::obstacle(&read, &programs, name);
        let skeleton = self.write_skeleton(obstacle, object, &out.join(&file))?;
        let emit = Emit { types: &plan.types, options: &self.options, btf: &read.btf };
        let source = emit.module(
            &plan,
            &Module {
                from: &self.input.display().to_string(),
                name,
                object: &format!("{name}.bpf.o"),
                skeleton: skeleton.as_ref().map(|()| file.as_str()).map_err(String::as_str),
                programs: &programs,
            },
        );
        if let Some((option, name)) = self.options.unused() {
            return Err(Error::Option {
                file: self.input.clone(),
                option,
                name: name.into(),
                why: "is not in the object, or not in what its maps hold".into(),
            });
        }
        write(&out.join(format!("{name}.rs")), source.as_bytes())
    }

    /// The skeleton, or why there is none.
    fn write_skeleton(
        &self,
        obstacle: Option<String>,
        object: &Path,
        to: &Path,
    ) -> Result<Result<(), String>, Error> {
        match self.skeleton {
            Some(false) => Ok(Err("it was not asked for".into())),
            Some(true) => match skeleton::write(object, to) {
                Ok(()) => Ok(Ok(())),
                Err(why) => Err(Error::Skeleton { file: self.input.clone(), why }),
            },
            None => match obstacle {
                Some(why) => Ok(Err(why)),
                None => Ok(skeleton::write(object, to)),
            },
        }
    }
}

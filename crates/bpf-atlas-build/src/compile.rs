//! clang, through libbpf-cargo: a source in, an object out.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

use libbpf_cargo::SkeletonBuilder;
use libbpf_rs::libbpf_sys::API_HEADERS;

use crate::error::Error;
use crate::said;

/// Headers of our own, offered to every program.
const HEADERS: &[(&str, &str)] = &[
    ("bpf_atlas.h", include_str!("../include/bpf_atlas.h")),
    ("vmlinux.h", include_str!("../include/vmlinux.h")),
];

/// How a source is compiled.
pub(crate) struct Compiler<'a> {
    pub(crate) clang: Option<&'a Path>,
    pub(crate) includes: &'a [PathBuf],
    pub(crate) args: &'a [std::ffi::OsString],
    /// Where headers and objects go.
    pub(crate) out: &'a Path,
}

/// Where Debian and its like keep `asm/types.h`, which `<linux/bpf.h>` and
/// `<errno.h>` need and clang does not look for when it compiles for BPF.
fn system_headers() -> Option<PathBuf> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH");
    let arch = arch.as_deref().unwrap_or(env::consts::ARCH);
    let arch = match arch {
        "powerpc64" => "powerpc64le",
        arch => arch,
    };
    let dir = PathBuf::from(format!("/usr/include/{arch}-linux-gnu"));
    dir.is_dir().then_some(dir)
}

/// What compiling gave.
pub(crate) struct Compiled {
    /// Files that the object was made of, and that the user could change.
    pub(crate) dependencies: Vec<PathBuf>,
    /// clang's warnings.
    pub(crate) warnings: Vec<String>,
}

/// clang as the user, the environment or the `PATH` names it.
fn clang(named: Option<&Path>) -> PathBuf {
    let asked = env::var_os("CLANG").filter(|name| !name.is_empty());
    match (named, asked) {
        (Some(path), _) => path.into(),
        (None, Some(path)) => path.into(),
        (None, None) => "clang".into(),
    }
}

impl Compiler<'_> {
    /// Compiles `source`, whatever its suffix, to `object`.
    pub(crate) fn compile(&self, source: &Path, object: &Path) -> Result<Compiled, Error> {
        let headers = self.headers()?;
        let clang = clang(self.clang);
        let runs = Command::new(&clang).arg("--version").stdout(Stdio::null()).status();
        if let Err(error) = runs {
            let (file, why) = (source.into(), error.to_string());
            return Err(Error::NoClang { file, clang, why });
        }
        let listed = object.with_extension("d");
        let mut args: Vec<std::ffi::OsString> = Vec::new();
        for include in self.includes {
            args.extend(["-I".into(), include.into()]);
        }
        args.extend(["-I".into(), headers.clone().into()]);
        args.extend(
            ["-MD", "-MT", "object", "-MF"]
                .iter()
                .map(|arg| (*arg).into())
                .chain([listed.clone().into()]),
        );
        args.extend(
            [
                // libbpf's headers are not the user's to correct.
                "--system-header-prefix=bpf/",
                "-fno-color-diagnostics",
                "-fno-caret-diagnostics",
                "-Wall",
            ]
            .map(Into::into),
        );
        if let Some(dir) = system_headers() {
            args.extend(["-idirafter".into(), dir.into()]);
        }
        args.extend(self.args.iter().cloned());

        let wrapped = self.wrap(source)?;
        let path = wrapped.as_deref().unwrap_or(source);
        let mut builder = SkeletonBuilder::new();
        builder.clang(&clang).source(path).obj(object).clang_args(&args);
        let (result, warnings) = said::during(|| {
            said::by_libbpf(|| match builder.build() {
                Ok(()) => Ok(Ok(())),
                Err(error) => match error.root_cause() {
                    cause if cause.is::<io::Error>() || cause.is::<libbpf_rs::Error>() => {
                        Err(format!("{error:#}"))
                    }
                    // Where clang refused, the innermost error is what it said.
                    cause => Ok(Err(said::errors(&cause.to_string()))),
                },
            })
        });
        let file = || source.into();
        match result {
            Ok(Ok(())) => {}
            Ok(Err(message)) => return Err(Error::Compile { file: file(), message }),
            Err(what) => return Err(Error::Object { file: file(), what }),
        }
        let listed = fs::read_to_string(&listed).unwrap_or_default();
        let ours = |path: &PathBuf| !path.starts_with(self.out) && path.exists();
        let mut dependencies: Vec<_> =
            dependencies(&listed).into_iter().map(PathBuf::from).filter(ours).collect();
        dependencies.push(source.into());
        dependencies.sort();
        dependencies.dedup();
        Ok(Compiled { dependencies, warnings })
    }

    /// The bytes of section `section` of what `text` compiles to, if it does.
    pub(crate) fn ask(&self, name: &str, text: &str, section: &str) -> Option<Vec<u8>> {
        let source = self.out.join(format!("{name}.bpf.c"));
        write(&source, text.as_bytes()).ok()?;
        let object = source.with_extension("o");
        self.compile(&source, &object).ok()?;
        crate::object::section(&fs::read(object).ok()?, section).ok()?
    }

    /// libbpf-cargo takes sources named `*.bpf.c` only: others are included by
    /// one that is.
    fn wrap(&self, source: &Path) -> Result<Option<PathBuf>, Error> {
        let name = source.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".bpf.c") {
            return Ok(None);
        }
        let path = self.out.join(format!("{name}.wrapped.bpf.c"));
        write(&path, format!("#include \"{}\"\n", quoted(source)?).as_bytes())?;
        Ok(Some(path))
    }

    /// Writes the headers and gives their directory.
    fn headers(&self) -> Result<PathBuf, Error> {
        let dir = self.out.join("bpf-atlas-include");
        let libbpf = dir.join("bpf");
        fs::create_dir_all(&libbpf).map_err(|error| io_error("create", &libbpf, error))?;
        for (name, text) in HEADERS {
            write(&dir.join(name), text.as_bytes())?;
        }
        for (name, text) in API_HEADERS {
            write(&libbpf.join(name), text.as_bytes())?;
        }
        Ok(dir)
    }
}

/// The full path of a file, for `#include`.
pub(crate) fn quoted(path: &Path) -> Result<String, Error> {
    let full = fs::canonicalize(path).map_err(|error| io_error("read", path, error))?;
    Ok(full.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\""))
}

/// Writes a file unless it holds that already: what has not changed is not to
/// look newer.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).map_err(|error| io_error("write", path, error))
}

pub(crate) fn io_error(what: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { what, path: path.into(), source }
}

/// The files that a rule of make depends on.
fn dependencies(rule: &str) -> Vec<String> {
    let Some((_, list)) = rule.split_once(": ") else { return Vec::new() };
    let mut files = Vec::new();
    let mut file = String::new();
    let mut chars = list.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                // A line that goes on.
                Some('\n') => {}
                Some(escaped @ (' ' | '#' | '\\' | ':')) => file.push(escaped),
                Some(other) => file.extend(['\\', other]),
                None => {}
            },
            '$' if chars.peek() == Some(&'$') => {
                chars.next();
                file.push('$');
            }
            c if c.is_whitespace() => {
                if !file.is_empty() {
                    files.push(std::mem::take(&mut file));
                }
            }
            c => file.push(c),
        }
    }
    if !file.is_empty() {
        files.push(file);
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_make_are_read() {
        let rule = "object: src/flows.bpf.c \\\n  with\\ space.h a\\#b.h \\\n  c$$d.h\n";
        assert_eq!(dependencies(rule), ["src/flows.bpf.c", "with space.h", "a#b.h", "c$d.h"]);
        assert!(dependencies("").is_empty());
    }
}

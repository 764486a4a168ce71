//! A source of one test's own, built or refused.
#![allow(dead_code, reason = "no test binary uses everything")]

use std::fs;
use std::path::PathBuf;

use bpf_atlas_build::{Builder, Error};

/// A directory for one test, gone at its end.
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("atlas_build_{name}_{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    /// A source with what every program has.
    pub fn source(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        let head = "#include \"vmlinux.h\"\n#include \"bpf_atlas.h\"\n#line 1\n";
        let tail = "\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n";
        fs::write(&path, format!("{head}{text}{tail}")).unwrap();
        path
    }

    pub fn builder(&self, text: &str) -> Builder {
        let mut builder = Builder::new(self.source("x.bpf.c", text));
        builder.out_dir(self.0.join("out"));
        builder
    }

    pub fn built(&self) -> String {
        fs::read_to_string(self.0.join("out/x.rs")).unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn map(name: &str, key: &str, value: &str) -> String {
    format!(
        "struct {{ __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4); \
         __type(key, {key}); __type(value, {value}); }} {name} SEC(\".maps\");\n"
    )
}

/// The error of a source, which names it.
pub fn refused(name: &str, text: &str) -> (Error, String) {
    let dir = Dir::new(name);
    let error = dir.builder(text).build().unwrap_err();
    let said = error.to_string();
    assert!(said.contains("x.bpf.c"), "{said}");
    (error, said)
}

//! What the three binaries share: objects, a packet, and a way to tell how a mistake ended.

use std::collections::HashSet;
use std::error::Error;
use std::path::PathBuf;

/// How a mistake ended: what the program believes, or the error it got.
pub type Said = Result<String, Box<dyn Error>>;

/// What an XDP program is run on.
pub const PACKET: [u8; 64] = [0; 64];

/// Where the upgraded program keeps its map.
pub const PIN: &str = "/sys/fs/bpf/compare_flows";

/// An object that the build script compiled.
pub fn object(name: &str) -> PathBuf {
    PathBuf::from(format!("{}/{name}.bpf.o", env!("OUT_DIR")))
}

/// Makes the mistake that the command line names.
pub fn make(mistake: impl FnOnce(&str) -> Said) {
    match mistake(&std::env::args().nth(1).unwrap_or_default()) {
        Ok(said) => println!("{said}"),
        Err(error) => {
            // With its causes, as most programs print errors.
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                text += &format!(": {error}");
                cause = error.source();
            }
            println!("Err: {text}");
        }
    }
}

/// What a walk that changes the map yielded, up to `most` keys.
pub fn walked(entries: u32, most: usize, keys: impl Iterator<Item = u32>) -> String {
    let mut seen = HashSet::new();
    let mut yields = 0;
    for key in keys.take(most) {
        seen.insert(key);
        yields += 1;
    }
    let ended = if yields == most { ", and no end yet" } else { "" };
    format!("{yields} yields, {} of {entries} keys{ended}", seen.len())
}

/// Removes the pin when it goes out of scope.
pub struct Unpin;

impl Drop for Unpin {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(PIN);
    }
}

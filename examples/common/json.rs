//! NDJSON: one object a line.

use jiff::Timestamp;
use serde_json::Value;

/// An object: its type and time, the latter in nanoseconds since 1970 and as
/// RFC 3339, then `fields`.
///
/// # Panics
/// If `fields` is not an object with a field at least.
pub fn object(kind: &str, at: Timestamp, fields: Value) -> String {
    let fields = fields.to_string();
    let fields = fields.strip_prefix('{').expect("the fields of an object");
    assert_ne!(fields, "}");
    // What tells an object from others comes first, where a person looks.
    format!(r#"{{"type":"{kind}","time":"{at}","time_ns":{},{fields}"#, at.as_nanosecond())
}

//! [`Mismatch`]: what differs, as a table.

use std::fmt;

/// All differences between a Rust type and the C type of a map.
///
/// `Display` is a table, the C type on one side and the Rust type on the other:
///
/// ```text
/// the value type does not match
///   field    C (struct stat, 24 bytes)  Rust (Stat, 24 bytes)
///   packets  u64 at 0                   u64 at 0
///   bytes    u64 at 8                   u32 at 8               ← size differs
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    pub(super) role: &'static str,
    pub(super) c: String,
    pub(super) rust: String,
    pub(super) rows: Vec<Row>,
}

/// One field of the comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) field: String,
    pub(super) c: Option<String>,
    pub(super) rust: Option<String>,
    pub(super) differs: Option<&'static str>,
}

impl Mismatch {
    /// `key`, `value`, or `event` of a ring.
    pub fn role(&self) -> &'static str {
        self.role
    }

    /// The names of the fields that differ; empty for a type that is no struct.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().filter(|row| row.differs.is_some()).map(|row| row.field.as_str())
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} type does not match", self.role)?;
        let cell = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        let rows: Vec<[String; 3]> =
            std::iter::once(["field".into(), self.c.clone(), self.rust.clone()])
                .chain(
                    self.rows.iter().map(|row| [row.field.clone(), cell(&row.c), cell(&row.rust)]),
                )
                .collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let (first, second, third) = (width(0), width(1), width(2));
        let (first, second) = (first.unwrap_or(0), second.unwrap_or(0));
        for (at, [field, c, rust]) in rows.iter().enumerate() {
            let differs = at.checked_sub(1).and_then(|at| self.rows[at].differs);
            write!(f, "\n  {field:first$}  {c:second$}  ")?;
            match differs {
                Some(differs) => {
                    write!(f, "{rust:third$}  ← {differs}", third = third.unwrap_or(0))?;
                }
                None => f.write_str(rust)?,
            }
        }
        Ok(())
    }
}

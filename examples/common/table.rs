//! [`Table`]: columns as wide as what is in them.

/// Which side a column is flush with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// A column's title and side.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub title: &'static str,
    pub align: Align,
}

impl Column {
    /// For numbers.
    pub const fn right(title: &'static str) -> Self {
        Self { title, align: Align::Right }
    }

    /// For text.
    pub const fn left(title: &'static str) -> Self {
        Self { title, align: Align::Left }
    }
}

#[derive(Clone, Debug)]
struct Row {
    cells: Vec<String>,
    /// Shown faintly: something that is over.
    faint: bool,
}

/// A table under construction.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

/// So that columns of numbers do not jump from tick to tick.
const MIN_NUMBER: usize = 9;

impl Table {
    /// An empty one.
    pub fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    /// Adds a row with a cell for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>, faint: bool) {
        self.rows.push(Row { cells: cells.into_iter().collect(), faint });
    }

    /// The title line, and a line for each of the first `rows` rows with
    /// whether it is faint.
    pub fn lines(&self, rows: usize) -> (String, Vec<(String, bool)>) {
        let rows = &self.rows[..self.rows.len().min(rows)];
        let widths = self.columns.iter().enumerate().map(|(i, column)| {
            let least = if column.align == Align::Right { MIN_NUMBER } else { 0 };
            let cells = rows.iter().filter_map(|row| row.cells.get(i)).map(|cell| width(cell));
            cells.chain([width(column.title), least]).max().unwrap_or(0)
        });
        let widths: Vec<_> = widths.collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::new();
            for ((cell, column), &w) in cells.zip(&self.columns).zip(&widths) {
                let pad = " ".repeat(w.saturating_sub(width(cell)));
                if !line.is_empty() {
                    line += "  ";
                }
                match column.align {
                    Align::Left => line += &format!("{cell}{pad}"),
                    Align::Right => line += &format!("{pad}{cell}"),
                }
            }
            line.truncate(line.trim_end().len());
            line
        };
        let titles = line(&mut self.columns.iter().map(|column| column.title));
        let lines =
            rows.iter().map(|row| (line(&mut row.cells.iter().map(String::as_str)), row.faint));
        (titles, lines.collect())
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// Text that someone else chose, fit for a terminal: what it would obey instead
/// of showing is spelt out, escape sequences and changes of direction among it.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if c.is_control() {
            out.extend(c.escape_default())
        } else if hidden {
            out.extend(c.escape_unicode())
        } else {
            out.push(c)
        }
    }
    out
}

//! Lays out tables as kubectl does, cuts them to the terminal and colours cells.

use rolectl_crds::Reason;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::printable;
use crate::paint::Paint;

/// Blanks between two columns.
const GAP: usize = 2;
/// Least width of a last column that is cut.
const LEAST: usize = 20;

/// How the text of a cell is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    #[default]
    Plain,
    Green,
    Yellow,
    Red,
}

impl Colour {
    /// Returns the colour of the state of a role.
    pub const fn of(state: Reason) -> Self {
        match state {
            Reason::InSync | Reason::Suspended => Self::Green,
            state if state.is_reconciling() => Self::Yellow,
            _ => Self::Red,
        }
    }
}

/// A cell of a table. Characters that could move the cursor are escaped.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    colour: Colour,
}

impl Cell {
    pub fn coloured(text: &str, colour: Colour) -> Self {
        Self {
            text: printable(text).into_owned(),
            colour,
        }
    }
}

impl Cell {
    /// Returns the text outside a table.
    pub fn shown(&self, paint: Paint) -> String {
        coloured(self.colour, self.text.clone(), paint)
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::coloured(text.as_ref(), Colour::Plain)
    }
}

/// Where a table is shown.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Columns of the terminal, to which the last column is cut. `None` cuts nothing.
    pub width: Option<usize>,
    /// False for `--no-headers`.
    pub with_header: bool,
    pub paint: Paint,
}

impl Layout {
    /// The layout for stdout.
    pub fn of_stdout() -> Self {
        Self {
            width: crate::stdio::terminal_size().map(|(columns, _)| columns),
            with_header: true,
            paint: Paint::of_stdout(),
        }
    }
}

/// Returns the lines of a table.
pub fn lines(header: &[&str], rows: Vec<Vec<Cell>>, layout: Layout) -> Vec<String> {
    let header: Vec<Cell> = header.iter().map(Cell::from).collect();
    let mut widths: Vec<usize> = vec![];
    let all: Vec<Vec<Cell>> = std::iter::once(header).chain(rows).collect();
    for row in &all {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.width());
        }
    }
    let before: usize = widths.iter().rev().skip(1).map(|width| width + GAP).sum();
    let room = layout.width.map(|width| width.saturating_sub(before).max(LEAST));
    let skipped = usize::from(!layout.with_header);
    let shown = all.into_iter().skip(skipped);
    shown.map(|row| line(&row, &widths, room, layout.paint)).collect()
}

/// Returns one line. The last column is cut to `room`.
fn line(row: &[Cell], widths: &[usize], room: Option<usize>, paint: Paint) -> String {
    let mut line = String::new();
    let mut blanks = 0;
    for (n, (cell, width)) in row.iter().zip(widths).enumerate() {
        let is_last = n + 1 == widths.len();
        let text = match room {
            Some(room) if is_last => cut(&cell.text, room),
            _ => cell.text.clone(),
        };
        let used = text.width();
        if !text.is_empty() {
            line.push_str(&" ".repeat(blanks));
            blanks = 0;
            line.push_str(&coloured(cell.colour, text, paint));
        }
        blanks += width.saturating_sub(used) + GAP;
    }
    line
}

fn coloured(colour: Colour, text: String, paint: Paint) -> String {
    match colour {
        Colour::Plain => text,
        Colour::Green => paint.green(&text),
        Colour::Yellow => paint.yellow(&text),
        Colour::Red => paint.red(&text),
    }
}

/// Cuts a text to a width, with an ellipsis where something is missing.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 1;
    let kept = text.chars().take_while(|c| {
        used += c.width().unwrap_or(0);
        used <= width
    });
    let kept: String = kept.collect();
    format!("{}…", kept.trim_end())
}

/// Returns a table that is neither cut nor coloured.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let rows = rows
        .into_iter()
        .map(|row| row.into_iter().map(Cell::from).collect());
    let layout = Layout {
        width: None,
        with_header: true,
        paint: Paint::none(),
    };
    lines(header, rows.collect(), layout).join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out(width: Option<usize>, with_header: bool, paint: Paint) -> Vec<String> {
        let rows = vec![
            vec![
                Cell::from("platform/app"),
                Cell::coloured("InSync", Colour::Green),
                Cell::from(""),
            ],
            vec![
                Cell::from("日本"),
                Cell::coloured("Failed", Colour::Red),
                Cell::from("the policy\ndoes not exist in this account"),
            ],
        ];
        lines(
            &["ROLE", "STATE", "MESSAGE"],
            rows,
            Layout {
                width,
                with_header,
                paint,
            },
        )
    }

    #[test]
    fn columns_are_aligned_and_no_cell_breaks_a_line() {
        assert_eq!(
            laid_out(None, true, Paint::none()),
            [
                "ROLE          STATE   MESSAGE",
                "platform/app  InSync",
                "日本          Failed  the policy\\u{a}does not exist in this account",
            ]
        );
    }

    #[test]
    fn the_last_column_is_cut_to_the_terminal_and_colours_take_no_room() {
        let plain = laid_out(Some(50), false, Paint::none());
        assert_eq!(plain[1], "日本          Failed  the policy\\u{a}does not exi…");
        assert_eq!(plain[1].width(), 50);
        assert_eq!(
            laid_out(Some(50), false, Paint::always())[0],
            "platform/app  \x1b[32mInSync\x1b[0m"
        );
    }
}

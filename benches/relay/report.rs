//! What was measured, against what was hoped for: one table for people.

use std::io::{self, Write};

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// Told because it explains another figure.
    None,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What was measured, with its unit.
    pub name: String,
    /// The measured value; a median where there were several rounds.
    pub value: f64,
    /// Least and most of the rounds.
    pub spread: Option<(f64, f64)>,
    /// What it should be.
    pub goal: Goal,
    /// The numbers behind it.
    pub note: String,
}

impl Figure {
    /// A figure of one measurement.
    pub fn new(name: impl Into<String>, value: f64, goal: Goal, note: impl Into<String>) -> Self {
        Self { name: name.into(), value, spread: None, goal, note: note.into() }
    }

    /// The median of several rounds, with their spread.
    pub fn of_rounds(name: impl Into<String>, rounds: &[f64], goal: Goal, note: impl Into<String>) -> Self {
        let spread = Some((percentile(rounds, 0.0), percentile(rounds, 1.0)));
        Self { spread, ..Self::new(name, percentile(rounds, 0.5), goal, note) }
    }

    fn goal(&self) -> String {
        match self.goal {
            Goal::AtLeast(least) => format!("≥ {least}"),
            Goal::AtMost(most) => format!("≤ {most}"),
            Goal::None => String::new(),
        }
    }

    const fn verdict(&self) -> &'static str {
        let met = match self.goal {
            Goal::AtLeast(least) => self.value >= least,
            Goal::AtMost(most) => self.value <= most,
            Goal::None => return "",
        };
        if met { "met" } else { "NOT met" }
    }

    fn cells(&self) -> [String; 6] {
        let spread =
            self.spread.map_or_else(String::new, |(least, most)| format!("{}–{}", short(least), short(most)));
        [
            self.name.clone(),
            short(self.value),
            spread,
            self.goal(),
            self.verdict().to_owned(),
            self.note.clone(),
        ]
    }
}

/// Writes the table as Markdown, so that it can go into a document as it is.
pub fn write_table(out: &mut impl Write, figures: &[Figure]) -> io::Result<()> {
    let head = ["figure", "measured", "spread", "goal", "", "behind it"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(figures.iter().map(Figure::cells)).collect();
    let widths: Vec<usize> = (0..6)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "| {} |", cells.join(" | "))?;
        if index == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            writeln!(out, "|-{}-|", rules.join("-|-"))?;
        }
    }
    Ok(())
}

/// The value below which this share of the samples lies.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a short list's length is an index into it"
)]
pub fn percentile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

/// Three digits that count.
fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

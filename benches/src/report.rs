//! The result: one row a measure, with its budget and whether it is met.

use fault::{Error, Result};
use serde_json::{Value, json};

use crate::series::Series;

/// One measure of everybody who has it. Less is better.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: Series,
    pub(crate) dockerd: Option<Series>,
    pub(crate) podman: Option<Series>,
    pub(crate) floor: Option<Series>,
    pub(crate) budget: Option<Budget>,
}

/// The most that is allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Budget {
    /// One part of so many of dockerd's.
    PartOfDockerd(f64),
    /// So many times the floor's.
    TimesFloor(f64),
    /// In the row's unit.
    AtMost(f64),
}

impl Row {
    fn to_dockerd(&self) -> Option<f64> {
        self.dockerd.as_ref().map(|dockerd| self.ours.ratio(dockerd))
    }

    fn to_floor(&self) -> Option<f64> {
        self.floor.as_ref().map(|floor| self.ours.ratio(floor))
    }

    /// `None` without a budget, or if what it is measured by is lacking.
    fn is_met(&self) -> Option<bool> {
        match self.budget? {
            Budget::PartOfDockerd(parts) => self.to_dockerd().map(|ratio| ratio <= 1.0 / parts),
            Budget::TimesFloor(times) => self.to_floor().map(|ratio| ratio <= times),
            Budget::AtMost(most) => Some(self.ours.median() <= most),
        }
    }

    fn budget_text(&self) -> String {
        match self.budget {
            None => String::new(),
            Some(Budget::PartOfDockerd(parts)) => format!("1/{parts} dockerd"),
            Some(Budget::TimesFloor(times)) => format!("{times} x floor"),
            Some(Budget::AtMost(most)) => format!("{most} {}", self.unit),
        }
    }

    fn cells(&self) -> [String; HEADS.len()] {
        let series = |series: Option<&Series>| series.map(cell).unwrap_or_default();
        let verdict = match (self.is_met(), self.budget) {
            (Some(true), _) => "met",
            (Some(false), _) => "missed",
            (None, Some(_)) => "lacking",
            (None, None) => "",
        };
        [
            format!("{}, {}", self.name, self.unit),
            cell(&self.ours),
            series(self.dockerd.as_ref()),
            series(self.podman.as_ref()),
            series(self.floor.as_ref()),
            self.to_dockerd().map(|ratio| format!("1/{:.1}", 1.0 / ratio)).unwrap_or_default(),
            self.to_floor().map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            self.budget_text(),
            verdict.into(),
        ]
    }
}

/// An error that names the rows whose budget is missed. One that cannot be measured here is none of them.
pub(crate) fn verdict(rows: &[Row]) -> Result<()> {
    let missed = rows.iter().filter(|row| row.is_met() == Some(false));
    let names: Vec<&str> = missed.map(|row| row.name.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::internal(format!("over budget: {}", names.join("; "))))
}

const HEADS: [&str; 9] =
    ["what", "ours", "dockerd", "podman", "floor", "ours/dockerd", "ours/floor", "budget", ""];

/// `median (least..most; runs)`
fn cell(series: &Series) -> String {
    let [median, min, max] = [series.median(), series.min(), series.max()].map(figure);
    match series.0.len() {
        1 => median,
        runs => format!("{median} ({min}..{max}; {runs})"),
    }
}

/// Three digits that count.
fn figure(value: f64) -> String {
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

/// As Markdown, aligned to be read as it is.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut lines = vec![HEADS.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let widths: [usize; HEADS.len()] =
        std::array::from_fn(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0));
    let mut text = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!(" {cell:width$} |"));
        text.push(format!("|{}", cells.collect::<String>()));
        if index == 0 {
            text.push(format!("|{}", widths.map(|width| format!("{}|", "-".repeat(width + 2))).concat()));
        }
    }
    text.join("\n")
}

/// All values, for later comparisons.
pub(crate) fn json(rows: &[Row]) -> Value {
    let values = |series: &Option<Series>| series.as_ref().map(|series| series.0.clone());
    let row = |row: &Row| {
        json!({
            "name": row.name, "unit": row.unit, "budget": row.budget_text(), "met": row.is_met(),
            "ours": row.ours.0, "dockerd": values(&row.dockerd), "podman": values(&row.podman), "floor": values(&row.floor),
        })
    };
    rows.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, budget: Budget) -> Row {
        Row {
            name: "api, no network, wall".into(),
            unit: "ms",
            ours: Series(vec![ours, ours]),
            dockerd: Some(Series(vec![120.0, 120.0])),
            podman: None,
            floor: None,
            budget: Some(budget),
        }
    }

    #[test]
    fn a_budget_is_met_up_to_its_bound() {
        assert_eq!(row(10.0, Budget::PartOfDockerd(12.0)).is_met(), Some(true));
        assert_eq!(row(10.1, Budget::PartOfDockerd(12.0)).is_met(), Some(false));
        assert_eq!(row(10.0, Budget::TimesFloor(3.0)).is_met(), None);
        assert_eq!(row(10.0, Budget::AtMost(9.0)).is_met(), Some(false));
    }

    #[test]
    fn a_missed_budget_is_an_error() {
        let (met, lacking) = (Budget::AtMost(10.0), Budget::TimesFloor(1.0));
        assert!(verdict(&[row(10.0, met), row(10.0, lacking)]).is_ok());
        let missed = verdict(&[row(10.0, met), row(11.0, met)]).unwrap_err();
        assert_eq!(missed.to_string(), "over budget: api, no network, wall");
    }

    #[test]
    fn a_table_has_a_line_a_row() {
        let text = table(&[row(8.0, Budget::PartOfDockerd(12.0))]);
        let last = text.lines().last().unwrap();
        for part in ["8.00 (8.00..8.00; 2)", "120 (120..120; 2)", "1/15.0", "1/12 dockerd", "met"] {
            assert!(last.contains(part), "{part}: {last}");
        }
    }
}

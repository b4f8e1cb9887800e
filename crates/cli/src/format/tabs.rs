//! Text in columns, by the rules of Go's `text/tabwriter`: a cell ends with a tab, and a column is as wide as the widest
//! cell of the adjacent lines that have it.

/// Least width of a column and blanks after its widest cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tabs {
    pub(crate) width_min: usize,
    pub(crate) padding: usize,
}

impl Tabs {
    /// As lists are laid out.
    pub(crate) const LIST: Self = Self { width_min: 10, padding: 3 };
    /// As `top` is.
    pub(crate) const TOP: Self = Self { width_min: 20, padding: 3 };
    /// As `version` is.
    pub(crate) const VERSION: Self = Self { width_min: 20, padding: 1 };

    pub(crate) fn align(self, text: &str) -> String {
        let ends_with_newline = text.ends_with('\n');
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
        let mut widths: Vec<Vec<usize>> = lines.iter().map(|line| vec![0; line.len()]).collect();
        self.measure(&lines, &mut widths, 0, 0..lines.len());
        let mut rows: Vec<String> =
            lines.iter().zip(&widths).map(|(line, widths)| row(line, widths)).collect();
        if ends_with_newline {
            rows.push(String::new());
        }
        rows.join("\n")
    }

    /// Finds the blocks of lines that have a cell in this column, and within each the blocks of the next.
    fn measure(
        self,
        lines: &[Vec<&str>],
        widths: &mut [Vec<usize>],
        column: usize,
        range: std::ops::Range<usize>,
    ) {
        let has_cell = |line: usize| lines[line].len() > column + 1;
        let mut start = range.start;
        while start < range.end {
            if !has_cell(start) {
                start += 1;
                continue;
            }
            let end = (start..range.end).find(|&line| !has_cell(line)).unwrap_or(range.end);
            let widest = (start..end).map(|line| display_width(lines[line][column])).max().unwrap_or(0);
            for line in &mut widths[start..end] {
                line[column] = self.width_min.max(widest + self.padding);
            }
            self.measure(lines, widths, column + 1, start..end);
            start = end;
        }
    }
}

fn row(cells: &[&str], widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        text.push_str(cell);
        text.push_str(&" ".repeat(width.saturating_sub(display_width(cell))));
    }
    text
}

/// Columns that the text takes; ideographs take two.
pub(crate) fn display_width(text: &str) -> usize {
    text.chars().map(|c| if is_wide(c) { 2 } else { 1 }).sum()
}

/// The blocks that Unicode's East Asian Width calls wide or full-width.
fn is_wide(c: char) -> bool {
    matches!(u32::from(c),
        0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0x33ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xa000..=0xa4cf
        | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f | 0x1f900..=0x1f9ff | 0x20000..=0x3fffd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_as_wide_as_its_widest_cell() {
        assert_eq!(
            Tabs::LIST.align("ID\tNAME\tX\n1\ta much longer name\ty\n"),
            "ID        NAME                 X\n1         a much longer name   y\n"
        );
    }

    #[test]
    fn a_line_without_the_cell_ends_the_column() {
        assert_eq!(
            Tabs { width_min: 0, padding: 1 }.align("long cell\tx\nalone\ny\tz"),
            "long cell x\nalone\ny z"
        );
    }

    #[test]
    fn ideographs_take_two_columns() {
        assert_eq!(Tabs { width_min: 0, padding: 1 }.align("日本\tx\nabc\ty\n"), "日本 x\nabc  y\n");
    }
}

//! Repeated measures of one thing.

/// In the order of the rounds, so that two series of one measure can be compared pair by pair.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series(pub(crate) Vec<f64>);

impl Series {
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match (sorted.len(), sorted.len() / 2) {
            (0, _) => f64::NAN,
            (count, half) if count % 2 == 0 => f64::midpoint(sorted[half - 1], sorted[half]),
            (_, half) => sorted[half],
        }
    }

    pub(crate) fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// The median of the pairs' ratios: both of a pair ran under the same load.
    pub(crate) fn ratio(&self, other: &Self) -> f64 {
        Self(self.0.iter().zip(&other.0).map(|(own, other)| own / other).collect()).median()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(Series(vec![9.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(Series(vec![9.0, 1.0, 2.0, 4.0]).median(), 3.0);
        assert!(Series::default().median().is_nan());
    }

    #[test]
    fn a_ratio_is_taken_pair_by_pair() {
        let (ours, theirs) = (Series(vec![1.0, 10.0, 2.0]), Series(vec![10.0, 100.0, 2.0]));
        assert_eq!(ours.ratio(&theirs), 0.1);
    }
}

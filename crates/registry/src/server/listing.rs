//! Lists of tags and repositories, page by page.

use crate::server::failure::{Failure, Outcome};
use crate::server::storage::Storage;

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// `n`; a page that is not bounded by the client is by us.
    pub(crate) count: Option<usize>,
    /// `last`: the entry before the first one of this page.
    pub(crate) last: String,
}

/// A page, and the entry to go on from if there is more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) entries: Vec<String>,
    pub(crate) next: Option<String>,
}

impl Page {
    pub(crate) fn of(query: &[(String, String)]) -> Outcome<Self> {
        let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let count = value("n").map(|text| text.parse().map_err(|_| Failure::query("n is no number")));
        Ok(Self { count: count.transpose()?, last: value("last").unwrap_or_default().to_owned() })
    }

    /// The page of a list that somebody else has.
    pub(crate) fn of_all(&self, mut entries: Vec<String>) -> Listed {
        entries.sort_unstable();
        entries.retain(|entry| *entry > self.last);
        self.cut(entries)
    }

    fn count(&self) -> usize {
        self.count.unwrap_or(COUNT_MAX).min(COUNT_MAX)
    }

    /// Cuts off the one entry that was read too much to know whether there is more.
    fn cut(&self, mut entries: Vec<String>) -> Listed {
        let more = entries.len() > self.count();
        entries.truncate(self.count());
        let next = if more { entries.last().cloned() } else { None };
        Listed { entries, next }
    }
}

impl Storage {
    pub(crate) fn tags(&self, name: &str, page: &Page) -> Outcome<Listed> {
        let view = self.catalog.view()?;
        if !view.has_repository(name)? {
            return Err(Failure::name_unknown(name));
        }
        Ok(page.cut(view.tags(name, &page.last, page.count() + 1)?))
    }

    pub(crate) fn repositories(&self, page: &Page) -> Outcome<Listed> {
        Ok(page.cut(self.catalog.view()?.repositories(&page.last, page.count() + 1)?))
    }
}

/// The longest page.
const COUNT_MAX: usize = 10_000;

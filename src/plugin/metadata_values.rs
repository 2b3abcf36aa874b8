//! The labels that plugins leave on a query for other plugins: `forward/upstream`, `view/name` and the like.

use std::borrow::Cow;

/// Values by label. Collected only in blocks that have the *metadata* directive.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// Whether the block collects metadata for this name; without it `set` does nothing.
    pub enabled: bool,
    /// Made for the first value and then kept: most queries have none, and thousands may wait.
    values: Option<Box<Values>>,
}

type Values = Vec<(Cow<'static, str>, String)>;

impl Metadata {
    /// Forgets everything, `enabled` included.
    pub fn clear(&mut self) {
        self.enabled = false;
        if let Some(values) = &mut self.values {
            values.clear();
        }
    }

    /// Sets a label (`plugin/name`). `value` is asked for only when metadata is collected.
    pub fn set(&mut self, label: impl Into<Cow<'static, str>>, value: impl FnOnce() -> String) {
        if !self.enabled {
            return;
        }
        let label = label.into();
        let values = self.values.get_or_insert_default();
        match values.iter_mut().find(|row| row.0 == label) {
            Some(row) => row.1 = value(),
            None => values.push((label, value())),
        }
    }

    /// The value of a label.
    pub fn find(&self, label: &str) -> Option<&str> {
        self.iter()
            .find(|row| row.0 == label)
            .map(|(_, value)| value)
    }

    /// All labels with their values, in the order they were set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .flat_map(|values| values.iter())
            .map(|row| (row.0.as_ref(), row.1.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_only_when_enabled() {
        let mut meta = Metadata::default();
        meta.set("a/b", || unreachable!("not enabled"));
        assert_eq!(meta.find("a/b"), None);
        meta.enabled = true;
        meta.set("a/b", || "1".into());
        meta.set("a/b", || "2".into());
        assert_eq!(meta.iter().collect::<Vec<_>>(), [("a/b", "2")]);
    }
}

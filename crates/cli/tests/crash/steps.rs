//! The durable steps that a process was seen to take.

/// Their names, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps(Vec<String>);

impl Steps {
    /// From a file with a name a line.
    pub(crate) fn read(text: &str) -> Self {
        Self(text.lines().map(str::to_owned).collect())
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// How many had this name.
    pub(crate) fn count_of(&self, name: &str) -> u64 {
        self.0.iter().filter(|step| *step == name).count() as u64
    }

    /// The last one's name.
    pub(crate) fn last(&self) -> &str {
        self.0.last().map_or("before any step", String::as_str)
    }
}

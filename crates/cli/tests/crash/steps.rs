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

    /// The numbers, from 1, of those that change what another process sees. A sync doesn't: a kill
    /// after it leaves what a kill before it leaves. (A power cut is another matter.)
    pub(crate) fn that_change_something(&self) -> Vec<u64> {
        let numbered = (1..).zip(&self.0);
        numbered.filter(|(_, name)| !name.starts_with("disk: synced")).map(|one| one.0).collect()
    }

    /// The numbers of those whose names begin so.
    pub(crate) fn numbers_of(&self, start: &str) -> Vec<u64> {
        (1..).zip(&self.0).filter(|(_, name)| name.starts_with(start)).map(|one| one.0).collect()
    }

    /// How many had this name.
    pub(crate) fn count_of(&self, name: &str) -> u64 {
        self.0.iter().filter(|step| *step == name).count() as u64
    }

    /// The number of the first with this name.
    pub(crate) fn number_of(&self, name: &str) -> u64 {
        let before = self.0.iter().position(|step| step == name);
        before.unwrap_or_else(|| panic!("no step is called {name}")) as u64 + 1
    }

    /// The name of the step of this number.
    pub(crate) fn at(&self, number: u64) -> &str {
        let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        index.and_then(|index| self.0.get(index)).map_or("never", String::as_str)
    }

    /// The last one's name.
    pub(crate) fn last(&self) -> &str {
        self.0.last().map_or("before any step", String::as_str)
    }
}

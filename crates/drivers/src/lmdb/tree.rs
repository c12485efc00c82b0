//! Walks over LMDB's B-trees by positioned reads.

use super::KEY_BYTES_MAX;
use super::page::{self, HEADER_BYTES, Meta, MetaFault, PageKind, Tree, Value};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use transload_store::{Error, Kind, Result, VALUE_BYTES_MAX};

/// One state of an environment's file.
pub(super) struct Environment {
    file: File,
    path: PathBuf,
    meta: Meta,
}

impl Environment {
    /// Opens the file for reading and takes the newest of its two states.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
        let mut environment = Self {
            file,
            path: path.to_owned(),
            meta: Meta {
                page_bytes: 0,
                transaction: 0,
                main: Tree { flags: 0, depth: 0, pages: 0, entries: 0, root: None },
            },
        };
        environment.meta = environment.newest_meta()?;
        Ok(environment)
    }

    fn newest_meta(&self) -> Result<Meta> {
        let first = self.meta_at(0)?;
        // The second page's place is known from the first one only; a first page that was being
        // written when the power went leaves the usual size to try.
        let page_bytes = first.map_or(4096, |meta| u64::from(meta.page_bytes));
        let second = self.meta_at(page_bytes)?;
        let newest = [first, second].into_iter().flatten().max_by_key(|meta| meta.transaction);
        newest.ok_or_else(|| self.corrupt("neither of the two meta pages can be used"))
    }

    fn meta_at(&self, offset: u64) -> Result<std::result::Result<Meta, MetaFault>> {
        let mut bytes = [0; Meta::BYTES];
        match self.file.read_exact_at(&mut bytes, offset) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Ok(Err(MetaFault::Damaged));
            }
            Err(error) => return Err(Error::io("open", &self.path, error)),
        }
        match Meta::decode(&bytes) {
            Err(MetaFault::Version(version)) => Err(Error::new(
                Kind::UnknownFormat,
                "open",
                "the file has a data version that this reader doesn't know",
            )
            .with("version", version.to_string())
            .with("path", self.path.display().to_string())),
            decoded => Ok(decoded),
        }
    }

    pub(super) fn main(&self) -> Tree {
        self.meta.main
    }

    pub(super) fn transaction(&self) -> u64 {
        self.meta.transaction
    }

    pub(super) fn page_bytes(&self) -> u64 {
        u64::from(self.meta.page_bytes)
    }

    pub(super) fn corrupt(&self, message: &str) -> Error {
        Error::new(Kind::Corrupt, "read", message).with("path", self.path.display().to_string())
    }

    /// The contradiction at a page.
    fn corrupt_page(&self, number: u64, message: &str) -> Error {
        self.corrupt(message).with("page", number.to_string())
    }

    fn read(&self, bytes: &mut [u8], number: u64, skip: usize) -> Result<()> {
        let offset = number
            .checked_mul(self.page_bytes())
            .and_then(|offset| offset.checked_add(skip as u64))
            .filter(|offset| *offset <= i64::MAX as u64)
            .ok_or_else(|| self.corrupt_page(number, "no file has this page"))?;
        self.file.read_exact_at(bytes, offset).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => {
                self.corrupt_page(number, "the file ends before a page that is in use")
            }
            _ => Error::io("read", &self.path, error).with("page", number.to_string()),
        })
    }

    fn tree_page(&self, number: u64, mut bytes: Vec<u8>) -> Result<TreePage> {
        bytes.resize(usize::try_from(self.meta.page_bytes).unwrap_or(0), 0);
        self.read(&mut bytes, number, 0)?;
        let (kind, nodes) = page::tree_page(&bytes, number)
            .ok_or_else(|| self.corrupt_page(number, "a page of a tree contradicts itself"))?;
        Ok(TreePage { number, bytes, kind, nodes })
    }

    fn overflow(&self, number: u64, length: u32, out: &mut Vec<u8>) -> Result<()> {
        let mut header = [0; HEADER_BYTES];
        self.read(&mut header, number, 0)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let room = page::overflow_pages(&header, number)
            .map(|pages| u64::from(pages) * self.page_bytes())
            .ok_or_else(|| self.corrupt_page(number, "no overflow run begins here"))?;
        if (length as u64).saturating_add(HEADER_BYTES as u64) > room || length > VALUE_BYTES_MAX {
            return Err(self.corrupt_page(number, "a value is longer than its overflow run"));
        }
        // Before the memory is taken: a forged length must not ask for a gigabyte in vain.
        self.read(&mut [0], number, HEADER_BYTES + length.saturating_sub(1))?;
        out.resize(length, 0);
        self.read(out, number, HEADER_BYTES)
    }
}

struct TreePage {
    number: u64,
    bytes: Vec<u8>,
    kind: PageKind,
    nodes: usize,
}

impl TreePage {
    fn branch(&self, environment: &Environment, index: usize) -> Result<(&[u8], u64)> {
        page::branch_node(&self.bytes, index)
            .ok_or_else(|| environment.corrupt_page(self.number, "a node leaves its page"))
    }

    fn leaf(&self, environment: &Environment, index: usize) -> Result<(&[u8], Value<'_>)> {
        page::leaf_node(&self.bytes, index)
            .ok_or_else(|| environment.corrupt_page(self.number, "a node leaves its page"))
    }

    /// The last child whose keys may be at or before `key`.
    fn child_for(&self, environment: &Environment, key: &[u8]) -> Result<usize> {
        // The first node's key is not stored: everything before the second belongs to it.
        let (mut low, mut high) = (0, self.nodes - 1);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.branch(environment, middle)?.0 <= key {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(low)
    }

    /// The first node at or after `key`; the number of nodes when there is none.
    fn lower_bound(&self, environment: &Environment, key: &[u8]) -> Result<usize> {
        let (mut low, mut high) = (0, self.nodes);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.leaf(environment, middle)?.0 < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

/// A walk over one tree.
pub(super) struct TreeWalk {
    depth: usize,
    root: Option<u64>,
    /// From the root to the leaf, each with the node that the walk stands at.
    path: Vec<(TreePage, usize)>,
    spare: Vec<Vec<u8>>,
    value: Vec<u8>,
}

/// A node of a tree.
pub(super) struct Entry<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    /// The value is the record of a named database.
    pub(super) is_database: bool,
}

impl TreeWalk {
    pub(super) fn new(tree: &Tree) -> Self {
        Self {
            depth: usize::from(tree.depth),
            root: tree.root,
            path: Vec::new(),
            spare: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Goes to the first entry at or after `key`.
    pub(super) fn seek(&mut self, environment: &Environment, key: &[u8]) -> Result<()> {
        self.path.clear();
        let Some(root) = self.root else { return Ok(()) };
        let mut number = root;
        loop {
            let page = self.step_down(environment, number)?;
            match page.kind {
                PageKind::Branch => {
                    let index = page.child_for(environment, key)?;
                    number = page.branch(environment, index)?.1;
                    self.path.push((page, index));
                }
                PageKind::Leaf => {
                    let index = page.lower_bound(environment, key)?;
                    self.path.push((page, index));
                    return Ok(());
                }
            }
        }
    }

    /// The page below those of the path, which is a leaf at the tree's depth and nowhere else.
    fn step_down(&mut self, environment: &Environment, number: u64) -> Result<TreePage> {
        let page = environment.tree_page(number, self.spare.pop().unwrap_or_default())?;
        let is_lowest = self.path.len() + 1 == self.depth;
        if (page.kind == PageKind::Leaf) != is_lowest {
            return Err(environment.corrupt_page(number, "the tree isn't of one depth"));
        }
        Ok(page)
    }

    /// The entry that the walk stands at, and a step beyond it.
    pub(super) fn next(&mut self, environment: &Environment) -> Result<Option<Entry<'_>>> {
        while let Some((page, index)) = self.path.last() {
            if page.kind == PageKind::Leaf && *index < page.nodes {
                return self.take(environment).map(Some);
            }
            if page.kind == PageKind::Branch && *index < page.nodes {
                let number = page.branch(environment, *index)?.1;
                let below = self.step_down(environment, number)?;
                self.path.push((below, 0));
                continue;
            }
            if let Some((page, _)) = self.path.pop() {
                self.spare.push(page.bytes);
            }
            if let Some((_, index)) = self.path.last_mut() {
                *index += 1;
            }
        }
        Ok(None)
    }

    fn take(&mut self, environment: &Environment) -> Result<Entry<'_>> {
        let Some((page, index)) = self.path.last_mut() else {
            return Err(environment.corrupt("the walk has no place"));
        };
        let at = *index;
        *index += 1;
        let (key, value) = page.leaf(environment, at)?;
        let (value, is_database) = match value {
            Value::Inline(value) => (value, false),
            Value::Database(record) => (record, true),
            Value::Overflow { page, length } => {
                environment.overflow(page, length, &mut self.value)?;
                (self.value.as_slice(), false)
            }
            Value::Duplicates => {
                return Err(Error::new(
                    Kind::UnknownFormat,
                    "read",
                    "a key has several values, which a record can't",
                )
                .with("page", page.number.to_string()));
            }
        };
        Ok(Entry { key, value, is_database })
    }
}

/// Parts beyond which no further page is divided: pages that a forged tree has share their
/// children, so that there would be no end of them.
const PARTS_MAX: usize = 65_536;

/// The lowest keys of the tree's parts, all but the first, ascending; at least `parts_min` of
/// them where the tree is that large, found in branch pages alone. Longer keys than LMDB's are
/// cut, which divides as well.
pub(super) fn separators(
    environment: &Environment,
    tree: &Tree,
    parts_min: usize,
) -> Result<Vec<Vec<u8>>> {
    let parts = parts(environment, tree, parts_min)?;
    let mut keys: Vec<Vec<u8>> = parts.into_iter().skip(1).map(|(key, _)| key).collect();
    // A damaged tree's keys may be in disorder; as points of division they must not be.
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

/// The lowest key and the top page of each part.
fn parts(environment: &Environment, tree: &Tree, parts_min: usize) -> Result<Vec<(Vec<u8>, u64)>> {
    let mut level: Vec<(Vec<u8>, u64)> =
        tree.root.map(|root| (Vec::new(), root)).into_iter().collect();
    for _ in 1..tree.depth {
        if level.len() > parts_min {
            break;
        }
        let mut below = Vec::new();
        for (lowest, number) in level {
            if below.len() >= PARTS_MAX {
                below.push((lowest, number));
                continue;
            }
            let page = environment.tree_page(number, Vec::new())?;
            if page.kind != PageKind::Branch {
                return Err(environment.corrupt_page(number, "the tree isn't of one depth"));
            }
            for index in 0..page.nodes {
                let (key, child) = page.branch(environment, index)?;
                let key = &key[..key.len().min(KEY_BYTES_MAX)];
                let key = if index == 0 { lowest.clone() } else { key.to_vec() };
                below.push((key, child));
            }
        }
        level = below;
    }
    Ok(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_BYTES: usize = 4096;

    /// A branch page all of whose nodes are one: a long key, and a child.
    fn branch(number: u8, nodes: u16, child: u8) -> Vec<u8> {
        let (mut page, node) = (vec![0; PAGE_BYTES], 1_100_u16);
        page[0] = number;
        page[10] = 1;
        page[12..14].copy_from_slice(&(16 + 2 * nodes).to_le_bytes());
        page[14..16].copy_from_slice(&node.to_le_bytes());
        for index in 0..usize::from(nodes) {
            page[16 + 2 * index..18 + 2 * index].copy_from_slice(&node.to_le_bytes());
        }
        let at = usize::from(node);
        page[at] = child;
        page[at + 6..at + 8].copy_from_slice(&2_900_u16.to_le_bytes());
        page
    }

    #[test]
    fn pages_that_share_their_children_are_divided_only_so_often() {
        let mut meta = vec![0; PAGE_BYTES];
        meta[10] = 8;
        meta[16..20].copy_from_slice(&0xbeef_c0de_u32.to_le_bytes());
        meta[20] = 1;
        meta[40..44].copy_from_slice(&4096_u32.to_le_bytes());
        // The main database is empty; the tree is handed over.
        meta[128..136].fill(0xff);
        let tree = Tree { flags: 0, depth: 4, pages: 4, entries: 1, root: Some(2) };
        // 64 times 64 parts are no more than are wanted, so they are divided once more.
        let pages =
            [meta, vec![0; PAGE_BYTES], branch(2, 64, 3), branch(3, 64, 4), branch(4, 500, 5)];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.mdb");
        std::fs::write(&path, pages.concat()).unwrap();
        let environment = Environment::open(&path).unwrap();
        let parts = parts(&environment, &tree, 4_096).unwrap();
        assert!(parts.len() > 4_096 && parts.len() <= PARTS_MAX + 64 * 64 + 500);
        assert!(parts.iter().all(|(key, _)| key.len() <= KEY_BYTES_MAX));
        assert_eq!(separators(&environment, &tree, 4_096).unwrap().len(), 1, "of one key");
    }
}

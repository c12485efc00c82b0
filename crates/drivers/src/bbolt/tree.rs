//! Walks over a bucket's tree.

use super::file::{BboltFile, TreePage};
use super::page::{Bucket, Element, PageKind};
use transload_store::Result;

/// No tree is deeper: 64 levels of two children each hold more pages than there are numbers.
const DEPTH_MAX: usize = 64;

/// A bucket's entries.
#[derive(Clone, Debug)]
pub(super) enum Root {
    Page(u64),
    /// A leaf page that stands in the bucket's own value.
    Inline(Vec<u8>),
}

impl Root {
    pub(super) fn of(bucket: Bucket<'_>) -> Self {
        match bucket {
            Bucket::Page(number) => Root::Page(number),
            Bucket::Inline(page) => Root::Inline(page.to_vec()),
        }
    }
}

/// A walk over one tree.
pub(super) struct TreeWalk {
    root: Root,
    /// From the root to the leaf, each with the element that the walk stands at.
    path: Vec<(TreePage, usize)>,
    spare: Vec<Vec<u8>>,
    /// Pages stepped into: a walk meets each once, so more than there are is a ring.
    steps: u64,
}

impl TreeWalk {
    pub(super) fn new(root: &Root) -> Self {
        Self { root: root.clone(), path: Vec::new(), spare: Vec::new(), steps: 0 }
    }

    /// Goes to the first entry at or after `key`.
    pub(super) fn seek(&mut self, file: &BboltFile, key: &[u8]) -> Result<()> {
        self.path.clear();
        self.steps = 0;
        let mut page = match &self.root {
            Root::Page(number) => self.step_down(file, *number)?,
            Root::Inline(bytes) => {
                let page = TreePage::inline(bytes)
                    .ok_or_else(|| file.corrupt("a bucket's own page contradicts itself"))?;
                page.check(file, b"", None)?;
                page
            }
        };
        while page.kind == PageKind::Branch {
            let index = page.child_for(file, key)?;
            let number = page.branch(file, index)?.1;
            self.path.push((page, index));
            page = self.step_down(file, number)?;
        }
        let index = page.lower_bound(file, key)?;
        self.path.push((page, index));
        Ok(())
    }

    /// The page that the last element of the path leads to.
    fn step_down(&mut self, file: &BboltFile, number: u64) -> Result<TreePage> {
        self.steps += 1;
        if self.path.len() >= DEPTH_MAX || self.steps > file.pages_end() {
            return Err(file.corrupt_page(number, "the pages of a tree lead round in a ring"));
        }
        let page = file.page(number, self.spare.pop().unwrap_or_default())?;
        let from = match self.path.last() {
            Some((above, index)) => above.branch(file, *index)?.0,
            None => b"",
        };
        let mut to = None;
        for (above, index) in self.path.iter().rev() {
            if index + 1 < above.elements {
                to = Some(above.branch(file, index + 1)?.0);
                break;
            }
        }
        page.check(file, from, to)?;
        Ok(page)
    }

    /// The entry that the walk stands at, and a step beyond it.
    pub(super) fn next(&mut self, file: &BboltFile) -> Result<Option<Element<'_>>> {
        while let Some((page, index)) = self.path.last() {
            if *index < page.elements {
                if page.kind == PageKind::Leaf {
                    return self.take(file).map(Some);
                }
                let number = page.branch(file, *index)?.1;
                let below = self.step_down(file, number)?;
                self.path.push((below, 0));
                continue;
            }
            if let Some((page, _)) = self.path.pop() {
                self.spare.push(page.into_bytes());
            }
            if let Some((_, index)) = self.path.last_mut() {
                *index += 1;
            }
        }
        Ok(None)
    }

    fn take(&mut self, file: &BboltFile) -> Result<Element<'_>> {
        let Some((page, index)) = self.path.last_mut() else {
            return Err(file.corrupt("the walk has no place"));
        };
        let at = *index;
        *index += 1;
        page.leaf(file, at)
    }
}

/// Parts beyond which no further page is divided: pages that a forged tree has share their
/// children, so that there would be no end of them.
const PARTS_MAX: usize = 65_536;

/// A separator is no longer; a longer key is cut, which divides as well. The elements of a forged
/// page may share their bytes, so that its keys are together far longer than the page.
const SEPARATOR_BYTES_MAX: usize = 1_024;

/// The lowest keys of the tree's parts, all but the first, ascending; at least `parts_min` of
/// them where the tree is that large, found in branch pages alone.
pub(super) fn separators(file: &BboltFile, root: &Root, parts_min: usize) -> Result<Vec<Vec<u8>>> {
    let Root::Page(root) = root else { return Ok(Vec::new()) };
    let parts = parts(file, *root, parts_min)?;
    let mut keys: Vec<Vec<u8>> = parts.into_iter().skip(1).map(|(key, _)| key).collect();
    // A damaged tree's keys may be in disorder; as points of division they must not be.
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

/// The lowest key and the top page of each part.
fn parts(file: &BboltFile, root: u64, parts_min: usize) -> Result<Vec<(Vec<u8>, u64)>> {
    let mut level = vec![(Vec::new(), root)];
    for _ in 0..DEPTH_MAX {
        let mut below = Vec::new();
        for (lowest, number) in &level {
            if below.len() >= PARTS_MAX {
                below.push((lowest.clone(), *number));
                continue;
            }
            let page = file.page(*number, Vec::new())?;
            if page.kind == PageKind::Leaf {
                break;
            }
            for index in 0..page.elements {
                let (key, child) = page.branch(file, index)?;
                let key = &key[..key.len().min(SEPARATOR_BYTES_MAX)];
                let key = if index == 0 { lowest.clone() } else { key.to_vec() };
                below.push((key, child));
            }
        }
        // All leaves have one depth, so the first one ends it.
        if below.is_empty() {
            break;
        }
        level = below;
        if level.len() > parts_min {
            break;
        }
    }
    Ok(level)
}

#[cfg(test)]
mod tests {
    use super::super::page::tests::meta_page;
    use super::*;

    const PAGE_BYTES: usize = 4096;

    /// A branch all of whose elements are one key of 1,500 bytes and one child.
    fn branch(number: u8, elements: u16, child: u8) -> Vec<u8> {
        const KEY_AT: u32 = 2_500;
        let mut page = vec![0; PAGE_BYTES];
        (page[0], page[8]) = (number, 1);
        page[10..12].copy_from_slice(&elements.to_le_bytes());
        for index in 0..u32::from(elements) {
            let at = 16 + 16 * index;
            let fields = [KEY_AT - at, 1_500, u32::from(child), 0];
            for (field, start) in
                fields.into_iter().zip((usize::try_from(at).unwrap()..).step_by(4))
            {
                page[start..start + 4].copy_from_slice(&field.to_le_bytes());
            }
        }
        page
    }

    #[test]
    fn pages_that_share_their_children_are_divided_only_so_often() {
        // 64 times 64 parts are no more than are wanted, so they are divided once more.
        let pages = [branch(2, 64, 3), branch(3, 64, 4), branch(4, 150, 5), branch(5, 1, 5)];
        let metas = [0, 1].map(|number| meta_page(number, PAGE_BYTES, 2, 6));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tm.db");
        std::fs::write(&path, [metas.concat(), pages.concat()].concat()).unwrap();
        let file = BboltFile::open(&path).unwrap();
        let parts = parts(&file, 2, 4_096).unwrap();
        assert!(parts.len() > 4_096 && parts.len() <= PARTS_MAX + 64 * 64 + 150);
        assert!(parts.iter().all(|(key, _)| key.len() <= SEPARATOR_BYTES_MAX));
        assert_eq!(separators(&file, &Root::Page(2), 4_096).unwrap().len(), 1, "of one key");
    }
}

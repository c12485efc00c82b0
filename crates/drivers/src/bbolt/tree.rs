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

/// The lowest keys of the tree's parts, all but the first, ascending; at least `parts_min` of
/// them where the tree is that large, found in branch pages alone.
pub(super) fn separators(file: &BboltFile, root: &Root, parts_min: usize) -> Result<Vec<Vec<u8>>> {
    let Root::Page(root) = root else { return Ok(Vec::new()) };
    let mut level = vec![(Vec::new(), *root)];
    for _ in 0..DEPTH_MAX {
        let mut below = Vec::new();
        for (lowest, number) in &level {
            let page = file.page(*number, Vec::new())?;
            if page.kind == PageKind::Leaf {
                break;
            }
            for index in 0..page.elements {
                let (key, child) = page.branch(file, index)?;
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
    let mut keys: Vec<Vec<u8>> = level.into_iter().skip(1).map(|(key, _)| key).collect();
    // A damaged tree's keys may be in disorder; as points of division they must not be.
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

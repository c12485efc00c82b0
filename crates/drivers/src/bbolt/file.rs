//! A bbolt file, read by positioned reads: one state of it, and its pages.

use super::page::{self, Element, HEADER_BYTES, Header, Meta, MetaFault, PageKind};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use transload_store::{Error, Kind, Result};

/// A page and those that it runs over are read at once. One that holds a largest value is far
/// below this, and a forged length must not allocate more.
const PAGE_RUN_BYTES_MAX: u64 = 1 << 30;

/// One state of a file.
pub(super) struct BboltFile {
    file: File,
    path: PathBuf,
    meta: Meta,
}

impl BboltFile {
    /// Opens the file for reading and takes the newer of its two states.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
        let corrupt = |what: &str| {
            Error::new(Kind::Corrupt, "open", what).with("path", path.display().to_string())
        };
        let meta = newest_meta(&file, path)?
            .ok_or_else(|| corrupt("neither of the two meta pages can be used"))?;
        let this = Self { file, path: path.to_owned(), meta };
        let length = this.file.metadata().map_err(|error| Error::io("open", path, error))?.len();
        if this.bytes() > length {
            return Err(corrupt("the file ends before the last page that it says it has")
                .with("bytes", length.to_string())
                .with("expected", this.bytes().to_string()));
        }
        Ok(this)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn root(&self) -> u64 {
        self.meta.root
    }

    /// Pages of this state have lower numbers.
    pub(super) fn pages_end(&self) -> u64 {
        self.meta.pages_end
    }

    /// Bytes of the pages that were ever in use.
    pub(super) fn bytes(&self) -> u64 {
        self.meta.pages_end.saturating_mul(u64::from(self.meta.page_bytes))
    }

    pub(super) fn corrupt(&self, message: &str) -> Error {
        Error::new(Kind::Corrupt, "read", message).with("path", self.path.display().to_string())
    }

    /// The contradiction at a page.
    pub(super) fn corrupt_page(&self, number: u64, message: &str) -> Error {
        self.corrupt(message).with("page", number.to_string())
    }

    /// The page of a tree, in the memory of `bytes`.
    pub(super) fn page(&self, number: u64, mut bytes: Vec<u8>) -> Result<TreePage> {
        // The meta pages have the lowest numbers.
        if number < 2 || number >= self.meta.pages_end {
            return Err(self.corrupt_page(number, "a page that no state of the file has is named"));
        }
        let page_bytes = u64::from(self.meta.page_bytes);
        let own = usize::try_from(page_bytes).unwrap_or(0);
        bytes.resize(own, 0);
        self.read(&mut bytes, number, 0)?;
        let header = Header::decode(&bytes)
            .filter(|header| header.number == number)
            .ok_or_else(|| self.corrupt_page(number, "a page of a tree contradicts itself"))?;
        let pages = u64::from(header.overflow) + 1;
        if number.saturating_add(pages) > self.meta.pages_end {
            return Err(self.corrupt_page(number, "a page runs over the end of the file"));
        }
        if pages * page_bytes > PAGE_RUN_BYTES_MAX {
            return Err(Error::new(Kind::Limit, "read", "a page is larger than is read at once")
                .with("path", self.path.display().to_string())
                .with("page", number.to_string())
                .with("bytes", (pages * page_bytes).to_string())
                .with("limit", PAGE_RUN_BYTES_MAX.to_string()));
        }
        if header.overflow > 0 {
            bytes.resize(usize::try_from(pages * page_bytes).unwrap_or(0), 0);
            if let Some(rest) = bytes.get_mut(own..) {
                self.read(rest, number, page_bytes)?;
            }
        }
        Ok(TreePage { number, bytes, kind: header.kind, elements: header.elements })
    }

    fn read(&self, bytes: &mut [u8], number: u64, skip: u64) -> Result<()> {
        let offset = number
            .checked_mul(u64::from(self.meta.page_bytes))
            .and_then(|offset| offset.checked_add(skip))
            .filter(|offset| *offset <= i64::MAX as u64)
            .ok_or_else(|| self.corrupt_page(number, "no file has this page"))?;
        self.file.read_exact_at(bytes, offset).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => {
                self.corrupt_page(number, "the file ends before a page that is in use")
            }
            _ => Error::io("read", &self.path, error).with("page", number.to_string()),
        })
    }
}

/// The newer of the two states whose meta page is whole.
fn newest_meta(file: &File, path: &Path) -> Result<Option<Meta>> {
    let first = meta_at(file, path, 0)?;
    // The second page's place is known from the first one only; a first page that was being
    // written when the power went leaves the usual sizes to try.
    let places: Vec<u64> = match first {
        Some(meta) => vec![u64::from(meta.page_bytes)],
        None => (9..=16).map(|power| 1 << power).collect(),
    };
    let mut newest = first;
    for place in places {
        let Some(second) = meta_at(file, path, place)? else { continue };
        if u64::from(second.page_bytes) == place
            && newest.is_none_or(|newest| newest.transaction < second.transaction)
        {
            newest = Some(second);
        }
    }
    Ok(newest)
}

fn meta_at(file: &File, path: &Path, offset: u64) -> Result<Option<Meta>> {
    let mut bytes = [0; Meta::BYTES];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(Error::io("open", path, error)),
    }
    match Meta::decode(&bytes) {
        Ok(meta) => Ok(Some(meta)),
        Err(MetaFault::Damaged) => Ok(None),
        Err(MetaFault::Version(version)) => Err(Error::new(
            Kind::UnknownFormat,
            "open",
            "the file has a format that this reader doesn't know",
        )
        .with("version", version.to_string())
        .with("path", path.display().to_string())),
    }
}

/// A branch or a leaf.
pub(super) struct TreePage {
    number: u64,
    bytes: Vec<u8>,
    pub(super) kind: PageKind,
    pub(super) elements: usize,
}

impl TreePage {
    /// The leaf that stands in a bucket's own value.
    pub(super) fn inline(bytes: &[u8]) -> Option<Self> {
        let header = Header::decode(bytes.get(..HEADER_BYTES)?)?;
        let is_leaf = header.kind == PageKind::Leaf && header.overflow == 0;
        is_leaf.then(|| Self {
            number: header.number,
            bytes: bytes.to_vec(),
            kind: PageKind::Leaf,
            elements: header.elements,
        })
    }

    /// The memory, to be used again.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn branch(&self, file: &BboltFile, index: usize) -> Result<(&[u8], u64)> {
        page::branch_element(&self.bytes, index).ok_or_else(|| self.leaves(file))
    }

    pub(super) fn leaf(&self, file: &BboltFile, index: usize) -> Result<Element<'_>> {
        page::leaf_element(&self.bytes, index).ok_or_else(|| self.leaves(file))
    }

    fn leaves(&self, file: &BboltFile) -> Error {
        file.corrupt_page(self.number, "an element leaves its page")
    }

    fn key(&self, file: &BboltFile, index: usize) -> Result<&[u8]> {
        match self.kind {
            PageKind::Branch => self.branch(file, index).map(|(key, _)| key),
            PageKind::Leaf => self.leaf(file, index).map(|element| element.key),
        }
    }

    /// Keys ascend, and lie where the branches above say. No checksum covers a page: a key in
    /// another place than searches look at would be there in one walk and missing in the next.
    pub(super) fn check(&self, file: &BboltFile, from: &[u8], to: Option<&[u8]>) -> Result<()> {
        let disorder = |what| Err(file.corrupt_page(self.number, what));
        let mut last: Option<&[u8]> = None;
        for index in 0..self.elements {
            let key = self.key(file, index)?;
            if last.is_some_and(|last| last >= key) {
                return disorder("the keys of a page don't ascend");
            }
            last = Some(key);
        }
        if self.elements > 0 && self.key(file, 0)? < from {
            return disorder("a page has a lower key than the branch above it says");
        }
        if last.zip(to).is_some_and(|(last, to)| last >= to) {
            return disorder("a page has a key that belongs to the next one");
        }
        Ok(())
    }

    /// The last child whose keys may be at or before `key`.
    pub(super) fn child_for(&self, file: &BboltFile, key: &[u8]) -> Result<usize> {
        let (mut low, mut high) = (0, self.elements.saturating_sub(1));
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.branch(file, middle)?.0 <= key {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(low)
    }

    /// The first element at or after `key`; the number of elements when there is none.
    pub(super) fn lower_bound(&self, file: &BboltFile, key: &[u8]) -> Result<usize> {
        let (mut low, mut high) = (0, self.elements);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.leaf(file, middle)?.key < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

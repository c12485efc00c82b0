//! The one error type of stores and drivers.

use std::fmt;
use std::path::Path;

/// Name of the detail that tells what a person can do.
pub const HELP: &str = "what helps";

/// What kind of thing went wrong. Closed: callers match on it, never on text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A path, file or table that should be there isn't.
    NotFound,
    /// Stored bytes contradict themselves: a checksum, a length, an order.
    Corrupt,
    /// A newer or foreign format that this version doesn't know.
    UnknownFormat,
    /// The store lacks the capability, or the driver isn't built in.
    Unsupported,
    /// The operating system refused or failed.
    Io,
    /// No space or quota left.
    NoSpace,
    /// Another process holds the store.
    Busy,
    /// The caller's input can't be taken: a key too long, an unsorted chunk, a non-empty target.
    InvalidInput,
    /// A helper process died, or its stream broke off.
    HelperLost,
    /// A helper process sent something that the protocol doesn't allow.
    Protocol,
    /// A limit with a name was reached.
    Limit,
    /// Somebody asked to stop.
    Cancelled,
}

/// Whether a failed operation may have changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Certainly not.
    NotApplied,
    /// Perhaps: the caller must read back before it goes on.
    Unknown,
}

/// A failed operation of a store or driver.
#[derive(Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: Kind,
    effect: Effect,
    retry: bool,
    operation: &'static str,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What store operations return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind` in `operation`; nothing was changed and a retry won't help, unless
    /// said otherwise.
    #[must_use]
    pub fn new(kind: Kind, operation: &'static str, message: impl Into<String>) -> Self {
        let inner = Inner {
            kind,
            effect: Effect::NotApplied,
            retry: false,
            operation,
            message: message.into(),
            context: Vec::new(),
            source: None,
        };
        Self { inner: Box::new(inner) }
    }

    /// The answer of a store that doesn't declare a capability.
    #[must_use]
    pub fn unsupported(operation: &'static str, what: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, operation, what)
    }

    /// A failure of the operating system, with the path that it concerns.
    #[must_use]
    pub fn io(operation: &'static str, path: &Path, source: std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Kind::NoSpace,
            _ => Kind::Io,
        };
        let message = source.to_string();
        Self::new(kind, operation, message)
            .with("path", path.display().to_string())
            .caused_by(source)
    }

    /// Adds a named detail.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.inner.context.push((name, value.into()));
        self
    }

    /// Adds what a person can do about it, as the detail [`HELP`].
    #[must_use]
    pub fn help(self, text: impl Into<String>) -> Self {
        self.with(HELP, text)
    }

    /// Says that the operation may have been applied.
    #[must_use]
    pub fn effect_unknown(mut self) -> Self {
        self.inner.effect = Effect::Unknown;
        self
    }

    /// Says that the same operation may succeed later.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.inner.retry = true;
        self
    }

    /// Adds the underlying error.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.inner.source = Some(Box::new(source));
        self
    }

    /// What kind of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// Whether something may have been changed.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.inner.effect
    }

    /// Whether a retry can help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.inner.retry
    }

    /// The operation that failed.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.inner.operation
    }

    /// What happened, without the context.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// Named details such as file and offset.
    #[must_use]
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.inner.context
    }

    /// A copy without its source, for cursors that must answer the same error again.
    #[must_use]
    pub fn repeat(&self) -> Self {
        let inner = Inner {
            kind: self.inner.kind,
            effect: self.inner.effect,
            retry: self.inner.retry,
            operation: self.inner.operation,
            message: self.inner.message.clone(),
            context: self.inner.context.clone(),
            source: None,
        };
        Self { inner: Box::new(inner) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.inner.operation, self.inner.message)?;
        for (index, (name, value)) in self.inner.context.iter().enumerate() {
            f.write_str(if index == 0 { " (" } else { ", " })?;
            write!(f, "{name} {value}")?;
        }
        if !self.inner.context.is_empty() {
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_deref().map(|source| source as _)
    }
}

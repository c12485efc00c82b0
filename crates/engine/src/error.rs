//! The one error type of the migration engine.

use std::fmt;
use transload_store::Effect;

/// What kind of thing went wrong; the command line derives its exit code from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request itself is wrong: nothing was looked at (exit 2).
    Usage,
    /// Refused before anything was changed (exit 3).
    Refused,
    /// A difference or an invalid certificate was found (exit 4).
    Difference,
    /// An invariant that the plan declares doesn't hold (exit 4).
    InvariantViolated,
    /// Stopped midway; `resume` goes on (exit 5).
    Stopped,
    /// The outcome is unknown: a person must look (exit 6).
    OutcomeUnknown,
}

/// A failed operation of the engine.
#[derive(Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: Kind,
    effect: Effect,
    operation: &'static str,
    message: String,
    context: Vec<(&'static str, String)>,
    next: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What engine operations return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind` in `operation`; nothing was changed, unless said otherwise.
    #[must_use]
    pub fn new(kind: Kind, operation: &'static str, message: impl Into<String>) -> Self {
        let inner = Inner {
            kind,
            effect: Effect::NotApplied,
            operation,
            message: message.into(),
            context: Vec::new(),
            next: None,
            source: None,
        };
        Self { inner: Box::new(inner) }
    }

    /// A store's error, seen as one of `kind`.
    #[must_use]
    pub fn store(kind: Kind, operation: &'static str, error: transload_store::Error) -> Self {
        let mut this = Self::new(kind, operation, error.message().to_owned());
        this.inner.effect = error.effect();
        this.inner.context.push(("during", error.operation().to_owned()));
        this.inner.context.extend(error.context().iter().cloned());
        this.caused_by(error)
    }

    /// A store that couldn't be read: bytes that contradict themselves, and entries
    /// that can't be taken as they are, are a difference; whatever else failed says nothing about
    /// them.
    #[must_use]
    pub fn reading(operation: &'static str, error: transload_store::Error) -> Self {
        let kind = match error.kind() {
            transload_store::Kind::Corrupt
            | transload_store::Kind::UnknownFormat
            | transload_store::Kind::InvalidInput => Kind::Difference,
            _ => Kind::Stopped,
        };
        Self::store(kind, operation, error)
    }

    /// There is no migration in the state folder of a home.
    #[must_use]
    pub fn nothing_begun(state_dir: &std::path::Path) -> Self {
        let what = "no migration of this home has begun";
        Self::new(Kind::Refused, "look for the migration", what)
            .with("path", state_dir.display().to_string())
            .next(
                "`transload migrate HOME --to ENGINE` begins one, `transload plan HOME --to \
                 ENGINE` shows what it would do",
            )
    }

    /// Adds a named detail.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.inner.context.push((name, value.into()));
        self
    }

    /// Says what a person should do next.
    #[must_use]
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.inner.next = Some(step.into());
        self
    }

    /// Says that something may have been changed.
    #[must_use]
    pub fn effect_unknown(mut self) -> Self {
        self.inner.effect = Effect::Unknown;
        self
    }

    /// Adds the underlying error.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.inner.source = Some(Box::new(source));
        self
    }

    /// A copy without its source.
    #[must_use]
    pub fn repeat(&self) -> Self {
        let inner = Inner {
            kind: self.inner.kind,
            effect: self.inner.effect,
            operation: self.inner.operation,
            message: self.inner.message.clone(),
            context: self.inner.context.clone(),
            next: self.inner.next.clone(),
            source: None,
        };
        Self { inner: Box::new(inner) }
    }

    /// The same error seen as one of another kind.
    #[must_use]
    pub(crate) fn into_kind(mut self, kind: Kind) -> Self {
        self.inner.kind = kind;
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

    /// The operation that failed.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.inner.operation
    }

    /// What happened.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// Named details such as database, table, key and file.
    #[must_use]
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.inner.context
    }

    /// What a person should do next, where we know.
    #[must_use]
    pub fn next_step(&self) -> Option<&str> {
        self.inner.next.as_deref()
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

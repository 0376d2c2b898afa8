use std::io;

/// A directory that could not be opened as a queue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another queue of this one, has it open.
    #[error("the queue is open in process {}", pid.map_or("(unknown)".to_owned(), |pid| pid.to_string()))]
    Locked {
        /// Which, as far as it said.
        pid: Option<u32>,
    },
    /// A file was written by a newer version of this crate.
    #[error("{file} needs features that this version does not know: {features:#010x}")]
    Newer {
        /// The file.
        file: String,
        /// Its words of features, joined.
        features: u32,
    },
    /// A file belongs to another queue.
    #[error("{file} belongs to another queue than the other files")]
    Foreign {
        /// The file.
        file: String,
    },
    /// A setting that makes no sense.
    #[error("{setting} must be {expected}, found {found}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What would be right.
        expected: &'static str,
        /// What it was.
        found: String,
    },
    /// The disk failed. Nothing was lost by that; try again.
    #[error("the queue could not be read or begun")]
    Io(#[from] io::Error),
}

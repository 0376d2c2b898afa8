/// One thing counted without and with the means against it, as people read it.
#[derive(Debug)]
pub(crate) struct Row {
    /// What happens; empty if it is what the row above says.
    pub(crate) day: String,
    pub(crate) counted: &'static str,
    pub(crate) without: String,
    pub(crate) with: String,
    /// The call that makes the difference.
    pub(crate) means: &'static str,
}

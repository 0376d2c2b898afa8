#[derive(Debug, Clone)]
pub(super) struct Debt {}

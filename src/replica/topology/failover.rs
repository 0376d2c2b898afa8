#[derive(Debug, Clone, Default)]
pub(super) struct Failover {}

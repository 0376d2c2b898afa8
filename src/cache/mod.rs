//! A bounded concurrent cache.

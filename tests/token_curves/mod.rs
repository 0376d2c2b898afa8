//! Both curves by their equations, slow and plain: to make keys and signatures that no library makes.

pub(crate) mod ed25519;
pub(crate) mod number;
pub(crate) mod p256;

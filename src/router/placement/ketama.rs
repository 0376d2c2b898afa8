use crc32fast::Hasher as Crc32;
use md5::{Digest, Md5};

use super::Member;

/// Whose ring of cache servers to agree with, point for point.
///
/// A node's name is its address as that program is configured with: `host:port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ketama {
    /// nginx's `hash … consistent`, and so `Cache::Memcached::Fast`: CRC-32, 160
    /// points per unit of weight. Of points that fall together the lower name
    /// keeps its own.
    Nginx,
    /// libmemcached's `KETAMA` with MD5 as its hash (since 1.0 that is to be set
    /// besides): 100 points each. Has no weights.
    Libmemcached,
    /// libmemcached's `KETAMA_WEIGHTED`: MD5, 160 points each on average, shared
    /// out by weight. Adding a node changes how many the others have.
    LibmemcachedWeighted,
}

impl Ketama {
    /// The hash of a key's bytes on this ring.
    ///
    /// ```
    /// use tenfold::router::placement::Ketama;
    ///
    /// assert_eq!(Ketama::Nginx.hash(b"123456789"), 0xcbf4_3926);
    /// ```
    pub fn hash(self, key: &[u8]) -> u32 {
        match self {
            Self::Nginx => crc32fast::hash(key),
            Self::Libmemcached | Self::LibmemcachedWeighted => md5_word(&md5(key), 0),
        }
    }

    /// How many points the ring will have.
    pub(super) fn points(self, members: &[Member<'_>]) -> u64 {
        members.iter().fold(0_u64, |sum, member| {
            sum.saturating_add(match self {
                Self::Nginx => member.weight.saturating_mul(160),
                Self::Libmemcached => 100,
                Self::LibmemcachedWeighted => quads(member, members).saturating_mul(4),
            })
        })
    }
}

/// A ring of points that keys are looked up on one by one.
#[derive(Debug)]
pub(in crate::router) struct Ring {
    flavour: Ketama,
    /// Sorted.
    points: Vec<(u32, u16)>,
    /// Where the points begin whose hash begins with these bits: from there the
    /// search is short.
    starts: Vec<u32>,
    /// How far to shift a hash to have those bits.
    shift: u32,
}

impl Ring {
    pub(super) fn new(flavour: Ketama, members: &[Member<'_>]) -> Self {
        let mut points: Vec<(u32, u16, u16)> = Vec::new();
        for (index, member) in members.iter().enumerate() {
            let mut add = |hash| points.push((hash, index as u16, member.id));
            match flavour {
                Ketama::Nginx => nginx_points(member, &mut add),
                Ketama::Libmemcached => {
                    let name = without_default_port(member.name);
                    for number in 0..100 {
                        add(md5_word(&md5(format!("{name}-{number}").as_bytes()), 0));
                    }
                }
                Ketama::LibmemcachedWeighted => {
                    let name = without_default_port(member.name);
                    for number in 0..quads(member, members) {
                        let digest = md5(format!("{name}-{number}").as_bytes());
                        (0..4).for_each(|word| add(md5_word(&digest, word)));
                    }
                }
            }
        }
        points.sort_unstable();
        if flavour == Ketama::Nginx {
            points.dedup_by_key(|point| point.0);
        }
        let points: Vec<_> = points.into_iter().map(|(hash, _, id)| (hash, id)).collect();
        let bits = (points.len().max(2) as u32).ilog2();
        let shift = u32::BITS - bits;
        let start = |first: u64| points.partition_point(|p| u64::from(p.0 >> shift) < first) as u32;
        let starts = (0..=1_u64 << bits).map(start).collect();
        Self {
            flavour,
            points,
            starts,
            shift,
        }
    }

    /// The hash of these bytes on this ring.
    pub(in crate::router) fn hash(&self, key: &[u8]) -> u32 {
        self.flavour.hash(key)
    }

    /// The position of the first point at or after this hash.
    pub(in crate::router) fn position(&self, hash: u32) -> usize {
        let prefix = (hash >> self.shift) as usize;
        let (from, to) = (self.starts[prefix], self.starts[prefix + 1]);
        let near = &self.points[from as usize..to as usize];
        from as usize + near.partition_point(|point| point.0 < hash)
    }

    /// Whether keys have the same hash on another ring.
    pub(in crate::router) fn hashes_like(&self, other: &Self) -> bool {
        let crc = |ring: &Self| ring.flavour == Ketama::Nginx;
        crc(self) == crc(other)
    }

    /// Where each point's arc begins, which is behind the point before, and
    /// whose it is. The last arc is that of the first point again.
    pub(in crate::router) fn arcs(&self) -> impl Iterator<Item = (u64, u16)> {
        let starts = self.points.iter().map(|point| u64::from(point.0) + 1);
        let owners = self.points.iter().chain(self.points.first());
        std::iter::once(0)
            .chain(starts)
            .zip(owners.map(|point| point.1))
            .filter(|(start, _)| u32::try_from(*start).is_ok())
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.points) + size_of_val(&*self.starts)
    }

    /// The owner of a position; past the last point the ring begins again.
    pub(in crate::router) fn owner(&self, position: usize) -> u16 {
        self.points[position % self.points.len()].1
    }
}

/// A quarter of the points of a node on the weighted ring, by the original's
/// arithmetic of single precision.
fn quads(member: &Member<'_>, members: &[Member<'_>]) -> u64 {
    let total: u64 = members.iter().map(|member| member.weight).sum();
    let share = member.weight as f32 / total as f32;
    let quads = share * 160.0 / 4.0 * members.len() as f32;
    (f64::from(quads) + 0.000_000_000_1) as f32 as u64
}

/// nginx hashes the host, a zero, the port, and the point before this one.
fn nginx_points(member: &Member<'_>, add: &mut impl FnMut(u32)) {
    let name = member.name;
    let (host, port) = match name.get(..5) {
        Some(scheme) if scheme.eq_ignore_ascii_case("unix:") => (&name[5..], ""),
        _ => with_port(name).unwrap_or((name, "")),
    };
    let mut server = Crc32::new();
    for part in [host.as_bytes(), &[0], port.as_bytes()] {
        server.update(part);
    }
    let mut previous = 0_u32;
    for _ in 0..member.weight * 160 {
        let mut point = server.clone();
        point.update(&previous.to_le_bytes());
        previous = point.finalize();
        add(previous);
    }
}

fn with_port(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// libmemcached leaves out its default port.
fn without_default_port(name: &str) -> &str {
    name.strip_suffix(":11211").unwrap_or(name)
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

fn md5_word(digest: &[u8; 16], word: usize) -> u32 {
    digest
        .as_chunks::<4>()
        .0
        .get(word)
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

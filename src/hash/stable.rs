use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;

use twox_hash::{XxHash3_64, XxHash64};

/// A key whose hash is the same in every process, on every machine, and in
/// every version of this crate and of Rust.
///
/// A key has *canonical bytes*, and its hash is XXH3-64 of them. Any other
/// program that can build the bytes and has XXH3 computes the same number.
///
/// | Key | Canonical bytes |
/// |---|---|
/// | `u8` … `u128`, `i8` … `i128` | the number, little-endian, in its own width |
/// | `usize`, `isize` | as `u64`, `i64`: so 32-bit machines agree |
/// | `bool` | one byte, 0 or 1 |
/// | `char` | as `u32` |
/// | `str`, `String` | UTF-8, nothing before or after |
/// | `[u8]`, `Vec<u8>`, `[u8; N]` | as they are |
/// | `Ipv4Addr`, `Ipv6Addr`, `IpAddr` | 4 or 16 bytes in network order |
/// | `Option<T>` | the byte 0, or the byte 1 and those of the value |
/// | tuples | for each part the length of its bytes as a little-endian `u64`, and its bytes |
/// | `&T`, `Box<T>`, `Rc<T>`, `Arc<T>`, `Cow<T>` | those of `T` |
///
/// Two keys of one type have the same bytes only if they are equal. Keys of
/// *different* types may well share theirs (`"1"` and `b"1"`), and numbers of
/// different width do not (`1u32` and `1u64`): write and read with one type.
/// There is nothing for floating-point numbers, which have two zeros and many
/// that are no number.
///
/// ```
/// use tenfold::hash::StableKey;
///
/// // Known answers of XXH3-64.
/// assert_eq!("user:1000".stable_hash(0), 0xfb68_41b2_068c_0c9f);
/// assert_eq!(42u64.stable_hash(0), 0xd5a6_f8c8_38df_27c8);
/// // Parts do not run into each other.
/// assert_ne!(("ab", "c").stable_hash(0), ("a", "bc").stable_hash(0));
/// ```
///
/// A type of your own says what its bytes are:
///
/// ```
/// use tenfold::hash::{CanonicalBytes, StableKey};
///
/// struct Page {
///     tenant: u32,
///     path: String,
/// }
///
/// impl StableKey for Page {
///     fn write_canonical(&self, bytes: &mut CanonicalBytes) {
///         (self.tenant, &self.path).write_canonical(bytes);
///     }
/// }
///
/// let page = Page { tenant: 7, path: "/".to_owned() };
/// assert_eq!(page.stable_hash(0), (7u32, "/").stable_hash(0));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no canonical bytes",
    note = "implement `tenfold::hash::StableKey` for it; `std::hash::Hash` will not do, since what it feeds differs between versions and machines"
)]
pub trait StableKey {
    /// Appends the key's canonical bytes.
    ///
    /// Equal keys must append the same bytes, for ever; others should not.
    fn write_canonical(&self, bytes: &mut CanonicalBytes);

    /// Appends bytes that sort as the keys do, for those who split keys by
    /// range: numbers big-endian, the sign turned round; parts of a tuple ended by
    /// two zeros instead of preceded by a length. What is not said here is as in
    /// the table of canonical bytes.
    ///
    /// ```
    /// use tenfold::hash::{CanonicalBytes, StableKey};
    ///
    /// let ordered = |number: i16| {
    ///     let mut bytes = CanonicalBytes::new();
    ///     number.write_ordered(&mut bytes);
    ///     bytes.as_slice().to_vec()
    /// };
    /// assert!(ordered(-300) < ordered(-2) && ordered(-2) < ordered(300));
    /// ```
    fn write_ordered(&self, bytes: &mut CanonicalBytes) {
        self.write_canonical(bytes);
    }

    /// The XXH3-64 of the canonical bytes. Seed 0 is what files and other
    /// programs expect; another seed gives an unrelated hash.
    ///
    /// Whoever overrides this for speed must give the same answer.
    #[inline]
    fn stable_hash(&self, seed: u64) -> u64 {
        let mut bytes = CanonicalBytes::new();
        self.write_canonical(&mut bytes);
        xxh3_64(bytes.as_slice(), seed)
    }
}

/// Where a [`StableKey`] writes its bytes. Up to 128 are kept without an
/// allocation.
///
/// ```
/// use tenfold::hash::{CanonicalBytes, StableKey};
///
/// let mut bytes = CanonicalBytes::new();
/// 258u16.write_canonical(&mut bytes);
/// bytes.append(b"!");
/// assert_eq!(bytes.as_slice(), [2, 1, b'!']);
/// ```
#[derive(Clone)]
pub struct CanonicalBytes {
    /// The bytes, until there are too many.
    near: [u8; NEAR],
    /// How many of them count; nothing if the bytes are in `far`.
    len: usize,
    /// All bytes, once there were too many.
    far: Vec<u8>,
}

impl CanonicalBytes {
    /// No bytes.
    #[inline]
    pub const fn new() -> Self {
        Self {
            near: [0; NEAR],
            len: 0,
            far: Vec::new(),
        }
    }

    /// Appends these bytes as they are.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if self.far.is_empty() && end <= NEAR {
            self.near[self.len..end].copy_from_slice(bytes);
            self.len = end;
        } else {
            self.append_far(bytes);
        }
    }

    /// The bytes so far.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        if self.far.is_empty() {
            &self.near[..self.len]
        } else {
            &self.far
        }
    }

    #[cold]
    fn append_far(&mut self, bytes: &[u8]) {
        self.far.extend_from_slice(&self.near[..self.len]);
        self.len = 0;
        self.far.extend_from_slice(bytes);
    }

    /// Appends a part of a larger key so that it cannot run into the next: its
    /// length, then its bytes.
    #[inline]
    fn append_part(&mut self, part: &(impl StableKey + ?Sized)) {
        let mut bytes = Self::new();
        part.write_canonical(&mut bytes);
        let bytes = bytes.as_slice();
        self.append(&(bytes.len() as u64).to_le_bytes());
        self.append(bytes);
    }

    /// Appends a part of a larger key so that it sorts before every longer part
    /// that begins like it: a zero inside is followed by 255, the end by zero.
    fn append_ordered_part(&mut self, part: &(impl StableKey + ?Sized)) {
        let mut bytes = Self::new();
        part.write_ordered(&mut bytes);
        for &byte in bytes.as_slice() {
            self.append(&[byte]);
            if byte == 0 {
                self.append(&[u8::MAX]);
            }
        }
        self.append(&[0, 0]);
    }
}

impl Default for CanonicalBytes {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CanonicalBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CanonicalBytes")
            .field(&self.as_slice())
            .finish()
    }
}

/// The XXH64 of the canonical bytes with seed 0: older than XXH3, and what
/// Parquet fills its filters with.
#[inline]
#[cfg_attr(
    not(feature = "bloom"),
    allow(dead_code, reason = "only filters of other programs need it")
)]
pub(crate) fn xxh64(key: &(impl StableKey + ?Sized)) -> u64 {
    let mut bytes = CanonicalBytes::new();
    key.write_canonical(&mut bytes);
    XxHash64::oneshot(0, bytes.as_slice())
}

/// The XXH3-64 of the eight bytes of a number, the most frequent key: as
/// [`xxh3_64`], without its choice among lengths, and a quarter faster where it is
/// inlined into a loop.
#[inline]
const fn xxh3_64_of_word(word: u64, seed: u64) -> u64 {
    let seed = seed ^ ((seed as u32).swap_bytes() as u64) << 32;
    let mut hash = word.rotate_left(32) ^ SECRET.wrapping_sub(seed);
    hash ^= (hash ^ hash.rotate_left(25)).rotate_left(24);
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^= (hash >> 35).wrapping_add(8);
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ hash >> 28
}

/// The XXH3-64 of bytes: for keys, and for the checksums of files.
#[inline]
pub(crate) fn xxh3_64(bytes: &[u8], seed: u64) -> u64 {
    XxHash3_64::oneshot_with_seed(seed, bytes)
}

macro_rules! little_endian {
    ($flip:expr; $($int:ty),*) => {
        $(impl StableKey for $int {
            #[inline]
            fn write_canonical(&self, bytes: &mut CanonicalBytes) {
                bytes.append(&self.to_le_bytes());
            }

            fn write_ordered(&self, bytes: &mut CanonicalBytes) {
                let mut ordered = self.to_be_bytes();
                ordered[0] ^= $flip;
                bytes.append(&ordered);
            }

            #[inline]
            fn stable_hash(&self, seed: u64) -> u64 {
                xxh3_64(&self.to_le_bytes(), seed)
            }
        })*
    };
}

little_endian!(0; u8, u16, u32, u128);
little_endian!(0x80; i8, i16, i32, i128);

impl StableKey for u64 {
    #[inline]
    fn write_canonical(&self, bytes: &mut CanonicalBytes) {
        bytes.append(&self.to_le_bytes());
    }

    fn write_ordered(&self, bytes: &mut CanonicalBytes) {
        bytes.append(&self.to_be_bytes());
    }

    #[inline]
    fn stable_hash(&self, seed: u64) -> u64 {
        xxh3_64_of_word(*self, seed)
    }
}

impl StableKey for i64 {
    #[inline]
    fn write_canonical(&self, bytes: &mut CanonicalBytes) {
        self.cast_unsigned().write_canonical(bytes);
    }

    fn write_ordered(&self, bytes: &mut CanonicalBytes) {
        (self.cast_unsigned() ^ (1 << 63)).write_ordered(bytes);
    }

    #[inline]
    fn stable_hash(&self, seed: u64) -> u64 {
        self.cast_unsigned().stable_hash(seed)
    }
}

/// Types whose bytes are those of another.
macro_rules! same_as {
    ($([$($generics:tt)*] $key:ty, $this:ident => $other:expr;)*) => {
        $(impl<$($generics)*> StableKey for $key {
            #[inline]
            fn write_canonical(&self, bytes: &mut CanonicalBytes) {
                let $this = self;
                $other.write_canonical(bytes);
            }

            fn write_ordered(&self, bytes: &mut CanonicalBytes) {
                let $this = self;
                $other.write_ordered(bytes);
            }

            #[inline]
            fn stable_hash(&self, seed: u64) -> u64 {
                let $this = self;
                $other.stable_hash(seed)
            }
        })*
    };
}

same_as! {
    [] usize, this => (*this as u64);
    [] isize, this => (*this as i64);
    [] bool, this => u8::from(*this);
    [] char, this => u32::from(*this);
    [] str, this => this.as_bytes();
    [] String, this => this.as_bytes();
    [] Vec<u8>, this => this.as_slice();
    [const N: usize] [u8; N], this => this.as_slice();
    [] Ipv4Addr, this => this.octets();
    [] Ipv6Addr, this => this.octets();
    [T: StableKey + ?Sized] &T, this => (**this);
    [T: StableKey + ?Sized] &mut T, this => (**this);
    [T: StableKey + ?Sized] Box<T>, this => (**this);
    [T: StableKey + ?Sized] Rc<T>, this => (**this);
    [T: StableKey + ?Sized] Arc<T>, this => (**this);
    [T: StableKey + ToOwned + ?Sized] Cow<'_, T>, this => (**this);
}

impl StableKey for [u8] {
    #[inline]
    fn write_canonical(&self, bytes: &mut CanonicalBytes) {
        bytes.append(self);
    }

    #[inline]
    fn stable_hash(&self, seed: u64) -> u64 {
        xxh3_64(self, seed)
    }
}

impl StableKey for IpAddr {
    #[inline]
    fn write_canonical(&self, bytes: &mut CanonicalBytes) {
        match self {
            Self::V4(address) => address.write_canonical(bytes),
            Self::V6(address) => address.write_canonical(bytes),
        }
    }

    /// The older family first, as [`Ord`] has it.
    fn write_ordered(&self, bytes: &mut CanonicalBytes) {
        bytes.append(&[u8::from(self.is_ipv6())]);
        self.write_canonical(bytes);
    }
}

impl<T: StableKey> StableKey for Option<T> {
    #[inline]
    fn write_canonical(&self, bytes: &mut CanonicalBytes) {
        match self {
            None => bytes.append(&[0]),
            Some(value) => {
                bytes.append(&[1]);
                value.write_canonical(bytes);
            }
        }
    }

    fn write_ordered(&self, bytes: &mut CanonicalBytes) {
        bytes.append(&[u8::from(self.is_some())]);
        if let Some(value) = self {
            value.write_ordered(bytes);
        }
    }
}

macro_rules! tuple {
    ($($part:ident),*) => {
        impl<$($part: StableKey),*> StableKey for ($($part,)*) {
            #[inline]
            #[allow(non_snake_case, reason = "the parts are named after their types")]
            fn write_canonical(&self, bytes: &mut CanonicalBytes) {
                let ($($part,)*) = self;
                $(bytes.append_part($part);)*
            }

            #[allow(non_snake_case, reason = "the parts are named after their types")]
            fn write_ordered(&self, bytes: &mut CanonicalBytes) {
                let ($($part,)*) = self;
                $(bytes.append_ordered_part($part);)*
            }
        }
    };
}

tuple!(A);
tuple!(A, B);
tuple!(A, B, C);
tuple!(A, B, C, D);
tuple!(A, B, C, D, E);
tuple!(A, B, C, D, E, F);

/// Of the algorithm: the second and the third word of its secret, combined.
const SECRET: u64 = 0xc73a_b174_c5ec_d5a2;

/// Of the algorithm.
const MULTIPLIER: u64 = 0x9fb2_1c65_1e98_df25;

/// Bytes that are kept without an allocation.
const NEAR: usize = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(key: &(impl StableKey + ?Sized)) -> Vec<u8> {
        let mut bytes = CanonicalBytes::new();
        key.write_canonical(&mut bytes);
        bytes.as_slice().to_vec()
    }

    #[test]
    fn hashes_are_those_of_the_reference() {
        let buffer = sanity_buffer();
        let seed = 11_400_714_785_074_694_797;
        for (len, plain, seeded) in [
            (0, 0x2d06_8005_38d3_94c2, 0xa8a6_b918_b2f0_364a),
            (4, 0xe5dc_74bc_5184_8a51, 0xaa2e_7ecc_b0c8_f747),
            (8, 0x24cc_c9ac_aa9f_65e4, 0x8f97_3410_999b_8f6b),
            (12, 0xa713_daf0_dfbb_77e7, 0xe730_3e1b_2336_de0e),
            (17, 0x796f_5acd_3a60_f862, 0xf3ec_5067_f430_6db3),
            (48, 0x397d_a259_ecba_1f11, 0xadc2_cbaa_44ac_c616),
            (80, 0xbcde_fbbb_2c47_c90a, 0xc6dd_0cb6_9953_2e73),
            (129, 0x98f1_b0a6_79a2_ca29, 0x21ff_fdbc_a099_c844),
            (240, 0x81c3_c2b6_7f56_8ccf, 0xcc0f_58c2_7ef3_d8ee),
            (403, 0xcdeb_804d_65c6_dea4, 0x6259_f6ec_fd64_43fd),
            (1024, 0xdd85_c9b5_c110_9c5c, 0xef36_8a8a_2eba_baef),
            (2240, 0x6e73_a905_39cf_2948, 0x757b_a848_7d1b_5247),
        ] {
            assert_eq!(buffer[..len].stable_hash(0), plain, "{len} bytes");
            assert_eq!(buffer[..len].stable_hash(seed), seeded, "{len} bytes");
        }
    }

    #[cfg(feature = "bloom")]
    #[test]
    fn older_hashes_are_those_of_the_reference() {
        let buffer = sanity_buffer();
        for (len, hash) in [
            (0, 0xef46_db37_51d8_e999),
            (4, 0x9136_a0dc_a574_57ee),
            (8, 0xcdbc_f538_e71d_1348),
            (12, 0x0723_bf50_086e_ad9a),
            (17, 0x0d39_a2d0_51a3_0c2c),
            (48, 0xfd0f_eeac_7a93_9933),
            (80, 0x99bd_5d25_eb21_1099),
            (129, 0x41c2_8013_2d69_7aba),
            (240, 0xb818_38d4_83ba_ee53),
            (403, 0xd998_58fe_e822_83df),
            (1024, 0x4775_bf7c_ace4_d177),
            (2240, 0xa4ed_b3c8_5b99_b1d9),
        ] {
            assert_eq!(xxh64(&buffer[..len]), hash, "{len} bytes");
        }
    }

    /// xxHash's own; the lengths of it that are hashed take every path through it.
    fn sanity_buffer() -> Vec<u8> {
        let mut state = 2_654_435_761_u64;
        (0..2240)
            .map(|_| {
                let byte = (state >> 56) as u8;
                state = state.wrapping_mul(11_400_714_785_074_694_797);
                byte
            })
            .collect()
    }

    #[test]
    fn hashes_of_keys_never_change() {
        for (key, hash) in [
            ("", 0x2d06_8005_38d3_94c2),
            ("abc", 0x78af_5f94_892f_3950),
            ("123456789", 0x72dc_b18b_67a1_7dff),
            ("user:1000", 0xfb68_41b2_068c_0c9f),
            ("tenant:7", 0xebdb_bb8f_944b_9b3a),
            ("key:1", 0xbf2d_6d6b_8270_d37a),
        ] {
            assert_eq!(key.stable_hash(0), hash, "{key}");
            assert_eq!(key.to_owned().stable_hash(0), hash, "{key}");
            assert_eq!(key.as_bytes().stable_hash(0), hash, "{key}");
            assert_eq!(Arc::<str>::from(key).stable_hash(0), hash, "{key}");
        }
        assert_eq!(1u64.stable_hash(0), 0x2fbc_5935_64db_792e);
        assert_eq!(42u64.stable_hash(0), 0xd5a6_f8c8_38df_27c8);
        assert_eq!(u64::MAX.stable_hash(0), 0x5111_c7e4_7d78_4413);
        assert_eq!(42usize.stable_hash(0), 42u64.stable_hash(0));
    }

    #[test]
    fn canonical_bytes_are_as_the_table_says() {
        assert_eq!(canonical(&0x0102_0304_u32), [4, 3, 2, 1]);
        assert_eq!(canonical(&-2i16), [0xfe, 0xff]);
        assert_eq!(canonical(&1usize), [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(canonical(&-1isize), [0xff; 8]);
        assert_eq!(canonical(&1u128).len(), 16);
        assert_eq!(canonical(&true), [1]);
        assert_eq!(canonical(&'ü'), [0xfc, 0, 0, 0]);
        assert_eq!(canonical("ü"), [0xc3, 0xbc]);
        assert_eq!(canonical(&Ipv4Addr::new(10, 0, 0, 1)), [10, 0, 0, 1]);
        assert_eq!(canonical(&IpAddr::V6(Ipv6Addr::LOCALHOST)).len(), 16);
        assert_eq!(canonical(&Some(Some(7u8))), [1, 1, 7]);
        assert_eq!(canonical(&Some(None::<u8>)), [1, 0]);
        assert_eq!(canonical(&Cow::Borrowed("a")), *b"a");
        let pair = [
            1, 0, 0, 0, 0, 0, 0, 0, 7, 2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b',
        ];
        assert_eq!(canonical(&(7u8, "ab")), pair);
    }

    #[test]
    fn a_key_longer_than_the_buffer_loses_nothing() {
        for len in [NEAR - 1, NEAR, NEAR + 1, 5 * NEAR] {
            let long: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut bytes = CanonicalBytes::new();
            long.chunks(7).for_each(|chunk| bytes.append(chunk));
            bytes.append(b"");
            assert_eq!(bytes.as_slice(), long);
        }
    }

    proptest! {
        #[test]
        fn parts_do_not_run_into_each_other(
            a: (String, String, Option<u8>),
            b: (String, String, Option<u8>),
        ) {
            prop_assert_eq!(canonical(&a) == canonical(&b), a == b);
            // Nesting is another key, and must not be taken for the flat one.
            let nested = ((&a.0, &a.1), a.2);
            prop_assert_ne!(canonical(&nested), canonical(&a));
        }

        #[test]
        fn ordered_bytes_sort_as_the_keys_do(
            a: (i64, Vec<u8>, Option<u64>),
            b: (i64, Vec<u8>, Option<u64>),
            small: (i16, i16),
            addresses: (IpAddr, IpAddr),
        ) {
            let ordered = |key: &dyn StableKey| {
                let mut bytes = CanonicalBytes::new();
                key.write_ordered(&mut bytes);
                bytes.as_slice().to_vec()
            };
            prop_assert_eq!(ordered(&a).cmp(&ordered(&b)), a.cmp(&b));
            prop_assert_eq!(ordered(&a.0).cmp(&ordered(&b.0)), a.0.cmp(&b.0));
            prop_assert_eq!(ordered(&small.0).cmp(&ordered(&small.1)), small.0.cmp(&small.1));
            prop_assert_eq!(ordered(&a.1).cmp(&ordered(&b.1)), a.1.cmp(&b.1));
            let same_number = (a.0, b.1.clone(), b.2);
            prop_assert_eq!(ordered(&a).cmp(&ordered(&same_number)), a.cmp(&same_number));
            prop_assert_eq!(ordered(&addresses.0).cmp(&ordered(&addresses.1)), addresses.0.cmp(&addresses.1));
        }

        #[test]
        fn the_fast_ways_agree_with_the_bytes(number: u64, wide: u128, text: String, seed: u64) {
            prop_assert_eq!(number.stable_hash(seed), xxh3_64(&canonical(&number), seed));
            let signed = number.cast_signed();
            prop_assert_eq!(signed.stable_hash(seed), xxh3_64(&canonical(&signed), seed));
            prop_assert_eq!(wide.stable_hash(seed), xxh3_64(&canonical(&wide), seed));
            prop_assert_eq!(<&String>::stable_hash(&&text, seed), xxh3_64(&canonical(&text), seed));
            let boxed = Box::new(text.clone());
            prop_assert_eq!(boxed.stable_hash(seed), text.stable_hash(seed));
        }
    }
}

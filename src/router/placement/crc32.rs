/// CRC-32 as zip, PNG and nginx have it, over bytes that come in pieces.
#[derive(Clone, Copy)]
pub(super) struct Crc32(u32);

impl Crc32 {
    pub(super) const fn new() -> Self {
        Self(u32::MAX)
    }

    #[must_use]
    pub(super) fn with(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut crc = self.0;
        for word in words {
            // The sum so far joins the first four bytes.
            let mixed = u64::from_le_bytes(*word) ^ u64::from(crc);
            crc = mixed
                .to_le_bytes()
                .iter()
                .zip(TABLES.iter().rev())
                .fold(0, |sum, (&byte, table)| sum ^ table[usize::from(byte)]);
        }
        for &byte in rest {
            crc = (crc >> 8) ^ TABLES[0][usize::from(crc as u8 ^ byte)];
        }
        Self(crc)
    }

    pub(super) const fn finish(self) -> u32 {
        !self.0
    }
}

/// Eight bytes at a time: `TABLES[n]` is a byte's effect n bytes later.
static TABLES: [[u32; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 0 { 0 } else { 0xedb8_8320 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut later = 1;
    while later < 8 {
        byte = 0;
        while byte < 256 {
            let crc = tables[later - 1][byte];
            tables[later][byte] = (crc >> 8) ^ tables[0][(crc & 0xff) as usize];
            byte += 1;
        }
        later += 1;
    }
    tables
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_standard() {
        let sum = |bytes| Crc32::new().with(bytes).finish();
        assert_eq!(sum(b""), 0);
        assert_eq!(sum(b"123456789"), 0xcbf4_3926);
        let pieces = Crc32::new().with(b"1").with(b"23456").with(b"789");
        assert_eq!(pieces.finish(), 0xcbf4_3926);
        let text = b"The quick brown fox jumps over the lazy dog";
        assert_eq!(sum(text), 0x414f_a339);
    }
}

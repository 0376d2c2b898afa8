use std::collections::HashMap;

/// Names and their numbers, in the order of their first appearance.
#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<Box<[u8]>, u32>,
    names: Vec<Box<[u8]>>,
}

impl Names {
    /// The number of this name, a new one if it has none yet.
    pub(super) fn number(&mut self, name: &[u8]) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        // The number of requests is limited far below 2^32.
        let number = self.names.len() as u32;
        self.numbers.insert(name.into(), number);
        self.names.push(name.into());
        number
    }

    /// All names, by number.
    pub(super) fn into_names(self) -> Vec<Box<[u8]>> {
        self.names
    }
}

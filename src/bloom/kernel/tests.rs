use proptest::prelude::*;

use super::*;

fn kernels() -> Vec<Kernel> {
    let all = InstructionSet::ALL;
    all.into_iter().filter_map(Kernel::of).collect()
}

#[test]
fn the_best_kernel_is_one_of_those_available() {
    let best = Kernel::best().instruction_set();
    assert_eq!(best, kernels()[0].instruction_set());
    assert!(InstructionSet::Portable.is_available());
}

proptest! {
    #[test]
    fn every_instruction_set_finds_the_same_bits(
        words: [u64; 8],
        // Dense lines, so that both answers occur.
        more: [u64; 8],
        bits: u64,
    ) {
        let line = Line(std::array::from_fn(|i| words[i] | more[i]));
        let mut portable = line;
        let new = portable.set_all(blocked(bits));
        prop_assert_eq!(line.has_all(blocked(bits)), !new);
        for kernel in kernels() {
            let set = kernel.instruction_set();
            prop_assert_eq!(kernel.contains(&line, bits), !new, "{}", set);
            let mut inserted = line;
            prop_assert_eq!(kernel.insert(&mut inserted, bits), new, "{}", set);
            prop_assert_eq!(inserted, portable, "{}", set);
            prop_assert!(kernel.contains(&inserted, bits), "{}", set);
            if let Some(kernel) = kernel.inline() {
                let mut inserted = line;
                prop_assert_eq!(kernel.contains(&line, bits), !new, "inline {}", set);
                prop_assert_eq!(kernel.insert(&mut inserted, bits), new, "inline {}", set);
                prop_assert_eq!(inserted, portable, "inline {}", set);
            }
        }
    }

    #[test]
    fn every_instruction_set_answers_alike_for_a_group(
        words: Vec<[u64; 8]>,
        keys in prop::collection::vec((0usize..64, any::<u64>()), 0..=32),
    ) {
        let mut lines = vec![Line::EMPTY; 64];
        for (line, words) in lines.iter_mut().zip(&words) {
            *line = Line(words.map(|word| word | word.rotate_left(9)));
        }
        let spots: Vec<Spot> = keys.iter().map(|&(line, bits)| Spot { line, bits }).collect();
        let mut expected = lines.clone();
        let found = group(&spots, |s| lines[s.line].has_all(blocked(s.bits)));
        let new = group(&spots, |s| expected[s.line].set_all(blocked(s.bits)));
        for kernel in kernels() {
            let set = kernel.instruction_set();
            let mut inserted = lines.clone();
            prop_assert_eq!(kernel.contains_group(&lines, &spots), found, "{}", set);
            prop_assert_eq!(kernel.insert_group(&mut inserted, &spots), new, "{}", set);
            prop_assert_eq!(&inserted, &expected, "{}", set);
        }
    }
}

//! `partial`: the first or last characters of a text; the others are masked.

/// Which characters are shown, and what stands for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partial {
    /// In characters.
    pub(crate) keep_first: usize,
    /// In characters.
    pub(crate) keep_last: usize,
    pub(crate) mask: char,
}

impl Partial {
    /// The text with every hidden character masked. A text that is not longer than what is kept is masked
    /// whole.
    pub(super) fn of(self, text: &str) -> String {
        let length = text.chars().count();
        let all = length <= self.keep_first.saturating_add(self.keep_last);
        let shown = |at: usize| !all && (at < self.keep_first || at >= length.saturating_sub(self.keep_last));
        text.chars()
            .enumerate()
            .map(|(at, character)| if shown(at) { character } else { self.mask })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Partial;

    fn of(keep_first: usize, keep_last: usize, text: &str) -> String {
        Partial { keep_first, keep_last, mask: '*' }.of(text)
    }

    #[test]
    fn first_and_last_characters_are_kept() {
        assert_eq!(of(0, 4, "4111111111111111"), "************1111");
        assert_eq!(of(1, 0, "Ann"), "A**");
        assert_eq!(of(2, 2, "äöüß€"), "äö*ß€", "characters, not bytes");
        assert_eq!(Partial { keep_first: 0, keep_last: 1, mask: '•' }.of("añb"), "••b");
    }

    #[test]
    fn what_is_not_longer_than_what_is_kept_is_masked_whole() {
        for (first, last, text) in
            [(0, 4, "1234"), (2, 2, "abcd"), (9, 9, "a"), (0, 4, ""), (usize::MAX, 1, "ab")]
        {
            assert_eq!(of(first, last, text), "*".repeat(text.len()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_more_is_shown_than_is_kept(first in 0_usize..6, last in 0_usize..6, text in "[^*]{0,16}") {
            let (masked, before): (Vec<_>, Vec<_>) = (of(first, last, &text).chars().collect(), text.chars().collect());
            prop_assert_eq!(masked.len(), before.len());
            let shown: Vec<_> = (0..masked.len()).filter(|at| masked[*at] != '*').collect();
            prop_assert!(shown.len() <= first + last && (shown.len() < before.len() || before.is_empty()));
            for at in shown {
                prop_assert!(masked[at] == before[at] && (at < first || before.len() - at <= last));
            }
        }
    }
}

//! A trie of topic patterns, a node per word.

use std::collections::HashMap;

use crate::model::topic::words;

/// Values by topic pattern. At most one value a pattern.
#[derive(Debug)]
pub struct Trie<T> {
    root: Node<T>,
    patterns: usize,
}

#[derive(Debug)]
struct Node<T> {
    value: Option<T>,
    literal: HashMap<Box<str>, Self>,
    star: Option<Box<Self>>,
    hash: Option<Box<Self>>,
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self {
            root: Node::default(),
            patterns: 0,
        }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            value: None,
            literal: HashMap::new(),
            star: None,
            hash: None,
        }
    }
}

impl<T> Trie<T> {
    /// The number of patterns that hold a value.
    pub fn len(&self) -> usize {
        self.patterns
    }

    /// Whether no pattern holds a value.
    pub fn is_empty(&self) -> bool {
        self.patterns == 0
    }

    /// The value of exactly this pattern, made when it is not there.
    pub fn entry(&mut self, pattern: &str, make: impl FnOnce() -> T) -> &mut T {
        let mut node = &mut self.root;
        for word in words(pattern) {
            node = match word {
                "*" => node.star.get_or_insert_default(),
                "#" => node.hash.get_or_insert_default(),
                _ => node.literal.entry(word.into()).or_default(),
            };
        }
        if node.value.is_none() {
            self.patterns += 1;
        }
        node.value.get_or_insert_with(make)
    }

    /// The value of exactly this pattern.
    pub fn get(&self, pattern: &str) -> Option<&T> {
        let mut node = &self.root;
        for word in words(pattern) {
            node = match word {
                "*" => node.star.as_deref()?,
                "#" => node.hash.as_deref()?,
                _ => node.literal.get(word)?,
            };
        }
        node.value.as_ref()
    }

    /// The value of exactly this pattern, to be changed.
    pub fn get_mut(&mut self, pattern: &str) -> Option<&mut T> {
        let mut node = &mut self.root;
        for word in words(pattern) {
            node = match word {
                "*" => node.star.as_deref_mut()?,
                "#" => node.hash.as_deref_mut()?,
                _ => node.literal.get_mut(word)?,
            };
        }
        node.value.as_mut()
    }

    /// Takes out the value of exactly this pattern, and the nodes that only it needed.
    pub fn remove(&mut self, pattern: &str) -> Option<T> {
        let words: Vec<&str> = words(pattern).collect();
        let value = self.root.remove(&words);
        self.patterns -= usize::from(value.is_some());
        value
    }

    /// Calls `found` for the value of every pattern that the words match, once each.
    pub fn for_each_match<'t>(&'t self, words: &[&str], mut found: impl FnMut(&'t T)) {
        // A pattern with `#` can match one key in several ways; each value's address is reported
        // once. Patterns without `#` match in one way only and are never looked up here.
        let mut by_hash = Vec::new();
        self.root.collect(words, false, &mut found, &mut by_hash);
        by_hash.sort_unstable_by_key(|&value| std::ptr::from_ref::<T>(value));
        by_hash.dedup_by_key(|&mut value| std::ptr::from_ref::<T>(value));
        by_hash.into_iter().for_each(found);
    }
}

impl<T> Node<T> {
    fn collect<'t>(
        &'t self,
        words: &[&str],
        through_hash: bool,
        found: &mut impl FnMut(&'t T),
        by_hash: &mut Vec<&'t T>,
    ) {
        if let Some(hash) = &self.hash {
            for taken in 0..=words.len() {
                hash.collect(&words[taken..], true, found, by_hash);
            }
        }
        let Some((&word, rest)) = words.split_first() else {
            match &self.value {
                Some(value) if through_hash => by_hash.push(value),
                Some(value) => found(value),
                None => {}
            }
            return;
        };
        if let Some(next) = self.literal.get(word) {
            next.collect(rest, through_hash, found, by_hash);
        }
        if let Some(star) = &self.star {
            star.collect(rest, through_hash, found, by_hash);
        }
    }

    fn remove(&mut self, words: &[&str]) -> Option<T> {
        let Some((&word, rest)) = words.split_first() else {
            return self.value.take();
        };
        match word {
            "*" => Self::remove_below(&mut self.star, rest),
            "#" => Self::remove_below(&mut self.hash, rest),
            _ => {
                let node = self.literal.get_mut(word)?;
                let value = node.remove(rest);
                if node.is_unused() {
                    self.literal.remove(word);
                    // A key space that was once wide shall not stay resident.
                    if self.literal.capacity() > 64
                        && self.literal.capacity() > 4 * self.literal.len()
                    {
                        self.literal.shrink_to_fit();
                    }
                }
                value
            }
        }
    }

    fn remove_below(slot: &mut Option<Box<Self>>, rest: &[&str]) -> Option<T> {
        let node = slot.as_mut()?;
        let value = node.remove(rest);
        if node.is_unused() {
            *slot = None;
        }
        value
    }

    fn is_unused(&self) -> bool {
        self.value.is_none()
            && self.literal.is_empty()
            && self.star.is_none()
            && self.hash.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::topic;
    use proptest::prelude::*;

    fn matching<'t>(trie: &'t Trie<String>, key: &str) -> Vec<&'t str> {
        let words: Vec<&str> = topic::words(key).collect();
        let mut found = Vec::new();
        trie.for_each_match(&words, |value| found.push(value.as_str()));
        found.sort_unstable();
        found
    }

    fn trie_of(patterns: &[String]) -> Trie<String> {
        let mut trie = Trie::default();
        for pattern in patterns {
            trie.entry(pattern, || pattern.clone());
        }
        trie
    }

    #[test]
    fn agrees_with_a_topic_exchange() {
        for (pattern, key, expected) in topic::tests::fixture_cases() {
            let trie = trie_of(std::slice::from_ref(&pattern));
            assert_eq!(
                !matching(&trie, &key).is_empty(),
                expected,
                "{pattern} against {key}"
            );
        }
    }

    fn topic_text() -> impl Strategy<Value = String> {
        let word = prop::sample::select(vec!["a", "b", "c", "*", "#", ""]);
        prop::collection::vec(word, 0..6).prop_map(|words| words.join("."))
    }

    proptest! {
        #[test]
        fn equals_the_naive_matcher(
            patterns in prop::collection::vec(topic_text(), 0..12),
            key in topic_text(),
        ) {
            let trie = trie_of(&patterns);
            let mut expected: Vec<&str> = patterns
                .iter()
                .filter(|pattern| topic::matches(pattern, &key))
                .map(String::as_str)
                .collect();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(matching(&trie, &key), expected);
        }

        #[test]
        fn removing_leaves_nothing(patterns in prop::collection::vec(topic_text(), 0..12)) {
            let mut trie = trie_of(&patterns);
            for pattern in &patterns {
                trie.remove(pattern);
            }
            prop_assert!(trie.is_empty());
            prop_assert!(trie.root.is_unused());
        }
    }
}

//! Bounded caches, shared between threads.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Threads that look up different keys rarely wait for one another.
const SHARDS: usize = 16;

/// A cache of bounded weight, in shards with a lock each.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    shards: Vec<Mutex<Recent<K, V>>>,
    hasher: RandomState,
}

impl<K: Hash + Eq + Copy, V: Clone> Cache<K, V> {
    /// An empty cache that holds at most about `weight_max`.
    pub(super) fn new(weight_max: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Recent::new(weight_max / SHARDS))).collect();
        Self { shards, hasher: RandomState::new() }
    }

    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.shard(key).get(key)
    }

    pub(super) fn put(&self, key: K, value: V, weight: usize) {
        self.shard(&key).put(key, value, weight);
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, Recent<K, V>> {
        let hash = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        // A panic while the lock was held can't leave a wrong entry, at worst a missing one.
        self.shards[hash].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets in two generations: what wasn't used since the last turn goes first.
#[derive(Debug)]
struct Recent<K, V> {
    generation_weight_max: usize,
    young_weight: usize,
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
}

impl<K: Hash + Eq + Copy, V: Clone> Recent<K, V> {
    fn new(weight_max: usize) -> Self {
        let generation_weight_max = weight_max / 2;
        Self { generation_weight_max, young_weight: 0, young: HashMap::new(), old: HashMap::new() }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        if let Some((value, _)) = self.young.get(key) {
            return Some(value.clone());
        }
        let (value, weight) = self.old.remove(key)?;
        self.put(*key, value.clone(), weight);
        Some(value)
    }

    fn put(&mut self, key: K, value: V, weight: usize) {
        // What would fill a generation alone would only drive out everything else.
        if weight > self.generation_weight_max {
            return;
        }
        if self.young_weight + weight > self.generation_weight_max {
            self.old = std::mem::take(&mut self.young);
            self.young_weight = 0;
        }
        self.young_weight += weight;
        if let Some((_, replaced)) = self.young.insert(key, (value, weight)) {
            self.young_weight -= replaced;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_keeps_what_is_used_and_stays_within_its_bound() {
        let mut cache = Recent::new(100);
        for key in 0..1_000u32 {
            cache.put(key, key, 10);
            assert_eq!(cache.get(&0), Some(0), "0 is used all the time");
            let held: usize =
                cache.young.values().chain(cache.old.values()).map(|(_, weight)| weight).sum();
            assert!(held <= 100, "{held}");
        }
        assert_eq!(cache.get(&1), None);
    }

    #[test]
    fn one_large_entry_does_not_drive_out_the_rest() {
        let mut cache = Recent::new(100);
        cache.put(1, 1, 10);
        cache.put(2, 2, 51);
        assert_eq!((cache.get(&1), cache.get(&2)), (Some(1), None));
    }
}

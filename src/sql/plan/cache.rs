//! Plans by text: a repeated statement costs one look-up.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::plan::Plan;

/// How many texts one generation holds. An application has some hundreds of distinct statements; one that
/// writes its values into the text would fill any cache.
pub const MAX_CACHED_TEXTS: usize = 2_048;
/// How many bytes of text and plan one generation holds.
pub const MAX_CACHED_BYTES: usize = 4 << 20;
/// A longer text is planned anew each time: it is most likely unique.
pub const MAX_CACHED_TEXT_BYTES: usize = 16 << 10;

type Generation = HashMap<Box<str>, Arc<Plan>, foldhash::fast::RandomState>;

/// A bounded map in two generations: when the young one is full it becomes the old one, and what is still
/// used moves back. This forgets about the least recently used half at once, without a list to keep on
/// every look-up.
#[derive(Debug, Default)]
pub struct PlanCache {
    generations: RwLock<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: Generation,
    old: Generation,
    young_bytes: usize,
}

impl PlanCache {
    /// The plan of `sql`; `make` is called when it is not known. The flag tells whether the text was new.
    pub fn get_or_make(&self, sql: &str, make: impl FnOnce() -> Plan) -> (Arc<Plan>, bool) {
        let old = {
            let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(plan) = generations.young.get(sql) {
                return (Arc::clone(plan), false);
            }
            generations.old.get(sql).cloned()
        };
        let known = old.is_some();
        let plan = old.unwrap_or_else(|| Arc::new(make()));
        if sql.len() <= MAX_CACHED_TEXT_BYTES {
            self.insert(sql, Arc::clone(&plan));
        }
        (plan, !known)
    }

    fn insert(&self, sql: &str, plan: Arc<Plan>) {
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        let bytes = sql.len() + plan.size();
        let full =
            generations.young.len() >= MAX_CACHED_TEXTS || generations.young_bytes + bytes > MAX_CACHED_BYTES;
        if full {
            generations.old = std::mem::take(&mut generations.young);
            generations.young_bytes = 0;
        }
        generations.young_bytes += bytes;
        generations.young.insert(sql.into(), plan);
    }

    /// How many texts are held.
    pub fn len(&self) -> usize {
        let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
        generations.young.len() + generations.old.len()
    }

    /// Whether no text is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_text_is_planned_once_and_the_cache_stays_bounded() {
        let cache = PlanCache::default();
        let (_, new) = cache.get_or_make("SELECT 1", Plan::default);
        let (_, again) = cache.get_or_make("SELECT 1", || panic!("planned twice"));
        assert!(new && !again);
        for n in 0..10 * MAX_CACHED_TEXTS {
            cache.get_or_make(&format!("SELECT {n}"), Plan::default);
            cache.get_or_make("SELECT 1", || panic!("a text in use was forgotten"));
        }
        assert!(cache.len() <= 2 * MAX_CACHED_TEXTS);
    }
}

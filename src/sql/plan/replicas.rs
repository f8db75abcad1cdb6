//! Sets of replicas.

/// Which replicas something is for: bit `i` is replica `i`.
pub type ReplicaSet = u64;

/// The most replicas one replicator serves: a set of them is one machine word.
pub const MAX_REPLICAS: usize = 64;

/// The set of those for which `test` holds, of what there is one of for each replica.
pub fn replicas_with<T>(values: &[T], test: impl Fn(&T) -> bool) -> ReplicaSet {
    values.iter().enumerate().filter(|(_, value)| test(value)).map(|(at, _)| 1 << at).sum()
}

/// The replicas in a set, by index.
pub fn replicas_in(mut set: ReplicaSet) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let replica = set.trailing_zeros() as usize;
        set &= set.wrapping_sub(1);
        (replica < 64).then_some(replica)
    })
}

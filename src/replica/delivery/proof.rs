//! What a watermark row proves: a pure function of the row and of what was sent. A replica's word is believed as far as
//! a text of ours could have made it true, and no further.

use crate::{
    journal::Issued,
    wire::{Progress, Row},
    write::Standing,
};

/// What was sent, as far as a row can be checked against it.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// The row as last confirmed.
    pub standing: Standing,
    /// Every write up to this one is settled.
    pub position: u64,
    /// How far the write after it is, as [`Progress::step`].
    pub step: u64,
    /// The texts sent since.
    pub issued: &'a [Issued],
}

/// What the row says of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// None of them ran.
    Unmoved,
    /// This one ran last.
    Ran(usize),
    /// Someone else moved the row.
    Foreign,
    /// The row says what none of them can have made of it.
    Impossible,
}

/// What `row` proves. `parts` says how many statements the first open write after a number has: 0 where there is none.
pub fn prove(row: &Row, sent: &Sent<'_>, parts: impl FnOnce(u64) -> u64) -> Proof {
    let Sent { standing, position, step, issued } = *sent;
    if !row.is_sound() {
        return Proof::Impossible;
    }
    if row.standing(row.id) == standing {
        return Proof::Unmoved;
    }
    let Some(at) = issued.iter().position(|issued| issued.chain == row.chain) else {
        return Proof::Foreign;
    };
    let last = issued[at].last;
    let beyond = row.seq > last || row.seq == last && row.step > 0;
    let done = Progress::of(row.step);
    let back = row.seq == position && done < Progress::of(step);
    // Of a write that is settled meanwhile no step counts.
    let half = row.step > 0 && row.seq >= position && done.statements >= parts(row.seq);
    if row.id != standing.id || beyond || back || half { Proof::Impossible } else { Proof::Ran(at) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STANDING: Standing = Standing { id: 3, seq: 10, step: 0, chain: 77 };
    const ISSUED: [Issued; 2] = [Issued { chain: 100, last: 15 }, Issued { chain: 101, last: 12 }];
    const SENT: Sent<'static> = Sent { standing: STANDING, position: 10, step: 0, issued: &ISSUED };

    fn row(seq: u64, step: u64, chain: u64) -> Row {
        Row { id: 3, seq, step, chain, changes: String::new() }
    }

    fn of(row: &Row) -> Proof {
        prove(row, &SENT, |_| 2)
    }

    #[test]
    fn a_row_is_believed_as_far_as_a_text_could_have_made_it() {
        assert_eq!(of(&row(10, 0, 77)), Proof::Unmoved);
        assert_eq!(of(&row(10, 0, 100)), Proof::Ran(0));
        assert_eq!(of(&row(15, 0, 100)), Proof::Ran(0));
        assert_eq!(of(&row(14, 1, 100)), Proof::Ran(0));
        assert_eq!(of(&row(12, 0, 101)), Proof::Ran(1));
        // An older text may have run that began before a write was given up.
        assert_eq!(of(&row(9, 5, 100)), Proof::Ran(0));
        for foreign in [row(10, 0, 78), row(11, 0, 77), row(10, 1, 77)] {
            assert_eq!(of(&foreign), Proof::Foreign, "{foreign:?}");
        }
        let impossible = [
            row(16, 0, 100),
            row(13, 0, 101),
            row(12, 1, 101),
            row(14, 2, 100),
            row(1 << 62, 0, 100),
            row(u64::MAX, 0, 100),
            row(11, u64::MAX, 100),
            Row { id: 4, ..row(11, 0, 100) },
            Row { id: 0, ..row(11, 0, 100) },
            Row { id: u64::MAX, ..row(10, 0, 77) },
        ];
        for row in impossible {
            assert_eq!(of(&row), Proof::Impossible, "{row:?}");
        }
        let resumed = Sent { step: 2, ..SENT };
        assert_eq!(prove(&row(10, 1, 100), &resumed, |_| 5), Proof::Impossible);
        assert_eq!(prove(&row(10, 3, 100), &resumed, |_| 5), Proof::Ran(0));
    }

    proptest! {
        #[test]
        fn any_row_is_taken_and_nothing_beyond_what_was_sent(
            id: u64,
            seq in prop_oneof![any::<u64>(), 8..18u64],
            step in prop_oneof![any::<u64>(), 0..4u64],
            chain in prop_oneof![any::<u64>(), 77..78u64, 100..102u64],
            parts: u64,
        ) {
            for id in [id, 3] {
                let row = Row { id, seq, step, chain, changes: String::new() };
                if let Proof::Ran(at) = prove(&row, &SENT, |_| parts) {
                    prop_assert!(seq <= ISSUED[at].last && chain == ISSUED[at].chain && id == 3);
                    prop_assert!(step == 0 || seq < SENT.position || Progress::of(step).statements < parts);
                }
            }
        }
    }
}

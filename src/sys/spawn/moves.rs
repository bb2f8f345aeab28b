//! In which order descriptors are copied, so that none is overwritten before it was copied itself.

use std::ffi::c_int;

/// One system call of the child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Move {
    /// `to` becomes a copy of `from`, for the program.
    Copy { from: c_int, to: c_int },
    /// `to` becomes a copy of `from`, until the program is executed.
    Aside { from: c_int, to: c_int },
    /// This one is for the program, as it is.
    Keep(c_int),
}

/// The first number that is not standard input, output or error.
const FIRST_SPARE: c_int = 3;

/// Appends what makes each second number a copy of the first one, as it was before all of them. If a target is named
/// twice, the last one counts. A spare number may be one that is open, if nothing is said of it here.
pub(super) fn in_order(wanted: &[(c_int, c_int)], moves: &mut Vec<Move>) {
    let mut aside: Vec<(c_int, c_int)> = Vec::new();
    for (from, _) in standing(wanted).filter(|(from, _)| is_overwritten(wanted, *from)) {
        if !aside.iter().any(|(moved, _)| *moved == from) {
            let to = spare(wanted, &aside);
            aside.push((from, to));
            moves.push(Move::Aside { from, to });
        }
    }
    moves.extend(standing(wanted).map(|(from, to)| {
        let now = aside.iter().find(|(moved, _)| *moved == from).map_or(from, |(_, spare)| *spare);
        if from == to { Move::Keep(to) } else { Move::Copy { from: now, to } }
    }));
}

/// Those that no later one replaces.
fn standing(wanted: &[(c_int, c_int)]) -> impl Iterator<Item = (c_int, c_int)> {
    let replaced = |at: usize, target| wanted.iter().skip(at + 1).any(|(_, to)| *to == target);
    wanted.iter().enumerate().filter(move |(at, (_, to))| !replaced(*at, *to)).map(|(_, pair)| *pair)
}

fn is_overwritten(wanted: &[(c_int, c_int)], number: c_int) -> bool {
    standing(wanted).any(|(from, to)| to == number && from != to)
}

/// A low one, so that it is allowed at the limit of descriptors too.
fn spare(wanted: &[(c_int, c_int)], aside: &[(c_int, c_int)]) -> c_int {
    let is_named = |number: c_int| wanted.iter().chain(aside).any(|(from, to)| [*from, *to].contains(&number));
    (FIRST_SPARE..).find(|number| !is_named(*number)).unwrap_or(c_int::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// What is open under each number that is for the program, if every number was open as itself before.
    fn played(moves: &[Move]) -> BTreeMap<c_int, c_int> {
        let (mut table, mut kept) = (BTreeMap::new(), Vec::new());
        let at = |table: &BTreeMap<c_int, c_int>, number| table.get(&number).copied().unwrap_or(number);
        for step in moves {
            let (Move::Copy { from, to } | Move::Aside { from, to }) = *step else {
                let Move::Keep(number) = *step else { unreachable!() };
                kept.push(number);
                continue;
            };
            assert_ne!(from, to, "dup3(2) refuses that");
            let file = at(&table, from);
            table.insert(to, file);
            kept.retain(|number| *number != to);
            kept.extend(matches!(step, Move::Copy { .. }).then_some(to));
        }
        kept.into_iter().map(|number| (number, at(&table, number))).collect()
    }

    fn order(wanted: &[(c_int, c_int)]) -> Vec<Move> {
        let mut moves = Vec::new();
        in_order(wanted, &mut moves);
        moves
    }

    #[test]
    fn what_is_in_nobody_s_way_is_copied_at_once() {
        assert_eq!(order(&[(7, 0), (8, 1)]), [Move::Copy { from: 7, to: 0 }, Move::Copy { from: 8, to: 1 }]);
        assert_eq!(order(&[(5, 5), (1, 2)]), [Move::Keep(5), Move::Copy { from: 1, to: 2 }]);
    }

    #[test]
    fn two_that_change_places_step_aside() {
        let moves = order(&[(3, 4), (4, 3)]);
        assert_eq!(moves.first(), Some(&Move::Aside { from: 3, to: 5 }));
        assert_eq!(played(&moves), BTreeMap::from([(3, 4), (4, 3)]));
    }

    proptest! {
        #[test]
        fn each_target_gets_what_its_source_was_before(wanted in prop::collection::vec((0..9, 0..9), 0..9)) {
            let expected: BTreeMap<_, _> = wanted.iter().map(|(from, to)| (*to, *from)).collect();
            prop_assert_eq!(played(&order(&wanted)), expected);
        }
    }
}

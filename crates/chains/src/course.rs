//! Progress of work whose amount is known beforehand only roughly: never more of it is told than
//! was said, and all of it at the end.

use std::iter::Peekable;
use std::vec::IntoIter;

/// Work over keys in order, divided at some of them into pieces of about the same amount. What is
/// told is put right at each: the sizes that an engine gives are of compressed bytes.
pub(crate) struct Course {
    points: Peekable<IntoIter<Vec<u8>>>,
    /// What a piece amounts to.
    piece: u64,
    /// What is left of the piece that is under way.
    here: u64,
    /// What is left of the others.
    left: u64,
}

impl Course {
    pub(crate) fn new(points: Vec<Vec<u8>>, amount: u64) -> Self {
        let piece = amount / (points.len() as u64 + 1);
        Self { points: points.into_iter().peekable(), piece, here: piece, left: amount - piece }
    }

    /// What is to be told once `amount` was done since the last time, up to `key`.
    pub(crate) fn at(&mut self, key: &[u8], amount: u64) -> u64 {
        let mut told = 0;
        while self.points.next_if(|point| point.as_slice() <= key).is_some() {
            told += std::mem::replace(&mut self.here, self.piece.min(self.left));
            self.left -= self.here;
        }
        let now = amount.min(self.here);
        self.here -= now;
        told + now
    }

    /// What is to be told at the end.
    pub(crate) fn rest(&mut self) -> u64 {
        std::mem::take(&mut self.here) + std::mem::take(&mut self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_told_as_was_said_whatever_the_bytes_come_to() {
        // Entries of half, and of three times the size that the engine says.
        for entry in [5, 30] {
            let points = [25_u8, 50, 75].map(|key| vec![key]).to_vec();
            let mut course = Course::new(points, 1_003);
            let mut told = 0;
            for key in 0..100_u8 {
                let before = told;
                told += course.at(&[key], entry);
                assert!(told >= before);
                if key % 25 == 0 {
                    let there = 10 * u64::from(key);
                    assert!(told.abs_diff(there) <= entry, "{told} at {key}");
                }
            }
            told += course.rest();
            assert_eq!((told, course.rest()), (1_003, 0));
        }
    }

    #[test]
    fn points_that_no_key_reaches_and_many_at_once_lose_nothing() {
        let points = [1_u8, 2, 3, 200].map(|key| vec![key]).to_vec();
        let mut course = Course::new(points, 500);
        assert_eq!(course.at(&[100], 7), 307);
        assert_eq!(course.rest(), 193);
        assert_eq!(Course::new(vec![vec![1], vec![2]], 0).at(&[9], 5), 0);
    }
}

//! Equal shares.

#![forbid(unsafe_code)]

/// Shares `total` equally among those who want so many each: nobody gets more than he wants, what he leaves goes to the
/// others, and of a rest that cannot be divided the first get one more.
///
/// If there is one for each, each gets at least one (unless he wants none).
pub(super) fn fair_shares(total: usize, wanted: &[usize]) -> Vec<usize> {
    let mut shares = vec![0; wanted.len()];
    let mut left = total;
    loop {
        let open = shares.iter().zip(wanted).filter(|(share, wanted)| share < wanted).count();
        if open == 0 || left == 0 {
            return shares;
        }
        let equal = (left / open).max(1);
        for (share, wanted) in shares.iter_mut().zip(wanted) {
            let more = equal.min(wanted - *share).min(left);
            *share += more;
            left -= more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fair_shares;
    use proptest::prelude::*;

    #[test]
    fn what_one_leaves_goes_to_the_others() {
        assert_eq!(fair_shares(12, &[2, 100, 100]), [2, 5, 5]);
        assert_eq!(fair_shares(8, &[100, 100, 100]), [3, 3, 2]);
        assert_eq!(fair_shares(2, &[5, 5, 5]), [1, 1, 0]);
        assert_eq!(fair_shares(9, &[1, 2]), [1, 2]);
        assert!(fair_shares(9, &[]).is_empty());
    }

    proptest! {
        #[test]
        fn shares_are_fair_and_nothing_is_wasted(
            total in 0..500usize,
            wanted in prop::collection::vec(0..200usize, 0..12),
        ) {
            let shares = fair_shares(total, &wanted);
            prop_assert_eq!(shares.iter().sum::<usize>(), total.min(wanted.iter().sum()));
            let most = shares.iter().copied().max().unwrap_or(0);
            for (share, wanted) in shares.iter().zip(&wanted) {
                prop_assert!(share <= wanted);
                // Who has less than another by more than the rest has all that he wants.
                prop_assert!(share == wanted || share + 1 >= most, "{:?}", shares);
            }
        }
    }
}

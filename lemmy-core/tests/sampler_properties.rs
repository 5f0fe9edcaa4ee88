//! Properties of the sampler over random logits and options, against sorting everything.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::field_reassign_with_default)]

use lemmy_core::sampler::{LogProbs, TokenMask};
use lemmy_core::{ErrorKind, Sampler, SamplerParams, Stage, TokenId};
use proptest::prelude::*;

/// Few distinct values, so that ties are common; some tokens that can never come.
fn logits() -> impl Strategy<Value = Vec<f32>> {
    let logit = prop_oneof![
        8 => (-40i32..40).prop_map(|x| x as f32 / 4.0),
        1 => Just(f32::NEG_INFINITY),
    ];
    // Long enough that a prefix may need a second look at the vocabulary.
    prop::collection::vec(logit, 1..1200).prop_filter("one must be left", |l| l.iter().any(|x| x.is_finite()))
}

fn params() -> impl Strategy<Value = SamplerParams> {
    let order = vec![Stage::Penalties, Stage::TopK, Stage::TopP, Stage::MinP, Stage::Temperature];
    (0.1f32..3.0, 0u32..100, 0.0f32..=1.0, 0.0f32..=1.0, any::<u64>(), Just(order).prop_shuffle()).prop_map(
        |(temperature, top_k, top_p, min_p, seed, order)| {
            let mut params = SamplerParams::default();
            params.temperature = temperature;
            params.top_k = top_k;
            params.top_p = top_p;
            params.min_p = min_p;
            params.repeat_penalty = 1.2;
            params.presence_penalty = 0.3;
            params.seed = Some(seed);
            params.order = order;
            params
        },
    )
}

/// The sampler's rules on a sorted copy of everything.
fn oracle(logits: &[f32], params: &SamplerParams, said: &[TokenId]) -> Vec<(TokenId, f64)> {
    let mut list: Vec<(TokenId, f64)> = (0..).zip(logits.iter().map(|&x| f64::from(x))).collect();
    list.retain(|(_, x)| x.is_finite());
    let sort = |list: &mut Vec<(TokenId, f64)>| list.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    sort(&mut list);
    for stage in &params.order {
        match stage {
            Stage::Penalties => {
                for (id, x) in &mut list {
                    if said.contains(id) {
                        let r = f64::from(params.repeat_penalty);
                        *x = if *x > 0.0 { *x / r } else { *x * r } - f64::from(params.presence_penalty);
                    }
                }
                sort(&mut list);
            }
            Stage::TopK if params.top_k > 0 => list.truncate(params.top_k as usize),
            Stage::TopP if params.top_p < 1.0 => {
                let mut sum = 0.0;
                let keep = softmax(&list).iter().position(|p| {
                    sum += p;
                    sum >= f64::from(params.top_p)
                });
                list.truncate(keep.map_or(list.len(), |k| k + 1));
            }
            Stage::MinP => {
                let best = list[0].1;
                list.retain(|(_, x)| (x - best).exp() >= f64::from(params.min_p));
            }
            Stage::Temperature => list.iter_mut().for_each(|(_, x)| *x /= f64::from(params.temperature)),
            _ => {}
        }
    }
    let p = softmax(&list);
    list.iter().zip(p).map(|((id, _), p)| (*id, p)).collect()
}

fn softmax(sorted: &[(TokenId, f64)]) -> Vec<f64> {
    let best = sorted[0].1;
    let total: f64 = sorted.iter().map(|(_, x)| (x - best).exp()).sum();
    sorted.iter().map(|(_, x)| (x - best).exp() / total).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn stages_in_any_order_equal_sorting_everything(
        logits in logits(), params in params(), said in prop::collection::vec(0u32..1300, 0..40)
    ) {
        let mut sampler = Sampler::new(&params).unwrap();
        said.iter().for_each(|&id| sampler.accept(id));
        let found = sampler.distribution(&logits).unwrap();
        let expected = oracle(&logits, &params, &said);
        prop_assert_eq!(found.len(), expected.len());
        for (&(id, p), &(expected_id, expected_p)) in found.iter().zip(&expected) {
            prop_assert_eq!(id, expected_id);
            prop_assert!((p - expected_p).abs() < 1e-9);
        }
    }

    /// To forbid a token is to give it a logit of negative infinity.
    #[test]
    fn a_mask_equals_logits_of_negative_infinity(
        logits in logits(), params in params(), said in prop::collection::vec(0u32..1300, 0..40),
        words in prop::collection::vec(any::<u32>(), 0..50), bias in prop::collection::vec((0u32..1300, -2f32..2.0), 0..20)
    ) {
        let mut params = params;
        params.bias = bias;
        params.suppress = vec![0, 5, 70];
        let mut sampler = Sampler::new(&params).unwrap();
        said.iter().for_each(|&id| sampler.accept(id));
        let mask = TokenMask::from_words(words);
        let masked: Vec<f32> = (0..).zip(&logits).map(|(id, &x)| if mask.contains(id) { x } else { f32::NEG_INFINITY }).collect();
        match sampler.distribution(&masked) {
            Ok(expected) => {
                prop_assert_eq!(sampler.distribution_within(&logits, Some(&mask)).unwrap(), expected);
                let mut twin = sampler.clone();
                prop_assert_eq!(sampler.sample_within(&logits, Some(&mask)).unwrap(), twin.sample(&masked).unwrap());
            }
            Err(error) => {
                prop_assert_eq!(sampler.distribution_within(&logits, Some(&mask)).unwrap_err().kind(), error.kind());
                prop_assert_eq!(sampler.sample_within(&logits, Some(&mask)).unwrap_err().kind(), error.kind());
            }
        }
    }

    #[test]
    fn same_seed_same_tokens(logits in logits(), params in params()) {
        let (mut a, mut b) = (Sampler::new(&params).unwrap(), Sampler::new(&params).unwrap());
        let support = a.distribution(&logits).unwrap();
        for _ in 0..20 {
            let token = a.sample(&logits).unwrap();
            prop_assert_eq!(token, b.sample(&logits).unwrap());
            prop_assert!(support.iter().any(|&(id, _)| id == token));
        }
    }

    #[test]
    fn greedy_is_the_first_of_the_best(logits in logits()) {
        let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let first = logits.iter().position(|&x| x == best).unwrap();
        prop_assert_eq!(Sampler::greedy().sample(&logits).unwrap() as usize, first);
    }

    #[test]
    fn log_probabilities_sum_to_one(logits in logits(), n in 0usize..30) {
        let probs = LogProbs::new(&logits).unwrap();
        let sum: f64 = (0..logits.len()).map(|id| probs.of(id as TokenId).unwrap().exp()).sum();
        prop_assert!((sum - 1.0).abs() < 1e-9);
        let top = probs.top(n);
        prop_assert_eq!(top.len(), n.min(logits.iter().filter(|x| x.is_finite()).count()));
        prop_assert!(top.iter().all(|&(id, p)| probs.of(id) == Some(p)));
        prop_assert!(top.windows(2).all(|w| w[0].1 > w[1].1 || (w[0].1 == w[1].1 && w[0].0 < w[1].0)));
    }
}

#[test]
fn draws_follow_the_probabilities() {
    let logits = [1.0f32, 2.0, 0.0, 1.5];
    let mut params = SamplerParams::default();
    params.seed = Some(7);
    let mut sampler = Sampler::new(&params).unwrap();
    let mut counts = [0u32; 4];
    for _ in 0..100_000 {
        counts[sampler.sample(&logits).unwrap() as usize] += 1;
    }
    for (id, p) in sampler.distribution(&logits).unwrap() {
        let share = f64::from(counts[id as usize]) / 100_000.0;
        assert!((share - p).abs() < 0.01, "token {id}: {share} instead of {p}");
    }
}

#[test]
fn suppressed_tokens_never_come() {
    let mut params = SamplerParams::default();
    params.suppress = vec![1, 77];
    params.bias = vec![(1, 1000.0), (88, 5.0)];
    for temperature in [0.0, 1.0] {
        params.temperature = temperature;
        let mut sampler = Sampler::new(&params).unwrap();
        assert_eq!(sampler.sample(&[0.0, 100.0, f32::NEG_INFINITY]).unwrap(), 0);
        let error = sampler.sample(&[f32::NEG_INFINITY, 100.0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Argument);
    }
}

#[test]
fn logits_that_are_no_numbers_are_an_error() {
    let mut warm = Sampler::new(&SamplerParams::default()).unwrap();
    let mut greedy = Sampler::greedy();
    for (logits, kind) in [
        (vec![0.0, f32::NAN, 1.0], ErrorKind::Numeric),
        (vec![0.0, f32::INFINITY], ErrorKind::Numeric),
        (vec![f32::NEG_INFINITY; 3], ErrorKind::Argument),
        (vec![], ErrorKind::Argument),
    ] {
        for sampler in [&mut warm, &mut greedy] {
            assert_eq!(sampler.sample(&logits).unwrap_err().kind(), kind, "{logits:?}");
            assert_eq!(sampler.distribution(&logits).unwrap_err().kind(), kind, "{logits:?}");
        }
        assert_eq!(LogProbs::new(&logits).unwrap_err().kind(), kind, "{logits:?}");
    }
}

/// Whatever is allowed, a suppressed token does not come.
#[test]
fn a_mask_brings_no_suppressed_token_back() {
    let mut params = SamplerParams::default();
    params.suppress = vec![1];
    let mut only = TokenMask::none(3);
    only.insert(1);
    for temperature in [0.0, 1.0] {
        params.temperature = temperature;
        let mut sampler = Sampler::new(&params).unwrap();
        let error = sampler.sample_within(&[0.0, 9.0, 1.0], Some(&only)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Argument);
        assert!(error.to_string().contains("suppressed"), "{error}");
    }
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    type Change = fn(&mut SamplerParams);
    let cases: [(&str, Change); 12] = [
        ("temperature", |p| p.temperature = f32::NAN),
        ("temperature", |p| p.temperature = f32::INFINITY),
        ("top_p", |p| p.top_p = -0.1),
        ("top_p", |p| p.top_p = 1.1),
        ("top_p", |p| p.top_p = f32::NAN),
        ("min_p", |p| p.min_p = 2.0),
        ("repeat_penalty", |p| p.repeat_penalty = 0.0),
        ("repeat_penalty", |p| p.repeat_penalty = f32::INFINITY),
        ("frequency_penalty", |p| p.frequency_penalty = f32::NAN),
        ("presence_penalty", |p| p.presence_penalty = f32::NEG_INFINITY),
        ("bias", |p| p.bias = vec![(3, f32::NAN)]),
        ("order", |p| p.order = vec![Stage::TopK, Stage::TopP, Stage::TopK]),
    ];
    for (name, change) in cases {
        let mut params = SamplerParams::default();
        change(&mut params);
        let error = Sampler::new(&params).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Argument);
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn penalties_look_back_no_further_than_asked() {
    let logits = [2.0f32, 1.9, 1.8];
    let mut params = SamplerParams::default();
    params.temperature = 0.0;
    params.presence_penalty = 1.0;
    // Said is 1, 0, 2; only with a window of two does the best token suffer and the second not.
    for (window, best) in [(0, 0), (1, 0), (2, 1), (3, 0), (u32::MAX, 0)] {
        params.repeat_last = window;
        let mut sampler = Sampler::new(&params).unwrap();
        [1, 0, 2].into_iter().for_each(|token| sampler.accept(token));
        assert_eq!(sampler.sample(&logits).unwrap(), best, "window {window}");
    }
}

#[test]
fn heat_before_the_cuts_keeps_more() {
    let logits = [3.0f32, 2.0, 1.0, 0.0];
    let mut params = SamplerParams::default();
    params.temperature = 5.0;
    params.top_p = 0.7;
    params.order = vec![Stage::TopP, Stage::Temperature];
    let last = Sampler::new(&params).unwrap().distribution(&logits).unwrap();
    params.order.reverse();
    let first = Sampler::new(&params).unwrap().distribution(&logits).unwrap();
    assert_eq!((last.len(), first.len()), (2, 3));
}

#[test]
fn seeds_are_told_and_differ_when_left_out() {
    let mut params = SamplerParams::default();
    assert_ne!(Sampler::new(&params).unwrap().seed(), Sampler::new(&params).unwrap().seed());
    params.seed = Some(3);
    assert_eq!(Sampler::new(&params).unwrap().seed(), 3);
}

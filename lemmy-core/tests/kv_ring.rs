//! Rings of sliding layers far beyond their window: any cut, any rewind, every number type; and memory that stays as it
//! was reserved.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::PathBuf;

use lemmy_core::{Error, KvType, Model, Session, ThreadPool};
use proptest::prelude::*;

const TYPES: [KvType; 3] = [KvType::F16, KvType::F32, KvType::Q8_0];

fn model() -> Model {
    let tiny = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny/tiny-q4_k_m.gguf");
    Model::builder(tiny).threads(ThreadPool::new(2).unwrap()).load().unwrap()
}

fn prompt(n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * 37 + i / 19 + 11) % 512).collect()
}

fn read(session: &mut Session, ids: &[u32]) {
    session.prefill(ids, &mut |_, _| {}).unwrap();
}

fn last(session: &mut Session, ids: &[u32]) -> Vec<u32> {
    session.forward(ids).unwrap().last().iter().map(|x| x.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// 900 positions go round rings of 128 rows (window 16, batch 48, slack 40) seven times. After each piece the session
    /// goes back by any part of what it may, and reads on; the end is that of a session that read everything once.
    #[test]
    fn cuts_and_rewinds_leave_no_trace(
        kind in 0..TYPES.len(),
        pieces in prop::collection::vec((1usize..120, 0usize..=40), 4..10),
    ) {
        let (model, ids) = (model(), prompt(900));
        let options = || model.session().context(1000).batch(48).rewind_window(40).kv_type(TYPES[kind]);
        let mut whole = options().batch(200).build().unwrap();
        let expected = last(&mut whole, &ids);

        let mut s = options().build().unwrap();
        for (piece, back) in pieces.into_iter().cycle() {
            let done = s.tokens().len();
            let end = (done + piece.max(back + 1)).min(ids.len() - 1);
            read(&mut s, &ids[done..end]);
            if end == ids.len() - 1 {
                break;
            }
            s.rewind(end - back).unwrap();
        }
        let done = s.tokens().len();
        prop_assert_eq!(last(&mut s, &ids[done..]), expected);
    }
}

/// Reading, rewinding, forking and saving reserve nothing: there are no checkpoints.
#[test]
fn memory_is_what_it_was_after_thousands_of_tokens() {
    for kv_type in TYPES {
        let model = model();
        let options = model.session().context(4000).batch(128).kv_type(kv_type);
        let mut s = options.clone().build().unwrap();
        let estimate = options.estimate().unwrap();
        s.forward(&prompt(1)).unwrap();
        let memory = s.memory();
        let expected = (estimate.kv_per_session + estimate.scratch) as f64;
        assert!((memory as f64 / expected - 1.0).abs() < 0.02, "{kv_type:?}: {memory} of {expected}");
        let ids = prompt(500);
        for round in 0..7 {
            s.forward(&ids).unwrap();
            s.rewind(s.tokens().len() - 300).unwrap();
            s.forward(&ids[..250]).unwrap();
            let mut fork = s.fork().unwrap();
            fork.forward(&ids[..1]).unwrap();
            assert_eq!(fork.memory(), memory, "{kv_type:?}, fork {round}");
            assert_eq!(s.memory(), memory, "{kv_type:?}, round {round}");
        }
        assert_eq!(s.tokens().len(), 1 + 7 * 450);
        let mut saved = Vec::new();
        s.save(&mut saved).unwrap();
        let mut restored = model.restore(&mut &saved[..]).unwrap();
        restored.forward(&ids[..1]).unwrap();
        assert_eq!(restored.memory(), memory, "{kv_type:?}, restored");
    }
}

/// Without a word about it a turn of hundreds of tokens can be taken back; what lies further back is refused by name.
#[test]
fn the_usual_slack_takes_a_turn_back() {
    let (model, ids) = (model(), prompt(2500));
    let mut s = model.session().context(4096).build().unwrap();
    read(&mut s, &ids);
    let mut too_far = s.fork().unwrap();
    s.rewind(ids.len() - 850).unwrap();
    let again = last(&mut s, &ids[ids.len() - 850..]);
    assert_eq!(again, last(&mut model.session().context(4096).build().unwrap(), &ids));
    assert!(matches!(too_far.rewind(1000), Err(Error::RewindTooFar { to: 1000, .. })));
    assert_eq!(too_far.tokens(), ids);
}

//! What a program may rely on when it holds a model and sessions, on a tiny quantised model.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::ops::ControlFlow;
use std::path::PathBuf;

use lemmy_core::gguf::FileBytes;
use lemmy_core::{CancelToken, Error, KvType, LoadMode, Model, ModelBuilder, Session, ThreadPool};

fn tiny() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny/tiny-q4_k_m.gguf")
}

fn builder(threads: usize) -> ModelBuilder {
    Model::builder(tiny()).threads(ThreadPool::new(threads).unwrap())
}

fn session(batch: usize) -> Session {
    builder(2).load().unwrap().session().context(256).batch(batch).build().unwrap()
}

fn prompt(n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * 37 + 11) % 512).collect()
}

fn last(session: &mut Session, ids: &[u32]) -> Vec<u32> {
    session.forward(ids).unwrap().last().iter().map(|x| x.to_bits()).collect()
}

#[test]
fn threads_batches_and_the_way_of_loading_do_not_change_a_bit() {
    let ids = prompt(150);
    let reference = last(&mut session(150), &ids);
    for batch in [1, 7, 64, 149] {
        assert_eq!(last(&mut session(batch), &ids), reference, "batches of {batch}");
    }
    for threads in [1, 3] {
        let model = builder(threads).load().unwrap();
        assert_eq!(last(&mut model.session().build().unwrap(), &ids), reference, "{threads} threads");
    }
    let read = builder(2).load_mode(LoadMode::Read).load().unwrap();
    assert_eq!(last(&mut read.session().build().unwrap(), &ids), reference, "read into memory");
    let bytes = Model::builder_from_bytes(FileBytes::Owned(std::fs::read(tiny()).unwrap())).load().unwrap();
    assert_eq!(last(&mut bytes.session().build().unwrap(), &ids), reference, "handed in as bytes");
}

#[test]
fn forward_all_gives_what_forward_gives_at_every_position() {
    let ids = prompt(40);
    let mut whole = session(16);
    let rows: Vec<Vec<f32>> = whole.forward_all(&ids).unwrap().rows().map(<[f32]>::to_vec).collect();
    let mut step = session(16);
    for (id, row) in ids.iter().zip(&rows) {
        assert_eq!(step.forward(&[*id]).unwrap().last(), row);
    }
}

#[test]
fn a_full_context_refuses_and_changes_nothing() {
    let mut s = session(64);
    let ids = prompt(250);
    s.prefill(&ids, &mut |_, _| {}).unwrap();
    let error = s.forward(&prompt(7)).unwrap_err();
    assert!(matches!(error, Error::ContextFull { used: 250, requested: 7, capacity: 256 }), "{error}");
    assert_eq!(s.tokens(), ids);
    s.forward(&prompt(6)).unwrap();
}

#[test]
fn rewinding_and_forking_give_the_same_future() {
    let ids = prompt(60);
    let mut s = session(8);
    s.prefill(&ids[..50], &mut |_, _| {}).unwrap();
    let mut fork = s.fork().unwrap();
    let future = last(&mut s, &ids[50..]);
    assert_eq!(last(&mut fork, &ids[50..]), future);
    assert_eq!(fork.tokens(), ids);

    // The ring holds whole blocks of 64 positions, so nothing is lost yet.
    s.rewind(50).unwrap();
    assert_eq!(s.tokens(), &ids[..50]);
    assert_eq!(last(&mut s, &ids[50..]), future);
    s.rewind(0).unwrap();
    assert_eq!(last(&mut s, &ids), future);
    assert!(matches!(s.rewind(61), Err(Error::Argument { name: "to", .. })));
}

#[test]
fn a_rewind_past_the_window_is_refused_unless_slack_was_asked_for() {
    let model = builder(2).load().unwrap();
    let ids = prompt(300);
    let mut plain = model.session().context(1000).batch(32).rewind_window(0).build().unwrap();
    plain.prefill(&ids, &mut |_, _| {}).unwrap();
    assert!(matches!(plain.rewind(100), Err(Error::RewindTooFar { to: 100, .. })));
    plain.rewind(290).unwrap();
    let mut slack = model.session().context(1000).batch(32).rewind_window(250).build().unwrap();
    slack.prefill(&ids, &mut |_, _| {}).unwrap();
    slack.rewind(100).unwrap();
    let again = last(&mut slack, &ids[100..]);
    assert_eq!(again, last(&mut model.session().context(1000).build().unwrap(), &ids));
}

#[test]
fn a_cancelled_prefill_keeps_whole_batches_and_goes_on() {
    let model = builder(2).load().unwrap();
    let ids = prompt(200);
    let token = CancelToken::new();
    let mut s = model.session().context(256).batch(32).cancel(token.clone()).build().unwrap();
    let cancel_after_two = |done, _| {
        if done == 64 {
            token.cancel();
        }
    };
    assert!(matches!(s.prefill(&ids, &mut { cancel_after_two }), Err(Error::Cancelled)));
    assert_eq!(s.tokens(), &ids[..64]);
    assert!(matches!(s.forward(&ids[64..]), Err(Error::Cancelled)));
    token.reset();
    assert_eq!(last(&mut s, &ids[64..]), last(&mut session(32), &ids));
}

#[test]
fn loading_can_be_stopped_from_its_progress_and_from_outside() {
    assert!(matches!(builder(1).on_progress(|_| ControlFlow::Break(())).load(), Err(Error::Cancelled)));
    let token = CancelToken::new();
    token.cancel();
    assert!(matches!(builder(1).cancel(token).load(), Err(Error::Cancelled)));
    let task = builder(1).spawn().unwrap();
    assert_eq!(task.join().unwrap().plan().spec.layers.len(), 6);
}

#[test]
fn tokens_outside_of_the_vocabulary_and_empty_input_are_refused() {
    let mut s = session(8);
    assert!(matches!(s.forward(&[1, 512]), Err(Error::Argument { name: "ids", .. })));
    assert!(matches!(s.forward(&[]), Err(Error::Argument { name: "ids", .. })));
    assert!(s.tokens().is_empty());
    s.forward(&[1, 2]).unwrap();
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is() {
    let mut s = builder(1).load().unwrap().session().context(1000).batch(32).build().unwrap();
    s.prefill(&prompt(100), &mut |_, _| {}).unwrap();
    let mut ids = prompt(50);
    ids.push(512);
    assert!(matches!(s.prefill(&ids, &mut |_, _| {}), Err(Error::Argument { name: "ids", .. })));
    assert!(matches!(s.forward(&ids), Err(Error::Argument { name: "ids", .. })));
    assert!(matches!(s.forward_all(&ids), Err(Error::Argument { name: "ids", .. })));
    let soft = vec![0.0; 500 * s.model().plan().spec.hidden];
    for rows in [&soft[..], &soft[1..], &soft[..5], &[]] {
        assert!(matches!(s.forward_soft(rows), Err(Error::Argument { name: "rows", .. })));
    }
    assert_eq!(s.tokens(), prompt(100));
    // Nothing was written, so the rings still hold what a rewind needs.
    s.rewind(99).unwrap();
}

#[test]
fn a_memory_limit_refuses_models_and_sessions_by_name() {
    let needed = builder(2).estimate(256).unwrap().total();
    let error = builder(2).memory_limit(1 << 20).load().unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { limit: 1_048_576, .. }), "{error}");
    let model = builder(2).memory_limit(needed).load().unwrap();
    model.session().context(256).build().unwrap();
    let error = model.session().context(1 << 20).build().unwrap_err();
    assert!(error.to_string().contains("1048576 tokens"), "{error}");
}

#[test]
fn the_estimate_grows_with_the_context_however_absurd() {
    let contexts = [0, 1, 1 << 20, 1 << 40, usize::MAX - 62, usize::MAX];
    let builder = builder(1);
    let caches = contexts.map(|context| builder.estimate(context).unwrap().kv_per_session);
    assert!(caches.is_sorted(), "{caches:?}");
    assert_eq!(caches[5], u64::MAX);
}

#[test]
fn the_estimate_is_what_is_then_used() {
    let types = [KvType::F16, KvType::F32, KvType::Q8_0].into_iter().cycle();
    for (file, kv_type) in ["q4_k_m", "q5_k_m", "q6_k", "q8_0", "bf16"].into_iter().zip(types) {
        let path = tiny().with_file_name(format!("tiny-{file}.gguf"));
        let builder = Model::builder(path).threads(ThreadPool::new(2).unwrap());
        let estimate = builder.estimate_with(2000, kv_type).unwrap();
        let model = builder.load().unwrap();
        assert_eq!(model.estimate_with(2000, kv_type).unwrap(), estimate);
        let options = model.session().context(2000).kv_type(kv_type);
        assert_eq!(options.estimate().unwrap(), estimate);
        let mut s = options.build().unwrap();
        s.forward(&prompt(600)).unwrap();
        let (expected, used) = ((estimate.kv_per_session + estimate.scratch) as f64, s.memory() as f64);
        assert!((used / expected - 1.0).abs() < 0.02, "{file}, {kv_type:?}: estimated {expected}, used {used}");
    }
}

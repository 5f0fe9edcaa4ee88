//! Pictures in many conversations at once.

use std::collections::BTreeMap;

use lemmy_core::chat::{Image, Part};
use lemmy_core::{CancelToken, Error, Event, FinishReason, JobId, Message, Model, Scheduler, Session, TokenId};

use crate::mmproj::fixture;
use crate::stage::{Eye, SOFT, Witness, options, other_square, session, shows, square};

/// Tokens and logits of a reply alone.
fn alone(model: &Model, message: Message, tokens: usize) -> (Vec<TokenId>, Vec<Vec<u32>>) {
    let (witness, mut session) = (Witness::default(), session(model));
    session.begin(message, options(model, tokens).hook(witness.clone())).unwrap();
    while session.step().unwrap().is_some() {}
    (session.tokens().to_vec(), witness.take())
}

#[test]
fn each_says_what_it_says_alone_and_nobody_waits_for_ever() {
    let model = Eye::default().model();
    let two = Message::User(vec![Part::Image(square()), Part::Text("b".into()), Part::Image(other_square())]);
    let messages = [
        Message::user("speaks"),
        shows(&square(), "what?"),
        shows(&other_square(), "what?"),
        two,
        Message::user("text ".repeat(20)),
    ];
    let lengths = [40, 6, 6, 6, 6];
    let expected: Vec<_> = messages.iter().zip(lengths).map(|(m, n)| alone(&model, m.clone(), n)).collect();
    // Pictures larger than a batch, as large as what is left of it, and smaller.
    for batch in [8, 70, 300] {
        let model = Eye::default().model();
        let mut scheduler = Scheduler::new(&model, batch).unwrap().prefill_share(8.min(batch));
        let mut jobs: BTreeMap<JobId, (usize, Witness)> = BTreeMap::new();
        let mut submit = |scheduler: &mut Scheduler, i: usize| {
            let witness = Witness::default();
            let options = options(&model, lengths[i]).hook(witness.clone());
            let job = scheduler.submit(session(&model), messages[i].clone(), options).unwrap();
            jobs.insert(job, (i, witness));
        };
        submit(&mut scheduler, 0);
        while scheduler.stats().speaking == 0 {
            scheduler.tick();
        }
        (1..messages.len()).for_each(|i| submit(&mut scheduler, i));
        let mut largest = 0;
        while scheduler.has_work() {
            let before: usize = jobs.values().filter(|(i, _)| *i == 0).map(|(_, w)| w.count()).sum();
            for (_, event) in scheduler.tick() {
                event.unwrap();
            }
            largest = largest.max(scheduler.stats().last_batch);
            // Whoever speaks gets a token in every tick.
            let after: usize = jobs.values().filter(|(i, _)| *i == 0).map(|(_, w)| w.count()).sum();
            assert!(after > before || after == lengths[0], "{after} tokens, batch {batch}");
        }
        assert!((SOFT..=SOFT + batch).contains(&largest), "one picture in a tick: {largest}");
        for (job, (i, witness)) in jobs {
            let session = scheduler.remove(job).unwrap();
            assert_eq!(
                (session.tokens(), witness.take()),
                (&expected[i].0[..], expected[i].1.clone()),
                "{i} of {batch}"
            );
        }
    }
}

/// The last event of each job.
fn ends(scheduler: &mut Scheduler) -> BTreeMap<JobId, Result<Event, Error>> {
    let mut ends = BTreeMap::new();
    while scheduler.has_work() {
        ends.extend(scheduler.tick());
    }
    ends
}

fn reason(end: &Result<Event, Error>) -> Option<FinishReason> {
    if let Ok(Event::Finished(finish)) = end { Some(finish.reason) } else { None }
}

#[test]
fn a_cancelled_look_ends_its_own_reply_alone() {
    let eye = Eye::default();
    let model = eye.model();
    let mut scheduler = Scheduler::new(&model, 16).unwrap();
    let token = CancelToken::new();
    eye.cancel_at_next_look(&token);
    let seen = options(&model, 6).cancel(token);
    let cancelled = scheduler.submit(session(&model), shows(&square(), "what?"), seen).unwrap();
    let other = scheduler.submit(session(&model), shows(&other_square(), "what?"), options(&model, 6)).unwrap();
    let ends = ends(&mut scheduler);
    assert_eq!(reason(&ends[&cancelled]), Some(FinishReason::Cancelled));
    assert_eq!(reason(&ends[&other]), Some(FinishReason::Length));
    let session = scheduler.remove(cancelled).unwrap();
    assert!(!session.tokens().contains(&Session::SOFT) && session.chat().messages.is_empty());
    assert_eq!(scheduler.remove(other).unwrap().tokens(), alone(&model, shows(&other_square(), "what?"), 6).0);
}

#[test]
fn a_broken_picture_is_refused_with_its_session() {
    let model = Eye::default().model();
    let mut scheduler = Scheduler::new(&model, 16).unwrap();
    let whole = std::fs::read(fixture("images/fit_768x768.png")).unwrap();
    let half = Image::from_bytes(&whole[..whole.len() / 2]).budget(70);
    let refused = scheduler.submit(session(&model), shows(&half, "what?"), options(&model, 1)).unwrap_err();
    assert!(matches!(refused.error, Error::Image(_)), "{refused}");
    assert!(refused.session.tokens().is_empty() && !scheduler.has_work());
}

#[test]
fn a_session_that_is_taken_away_before_its_picture_goes_on_by_itself() {
    let eye = Eye::default();
    let model = eye.model();
    let mut scheduler = Scheduler::new(&model, 4).unwrap();
    let job = scheduler.submit(session(&model), shows(&square(), "what?"), options(&model, 6)).unwrap();
    scheduler.tick();
    let mut taken = scheduler.remove(job).unwrap();
    assert_eq!(eye.looks(), 0);
    taken.begin(shows(&square(), "what?"), options(&model, 6)).unwrap();
    while taken.step().unwrap().is_some() {}
    assert_eq!(taken.tokens(), alone(&model, shows(&square(), "what?"), 6).0);
}

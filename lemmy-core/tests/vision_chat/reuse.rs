//! What is read again, and what is looked at again.

use lemmy_core::chat::{Image, Part};
use lemmy_core::{CancelToken, Chat, Error, Event, FinishReason, Message, Session, Source};

use crate::stage::{Eye, SOFT, options, other_square, say, session, shows, square};

fn chat(messages: Vec<Message>) -> Chat {
    Chat { messages, ..Chat::default() }
}

/// Where the first picture begins.
fn first_soft(session: &Session) -> usize {
    session.tokens().iter().position(|&id| id == Session::SOFT).unwrap()
}

#[test]
fn a_picture_is_looked_at_once_whoever_shows_it() {
    let eye = Eye::default();
    let model = eye.model();
    let mut first = session(&model);
    say(&mut first, shows(&square(), "what?"));
    say(&mut first, "more");
    let mut fork = first.fork().unwrap();
    say(&mut fork, shows(&square(), "again"));
    say(&mut session(&model), shows(&square(), "new"));
    assert_eq!(eye.looks(), 1);
    say(&mut session(&model), shows(&square().budget(140), "larger"));
    assert_eq!(eye.looks(), 2);
}

#[test]
fn without_a_memory_a_picture_in_the_cache_is_not_looked_at_again() {
    let eye = Eye::default();
    let tower = lemmy_core::gguf::FileBytes::Owned(crate::stage::tower());
    let model = crate::stage::builder(eye.clone()).mmproj_bytes(tower).soft_cache(0).load().unwrap();
    let mut session = session(&model);
    say(&mut session, shows(&square(), "what?"));
    let (_, finish) = say(&mut session, "more");
    assert!(finish.usage.cached > SOFT && finish.usage.image_tokens == SOFT);
    assert_eq!(eye.looks(), 1);
    session.rewind(0).unwrap();
    say(&mut session, "more");
    assert_eq!(eye.looks(), 2);
}

#[test]
fn what_is_reused_says_what_is_read_anew() {
    let model = Eye::default().model();
    let mut long = session(&model);
    say(&mut long, shows(&square(), "what?"));
    say(&mut long, shows(&other_square(), "and this?"));
    let mut messages = long.chat().messages.clone();
    let (said, finish) = say(&mut long, "more");
    assert_eq!(finish.usage.image_tokens, 2 * SOFT);
    assert!(finish.usage.cached > 2 * SOFT);
    messages.push(Message::user("more"));
    let (fresh, finish) = say(&mut session(&model), messages);
    assert_eq!((fresh, finish.usage.cached), (said, 0));
}

#[test]
fn another_picture_of_the_same_size_is_read_from_there_on() {
    let model = Eye::default().model();
    let mut session = session(&model);
    let first = session.sync(chat(vec![shows(&square(), "what?")]), &mut |_, _| {}).unwrap();
    let place = first_soft(&session);
    assert_eq!((first.reused, first.image_tokens), (0, SOFT));
    assert!(first.prefilled > SOFT);
    let again = session.sync(chat(vec![shows(&square(), "what?")]), &mut |_, _| {}).unwrap();
    assert_eq!((again.reused, again.prefilled), (first.prefilled, 0));

    let mut progress = Vec::new();
    let other = session
        .sync(chat(vec![shows(&other_square(), "what?")]), &mut |done, total| progress.push((done, total)))
        .unwrap();
    assert_eq!((other.reused, other.image_tokens), (place, SOFT));
    assert_eq!(session.tokens().len(), first.prefilled, "as many tokens as before");
    // The picture as a whole, then the rest.
    let rest = first.prefilled - place;
    assert_eq!(progress[0], (SOFT, rest));
    assert_eq!(progress.last(), Some(&(rest, rest)));

    let (said, _) = say(&mut session, Source::Here);
    let mut fresh = crate::stage::session(&model);
    fresh.sync(chat(vec![shows(&other_square(), "what?")]), &mut |_, _| {}).unwrap();
    assert_eq!(say(&mut fresh, Source::Here).0, said);
    // The same picture with fewer soft tokens is another, too.
    let smaller = Image::from_bytes(other_square().bytes()).budget(140);
    let report = session.sync(chat(vec![shows(&smaller, "what?")]), &mut |_, _| {}).unwrap();
    assert_eq!(report.reused, place);
}

#[test]
fn a_rewind_goes_before_or_behind_a_picture_but_never_into_it() {
    let eye = Eye::default();
    let model = eye.model();
    let mut session = session(&model);
    let (said, finish) = say(&mut session, shows(&square(), "what?"));
    let (place, before) = (first_soft(&session), session.tokens().to_vec());
    for inside in [place + 1, place + SOFT - 1] {
        let error = session.rewind(inside).unwrap_err();
        assert!(matches!(error, Error::Argument { name: "to", .. }), "{error}");
        assert!(error.to_string().contains(&format!("{place}..{}", place + SOFT)), "{error}");
    }
    assert_eq!(session.tokens(), before);

    for to in [place + SOFT, place] {
        session.rewind(to).unwrap();
        let report = session.begin(chat(vec![shows(&square(), "what?")]), options(&model, 0)).unwrap();
        assert_eq!((report.reused, report.prefilled), (to, finish.usage.prompt - to));
        while session.step().unwrap().is_some() {}
        assert_eq!(session.tokens(), &before[..finish.usage.prompt]);
    }
    assert_eq!(say(&mut session, chat(vec![shows(&square(), "what?")])).0, said);
    assert_eq!(eye.looks(), 1);
}

/// The logits of a prompt's last token are wanted anew, so a picture at its end is read as a whole.
#[test]
fn a_prompt_that_ends_in_a_picture_is_read_from_its_beginning() {
    let eye = Eye::default();
    let model = eye.model();
    let mut session = session(&model);
    session.sync(chat(vec![shows(&square(), "what?")]), &mut |_, _| {}).unwrap();
    let place = first_soft(&session);
    session.rewind(place + SOFT).unwrap();
    let report = session.begin(Source::Here, options(&model, 1)).unwrap();
    assert_eq!((report.reused, report.prefilled), (place, SOFT));
    while session.step().unwrap().is_some() {}
    assert_eq!((session.tokens().len(), eye.looks()), (place + SOFT, 1));
}

#[test]
fn a_look_is_cancelled_and_the_next_one_is_whole() {
    let eye = Eye::default();
    let model = eye.model();
    let expected = say(&mut session(&Eye::default().model()), shows(&square(), "what?")).0;
    let mut session = session(&model);
    let token = CancelToken::new();
    eye.cancel_at_next_look(&token);
    let events: Vec<Event> = session
        .send(shows(&square(), "what?"), options(&model, 6).cancel(token))
        .unwrap()
        .map(|event| event.unwrap())
        .collect();
    let Some(Event::Finished(finish)) = events.last() else { panic!("{events:?}") };
    assert_eq!((finish.reason, finish.usage.generated), (FinishReason::Cancelled, 0));
    assert!(session.chat().messages.is_empty(), "nothing was said");
    assert!(!session.tokens().contains(&Session::SOFT), "the text before it is read");
    assert_eq!(say(&mut session, shows(&square(), "what?")).0, expected);
    assert_eq!(eye.looks(), 2);
}

#[test]
fn pictures_may_stand_anywhere_in_a_message_and_twice() {
    let eye = Eye::default();
    let model = eye.model();
    let mut session = session(&model);
    let parts = vec![
        Part::Text("a".into()),
        Part::Image(square()),
        Part::Text("b".into()),
        Part::Image(other_square()),
        Part::Image(square()),
    ];
    let (_, finish) = say(&mut session, parts.clone());
    assert_eq!((finish.usage.image_tokens, eye.looks()), (3 * SOFT, 2));
    let place = first_soft(&session);
    let swapped = [0, 3, 2, 1, 4].map(|i| parts[i].clone()).to_vec();
    let report = session.begin(chat(vec![Message::User(swapped)]), options(&model, 1)).unwrap();
    assert_eq!(report.reused, place);
}

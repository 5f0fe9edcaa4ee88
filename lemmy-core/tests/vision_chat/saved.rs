//! Sessions with pictures as files.

use lemmy_core::quant::DType;
use lemmy_core::{Error, Model, Session};

use crate::mmproj::as_type;
use crate::stage::{Eye, SOFT, other_square, say, session, shows, square, tower};

fn saved(session: &Session) -> Vec<u8> {
    let mut bytes = Vec::new();
    session.save(&mut bytes).unwrap();
    bytes
}

fn shown(model: &Model) -> Session {
    let mut session = session(model);
    say(&mut session, shows(&square(), "what?"));
    say(&mut session, shows(&other_square(), "and this?"));
    session
}

#[test]
fn a_restored_conversation_goes_on_and_looks_at_nothing_again() {
    let mut first = shown(&Eye::default().model());
    let bytes = saved(&first);
    assert_eq!(bytes[8], 2, "the version");
    let eye = Eye::default();
    let mut restored = eye.model().restore(&mut &bytes[..]).unwrap();
    assert_eq!((restored.tokens(), &restored.chat().messages), (first.tokens(), &first.chat().messages));
    assert_eq!(saved(&restored), bytes);
    let mut fork = restored.fork().unwrap();
    let (expected, finish) = say(&mut first, "more");
    assert!(finish.usage.cached > 2 * SOFT);
    for session in [&mut restored, &mut fork] {
        let (said, again) = say(session, "more");
        assert_eq!((said, again.usage.cached), (expected.clone(), finish.usage.cached));
    }
    assert_eq!(eye.looks(), 0);

    // What was a picture still is one.
    let place = restored.tokens().iter().position(|&id| id == Session::SOFT).unwrap();
    assert!(matches!(restored.rewind(place + 1), Err(Error::Argument { name: "to", .. })));
    restored.rewind(place).unwrap();
    let mut fresh = shown(&Eye::default().model());
    fresh.rewind(place).unwrap();
    assert_eq!(say(&mut restored, "even more").0.tokens.len(), 6);
    assert_eq!(eye.looks(), 2);
}

#[test]
fn what_has_seen_nothing_is_saved_as_ever() {
    let model = Eye::default().model();
    let mut text = session(&model);
    say(&mut text, "hi");
    assert_eq!(saved(&text)[8], 1, "the version");
    // A picture that is said but not read yet is part of the conversation alone.
    text.add(shows(&square(), "what?"));
    let bytes = saved(&text);
    assert_eq!(bytes[8], 1, "the version");
    let restored = model.restore(&mut &bytes[..]).unwrap();
    assert_eq!(restored.chat().messages, text.chat().messages);
}

#[test]
fn another_tower_is_refused_since_it_would_have_seen_something_else() {
    let bytes = saved(&shown(&Eye::default().model()));
    let other = Eye::default().load(as_type(tower(), DType::F32));
    let blind = crate::stage::builder(Eye::default()).load().unwrap();
    for model in [other, blind] {
        let error = model.restore(&mut &bytes[..]).unwrap_err();
        assert!(matches!(error, Error::Session { what: "fingerprint of the vision tower", .. }), "{error}");
    }
}

#[test]
fn places_of_pictures_are_not_believed() {
    let model = Eye::default().model();
    let session = shown(&model);
    let bytes = saved(&session);
    let fingerprint = model.vision().unwrap().fingerprint();
    let start = bytes.windows(32).position(|window| window == fingerprint).unwrap() + 32;
    let number = |i: usize| u64::from_le_bytes(bytes[start + i..][..8].try_into().unwrap());
    let first = session.tokens().iter().position(|&id| id == Session::SOFT).unwrap() as u64;
    // Count; position, key, width, height of the first; position of the second.
    assert_eq!((number(0), number(8), number(48), number(56)), (2, first, 384, 384));
    let cases = [
        (0, u64::MAX, "number of pictures"),
        (0, 0, "number of pictures"),
        (8, u64::MAX, "position of a picture"),
        (8, first - 1, "size of a picture"),
        (8, first + 1, "size of a picture"),
        (48, 385, "size of a picture"),
        (48, 48 * 1200, "size of a picture"),
        (48, u64::MAX, "width of a picture"),
        (56, 432, "size of a picture"),
        (64, first + 63, "position of a picture"),
    ];
    for (at, value, field) in cases {
        let mut damaged = bytes.clone();
        damaged[start + at..][..8].copy_from_slice(&value.to_le_bytes());
        match model.restore(&mut &damaged[..]) {
            Err(Error::Session { what, .. }) => assert_eq!(what, field, "{value} at {at}"),
            other => panic!("{value} at {at}: {other:?}"),
        }
    }
    // What passes for a picture elsewhere is told by the checksum.
    let mut damaged = bytes.clone();
    damaged[start + 16] ^= 1;
    assert!(matches!(model.restore(&mut &damaged[..]), Err(Error::Session { what: "checksum", .. })));
}

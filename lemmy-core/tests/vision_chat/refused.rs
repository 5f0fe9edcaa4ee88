//! What cannot be seen is refused before anything of the session is changed.

use lemmy_core::chat::{Image, Prompt, StartState};
use lemmy_core::vision::{Budget, ImageKey, Layout, SoftTokens};
use lemmy_core::{Error, ErrorKind, Model, Session};

use crate::mmproj::fixture;
use crate::stage::{Eye, bmp, builder, options, say, session, shows, square};

/// A session in the middle of a conversation refuses a picture, and goes on as if nothing had been.
fn refused(session: &mut Session, image: &Image, kind: ErrorKind, words: &str) {
    let (tokens, messages) = (session.tokens().to_vec(), session.chat().messages.clone());
    let options = options(session.model(), 1);
    let error = session.begin(shows(image, "what?"), options).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "`{error}` says nothing of {words}");
    assert_eq!((session.tokens(), &session.chat().messages), (&tokens[..], &messages));
}

fn in_conversation(model: &Model) -> Session {
    let mut session = session(model);
    say(&mut session, "hi");
    session
}

#[test]
fn by_a_model_without_a_tower() {
    let model = builder(Eye::default()).load().unwrap();
    refused(&mut in_conversation(&model), &square(), ErrorKind::Unsupported, "without a vision tower");
}

#[test]
fn if_their_bytes_are_no_picture_or_half_of_one() {
    let eye = Eye::default();
    let mut session = in_conversation(&eye.model());
    refused(&mut session, &Image::from_bytes(*b"GIF89a"), ErrorKind::Image, "picture");
    refused(&mut session, &Image::from_bytes(*b"no picture"), ErrorKind::Image, "expected PNG");
    let whole = std::fs::read(fixture("images/fit_768x768.png")).unwrap();
    let half = Image::from_bytes(&whole[..whole.len() / 2]).budget(70);
    refused(&mut session, &half, ErrorKind::Image, "picture");
    // A good one beside it changes nothing.
    let options = options(session.model(), 1);
    let both = vec![shows(&square(), "a"), shows(&half, "b")];
    assert!(matches!(session.begin(both, options), Err(Error::Image(_))));
    assert_eq!(eye.looks(), 0);
}

#[test]
fn if_their_budget_or_shape_is_none_of_the_towers() {
    let mut session = in_conversation(&Eye::default().model());
    for budget in [0, 69, 71, 1121] {
        refused(&mut session, &square().budget(budget), ErrorKind::Argument, "70, 140, 280, 560, 1120");
    }
    // 130 patches on one side; this tower has positions for 128.
    let long = Image::from_bytes(bmp(1200, 20, |_, _| [9; 3])).budget(70);
    refused(&mut session, &long, ErrorKind::Image, "128 along a side");
}

#[test]
fn if_they_do_not_fit() {
    let eye = Eye::default();
    let model = eye.model();
    let mut session = model.session().context(80).build().unwrap();
    // Nobody looks whether the rest of a picture is sound that has no room.
    let whole = std::fs::read(fixture("images/fit_768x768.png")).unwrap();
    let half = Image::from_bytes(&whole[..whole.len() / 2]);
    refused(&mut session, &half.clone().budget(70), ErrorKind::ContextFull, "context full");
    refused(&mut session, &half, ErrorKind::ContextFull, "context full");
    assert_eq!(eye.looks(), 0);
}

#[test]
fn if_a_prompt_has_no_place_for_them() {
    let model = Eye::default().model();
    let mut session = session(&model);
    let with = |images: Vec<usize>, pictures: usize| {
        let mut prompt = Prompt::new(vec![2, 30, 7, 31, 7], StartState::Answer);
        (prompt.images, prompt.pictures) = (images, vec![square(); pictures]);
        prompt
    };
    for (images, pictures) in [(vec![], 1), (vec![2], 0), (vec![4, 2], 2), (vec![2, 2], 2), (vec![5], 1)] {
        let error = session.begin(with(images, pictures), options(&model, 1)).unwrap_err();
        assert!(matches!(error, Error::Argument { .. }), "{error}");
    }
    session.begin(with(vec![2, 4], 2), options(&model, 1)).unwrap();
    // A template that leaves them out would have the model speak of what it has not seen.
    let tower = lemmy_core::gguf::FileBytes::Owned(crate::stage::tower());
    let blind = builder(Eye::default()).chat_template("{{ bos_token }}{{ messages[0].role }}").mmproj_bytes(tower);
    let model = blind.load().unwrap();
    let error = model.session().build().unwrap().begin(shows(&square(), "what?"), options(&model, 1)).unwrap_err();
    assert!(error.to_string().contains("1 pictures, but the prompt has places for 0"), "{error}");
}

#[test]
fn and_soft_tokens_from_elsewhere_if_they_are_not_as_many_as_they_should_be() {
    let model = Eye::default().model();
    let key = ImageKey::new(b"x", Budget::default());
    let layout = Layout::new(256, 256, Budget::new(70).unwrap()).unwrap();
    for numbers in [0, 64 * 256 - 1, 64 * 255, 65 * 256] {
        let error = model.vision().unwrap().keep(key, SoftTokens::new(layout, vec![0.0; numbers])).unwrap_err();
        assert!(matches!(error, Error::Argument { name: "soft", .. }), "{error}");
    }
    model.vision().unwrap().keep(key, SoftTokens::new(layout, vec![0.0; 64 * 256])).unwrap();
}

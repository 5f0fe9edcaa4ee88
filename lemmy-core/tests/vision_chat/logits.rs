//! The numbers.

use lemmy_core::chat::{Image, Prompt, StartState};
use lemmy_core::quant::DType;
use lemmy_core::vision::{Budget, ImageKey, Layout, Patches, Rgb, SoftTokens};
use lemmy_core::{CancelToken, KvType, Model, Session};

use crate::mmproj::{Golden, as_type, fixture, largest_difference, random_tower};
use crate::stage::{Eye, SOFT, options, other_square, say, session, shows, square, tower};

/// Largest difference of a logit.
const LOGITS: f32 = 1e-4;

/// A golden picture, as large as the tower wants it, and an image that stands for it.
fn golden_picture(model: &Model, golden: &Golden, name: &str) -> Image {
    let (width, height) = if name == "A" { (192, 144) } else { (240, 192) };
    let pixels = Rgb { width, height, data: golden.bytes(&format!("{name}.rgb_u8")).to_vec() };
    let vision = model.vision().unwrap();
    let soft = vision.encode(&Patches::from_exact(&pixels).unwrap(), &CancelToken::new()).unwrap();
    vision.keep(ImageKey::new(name.as_bytes(), Budget::default()), soft).unwrap();
    Image::from_bytes(name.as_bytes())
}

/// A golden prompt with one place for each run of soft tokens (7), and without the marks (8, 9) that a session makes.
fn prompt(ids: &[u32], pictures: Vec<Image>) -> Prompt {
    let mut text = Vec::new();
    let mut places = Vec::new();
    for (i, &id) in ids.iter().enumerate() {
        match id {
            8 | 9 => {}
            7 if ids[i - 1] == 7 => {}
            7 => {
                places.push(text.len());
                text.push(7);
            }
            id => text.push(id),
        }
    }
    let mut prompt = Prompt::new(text, StartState::Answer);
    (prompt.images, prompt.pictures) = (places, pictures);
    prompt
}

#[test]
fn after_one_and_two_pictures_they_equal_transformers_at_any_batch() {
    let golden = Golden::open();
    let prompts: serde_json::Value = serde_json::from_slice(&std::fs::read(fixture("prompts.json")).unwrap()).unwrap();
    let model = Eye::default().model();
    let [a, b] = ["A", "B"].map(|name| golden_picture(&model, &golden, name));
    for (name, pictures) in [("imgA", vec![a.clone()]), ("imgB", vec![b.clone()]), ("imgAB", vec![a, b])] {
        let ids: Vec<u32> =
            prompts[name]["ids"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u32).collect();
        let rows = format!("lm.{name}.logits");
        assert!(golden.has(&rows));
        let expected = golden.floats(&rows);
        for batch in [1, 7, 64] {
            let mut session = model.session().context(256).batch(batch).kv_type(KvType::F32).build().unwrap();
            let report = session.begin(prompt(&ids, pictures.clone()), options(&model, 0)).unwrap();
            let soft = ids.iter().filter(|&&id| id == 7).count();
            assert_eq!((report.reused, report.prefilled, report.image_tokens), (0, ids.len(), soft));
            while session.step().unwrap().is_some() {}
            let shown: Vec<u32> = session.tokens().iter().map(|&id| if id == Session::SOFT { 7 } else { id }).collect();
            assert_eq!(shown, ids);

            // Behind the last picture each token's logits can be had again.
            let from = ids.iter().rposition(|&id| id == 7).unwrap() + 1;
            session.rewind(from).unwrap();
            let again = session.forward_all(&ids[from..]).unwrap();
            let found: Vec<f32> = again.rows().flatten().copied().collect();
            let off = largest_difference(&found, &expected[from * 256..]);
            assert!(off <= LOGITS, "{name} in batches of {batch}: off by {off:.1e}");
        }
    }
}

#[test]
fn a_conversation_is_read_as_its_parts_by_hand() {
    let model = Eye::default().model();
    let mut whole = session(&model);
    let (said, finish) = say(&mut whole, shows(&square(), "what?"));
    let soft = whole.tokens().iter().filter(|&&id| id == Session::SOFT).count();
    assert_eq!((soft, finish.usage.image_tokens), (SOFT, SOFT));
    let prompt = finish.usage.prompt;

    let tokens = &whole.tokens()[..prompt];
    let first = tokens.iter().position(|&id| id == Session::SOFT).unwrap();
    assert_eq!((tokens[first - 1], tokens[first + SOFT]), (8, 9), "the marks stand around it");
    let rows = model.vision().unwrap().look(square().bytes(), Budget::new(70).unwrap(), &CancelToken::new()).unwrap();
    let mut parts = session(&model);
    parts.prefill(&tokens[..first], &mut |_, _| {}).unwrap();
    parts.forward_soft(rows.rows()).unwrap();
    let last = parts.forward(&tokens[first + SOFT..]).unwrap().last().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(last, said.logits[0]);
}

#[test]
fn the_largest_picture_enters_at_any_batch() {
    let model = Eye::default().model();
    let budget = Budget::MAX;
    let layout = Layout::new(256, 256, budget).unwrap();
    assert_eq!(layout.soft_tokens(), 1089);
    let rows: Vec<f32> = (0..1089 * 256).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    let key = ImageKey::new(square().bytes(), budget);
    model.vision().unwrap().keep(key, SoftTokens::new(layout, rows)).unwrap();
    let run = |batch| {
        let mut session = model.session().context(1300).batch(batch).build().unwrap();
        let (said, finish) = say(&mut session, shows(&square().budget(1120), "what?"));
        assert_eq!(finish.usage.image_tokens, 1089);
        said
    };
    assert_eq!(run(32), run(1200));
}

#[test]
fn a_quantised_tower_is_as_good_as_its_own_numbers_in_floats() {
    let quantised = random_tower(288, 320, 2, DType::Q8_0);
    let floats = as_type(quantised.clone(), DType::F32);
    let [quantised, floats, other] = [quantised, floats, tower()].map(|file| {
        let model = Eye::default().load(file);
        say(&mut session(&model), shows(&other_square(), "what?")).0
    });
    assert_eq!(quantised, floats);
    assert_ne!(quantised, other);
}

//! Guessing ahead changes the speed of a reply and nothing else.

use lemmy_conformance::scripted::Scripted;
use lemmy_core::{Event, Finish, GenerateOptions, Model, SamplerParams, Source, TokenId};

use crate::stage::{joined, model, real, text};

const LETTER_A: usize = 344;

/// A text that goes round in circles, with a chance to leave them.
fn circles(chance: f32) -> Scripted {
    Scripted::new(move |tokens, row| {
        let next = tokens.last().map_or(0, |&id| (id as usize + 1).saturating_sub(LETTER_A) % 5);
        for letter in 0..8 {
            row[LETTER_A + letter] = if letter == next { chance } else { 1.0 };
        }
        Ok(())
    })
}

fn say(
    model: &Model,
    prompt: &[TokenId],
    context: usize,
    options: GenerateOptions,
) -> (Vec<Event>, Finish, Vec<TokenId>) {
    let mut session = model.session().context(context).batch(16.min(context)).build().unwrap();
    let reply = session.send(Source::Tokens(prompt.to_vec()), options).unwrap();
    let (events, finish) = joined(reply.map(Result::unwrap).collect());
    (events, finish, session.tokens().to_vec())
}

fn params(temperature: f32) -> SamplerParams {
    let mut params = SamplerParams::default();
    (params.temperature, params.top_k, params.seed) = (temperature, 40, Some(11));
    params
}

#[test]
fn tokens_are_the_same_with_and_without_guesses() {
    let circling = model(&circles(5.0));
    let real = real();
    let letters: Vec<TokenId> = (0..20).map(|i| (LETTER_A + i % 5) as TokenId).collect();
    let numbers: Vec<TokenId> = (0..60).map(|i| (i % 9) * 37 + 11).collect();
    let mut penalised = params(0.8);
    (penalised.repeat_penalty, penalised.frequency_penalty, penalised.repeat_last) = (1.1, 0.05, 30);
    for (model, prompt) in [(&circling, &letters), (&real, &numbers)] {
        for sampler in [params(0.0), params(1.0), penalised.clone()] {
            let options = || GenerateOptions::new().sampler(sampler.clone()).max_tokens(150).logprobs(1);
            let (events, finish, past) = say(model, prompt, 512, options());
            for most in [1, 4, 16] {
                let (guessed, guessed_finish, guessed_past) = say(model, prompt, 512, options().speculate(most));
                assert_eq!(guessed, events, "{most} ahead, {sampler:?}");
                assert_eq!(guessed_past, past, "{most} ahead, {sampler:?}");
                let (usage, plain) = (guessed_finish.usage, finish.usage);
                assert_eq!((guessed_finish.reason, usage.generated), (finish.reason, plain.generated));
                assert!(usage.accepted <= usage.drafted, "{usage:?}");
                let is_circling = prompt == &letters;
                assert!(usage.drafted > 0 || !is_circling, "{usage:?}");
            }
        }
    }
}

#[test]
fn right_guesses_save_passes() {
    let backend = circles(60.0);
    let model = model(&backend);
    let letters: Vec<TokenId> = (0..20).map(|i| (LETTER_A + i % 5) as TokenId).collect();
    let options = GenerateOptions::new().max_tokens(100).speculate(8);
    let (events, finish, _) = say(&model, &letters, 512, options);
    let expected: String = (0..100).map(|i| char::from(b'a' + i % 5)).collect();
    assert_eq!(text(&events), expected);
    assert!(finish.usage.accepted > 0);
    // Two passes for the prompt; each accepted guess saves one for the reply.
    assert_eq!(backend.passes().len(), 2 + 99 - finish.usage.accepted);
}

#[test]
fn guesses_keep_to_the_room_that_there_is() {
    let model = model(&circles(60.0));
    let letters: Vec<TokenId> = (0..20).map(|i| (LETTER_A + i % 5) as TokenId).collect();
    for (context, most) in [(64, 4), (24, 16), (21, 16), (64, 40)] {
        let plain = say(&model, &letters, context, GenerateOptions::new().max_tokens(30));
        let guessed = say(&model, &letters, context, GenerateOptions::new().max_tokens(30).speculate(most));
        assert_eq!((guessed.0, guessed.1.reason, guessed.2), (plain.0, plain.1.reason, plain.2));
    }
}

#[test]
fn a_hook_sees_the_same_steps_with_and_without_guesses() {
    use std::sync::{Arc, Mutex};
    struct Notes(Arc<Mutex<Vec<(usize, u32)>>>);
    impl lemmy_core::StepHook for Notes {
        fn on_logits(&mut self, pos: usize, logits: &mut [f32]) {
            self.0.lock().unwrap().push((pos, logits[LETTER_A].to_bits()));
        }
    }
    let model = model(&circles(5.0));
    let letters: Vec<TokenId> = (0..20).map(|i| (LETTER_A + i % 5) as TokenId).collect();
    let seen = [0, 8].map(|most| {
        let notes = Arc::default();
        let options = GenerateOptions::new().seed(3).max_tokens(60).speculate(most).hook(Notes(Arc::clone(&notes)));
        say(&model, &letters, 256, options);
        notes.lock().unwrap().clone()
    });
    assert_eq!(seen[0].len(), 60);
    assert_eq!(seen[0], seen[1]);
}

/// Not needed where tokens are identical, and blind to how that is done: which letters come after which, over many
/// seeds, against the chances that the script gives them.
#[test]
fn frequencies_of_guessed_replies_are_the_models() {
    let chance = 2.5f32;
    let model = model(&circles(chance));
    let letters: Vec<TokenId> = (0..20).map(|i| (LETTER_A + i % 5) as TokenId).collect();
    let (mut drafted, mut accepted) = (0, 0);
    let mut letters_after = [0u32; 8];
    for seed in 0..60 {
        let mut neutral = SamplerParams::default();
        neutral.seed = Some(seed);
        // Only letters may come.
        neutral.suppress = (0..512).filter(|&id| !(LETTER_A..LETTER_A + 8).contains(&(id as usize))).collect();
        let options = GenerateOptions::new().sampler(neutral).max_tokens(100).speculate(4);
        let (_, finish, past) = say(&model, &letters, 512, options);
        drafted += finish.usage.drafted;
        accepted += finish.usage.accepted;
        for pair in past[19..].windows(2) {
            let (before, after) = (pair[0] as usize - LETTER_A, pair[1] as usize - LETTER_A);
            letters_after[(after + 8 - (before + 1) % 5) % 8] += 1;
        }
    }
    // The first guess of each reply is made for sure; how many follow depends on what they cost on this machine.
    assert!(drafted > 200 && accepted > 20, "{accepted} of {drafted}");
    // Chi-square over the eight letters, relative to the expected next one; seven degrees of freedom: 24.3 is passed by
    // one run of a thousand, and the seeds are fixed.
    let total: f64 = letters_after.iter().map(|&n| f64::from(n)).sum();
    let weight = |is_next: bool| if is_next { f64::from(chance).exp() } else { 1f64.exp() };
    let sum = weight(true) + 7.0 * weight(false);
    let chi_square: f64 = letters_after
        .iter()
        .enumerate()
        .map(|(i, &n)| {
            let expected = total * weight(i == 0) / sum;
            (f64::from(n) - expected).powi(2) / expected
        })
        .sum();
    assert!(chi_square < 24.3, "chi-square {chi_square:.1} of {letters_after:?}");
}

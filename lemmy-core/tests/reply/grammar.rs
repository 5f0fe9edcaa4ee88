//! Grammars, thoughts and tools together, against a model that says anything: what comes out is right all the same.

use lemmy_conformance::scripted::Scripted;
use lemmy_core::chat::{Prompt, StartState};
use lemmy_core::{
    Constraint, Error, Event, Finish, FinishReason, GenerateOptions, Model, SamplerParams, Source, Thinking, Tool,
    ToolChoice,
};

use crate::stage::{ids, joined, model, text};

const SCHEMA: &str = r#"{"type":"object","properties":{"ok":{"type":"boolean"},"n":{"enum":[1,2]}},
    "required":["ok","n"],"additionalProperties":false}"#;

/// Every token has some chance, which depends on the tokens before.
fn babble() -> Model {
    model(&Scripted::new(|tokens, row| {
        let past = tokens.iter().rev().take(4).fold(17u32, |hash, &id| hash.wrapping_mul(0x9e37_79b9).wrapping_add(id));
        for (id, logit) in (1u32..).zip(row.iter_mut()) {
            *logit = (past.wrapping_mul(id | 1) >> 16) as f32 / 16384.0;
        }
        Ok(())
    }))
}

fn tools(strict: bool) -> Vec<Tool> {
    let tool = |name: &str, schema: &str| Tool {
        name: name.into(),
        description: String::new(),
        parameters_json: schema.into(),
        strict,
    };
    vec![
        tool(
            "light",
            r#"{"type":"object","properties":{"on":{"type":"boolean"}},"required":["on"],"additionalProperties":false}"#,
        ),
        tool(
            "dial",
            r#"{"type":"object","properties":{"n":{"enum":[1,2,3]}},"required":["n"],"additionalProperties":false}"#,
        ),
    ]
}

fn params() -> SamplerParams {
    SamplerParams::default()
}

fn options(seed: u64) -> GenerateOptions {
    GenerateOptions::new().sampler(params()).seed(seed).max_tokens(600)
}

/// A reply with tools at hand.
fn say(model: &Model, tools: Vec<Tool>, start: StartState, options: GenerateOptions) -> (Vec<Event>, Finish) {
    let mut session = model.session().context(1024).tools(tools).build().unwrap();
    let prompt = Prompt::new(ids(model, &["@<bos>", "a"]), start);
    joined(session.send(Source::Prompt(prompt), options).unwrap().map(Result::unwrap).collect())
}

fn check_answer(text: &str) {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text:?}"));
    assert!(value["ok"].is_boolean() && [1, 2].contains(&value["n"].as_i64().unwrap()), "{text}");
    assert_eq!(value.as_object().unwrap().len(), 2);
}

/// The calls, each of which must fit its tool.
fn check_calls(events: &[Event]) -> Vec<String> {
    let calls = events.iter().filter_map(|event| if let Event::ToolCall(call) = event { Some(call) } else { None });
    calls
        .map(|call| {
            let arguments: serde_json::Value = serde_json::from_str(&call.arguments_json).unwrap();
            assert_eq!(arguments.as_object().unwrap().len(), 1, "{call:?}");
            match call.name.as_str() {
                "light" => assert!(arguments["on"].is_boolean(), "{call:?}"),
                "dial" => assert!([1, 2, 3].contains(&arguments["n"].as_i64().unwrap()), "{call:?}"),
                other => panic!("tool {other}"),
            }
            call.name.clone()
        })
        .collect()
}

fn no_warnings(events: &[Event]) {
    assert!(!events.iter().any(|event| matches!(event, Event::Warning(_))), "{events:?}");
}

#[test]
fn answers_fit_their_schema() {
    let model = babble();
    for seed in 0..20 {
        let options = options(seed).constraint(Constraint::JsonSchema(SCHEMA.into()));
        let (events, finish) = say(&model, vec![], StartState::ClosedThought, options);
        assert_eq!((finish.reason, finish.usage.thinking), (FinishReason::Stop, 0));
        check_answer(&text(&events));
        no_warnings(&events);
    }
}

#[test]
fn thoughts_before_a_constrained_answer_are_free_and_end() {
    let model = babble();
    let mut thoughts = 0;
    for seed in 0..60 {
        let options = options(seed).constraint(Constraint::Regex("(yes|no)!".into())).thinking(Thinking::Budget(12));
        let start = if seed % 2 == 0 { StartState::OpenThought } else { StartState::Model };
        let (events, finish) = say(&model, vec![], start, options);
        assert_eq!(finish.reason, FinishReason::Stop, "{events:?}");
        assert!(["yes!", "no!"].contains(&text(&events).as_str()), "{events:?}");
        thoughts += usize::from(finish.usage.thinking > 0);
        assert!(finish.usage.thinking <= 12 + 2);
    }
    assert!(thoughts >= 30);
    // Where no thought was asked for, none begins.
    for seed in 0..30 {
        let options = options(seed).constraint(Constraint::Regex("(yes|no)!".into()));
        assert_eq!(say(&model, vec![], StartState::Model, options).1.usage.thinking, 0);
    }
}

#[test]
fn required_tools_are_called() {
    let model = babble();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let options = options(seed).tool_choice(ToolChoice::Required);
        let (events, finish) = say(&model, tools(false), StartState::ClosedThought, options);
        let calls = check_calls(&events);
        assert_eq!((finish.reason, text(&events).as_str()), (FinishReason::ToolCalls, ""), "{events:?}");
        assert!(!calls.is_empty());
        seen.extend(calls);
        no_warnings(&events);
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_named_tool_is_called_after_thinking_and_once_if_asked_for() {
    let model = babble();
    for seed in 0..20 {
        let options = options(seed)
            .tool_choice(ToolChoice::Named("dial".into()))
            .thinking(Thinking::Budget(8))
            .single_tool_call(true);
        let (events, finish) = say(&model, tools(false), StartState::OpenThought, options);
        assert_eq!(check_calls(&events), ["dial"]);
        assert_eq!(finish.reason, FinishReason::ToolCalls);
    }
}

#[test]
fn a_strict_tool_masks_calls_and_nothing_else() {
    let backend = Scripted::new(|tokens, row| {
        // Some text, then a call, in which the model has no idea how to go on.
        let said = tokens.len() - 2;
        match said {
            0..3 => row[344 + said] = 60.0,
            3 => row[7] = 60.0,
            _ => row.iter_mut().zip(1u32..).for_each(|(logit, id)| {
                *logit = (id.wrapping_mul(tokens.len() as u32 * 7919) >> 8 & 0xff) as f32 / 64.0;
            }),
        }
        Ok(())
    });
    let model = model(&backend);
    for seed in 0..20 {
        let options = options(seed).single_tool_call(true);
        let (events, finish) = say(&model, tools(true), StartState::ClosedThought, options);
        assert_eq!((text(&events).as_str(), finish.reason), ("abc", FinishReason::ToolCalls), "{events:?}");
        assert_eq!(check_calls(&events).len(), 1);
        no_warnings(&events);
    }
}

#[test]
fn a_constrained_reply_with_tools_is_an_answer_or_calls() {
    let model = babble();
    let (mut answers, mut called) = (0, 0);
    for seed in 0..60 {
        let constraint = Constraint::JsonSchema(SCHEMA.into());
        let free = options(seed).constraint(constraint.clone());
        let (events, finish) = say(&model, tools(true), StartState::ClosedThought, free);
        if check_calls(&events).is_empty() {
            assert_eq!(finish.reason, FinishReason::Stop);
            check_answer(&text(&events));
            answers += 1;
        } else {
            assert_eq!((finish.reason, text(&events).as_str()), (FinishReason::ToolCalls, ""));
            called += 1;
        }
        let never = options(seed).constraint(constraint).tool_choice(ToolChoice::None);
        let (events, _) = say(&model, tools(true), StartState::ClosedThought, never);
        check_answer(&text(&events));
    }
    assert!(answers > 5 && called > 0, "{answers} answers, {called} with calls");
}

#[test]
fn guesses_change_nothing_under_a_grammar_either() {
    let model = babble();
    let lark = Constraint::Lark("start: (\"abcd\" | \"abce\"){30,40}".into());
    let mut drafted = 0;
    for seed in 0..5 {
        let mut penalised = params();
        penalised.frequency_penalty = 0.02;
        let options = || options(seed).sampler(penalised.clone()).constraint(lark.clone()).logprobs(1);
        let plain = say(&model, vec![], StartState::ClosedThought, options());
        let guessed = say(&model, vec![], StartState::ClosedThought, options().speculate(8));
        assert_eq!(guessed.0, plain.0);
        drafted += guessed.1.usage.drafted;
    }
    assert!(drafted > 0);
}

#[test]
fn a_constraint_that_cannot_be_is_refused_at_once() {
    let model = babble();
    let mut session = model.session().context(64).tools(tools(false)).build().unwrap();
    for constraint in [Constraint::JsonSchema("{".into()), Constraint::Regex("(".into()), Constraint::Lark("x".into())]
    {
        let error = session.begin(Source::Tokens(vec![5]), options(0).constraint(constraint)).unwrap_err();
        assert!(matches!(error, Error::Argument { name: "constraint", .. }), "{error}");
    }
    let named = options(0).tool_choice(ToolChoice::Named("missing".into()));
    let error = session.begin(Source::Tokens(vec![5]), named).unwrap_err();
    assert!(error.to_string().contains("light, dial"), "{error}");
    assert!(session.tokens().is_empty());
}

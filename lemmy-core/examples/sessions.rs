//! How much faster many sessions decode together than one alone.
//!
//! ```sh
//! cargo run --release -p lemmy-core --example sessions -- model.gguf
//! cargo run --release -p lemmy-core --example sessions -- model.gguf --sessions 1,8 --rounds 5 --steps 12
//! cargo run --release -p lemmy-core --example sessions -- model.gguf --sessions 8 --profile
//! ```
//!
//! Each step is one forward pass with one token of each session, all logits wanted. Sessions read different random
//! tokens, so their experts differ as much as the model lets them. The numbers of sessions take turns in each round, so
//! that a slow minute of the machine hits all of them alike.
//!
//! Decode is bound by memory: a step reads every dense weight once and each expert that anybody uses once. "MB" is that,
//! counted from the routing of the steps themselves; "limit" is the gain over one session if nothing else cost time.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing)] // a program for people

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lemmy_core::backend::cpu::CpuBackend;
use lemmy_core::backend::{Backend, Engine, Input, KvStore, Scratch, SeqSlice};
use lemmy_core::gguf::{Gguf, LoadMode};
use lemmy_core::kv::{KvSpec, KvType};
use lemmy_core::plan::{Plan, Role, Shape, Spec, WeightSource, Weights};
use lemmy_core::{CancelToken, ThreadPool, TokenId};

const CONTEXT: usize = 256;
const PROMPT: usize = 16;

fn main() {
    let options = Options::read();
    let pool = ThreadPool::builder();
    let pool = options.threads.map_or(pool.clone(), |n| pool.threads(n)).build().unwrap();
    println!("{} threads", pool.threads());
    let mut bench = Bench::open(&options.model, pool, *options.sessions.iter().max().unwrap());
    if options.profile {
        options.sessions.iter().for_each(|&n| bench.profile(n, options.steps));
        return;
    }
    let mut times: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
    for _ in 0..options.rounds {
        for &n in &options.sessions {
            times.entry(n).or_default().push(bench.decode(n, options.steps));
        }
    }
    let one = bench.bytes_per_step(1);
    println!("sessions   best tok/s  median   ratio      MB   GB/s   limit");
    let mut first = None;
    for (n, mut times) in times {
        times.sort();
        let rate = |time: Duration| (n * options.steps) as f64 / time.as_secs_f64();
        let (best, median) = (rate(times[0]), rate(times[times.len() / 2]));
        let bytes = bench.bytes_per_step(n);
        let base = *first.get_or_insert(median / n as f64);
        println!(
            "{n:8} {best:12.2} {median:7.2} {:7.2} {:7.0} {:6.1} {:7.2}",
            median / base,
            bytes / 1e6,
            bytes * median / n as f64 / 1e9,
            n as f64 * one / bytes,
        );
    }
}

struct Options {
    model: String,
    sessions: Vec<usize>,
    steps: usize,
    rounds: usize,
    threads: Option<usize>,
    profile: bool,
}

impl Options {
    fn read() -> Self {
        let mut args = std::env::args().skip(1);
        let mut options = Self {
            model: args.next().unwrap_or_default(),
            sessions: vec![1, 2, 4, 8, 16],
            steps: 8,
            rounds: 3,
            threads: None,
            profile: false,
        };
        let usage = "usage: sessions MODEL [--sessions 1,8] [--steps N] [--rounds N] [--threads N] [--profile]";
        while let Some(arg) = args.next() {
            let mut number = || args.next().and_then(|n| n.parse().ok()).unwrap_or_else(|| exit(usage));
            match &*arg {
                "--steps" => options.steps = number(),
                "--rounds" => options.rounds = number(),
                "--threads" => options.threads = Some(number()),
                "--profile" => options.profile = true,
                "--sessions" => {
                    let list = args.next().unwrap_or_default();
                    options.sessions = list.split(',').map(|n| n.parse().unwrap_or_else(|_| exit(usage))).collect();
                }
                _ => exit(usage),
            }
        }
        if options.model.is_empty() || !(1..CONTEXT - PROMPT).contains(&options.steps) || options.sessions.contains(&0)
        {
            exit(usage);
        }
        options
    }
}

fn exit(message: &str) -> ! {
    println!("{message}");
    std::process::exit(2)
}

struct Bench {
    plan: Arc<Plan>,
    weights: Weights,
    engine: Box<dyn Engine>,
    scratch: Box<dyn Scratch>,
    sessions: Vec<Session>,
}

/// A cache, where it stands, and where its random tokens come from.
struct Session {
    kv: Box<dyn KvStore>,
    pos: usize,
    random: u64,
    logits: Vec<f32>,
}

impl Bench {
    fn open(model: &str, pool: ThreadPool, sessions: usize) -> Self {
        let cancel = CancelToken::new();
        let mut watch = |_, _| ControlFlow::Continue(());
        let gguf = Gguf::open(model.as_ref(), LoadMode::default(), &cancel, &mut watch).unwrap();
        let plan = Arc::new(Plan::new(Spec::from_gguf(&gguf).unwrap()));
        let weights = Weights::new(&gguf, &plan).unwrap();
        let engine = CpuBackend::new(pool).compile(plan.clone(), &weights, &cancel, &mut watch).unwrap();
        let kv = KvSpec { context: CONTEXT, batch: PROMPT, rewind: 0, kv_type: KvType::F16 };
        let sessions = (1..=sessions as u64)
            .map(|seed| Session {
                kv: engine.new_kv(&kv).unwrap(),
                pos: 0,
                random: seed * 0x9e37_79b9_7f4a_7c15,
                logits: vec![0.0; plan.spec.vocab],
            })
            .collect();
        let scratch = engine.new_scratch(PROMPT.max(64)).unwrap();
        let mut bench = Self { plan, weights, engine, scratch, sessions };
        for i in 0..bench.sessions.len() {
            bench.pass(i..i + 1, PROMPT, None);
        }
        bench
    }

    /// `steps` tokens of each of the first `n` sessions, after one that does not count.
    fn decode(&mut self, n: usize, steps: usize) -> Duration {
        self.sessions.iter_mut().for_each(|s| s.pos = PROMPT);
        self.pass(0..n, 1, None);
        let start = Instant::now();
        for _ in 0..steps {
            self.pass(0..n, 1, None);
        }
        start.elapsed()
    }

    /// Bytes of weights that a step of `n` sessions reads: mean of some steps.
    fn bytes_per_step(&mut self, n: usize) -> f64 {
        const STEPS: usize = 3;
        self.sessions.iter_mut().for_each(|s| s.pos = PROMPT);
        let mut bytes = 0;
        for _ in 0..STEPS {
            let used = RefCell::new(BTreeSet::new());
            self.pass(
                0..n,
                1,
                Some(&|_, name, layer, values| {
                    if name == "router_experts" {
                        used.borrow_mut().extend(values.iter().map(|&expert| (layer, expert as u32)));
                    }
                }),
            );
            for (role, layer, shape) in self.plan.roles() {
                let Shape::Matrix { .. } = shape else { continue };
                let matrix = self.weights.matrix(role, layer).unwrap();
                bytes += match role {
                    Role::TokenEmbd => 0,
                    Role::ExpertGate | Role::ExpertUp | Role::ExpertDown => {
                        let experts = used.borrow().iter().filter(|(l, _)| *l == layer).count();
                        experts * matrix.rows * matrix.row_bytes()
                    }
                    _ => matrix.rows * matrix.row_bytes(),
                };
            }
        }
        bytes as f64 / STEPS as f64
    }

    /// Where the time of a step goes: from each tap to the next, all layers together.
    fn profile(&mut self, n: usize, steps: usize) {
        let times: RefCell<BTreeMap<&str, Duration>> = RefCell::default();
        self.sessions.iter_mut().for_each(|s| s.pos = PROMPT);
        self.pass(0..n, 1, None);
        for _ in 0..steps {
            let last = Cell::new(Instant::now());
            self.pass(
                0..n,
                1,
                Some(&|session, name, _, _| {
                    if session + 1 == n {
                        *times.borrow_mut().entry(name).or_default() += last.replace(Instant::now()).elapsed();
                    }
                }),
            );
        }
        println!("{n} sessions, ms per step until");
        for (name, time) in times.into_inner() {
            println!("  {name:16} {:8.2}", time.as_secs_f64() * 1e3 / steps as f64);
        }
    }

    /// One pass over `tokens` random tokens of each of some sessions. `tap` is told which of them it sees.
    fn pass(&mut self, which: Range<usize>, tokens: usize, tap: Option<Tap<'_>>) {
        let vocab = self.plan.spec.vocab as u64;
        let sessions = &mut self.sessions[which];
        let ids: Vec<Vec<TokenId>> =
            sessions.iter_mut().map(|s| (0..tokens).map(|_| (s.random() % vocab) as TokenId).collect()).collect();
        let mut taps: Vec<_> = (0..sessions.len())
            .map(|i| {
                move |name: &'static str, layer: Option<u16>, _: usize, values: &[f32]| {
                    if let Some(tap) = tap {
                        tap(i, name, layer, values);
                    }
                }
            })
            .collect();
        let mut slices: Vec<SeqSlice<'_>> = Vec::new();
        for ((session, ids), session_tap) in sessions.iter_mut().zip(&ids).zip(&mut taps) {
            slices.push(SeqSlice {
                kv: &mut *session.kv,
                input: Input::Tokens(ids),
                pos: session.pos,
                logits: Some(&mut session.logits),
                tap: tap.is_some().then_some(session_tap as _),
            });
            session.pos += tokens;
        }
        self.engine.forward(&mut slices, &mut *self.scratch, &CancelToken::new()).unwrap();
    }
}

/// (session, name, layer, values)
type Tap<'a> = &'a dyn Fn(usize, &'static str, Option<u16>, &[f32]);

impl Session {
    /// xorshift64
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 16
    }
}

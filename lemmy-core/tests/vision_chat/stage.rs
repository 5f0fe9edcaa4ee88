//! The model, pictures for it, and what a session says about them.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use lemmy_core::backend::cpu::CpuBackend;
use lemmy_core::backend::{Backend, BackendMemory, Engine, Tap, VisionEngine};
use lemmy_core::chat::{Image, Part};
use lemmy_core::gguf::FileBytes;
use lemmy_core::kv::KvSpec;
use lemmy_core::plan::{Plan, VisionPlan, VisionWeights, WeightSource};
use lemmy_core::vision::{Layout, Patches, SoftTokens};
use lemmy_core::{
    CancelToken, Event, Finish, GenerateOptions, KvType, Message, Model, ModelBuilder, Result, SamplerParams, Session,
    Source, StepHook, ThreadPool, TokenId,
};

use crate::mmproj::{fixture, text, unpacked};

/// The CPU, counting what its tower looks at; and a token that the next look triggers, as somebody's Ctrl-C would.
#[derive(Clone, Default)]
pub(crate) struct Eye {
    looks: Arc<AtomicUsize>,
    trigger: Arc<Mutex<Option<CancelToken>>>,
}

impl Eye {
    pub(crate) fn looks(&self) -> usize {
        self.looks.load(Ordering::Relaxed)
    }

    pub(crate) fn cancel_at_next_look(&self, token: &CancelToken) {
        *self.trigger.lock().unwrap() = Some(token.clone());
    }

    pub(crate) fn model(&self) -> Model {
        self.load(tower())
    }

    pub(crate) fn load(&self, tower: Vec<u8>) -> Model {
        builder(self.clone()).mmproj_bytes(FileBytes::Owned(tower)).load().unwrap()
    }
}

struct Watched(CpuBackend, Eye);
struct WatchedTower(Box<dyn VisionEngine>, Eye);

impl Backend for Watched {
    fn name(&self) -> String {
        self.0.name()
    }
    fn check(&self, plan: &Plan) -> Result<()> {
        self.0.check(plan)
    }
    fn estimate(&self, plan: &Plan, weights: &dyn WeightSource, kv: &KvSpec) -> Result<BackendMemory> {
        self.0.estimate(plan, weights, kv)
    }
    fn compile(
        &self,
        plan: Arc<Plan>,
        weights: &dyn WeightSource,
        cancel: &CancelToken,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Box<dyn Engine>> {
        self.0.compile(plan, weights, cancel, progress)
    }
    fn compile_vision(
        &self,
        plan: Arc<VisionPlan>,
        weights: &VisionWeights,
        cancel: &CancelToken,
    ) -> Result<Box<dyn VisionEngine>> {
        Ok(Box::new(WatchedTower(self.0.compile_vision(plan, weights, cancel)?, self.1.clone())))
    }
}

impl VisionEngine for WatchedTower {
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }
    fn scratch(&self, layout: Layout) -> u64 {
        self.0.scratch(layout)
    }
    fn encode(&self, picture: &Patches, tap: Option<&mut Tap<'_>>, cancel: &CancelToken) -> Result<SoftTokens> {
        if let Some(token) = self.1.trigger.lock().unwrap().take() {
            token.cancel();
        }
        self.1.looks.fetch_add(1, Ordering::Relaxed);
        self.0.encode(picture, tap, cancel)
    }
}

pub(crate) fn builder(eye: Eye) -> ModelBuilder {
    let backend = Watched(CpuBackend::new(ThreadPool::new(2).unwrap()), eye);
    Model::builder_from_bytes(FileBytes::Owned(text())).backend(backend)
}

pub(crate) fn tower() -> Vec<u8> {
    static TOWER: OnceLock<Vec<u8>> = OnceLock::new();
    TOWER.get_or_init(|| unpacked("mmproj-tiny-mm.gguf.xz")).clone()
}

pub(crate) fn session(model: &Model) -> Session {
    model.session().context(600).batch(32).kv_type(KvType::F32).build().unwrap()
}

/// 256 x 256 pixels; 64 soft tokens at the smallest budget.
pub(crate) fn square() -> Image {
    Image::from_bytes(std::fs::read(fixture("images/square_256.png")).unwrap()).budget(70)
}

/// Another picture of that size.
pub(crate) fn other_square() -> Image {
    Image::from_bytes(bmp(256, 256, |x, y| [x as u8, y as u8, (x * y) as u8])).budget(70)
}

/// Soft tokens of either.
pub(crate) const SOFT: usize = 64;

/// A picture of these colours (blue, green, red) as a BMP file; rows are multiples of four bytes.
pub(crate) fn bmp(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    let data: Vec<u8> =
        (0..height).flat_map(|y| (0..width).flat_map(move |x| [(x, y)])).flat_map(|(x, y)| pixel(x, y)).collect();
    let mut file = b"BM".to_vec();
    for n in [54 + data.len() as u32, 0, 54, 40, width, height, 1 | 24 << 16, 0, data.len() as u32, 0, 0, 0, 0] {
        file.extend(n.to_le_bytes());
    }
    file.extend(data);
    file
}

/// A message of a picture and a text.
pub(crate) fn shows(image: &Image, text: &str) -> Message {
    Message::User(vec![Part::Image(image.clone()), Part::Text(text.into())])
}

/// What came of a reply.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    pub(crate) tokens: Vec<TokenId>,
    /// All logits from which they were chosen, as bits.
    pub(crate) logits: Vec<Vec<u32>>,
}

#[derive(Default, Clone)]
pub(crate) struct Witness(Arc<Mutex<Vec<Vec<u32>>>>);

impl StepHook for Witness {
    fn on_logits(&mut self, _: usize, logits: &mut [f32]) {
        self.0.lock().unwrap().push(logits.iter().map(|x| x.to_bits()).collect());
    }
}

impl Witness {
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(crate) fn take(&self) -> Vec<Vec<u32>> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Greedy; never at an end by itself; repetition is punished, so that a prompt with soft tokens goes through the
/// sampler's memory too.
pub(crate) fn options(model: &Model, max_tokens: usize) -> GenerateOptions {
    let mut params = SamplerParams::default();
    (params.temperature, params.repeat_penalty) = (0.0, 1.1);
    params.suppress = model.tokenizer().end_of_generation().to_vec();
    GenerateOptions::new().max_tokens(max_tokens).sampler(params)
}

/// One reply of six tokens: what was said, and how it ended.
pub(crate) fn say(session: &mut Session, source: impl Into<Source>) -> (Said, Finish) {
    let witness = Witness::default();
    let options = options(session.model(), 6).logprobs(0).hook(witness.clone());
    let (mut tokens, mut end) = (Vec::new(), None);
    for event in session.send(source, options).unwrap() {
        match event.unwrap() {
            Event::Token(token) => tokens.push(token.id),
            Event::Finished(finish) => end = Some(finish),
            _ => {}
        }
    }
    (Said { tokens, logits: witness.take() }, end.unwrap())
}

//! `lemmy serve`: flags of the server, and a model for it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use lemmy_core::{CancelToken, LoadProgress, LoadStage, Model};

use super::Context;
use super::failure::{Failure, Result};
use super::load::{LoadArgs, ModelName};
use super::locate::Place;
use super::nano;
use super::output::note;
use super::room::RoomArgs;
use super::sight::TowerArgs;
use crate::server::{
    Address, Compat, Door, Ended, EngineOptions, Keys, Limits, Log, Names, Options, ReasoningNames, Server, Signal,
};

/// Serve a model over HTTP: a web page, and the API that OpenAI's clients speak
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lemmy serve                                  Lemmy Nano, the built-in model: http://127.0.0.1:8080
  lemmy serve model.gguf --parallel 4          four conversations side by side
  curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{\"messages\": [{\"role\": \"user\", \"content\": \"What is 12 + 30?\"}]}'

docs/server.md in the source has the routes, the limits and what is served to whom.")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelName,
    /// Address to listen at; unix:PATH for a socket
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1", env = "LEMMY_HOST", hide_env = true)]
    host: String,
    /// Port to listen at; 0: any free one
    #[arg(long, value_name = "PORT", default_value_t = 8080, env = "LEMMY_PORT", hide_env = true)]
    port: u16,
    /// Conversations side by side (default: 1 on up to 4 CPUs, else 4)
    #[arg(long, value_name = "N", env = "LEMMY_PARALLEL", hide_env = true,
          value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: Option<u16>,
    #[command(flatten)]
    room: RoomArgs,
    /// Name of the model for clients; more ones are aliases (default: the file's name)
    #[arg(long, value_name = "NAME", env = "LEMMY_ALIAS", hide_env = true)]
    alias: Vec<String>,
    /// Refuse requests for a model of another name
    #[arg(long)]
    strict_model: bool,
    #[command(flatten)]
    tower: TowerArgs,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    watching: WatchingArgs,
}

/// Who may use the server.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Access")]
struct AccessArgs {
    /// Key that clients have to send (may be given several times; better in a file or in LEMMY_API_KEY)
    #[arg(long, value_name = "KEY", env = "LEMMY_API_KEY", hide_env = true, hide_env_values = true,
          value_parser = clap::builder::NonEmptyStringValueParser::new())]
    api_key: Vec<String>,
    /// Keys, one a line; # begins a comment
    #[arg(long, value_name = "FILE", env = "LEMMY_API_KEY_FILE", hide_env = true)]
    api_key_file: Option<String>,
    /// Name under which the server may be reached too; * for any
    #[arg(long, value_name = "NAME", env = "LEMMY_ALLOWED_HOST", hide_env = true, value_delimiter = ',')]
    allowed_host: Vec<String>,
    /// Origin of web pages that may use the server; * for any
    #[arg(long, value_name = "ORIGIN", env = "LEMMY_CORS_ORIGIN", hide_env = true, value_delimiter = ',')]
    cors_origin: Vec<String>,
    /// Do not serve the web page
    #[arg(long)]
    no_ui: bool,
}

/// How much clients may ask for.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits (times in seconds)")]
struct LimitArgs {
    /// Requests that may wait for a slot
    #[arg(long, value_name = "N", default_value_t = 64, env = "LEMMY_QUEUE", hide_env = true)]
    queue: u16,
    /// Time that a request may wait
    #[arg(long, value_name = "S", env = "LEMMY_QUEUE_TIMEOUT", hide_env = true, default_value_t = 300)]
    queue_timeout: u32,
    /// Replies to one prompt
    #[arg(long, value_name = "N", env = "LEMMY_MAX_N", hide_env = true, default_value_t = 8,
          value_parser = clap::value_parser!(u8).range(1..=64))]
    max_n: u8,
    /// Bytes of a body
    #[arg(long, value_name = "BYTES", env = "LEMMY_MAX_BODY", hide_env = true, default_value_t = 64 << 20)]
    max_body: u32,
    /// Bytes of a request line and its headers
    #[arg(long, value_name = "BYTES", env = "LEMMY_MAX_HEAD", hide_env = true, default_value_t = 16 << 10,
          value_parser = clap::value_parser!(u32).range(8192..=1 << 20))]
    max_head: u32,
    /// Headers of a request
    #[arg(long, value_name = "N", env = "LEMMY_MAX_HEADERS", hide_env = true, default_value_t = 100,
          value_parser = clap::value_parser!(u16).range(8..=1000))]
    max_headers: u16,
    /// Connections
    #[arg(long, value_name = "N", env = "LEMMY_MAX_CONNECTIONS", hide_env = true, default_value_t = 2048)]
    max_connections: u32,
    /// Connections of one other machine
    #[arg(long, value_name = "N", env = "LEMMY_MAX_CONNECTIONS_PER_PEER", hide_env = true, default_value_t = 256)]
    max_connections_per_peer: u32,
    /// Pictures of a request
    #[arg(long, value_name = "N", env = "LEMMY_MAX_IMAGES", hide_env = true, default_value_t = 16)]
    max_images: u16,
    /// Bytes of a picture's file
    #[arg(long, value_name = "BYTES", env = "LEMMY_MAX_IMAGE_BYTES", hide_env = true, default_value_t = 20 << 20)]
    max_image_bytes: u32,
    /// Time for the head of a request
    #[arg(long, value_name = "S", env = "LEMMY_HEAD_TIMEOUT", hide_env = true, default_value_t = 10)]
    head_timeout: u32,
    /// Time between two pieces of a body
    #[arg(long, value_name = "S", env = "LEMMY_IDLE_TIMEOUT", hide_env = true, default_value_t = 30)]
    idle_timeout: u32,
    /// Time for a whole body
    #[arg(long, value_name = "S", env = "LEMMY_BODY_TIMEOUT", hide_env = true, default_value_t = 300)]
    body_timeout: u32,
    /// Time in which a client has to read something
    #[arg(long, value_name = "S", env = "LEMMY_WRITE_TIMEOUT", hide_env = true, default_value_t = 60)]
    write_timeout: u32,
    /// Silence after which a stream says that it lives
    #[arg(long, value_name = "S", env = "LEMMY_SSE_PING", hide_env = true, default_value_t = 15,
          value_parser = clap::value_parser!(u32).range(1..))]
    sse_ping: u32,
    /// Time that replies get to end when the server is told to stop
    #[arg(long, value_name = "S", env = "LEMMY_SHUTDOWN_GRACE", hide_env = true, default_value_t = 30)]
    shutdown_grace: u32,
}

/// What the server tells about itself.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Watching")]
struct WatchingArgs {
    /// Log lines: text or json
    #[arg(
        long,
        value_name = "FORMAT",
        env = "LEMMY_LOG_FORMAT",
        hide_env = true,
        default_value = "text",
        hide_possible_values = true
    )]
    log_format: LogFormat,
    /// Log to a file instead of stderr; SIGHUP opens it again
    #[arg(long, value_name = "FILE", env = "LEMMY_LOG_FILE", hide_env = true)]
    log_file: Option<PathBuf>,
    /// Do not serve /metrics
    #[arg(long)]
    no_metrics: bool,
    /// Metrics under others' names too: vllm, llamacpp, none
    #[arg(
        long,
        value_name = "WHOSE",
        env = "LEMMY_METRICS_COMPAT",
        hide_env = true,
        default_value = "vllm",
        value_delimiter = ',',
        hide_possible_values = true
    )]
    metrics_compat: Vec<MetricsOf>,
    /// Do not serve /slots
    #[arg(long)]
    no_slots: bool,
    /// Show the whole path of the model in /props
    #[arg(long)]
    props_full_path: bool,
    /// Send thoughts as reasoning_content, or as reasoning too: both
    #[arg(
        long,
        value_name = "FIELD",
        env = "LEMMY_REASONING_FIELD",
        hide_env = true,
        default_value = "reasoning_content",
        hide_possible_values = true
    )]
    reasoning_field: ReasoningField,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MetricsOf {
    Vllm,
    #[value(name = "llamacpp")]
    LlamaCpp,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReasoningField {
    #[value(name = "reasoning_content")]
    Usual,
    Both,
}

pub(crate) fn execute(args: Args, context: &mut Context) -> Result<()> {
    let place = match args.model.split_or_nano(&[], args.tower.is_wanted())? {
        (place, words) if words.is_empty() => place.unwrap_or(Place::Nano),
        _ => return Err(Failure::usage("MODEL: found two (expected one, as a word or as --model)")),
    };
    let tower = args.tower.file()?;
    let keys = args.access.keys()?;
    if args.is_open_to_others() && keys.is_empty() {
        note(format_args!("warning: other machines can use this server without a key; --api-key-file sets keys"));
    }
    let log = Log::new(args.watching.log_format == LogFormat::Json, args.watching.log_file.clone())
        .map_err(|e| Failure::io("--log-file: cannot open it", &e))?;
    // From now on signals are the server's.
    let cancel = context.signals.watch();
    context.signals.ignore_second();
    let server = Server::start(args.options(keys), log).map_err(|e| args.cannot_listen(&e))?;
    note(format_args!("listening on {} (loading)", server.address()));
    if place == Place::Nano {
        nano::introduce()?;
    }
    let address = server.address().to_owned();
    let ended = server.run(move |door| {
        let opened = args.load_into(&door, &place, tower.as_deref(), &cancel);
        if opened.is_ok() {
            note(format_args!("ready on {address}"));
        }
        opened
    })?;
    match ended {
        Ended::InOrder => Ok(()),
        Ended::By(signal) => Err(Failure::signal(signal == Signal::Terminate)),
    }
}

impl Args {
    /// Loads the model and lets requests in.
    fn load_into(&self, door: &Door, place: &Place, tower: Option<&Path>, cancel: &CancelToken) -> Result<()> {
        let progress = door.progress();
        let pool = self.load.pool()?;
        let mut builder = self.load.builder(place, &pool, cancel)?;
        if let Some(tower) = tower {
            builder = builder.mmproj(tower);
        }
        let model = builder.on_progress(move |step| {
            progress(share(step));
            ControlFlow::Continue(())
        });
        let model = match model.load() {
            Err(lemmy_core::Error::Cancelled) => return Ok(()),
            loaded => loaded?,
        };
        match self.load.prefault(&model, &pool, cancel) {
            Err(lemmy_core::Error::Cancelled) => return Ok(()),
            read => read?,
        }
        self.load.lock(&model)?;
        let options = self.engine(&model);
        door.open(&model, self.names(place), options)?;
        Ok(())
    }

    fn engine(&self, model: &Model) -> EngineOptions {
        let limits = &self.limits;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let usual = if cpus <= 4 { 1 } else { 4 };
        let slots = self.parallel.map_or(usual, usize::from);
        EngineOptions {
            slots,
            context: self.room.size(model, slots),
            kv_type: self.room.kv_type(),
            queue: limits.queue.into(),
            patience: seconds(limits.queue_timeout),
            batch: 512,
            choices: limits.max_n.into(),
        }
    }

    /// Names of the model: what was asked for, or its file's.
    fn names(&self, place: &Place) -> Vec<String> {
        match (self.alias.as_slice(), place) {
            ([], Place::Nano) => vec!["lemmy-nano".into()],
            ([], Place::File(path)) => {
                path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).into_iter().collect()
            }
            (names, _) => names.to_vec(),
        }
    }

    fn options(&self, keys: Keys) -> Options {
        let (access, limits, watching) = (&self.access, &self.limits, &self.watching);
        let lower = |names: &[String]| names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let compat = watching.metrics_compat.iter().filter_map(|whose| match whose {
            MetricsOf::Vllm => Some(Compat::Vllm),
            MetricsOf::LlamaCpp => Some(Compat::LlamaCpp),
            MetricsOf::None => None,
        });
        Options {
            address: self.address(),
            keys,
            names: Names {
                hosts: lower(&access.allowed_host),
                origins: access.cors_origin.clone(),
                ..Names::default()
            },
            limits: limits.limits(),
            ping: seconds(limits.sse_ping),
            strict_model: self.strict_model,
            has_page: !access.no_ui,
            has_metrics: !watching.no_metrics,
            has_slots: !watching.no_slots,
            shows_model_path: watching.props_full_path,
            grace: seconds(limits.shutdown_grace),
            reasoning: match watching.reasoning_field {
                ReasoningField::Usual => ReasoningNames::One,
                ReasoningField::Both => ReasoningNames::Both,
            },
            metrics_compat: compat.collect(),
        }
    }

    fn address(&self) -> Address {
        #[cfg(unix)]
        if let Some(path) = self.host.strip_prefix("unix:") {
            return Address::Unix(path.into());
        }
        Address::Tcp(self.host.clone(), self.port)
    }

    fn is_open_to_others(&self) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        let is_local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        !is_local && !host.starts_with("unix:")
    }

    fn cannot_listen(&self, e: &std::io::Error) -> Failure {
        let failure = match self.address() {
            Address::Tcp(host, port) => Failure::usage(format!("cannot listen on {host}:{port}: {e}")),
            #[cfg(unix)]
            Address::Unix(path) => Failure::usage(format!("cannot listen on {}: {e}", path.display())),
        };
        match e.kind() {
            std::io::ErrorKind::AddrInUse => failure.hint("--port N takes another port, --port 0 any free one"),
            _ => failure,
        }
    }
}

impl AccessArgs {
    /// The keys of all flags.
    fn keys(&self) -> Result<Keys> {
        let file = match &self.api_key_file {
            Some(file) => super::input::file_text(file)?,
            None => String::new(),
        };
        let lines = file.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let in_file: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        if self.api_key_file.is_some() && in_file.is_empty() {
            return Err(Failure::usage("--api-key-file: found no key (expected one a line)"));
        }
        Ok(Keys::new(self.api_key.iter().map(String::as_str).chain(in_file)))
    }
}

impl LimitArgs {
    fn limits(&self) -> Limits {
        let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        Limits {
            body: size(self.max_body),
            head: size(self.max_head),
            headers: self.max_headers.into(),
            head_time: seconds(self.head_timeout),
            idle_time: seconds(self.idle_timeout),
            body_time: seconds(self.body_timeout),
            write_time: seconds(self.write_timeout),
            connections: size(self.max_connections),
            connections_per_peer: size(self.max_connections_per_peer),
            images: self.max_images.into(),
            image_bytes: size(self.max_image_bytes),
            choices: self.max_n.into(),
        }
    }
}

fn seconds(n: u32) -> Duration {
    Duration::from_secs(n.into())
}

/// How far loading is as a whole; the stages take about these shares.
fn share(step: LoadProgress) -> f64 {
    let part = if step.total == 0 { 1.0 } else { step.done as f64 / step.total as f64 };
    match step.stage {
        LoadStage::File => 0.5 * part,
        LoadStage::Tokenizer => 0.5 + 0.1 * part,
        _ => 0.6 + 0.4 * part,
    }
}
